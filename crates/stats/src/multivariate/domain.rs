//! Domain classifier: can a model tell a window's rows from the reference's?

use super::column::{Column, rows};
use super::kernel::draw;
use super::pairs::PairFeatures;
use super::rank::{chance_variance, tail};
use crate::error::{StatsError, finite};
use crate::interval::{Interval, normal_quantile};
use crate::learn::{Folds, Logistic, Matrix};
use crate::metric::delong;
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// Parts of the rows; each but the first is scored by a model of those before it.
const PARTS: u32 = 8;
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
/// changed, one window in seventy was below 0.001. Deterministic for a seed. `O(rows features)`.
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
    for part in 1..PARTS {
        let (reference, window) = (reference.split(part), window.split(part));
        let weight = f64::from(part).sqrt();
        let scores = match strongest(&reference.seen, &window.seen) {
            chosen if chosen.is_empty() => vec![0.0; count(&reference.next) + count(&window.next)],
            chosen => {
                let model = learn(&chosen, &reference.seen, &window.seen)?;
                for (choice, coefficient) in chosen.iter().zip(model.coefficients()) {
                    let apart = mean(&window.next[choice.feature]) - mean(&reference.next[choice.feature]);
                    importance[choice.feature] += weight * coefficient * apart / choice.deviation;
                }
                model.predict(&table(&chosen, &reference.next, &window.next)?)?
            }
        };
        let truths: Vec<bool> = (0..scores.len()).map(|row| row >= count(&reference.next)).collect();
        let (auc, spread) = delong(&scores, &truths)?;
        area += weight * auc;
        variance += weight * weight * spread;
        by_chance += weight * weight * chance_variance(count(&reference.next), count(&window.next));
        weights += weight;
    }
    importance.iter_mut().for_each(|part| *part /= weights);
    let value = area / weights;
    let half = normal_quantile(0.975)? * variance.sqrt() / weights;
    let auc = Interval { value, low: value - half, high: value + half }.clamped(0.0, 1.0);
    let p_value = tail((value - 0.5) * weights / by_chance.sqrt());
    Ok(DomainDrift { auc, p_value, importance })
}

/// Rows that take part, by columns, and the part that each is in.
struct Sample {
    columns: Vec<Vec<f64>>,
    rows: usize,
    parts: Folds,
}

/// The parts of a sample before one of them, and that one.
struct Split {
    seen: Vec<Vec<f64>>,
    next: Vec<Vec<f64>>,
}

impl Sample {
    fn draw(columns: &[&[f64]], most: usize, random: &mut Random) -> Result<Self, StatsError> {
        columns.iter().try_for_each(|column| finite(column))?;
        let available = rows(columns.iter().map(|column| column.len()))?;
        let rows = available.min(most);
        if rows < LEAST_ROWS {
            return Err(StatsError::TooFew { needed: LEAST_ROWS, got: rows });
        }
        let chosen = draw(available, rows, random);
        let columns = columns.iter().map(|column| pick(column, &chosen)).collect();
        Ok(Self { columns, rows, parts: Folds::new(rows, PARTS as usize, random.next())? })
    }

    fn split(&self, part: u32) -> Split {
        let of = |rows: Vec<u32>| {
            let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
            self.columns.iter().map(|column| pick(column, &rows)).collect()
        };
        Split {
            seen: of((0..part).flat_map(|seen| self.parts.held(seen)).collect()),
            next: of(self.parts.held(part)),
        }
    }
}

/// A feature that a model uses.
struct Choice {
    feature: usize,
    /// Its standard deviation in the rows that the model learns from.
    deviation: f64,
}

/// The features whose means differ most, in standard deviations; none that does not vary.
fn strongest(reference: &[Vec<f64>], window: &[Vec<f64>]) -> Vec<Choice> {
    let mut found: Vec<(f64, Choice)> = Vec::new();
    for (feature, (of_reference, of_window)) in reference.iter().zip(window).enumerate() {
        let all = [of_reference.as_slice(), of_window].concat();
        let centre = mean(&all);
        let deviation = mean(&all.iter().map(|value| (value - centre).powi(2)).collect::<Vec<_>>()).sqrt();
        let apart = (mean(of_window) - mean(of_reference)).abs() / deviation;
        if apart > 0.0 && apart.is_finite() {
            found.push((apart, Choice { feature, deviation }));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(FEATURES).map(|(_, choice)| choice).collect()
}

fn learn(chosen: &[Choice], reference: &[Vec<f64>], window: &[Vec<f64>]) -> Result<Logistic, StatsError> {
    let mut targets = vec![0.0; count(reference)];
    targets.resize(count(reference) + count(window), 1.0);
    Logistic::fit(&table(chosen, reference, window)?, &targets, None, RIDGE)
}

/// Chosen features of the rows of a reference and, below, of a window.
fn table(chosen: &[Choice], reference: &[Vec<f64>], window: &[Vec<f64>]) -> Result<Matrix, StatsError> {
    let column = |choice: &Choice| [reference[choice.feature].as_slice(), &window[choice.feature]].concat();
    Matrix::new(chosen.iter().map(column).collect())
}

fn count(columns: &[Vec<f64>]) -> usize {
    columns.first().map_or(0, Vec::len)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
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
