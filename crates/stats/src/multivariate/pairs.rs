//! Features of rows that show how columns hang together.

use super::column::{Column, rows};
use super::company::PairValues;
use super::frequencies::Frequencies;
use super::scores::NormalScores;
use crate::error::StatsError;
use crate::profile::Bins;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Cells into which numbers are cut.
const CELLS: usize = 10;
/// Categories that have a cell of their own.
const CATEGORIES: usize = 30;
/// Categories that have a feature of their own.
const INDICATORS: usize = 8;
/// Pairs that have features: all of up to 23 columns, else those that depend on each other most.
const MOST_PAIRS: usize = 256;
/// Two rows of a column must differ with this probability, or else a single row would decide about its company.
const LEAST_DIFFERENT: f64 = 0.05;
/// Rows that each cell of a pair gets on both sides of the quotient, so that rare cells say little.
const PRIOR_ROWS: f64 = 2.0;

/// What a row looks like to somebody who knows the reference: for each column its normal score, for frequent categories
/// and missing values an indicator, and for each pair of columns the product of the scores and the *affinity*
///
/// `ln((n_ab + 2) / (n_a n_b / n + 2))`
///
/// of the pair's cells `a` and `b`, with the counts of the reference: how much more often the two go together than they
/// would by chance. It is the log likelihood ratio of "together as in the reference" against "put together at random",
/// so no feature tells a shuffled column better (Neyman and Pearson); the products show dependence that is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PairFeatures {
    frequencies: Frequencies,
    scores: Vec<NormalScores>,
    cells: Vec<Cells>,
    pairs: Vec<Pair>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair {
    columns: (usize, usize),
    /// Of the cells of the first column by those of the second.
    affinities: Vec<f64>,
    /// How much of one column the other tells, in nats a row, less what chance alone gives.
    information: f64,
}

impl PairFeatures {
    /// Learns from a reference.
    pub(super) fn learn(reference: &[Column<'_>]) -> Result<Self, StatsError> {
        if rows(reference.iter().map(Column::rows))? == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        let frequencies = Frequencies::learn(reference)?;
        let scores = frequencies
            .encode(reference)?
            .iter()
            .map(|column| NormalScores::learn(column))
            .collect::<Result<_, _>>()?;
        let cells: Vec<Cells> = reference.iter().map(Cells::learn).collect();
        let coded: Vec<Vec<usize>> =
            cells.iter().zip(reference).map(|(cells, column)| cells.of(column)).collect();
        let mut pairs: Vec<Pair> = Vec::new();
        for (j, second) in coded.iter().enumerate() {
            for (i, first) in coded.iter().enumerate().take(j) {
                if let (Some(a), Some(b)) = (cells.get(i), cells.get(j)) {
                    pairs.push(Pair::learn((i, j), (first, a.count()), (second, b.count())));
                }
            }
            // Tables of pairs that will not be kept are let go early.
            pairs.sort_by(|a, b| b.information.total_cmp(&a.information));
            pairs.truncate(MOST_PAIRS);
        }
        Ok(Self { frequencies, scores, cells, pairs })
    }

    /// The features of rows, by columns; each is finite.
    pub(super) fn of(&self, table: &[Column<'_>]) -> Result<Vec<Vec<f64>>, StatsError> {
        let encoded = self.frequencies.encode(table)?;
        let score = |(scores, column): (&NormalScores, &Cow<'_, [f64]>)| {
            // What is missing scores as the middle does.
            let scored = scores.of(column).into_iter();
            scored.map(|score| if score.is_nan() { 0.0 } else { score }).collect()
        };
        let scores: Vec<Vec<f64>> = self.scores.iter().zip(&encoded).map(score).collect();
        let coded: Vec<Vec<usize>> =
            self.cells.iter().zip(table).map(|(cells, column)| cells.of(column)).collect();
        let mut features = Vec::new();
        for (cells, codes) in self.cells.iter().zip(&coded) {
            for cell in cells.shown() {
                features.push(codes.iter().map(|code| f64::from(u8::from(*code == cell))).collect());
            }
        }
        for pair in &self.pairs {
            let (i, j) = pair.columns;
            if let (Some(first), Some(second)) = (coded.get(i), coded.get(j)) {
                let width = self.cells.get(j).map_or(0, Cells::count);
                let affinity =
                    |(a, b): (&usize, &usize)| pair.affinities.get(a * width + b).copied().unwrap_or(0.0);
                features.push(first.iter().zip(second).map(affinity).collect());
            }
            if let (Some(x), Some(y)) = (scores.get(i), scores.get(j)) {
                features.push(x.iter().zip(y).map(|(x, y)| x * y).collect());
            }
        }
        features.extend(scores);
        Ok(features)
    }

    /// The pairs' mean affinity in these rows beyond that of their single values, with its sampling variance.
    pub(super) fn company(&self, table: &[Column<'_>]) -> Result<PairValues, StatsError> {
        rows(table.iter().map(Column::rows))?;
        let columns = self.cells.len();
        if table.len() != columns {
            return Err(StatsError::Columns { left: columns, right: table.len() });
        }
        let coded: Vec<(Vec<usize>, usize)> =
            self.cells.iter().zip(table).map(|(cells, column)| (cells.of(column), cells.count())).collect();
        let mut values = vec![None; columns * columns.saturating_sub(1) / 2];
        for pair in &self.pairs {
            let (i, j) = pair.columns;
            if let (Some(first), Some(second)) = (coded.get(i), coded.get(j))
                && let Some(value) = values.get_mut(j * j.saturating_sub(1) / 2 + i)
            {
                *value = pair.beyond_shares((&first.0, first.1), (&second.0, second.1));
            }
        }
        Ok(PairValues { columns, values })
    }

    /// The columns that each feature is made of, in the order of [`of`](Self::of).
    pub(super) fn columns(&self) -> Vec<(usize, usize)> {
        let shown = self.cells.iter().enumerate().flat_map(|(i, cells)| cells.shown().map(move |_| (i, i)));
        let pairs = self.pairs.iter().flat_map(|pair| [pair.columns; 2]);
        shown.chain(pairs).chain((0..self.scores.len()).map(|i| (i, i))).collect()
    }
}

impl Pair {
    fn learn(columns: (usize, usize), first: (&[usize], usize), second: (&[usize], usize)) -> Self {
        let ((first, height), (second, width)) = (first, second);
        let mut counts = vec![0.0f64; height * width];
        let (mut of_first, mut of_second) = (vec![0.0f64; height], vec![0.0f64; width]);
        for (&a, &b) in first.iter().zip(second) {
            counts[a * width + b] += 1.0;
            of_first[a] += 1.0;
            of_second[b] += 1.0;
        }
        let total = first.len() as f64;
        let used = |counts: &[f64]| counts.iter().filter(|count| **count > 0.0).count() as f64;
        // Independent columns show this much on average.
        let mut information = -(used(&of_first) - 1.0) * (used(&of_second) - 1.0) / (2.0 * total);
        let expected = of_first.iter().flat_map(|a| of_second.iter().map(move |b| a * b / total));
        for (count, expected) in counts.iter_mut().zip(expected) {
            if *count > 0.0 {
                information += *count / total * (*count / expected).ln();
            }
            *count = ((*count + PRIOR_ROWS) / (expected + PRIOR_ROWS)).ln();
        }
        Self { columns, affinities: counts, information }
    }
}

impl Pair {
    /// The mean over rows of the affinity of their cells, centred by cell of either column; none where nothing varies.
    fn beyond_shares(&self, first: (&[usize], usize), second: (&[usize], usize)) -> Option<(f64, f64)> {
        let ((first, height), (second, width)) = (first, second);
        let rows = first.len() as f64;
        let shares = |codes: &[usize], cells: usize| {
            let mut shares = vec![0.0f64; cells];
            codes.iter().for_each(|&code| shares[code] += 1.0 / rows);
            shares
        };
        let (of_first, of_second) = (shares(first, height), shares(second, width));
        let alike = |shares: &[f64]| shares.iter().map(|share| share * share).sum::<f64>();
        if alike(&of_first).max(alike(&of_second)) > 1.0 - LEAST_DIFFERENT {
            return None;
        }
        let affinity = |a: usize, b: usize| self.affinities.get(a * width + b).copied().unwrap_or(0.0);
        let mean = |shares: &[f64], of: &dyn Fn(usize) -> f64| -> f64 {
            let used = shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
            used.map(|(cell, share)| share * of(cell)).sum()
        };
        let by_first: Vec<f64> = (0..height).map(|a| mean(&of_second, &|b| affinity(a, b))).collect();
        let by_second: Vec<f64> = (0..width).map(|b| mean(&of_first, &|a| affinity(a, b))).collect();
        let all = mean(&of_first, &|a| by_first[a]);
        let centred = || {
            let cells = first.iter().zip(second);
            cells.map(|(&a, &b)| affinity(a, b) - by_first[a] - by_second[b] + all)
        };
        let value = centred().sum::<f64>() / rows;
        let variance = centred().map(|own| (own - value).powi(2)).sum::<f64>() / rows;
        (variance > 0.0).then_some((value, variance / rows))
    }
}

/// The cells of a column: 0 holds what is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Cells {
    /// From 1 on, the cells of numbers.
    Numeric(Bins),
    /// 1 holds categories without a cell of their own, the others come in falling order of their counts.
    Categorical(BTreeMap<String, usize>),
    /// 1 holds any value: the reference has none.
    Empty,
}

impl Cells {
    fn learn(column: &Column<'_>) -> Self {
        match *column {
            Column::Numeric(values) => {
                let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
                Bins::quantiles(&values, CELLS).map_or(Self::Empty, Self::Numeric)
            }
            Column::Categorical(values) => {
                let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                for value in values.iter().copied().flatten() {
                    *counts.entry(value).or_default() += 1;
                }
                let mut frequent: Vec<(&str, u64)> = counts.into_iter().collect();
                frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                let numbered = frequent.into_iter().take(CATEGORIES).zip(2..);
                Self::Categorical(numbered.map(|((category, _), cell)| (category.to_owned(), cell)).collect())
            }
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Numeric(bins) => bins.cells() + 1,
            Self::Categorical(categories) => categories.len() + 2,
            Self::Empty => 2,
        }
    }

    /// The cells that have a feature of their own.
    fn shown(&self) -> std::ops::Range<usize> {
        match self {
            Self::Categorical(categories) => 0..2 + categories.len().min(INDICATORS),
            Self::Numeric(_) | Self::Empty => 0..1,
        }
    }

    fn of(&self, column: &Column<'_>) -> Vec<usize> {
        match (self, *column) {
            (Self::Numeric(bins), Column::Numeric(values)) => {
                values.iter().map(|value| if value.is_finite() { 1 + bins.cell(*value) } else { 0 }).collect()
            }
            (Self::Categorical(categories), Column::Categorical(values)) => {
                let cell = |category| categories.get(category).copied().unwrap_or(1);
                values.iter().map(|value| value.map_or(0, cell)).collect()
            }
            (_, Column::Numeric(values)) => {
                values.iter().map(|value| usize::from(value.is_finite())).collect()
            }
            (_, Column::Categorical(values)) => {
                values.iter().map(|value| usize::from(value.is_some())).collect()
            }
        }
    }
}
