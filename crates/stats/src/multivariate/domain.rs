//! Domain classifier: can a model tell a window's rows from the reference's?

use super::column::{Column, rows};
use super::company::PairValues;
use super::kernel::draw;
use super::pairs::PairFeatures;
use super::rank::{chance_variance, tail};
use crate::error::{StatsError, finite};
use crate::interval::{Interval, normal_quantile};
use crate::learn::{Logistic, Matrix};
use crate::metric::delong;
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Parts of the rows; each but the first is scored by a model of those before it.
const PARTS: usize = 8;
/// Fewest rows of a window, and of a reference: enough for the normal law of ranks.
const LEAST_ROWS: usize = 40;
/// Features that a model uses: those with the largest difference in its training rows.
const FEATURES: usize = 8;
/// Penalty of the logistic regression.
const RIDGE: f64 = 100.0;
/// Reference rows for each row of the window: more add little.
const REFERENCE_SHARE: usize = 4;
/// Most rows of a window that are compared, and most rows that a reference keeps for it.
const MOST_ROWS: usize = 10_000;

/// How well a classifier tells a window from the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainDrift {
    /// Area under the ROC curve of scores by models that had not seen the row, with DeLong's interval; 0.5 when nothing
    /// differs.
    pub auc: Interval,
    /// Of "the window's rows are like the reference's": the chance of an area at least as large.
    pub p_value: f64,
    /// What each column contributes to the difference of mean log odds between window and reference, on rows that the
    /// models had not seen; a pair's part is halved. Large for columns whose values, or whose company, changed; only
    /// noise where the area is close to 0.5.
    pub importance: Vec<f64>,
}

/// A reference that windows are told from: it knows how often the values of any two columns go together.
///
/// Half of the reference's rows teach [what goes together](Self::compare); the others, up to 10,000, are compared with
/// windows, so that neither side is known by heart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainReference {
    features: PairFeatures,
    rows: Vec<Vec<f64>>,
}

impl DomainReference {
    /// Learns from a reference of at least 80 rows; the seed decides which rows teach.
    pub fn learn(reference: &[Column<'_>], seed: u64) -> Result<Self, StatsError> {
        let count = rows(reference.iter().map(Column::rows))?;
        let needed = 2 * LEAST_ROWS;
        if count < needed {
            return Err(StatsError::TooFew { needed, got: count });
        }
        let compared = draw(count, (count / 2).min(MOST_ROWS), &mut Random::new(seed));
        let mut teaches = vec![true; count];
        compared.iter().for_each(|&row| teaches[row] = false);
        let teachers: Vec<usize> = (0..count).filter(|&row| teaches[row]).collect();
        let features = with_rows(reference, &teachers, PairFeatures::learn)?;
        let rows = with_rows(reference, &compared, |columns| features.of(columns))?;
        Ok(Self { features, rows })
    }

    /// How far the values of each pair of columns go together in a window as they did in the reference, beyond what the
    /// shares of single values make of it: the mean over the rows of the *affinity* of their cells,
    /// `ln((n_ab + 2) / (n_a n_b / n + 2))`, less its mean over all pairs of the window's values. In nats: near the mutual
    /// information while nothing has changed, 0 where one of the columns is shuffled, whatever else moved.
    pub fn company(&self, window: &[Column<'_>]) -> Result<PairValues, StatsError> {
        self.features.company(window)
    }

    /// Tells a window of at least 40 rows from the reference, by logistic regression on indicators and normal scores of
    /// single columns and, for pairs of columns, on the log odds of their going together and on products of scores.
    pub fn compare(&self, window: &[Column<'_>], seed: u64) -> Result<DomainDrift, StatsError> {
        let window = self.features.of(window)?;
        let drift = domain_drift(&slices(&self.rows), &slices(&window), seed)?;
        let columns = self.features.columns();
        let count = columns.iter().map(|(i, j)| i.max(j) + 1).max().unwrap_or(0);
        let mut importance = vec![0.0; count];
        for ((i, j), part) in columns.into_iter().zip(drift.importance) {
            importance[i] += part / 2.0;
            importance[j] += part / 2.0;
        }
        Ok(DomainDrift { importance, ..drift })
    }
}

/// Tells rows of a window from rows of a reference, both given as finite features by columns: embeddings,
/// [`TextFeatures`](super::TextFeatures), or what else describes them. At least 40 rows each; up to 10,000 of the window
/// are drawn, and up to four of the reference for each. The importance is by feature.
///
/// The rows are divided into eight parts. For each part after the first, the eight features whose means differ most in
/// the parts before it go into a logistic regression with a ridge, which scores the part; part `k` of `0..8` has weight
/// `sqrt(k)`, as its model knows that much more. Whatever a model has learnt, without drift the part it scores is new to
/// it, so the areas of the parts have the mean 1/2 and the variance `(n + m + 1) / (12 n m)`, and do not correlate: the
/// p-value holds (sequential two-sample testing, Podkopaev and Ramdas, NeurIPS 2023). With the usual cross-validation
/// each two parts meet twice, as teacher and as pupil, and the variance is up to twice as large: on flights that had not
/// changed, 6 of 400 windows were below 0.001. Deterministic for a seed. `O(rows features)`.
///
/// ```
/// let x: Vec<f64> = (0..400).map(|row| f64::from(row * 7_919 % 400)).collect();
/// let high: Vec<f64> = (0..100).map(|row| f64::from(row * 7_919 % 100) + 300.0).collect();
/// let drift = steersman_stats::multivariate::domain_drift(&[&x], &[&high], 7).unwrap();
/// assert!((drift.auc.value - 0.875).abs() < 0.02 && drift.p_value < 1e-9); // of 400 values 300 are below, 100 among
/// ```
pub fn domain_drift(reference: &[&[f64]], window: &[&[f64]], seed: u64) -> Result<DomainDrift, StatsError> {
    if reference.len() != window.len() {
        return Err(StatsError::Columns { left: reference.len(), right: window.len() });
    }
    let mut random = Random::new(seed);
    let window = Sample::draw(window, MOST_ROWS, &mut random)?;
    let reference = Sample::draw(reference, REFERENCE_SHARE * window.rows, &mut random)?;
    let mut importance = vec![0.0; reference.columns.len()];
    let (mut area, mut variance, mut by_chance, mut weights) = (0.0, 0.0, 0.0, 0.0);
    let mut seen = vec![[Moments::default(); 2]; importance.len()];
    for part in 1..PARTS {
        for (moments, (of_reference, of_window)) in
            seen.iter_mut().zip(reference.columns.iter().zip(&window.columns))
        {
            moments[0].add(&of_reference[reference.part(part - 1)]);
            moments[1].add(&of_window[window.part(part - 1)]);
        }
        let next = |feature: usize| {
            (&reference.columns[feature][reference.part(part)], &window.columns[feature][window.part(part)])
        };
        let before = |feature: usize| {
            let (n, m) = (reference.part(part).start, window.part(part).start);
            (&reference.columns[feature][..n], &window.columns[feature][..m])
        };
        let (n, m) = (reference.part(part).len(), window.part(part).len());
        let weight = (part as f64).sqrt();
        let chosen = strongest(&seen);
        let mut scores = vec![0.0; n + m];
        if !chosen.is_empty() {
            let mut targets = vec![0.0; reference.part(part).start];
            targets.resize(targets.len() + window.part(part).start, 1.0);
            let model = Logistic::fit(&table(&chosen, before)?, &targets, None, RIDGE)?;
            scores = model.predict(&table(&chosen, next)?)?;
            for (choice, coefficient) in chosen.iter().zip(model.coefficients()) {
                let (of_reference, of_window) = next(choice.feature);
                let apart = Moments::of(of_window).mean - Moments::of(of_reference).mean;
                importance[choice.feature] += weight * coefficient * apart / choice.deviation;
            }
        }
        let truths: Vec<bool> = (0..n + m).map(|row| row >= n).collect();
        let (auc, spread) = delong(&scores, &truths)?;
        area += weight * auc;
        variance += weight * weight * spread;
        by_chance += weight * weight * chance_variance(n, m);
        weights += weight;
    }
    importance.iter_mut().for_each(|part| *part /= weights);
    let value = area / weights;
    let half = normal_quantile(0.975)? * variance.sqrt() / weights;
    let auc = Interval { value, low: value - half, high: value + half }.clamped(0.0, 1.0);
    let p_value = tail((value - 0.5) * weights / by_chance.sqrt());
    Ok(DomainDrift { auc, p_value, importance })
}

/// Rows that take part, by columns and in random order, so that every run of them is a random part.
struct Sample {
    columns: Vec<Vec<f64>>,
    rows: usize,
}

impl Sample {
    fn draw(columns: &[&[f64]], most: usize, random: &mut Random) -> Result<Self, StatsError> {
        columns.iter().try_for_each(|column| finite(column))?;
        let available = rows(columns.iter().map(|column| column.len()))?;
        let rows = available.min(most);
        if rows < LEAST_ROWS {
            return Err(StatsError::TooFew { needed: LEAST_ROWS, got: rows });
        }
        let mut chosen: Vec<usize> = (0..available).collect();
        random.shuffle(&mut chosen);
        chosen.truncate(rows);
        Ok(Self { columns: columns.iter().map(|column| pick(column, &chosen)).collect(), rows })
    }

    /// The rows of a part.
    fn part(&self, part: usize) -> Range<usize> {
        part * self.rows / PARTS..(part + 1) * self.rows / PARTS
    }
}

/// Count, mean and sum of squared deviations.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        Self { count, mean, squares: values.iter().map(|value| (value - mean).powi(2)).sum() }
    }

    fn merged(self, other: Self) -> Self {
        let count = self.count + other.count;
        let step = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + step * other.count / count,
            squares: self.squares + other.squares + step * step * self.count * other.count / count,
        }
    }

    fn add(&mut self, values: &[f64]) {
        *self = self.merged(Self::of(values));
    }
}

/// A feature that a model uses.
struct Choice {
    feature: usize,
    /// Its standard deviation in the rows that the model learns from.
    deviation: f64,
}

/// The features whose means in reference and window differ most, in standard deviations; none that does not vary.
fn strongest(seen: &[[Moments; 2]]) -> Vec<Choice> {
    let strength = |(feature, [reference, window]): (usize, &[Moments; 2])| {
        let together = reference.merged(*window);
        let deviation = (together.squares / together.count).sqrt();
        let apart = (window.mean - reference.mean).abs() / deviation;
        (apart > 0.0 && apart.is_finite()).then_some((apart, Choice { feature, deviation }))
    };
    let mut found: Vec<(f64, Choice)> = seen.iter().enumerate().filter_map(strength).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(FEATURES).map(|(_, choice)| choice).collect()
}

/// Chosen features of the rows of a reference and, below, of a window.
fn table<'a>(
    chosen: &[Choice],
    rows: impl Fn(usize) -> (&'a [f64], &'a [f64]),
) -> Result<Matrix, StatsError> {
    let column = |choice: &Choice| {
        let (reference, window) = rows(choice.feature);
        [reference, window].concat()
    };
    Matrix::new(chosen.iter().map(column).collect())
}

fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().filter_map(|&row| values.get(row).copied()).collect()
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

/// Calls `then` with chosen rows of a table.
fn with_rows<T>(table: &[Column<'_>], chosen: &[usize], then: impl FnOnce(&[Column<'_>]) -> T) -> T {
    let numbers: Vec<Vec<f64>> = table
        .iter()
        .map(|column| match column {
            Column::Numeric(values) => pick(values, chosen),
            Column::Categorical(_) => Vec::new(),
        })
        .collect();
    let categories: Vec<Vec<Option<&str>>> = table
        .iter()
        .map(|column| match column {
            Column::Numeric(_) => Vec::new(),
            Column::Categorical(values) => pick(values, chosen),
        })
        .collect();
    let columns = table.iter().zip(numbers.iter().zip(&categories));
    let columns: Vec<Column<'_>> = columns
        .map(|(column, (numbers, categories))| match column {
            Column::Numeric(_) => Column::Numeric(numbers),
            Column::Categorical(_) => Column::Categorical(categories),
        })
        .collect();
    then(&columns)
}
