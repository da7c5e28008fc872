//! The search for weak segments.

use super::cells::{Coded, Column, Condition};
use super::excess::excess_loss;
use super::half::{Half, PAIRED_COLUMNS, Tally};
use crate::calibration::holm;
use crate::error::StatsError;
use crate::harm::CellLoss;
use crate::interval::Interval;
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// What [`weak_segments`] looks for and may spend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// A segment holds at least this share of the rows.
    pub share: f64,
    /// A segment holds at least so many labels, half of them in each half of the rows.
    pub labels: u64,
    /// A segment's mean loss exceeds that of the rest by more than this, in the unit of the loss.
    pub excess: f64,
    /// The probability that any segment is reported although none is weak.
    pub alpha: f64,
    /// So many candidates are tested.
    pub beam: usize,
    /// So many categories of a column are looked at by themselves, at most 64.
    pub categories: usize,
    /// Rows times columns and pairs of columns, at most: rows are sampled above. 50 million take well below a
    /// second.
    pub visits: usize,
    /// Of the sample and the split.
    pub seed: u64,
}

impl Default for SearchOptions {
    /// At least 5 % of the rows and 50 labels, any excess, 5 % false reports, 10 candidates, 8 categories, 50
    /// million visits.
    fn default() -> Self {
        Self {
            share: 0.05,
            labels: 50,
            excess: 0.0,
            alpha: 0.05,
            beam: 10,
            categories: 8,
            visits: 50_000_000,
            seed: 0,
        }
    }
}

/// A segment in which the model is worse than elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeakSegment {
    /// One or two conditions, of different columns, that all hold.
    pub conditions: Vec<Condition>,
    /// Its share of the rows looked at.
    pub share: f64,
    /// Its labels among these.
    pub labels: u64,
    /// Its mean loss in the half of the rows that did not choose it.
    pub loss: f64,
    /// The mean loss of all other rows of that half.
    pub rest: f64,
    /// By how much the one exceeds the other, with its 95 % interval.
    pub excess: Interval,
    /// One-sided p-value of the excess.
    pub p_value: f64,
    /// The p-value corrected for all candidates that were tested (Holm).
    pub adjusted_p_value: f64,
}

/// What a search found, and what it looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Confirmed segments, the largest excess first.
    pub segments: Vec<WeakSegment>,
    /// Cells of columns and pairs of columns that were looked at.
    pub examined: usize,
    /// Candidates that were tested.
    pub tested: usize,
    /// Rows looked at, labelled or not, both halves together.
    pub rows: usize,
}

/// Looks for segments, of one or two conditions, in which the mean loss is worse than in all other rows.
///
/// Rows are split in two at random. On the first half every cell of every column and pair of columns with
/// enough support is ranked by the lower end of the 95 % interval of its excess over the rest; a pair counts
/// only where that is above the excess of either condition alone, and a candidate that shares more than half
/// of its rows (or of the other's) with a better one is left out. The best `beam` candidates are tested on
/// the second half by [`excess_loss`], with Holm's correction over them. As the candidates do not depend on
/// the second half, the probability of any false report is at most `alpha` (as far as Welch's test holds its
/// level; data splitting as in D. R. Cox, Biometrika 62, 1975), however many cells were looked at, and the
/// reported excess is free of the winner's curse of the search. Rows are taken to be independent: what
/// happened to hit a segment in one bad hour is found, and is a fact about that hour.
///
/// `losses` holds one entry a row, `None` without a label; rows without one count for the support alone. The
/// cost is rows times columns and pairs of columns (of at most 40 columns), bounded by `visits`. Fails on
/// columns of different length, losses that are not finite, options outside their domain and too few labels.
///
/// ```
/// use steersman_stats::profile::Bins;
/// use steersman_stats::segment::{Column, ColumnData, SearchOptions, Values, weak_segments};
/// let carrier: Vec<Option<&str>> = (0..2_000).map(|row| Some(["AA", "UA", "B6", "DL"][row % 4])).collect();
/// // One error in seven; of carrier B6 one in three as well.
/// let wrong = |row: usize| row % 7 == 0 || row % 4 == 2 && row % 3 == 0;
/// let losses: Vec<Option<f64>> = (0..2_000).map(|row| Some(f64::from(u8::from(wrong(row))))).collect();
/// let columns = [Column { name: "carrier", data: ColumnData::Categories(&carrier) }];
/// let found = weak_segments(&columns, &losses, &SearchOptions::default()).unwrap();
/// assert_eq!(found.segments.len(), 1);
/// assert_eq!(found.segments[0].conditions[0].values, Values::Category("B6".to_owned()));
/// assert_eq!((found.segments[0].share, found.segments[0].labels), (0.25, 500));
/// ```
pub fn weak_segments(
    columns: &[Column<'_>],
    losses: &[Option<f64>],
    options: &SearchOptions,
) -> Result<Search, StatsError> {
    check(columns, losses, options)?;
    let paired = columns.len().min(PAIRED_COLUMNS);
    let passes = columns.len() + paired * paired.saturating_sub(1) / 2;
    let rows = losses.len().min(options.visits / passes.max(1));
    let chosen = split(losses.len(), rows, options.seed);
    let coded = columns
        .iter()
        .map(|column| Coded::new(column.data, &chosen, options.categories))
        .collect::<Result<Vec<Coded>, StatsError>>()?;
    let mut chosen_losses: Vec<Option<f64>> = chosen.iter().map(|&row| losses[row]).collect();
    // Sums of squares keep more digits around the mean.
    let all: CellLoss = chosen_losses.iter().flatten().copied().collect();
    let centre = all.mean().ok_or(StatsError::TooFew { needed: options.labels as usize, got: 0 })?;
    if !all.is_finite() {
        return Err(StatsError::Domain("the losses are too large to be squared and summed"));
    }
    chosen_losses.iter_mut().flatten().for_each(|loss| *loss -= centre);

    let middle = rows / 2;
    let first = Half::new(&coded, &chosen_losses, 0..middle);
    let second = Half::new(&coded, &chosen_losses, middle..rows);
    for half in [&first, &second] {
        if half.total.loss.count < options.labels.div_ceil(2) {
            let got = all.count as usize;
            return Err(StatsError::TooFew { needed: options.labels as usize, got });
        }
    }
    let (candidates, examined) = first.candidates(options)?;
    let tallies: Vec<Tally> = candidates.iter().map(|candidate| second.tally(&candidate.segment)).collect();
    let tests: Vec<_> = tallies
        .iter()
        .map(|tally| excess_loss(&tally.loss, &second.total.loss.without(&tally.loss), options.excess))
        .collect();
    // A candidate that has too few labels in the second half is tested without success.
    let p_values: Vec<f64> =
        tests.iter().map(|test| test.as_ref().map_or(1.0, |test| test.p_value)).collect();
    let mut segments = Vec::new();
    for (index, adjusted_p_value) in holm(&p_values)?.into_iter().enumerate() {
        let (candidate, tally) = (&candidates[index], &tallies[index]);
        let Ok(test) = &tests[index] else { continue };
        if adjusted_p_value > options.alpha {
            continue;
        }
        let loss = tally.loss.mean().unwrap_or(0.0) + centre;
        let condition = |&(column, cell): &(usize, u8)| Condition {
            column: columns[column].name.to_owned(),
            values: coded[column].cells[usize::from(cell)].clone(),
        };
        segments.push(WeakSegment {
            conditions: candidate.segment.iter().map(condition).collect(),
            share: (candidate.tally.rows + tally.rows) as f64 / rows as f64,
            labels: candidate.tally.loss.count + tally.loss.count,
            loss,
            rest: loss - test.difference.value,
            excess: test.difference,
            p_value: test.p_value,
            adjusted_p_value,
        });
    }
    segments.sort_by(|a, b| b.excess.value.total_cmp(&a.excess.value));
    Ok(Search { segments, examined, tested: candidates.len(), rows })
}

fn check(columns: &[Column<'_>], losses: &[Option<f64>], options: &SearchOptions) -> Result<(), StatsError> {
    for column in columns {
        crate::error::paired(losses.len(), column.data.rows(), 0)?;
    }
    if let Some(row) = losses.iter().position(|loss| loss.is_some_and(|loss| !loss.is_finite())) {
        return Err(StatsError::NotFinite { row });
    }
    let inside = |share: f64| share > 0.0 && share < 1.0;
    if !(inside(options.share) && inside(options.alpha)) {
        return Err(StatsError::Domain("the least share and the level are between 0 and 1"));
    }
    if !options.excess.is_finite() {
        return Err(StatsError::Domain("the least excess that matters is a finite number"));
    }
    Ok(())
}

/// `take` of `count` rows: a random first half and a random second half, each in the order of rows, which is
/// kinder to memory.
fn split(count: usize, take: usize, seed: u64) -> Vec<usize> {
    let mut rows = Random::new(seed).choose(count, take);
    let (first, second) = rows.split_at_mut(take / 2);
    first.sort_unstable();
    second.sort_unstable();
    rows
}
