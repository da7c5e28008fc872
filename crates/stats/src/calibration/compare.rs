//! Two batches, no time: which columns changed.
//!
//! Each column brings the p-values of its tests, how far it moved, and whether that matters. The tests of a column are
//! combined by weighted Bonferroni, the columns by Holm, so that the probability of any false finding in the whole data
//! set is at most the family level, whatever the dependence.
//!
//! *The default level is 0.002.* Half of it is the customary Bonferroni 0.001 for the customary test of each column
//! (Kolmogorov-Smirnov for numbers, chi-square for categories); the other half pays for what that test is weak at:
//! changes of spread, new heavy values, missing values. So whatever the customary rule finds is found here too, if it
//! matters.

use super::multiplicity::holm;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// The share of a column's level that goes to its customary test, where it has others.
const CUSTOMARY: f64 = 0.5;
/// P-values stay above 0.
const LEAST_P: f64 = 1e-300;

/// What is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnTest {
    /// The customary test of the whole distribution: Kolmogorov-Smirnov, or chi-square of the categories.
    Distribution,
    /// Chi-square of the cells into which numbers are counted.
    Cells,
    /// The share of missing values.
    Missing,
}

/// How much more two batches differ than independent rows would, learnt from blocks of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Inflation {
    /// The factor of variances, at least 1 ([`super::Dispersion::factor`] of blocks that are long enough to be
    /// independent of each other).
    pub factor: f64,
    /// Blocks it was learnt from.
    pub blocks: usize,
}

impl Inflation {
    /// A p-value for rows that are alike within blocks: its normal score is divided by the root of the factor and looked
    /// up in Student's law with one degree of freedom less than there are blocks, as in quasi-likelihood.
    ///
    /// ```
    /// use steersman_stats::calibration::Inflation;
    /// let days = Inflation { factor: 4.0, blocks: 31 };
    /// let p = days.corrected(6.33e-5).unwrap(); // z = 4, so t = 2 with 30 degrees of freedom
    /// assert!((p - 0.054_6).abs() < 1e-4);
    /// ```
    pub fn corrected(self, p_value: f64) -> Result<f64, StatsError> {
        if self.blocks < 3 {
            return Err(StatsError::TooFew { needed: 3, got: self.blocks });
        }
        if !(self.factor.is_finite() && self.factor > 0.0) {
            return Err(StatsError::Domain("a factor of variances is above 0"));
        }
        let law = StudentsT::new(0.0, 1.0, (self.blocks - 1) as f64)
            .map_err(|_| StatsError::Domain("degrees of freedom are positive"))?;
        // The score of p/2 in the lower tail, where small numbers keep their digits.
        let score = -Normal::standard().inverse_cdf((0.5 * p_value).max(LEAST_P));
        Ok((2.0 * law.sf(score / self.factor.max(1.0).sqrt())).clamp(p_value, 1.0))
    }
}

/// What is known about one column of two batches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnEvidence {
    /// P-values by test; empty if there were too few rows for any.
    pub tests: Vec<(ColumnTest, f64)>,
    /// Dependence of rows, where there is a column of times.
    pub inflation: Option<Inflation>,
    /// How far the column moved.
    pub distance: f64,
    /// The distance below which 95 % of equal batches of these sizes are.
    pub ordinary_high: Option<f64>,
    /// Whether the change of the distribution reaches the effect floor.
    pub distribution_matters: bool,
    /// Whether the change of the share of missing values does.
    pub missing_matters: bool,
}

/// What a comparison is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompareOptions {
    /// The probability of any false finding in a data set.
    pub family_level: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { family_level: 0.002 }
    }
}

/// Why a column is said to have changed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Changed: this test is significant, and the change matters.
    Changed(ColumnTest),
    /// A test is significant, but the change is below the floor.
    TooSmall,
    /// No test is significant.
    Ordinary,
    /// There are no tests.
    NoData,
}

/// What is said about one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnDecision {
    /// Whether it changed.
    pub drifted: bool,
    /// Why.
    pub why: Why,
    /// The p-value of the column, adjusted for its tests and for all columns: drifted columns are at or below the level.
    pub p_value: f64,
    /// How far it moved.
    pub distance: f64,
    /// The distance below which 95 % of equal batches are, where it is known.
    pub ordinary_high: Option<f64>,
}

/// Decides for every column of a data set, in the order of the input.
///
/// ```
/// use steersman_stats::calibration::{ColumnEvidence, ColumnTest, CompareOptions, Why, decide_columns};
/// let column = |p: f64, matters| ColumnEvidence {
///     tests: vec![(ColumnTest::Distribution, p)],
///     distribution_matters: matters,
///     ..ColumnEvidence::default()
/// };
/// let columns = [column(1e-9, true), column(1e-9, false), column(0.01, true), ColumnEvidence::default()];
/// let decided = decide_columns(&columns, &CompareOptions::default()).unwrap();
/// assert!(decided[0].drifted && decided[0].why == Why::Changed(ColumnTest::Distribution));
/// assert_eq!([decided[1].why, decided[2].why, decided[3].why], [Why::TooSmall, Why::Ordinary, Why::NoData]);
/// assert!((decided[0].p_value - 3e-9).abs() < 1e-18); // three columns could be tested
/// ```
pub fn decide_columns(
    columns: &[ColumnEvidence],
    options: &CompareOptions,
) -> Result<Vec<ColumnDecision>, StatsError> {
    if !(options.family_level > 0.0 && options.family_level < 1.0) {
        return Err(StatsError::Domain("a level is between 0 and 1"));
    }
    let weighed = columns.iter().map(weigh).collect::<Result<Vec<_>, StatsError>>()?;
    let tested: Vec<usize> = (0..columns.len()).filter(|&column| !weighed[column].is_empty()).collect();
    let least = |column: &usize| weighed[*column].iter().map(|(_, p)| *p).fold(1.0, f64::min);
    let adjusted = holm(&tested.iter().map(least).collect::<Vec<f64>>())?;
    let mut p_values = vec![1.0; columns.len()];
    tested.iter().zip(adjusted).for_each(|(&column, p)| p_values[column] = p);
    let decide = |(column, evidence): (usize, &ColumnEvidence)| {
        let p_value = p_values[column];
        // The factor by which Holm raised the column's least p-value holds for its other tests too.
        let factor = if p_value < 1.0 { p_value / least(&column) } else { f64::INFINITY };
        let why = explain(evidence, &weighed[column], p_value, factor, options.family_level);
        ColumnDecision {
            drifted: matches!(why, Why::Changed(_)),
            why,
            p_value,
            distance: evidence.distance,
            ordinary_high: evidence.ordinary_high,
        }
    };
    Ok(columns.iter().enumerate().map(decide).collect())
}

/// The p-values of a column's tests, corrected for dependence and divided by the weight of each test.
fn weigh(column: &ColumnEvidence) -> Result<Vec<(ColumnTest, f64)>, StatsError> {
    let customary = column.tests.iter().any(|(test, _)| *test == ColumnTest::Distribution);
    let others = column.tests.iter().filter(|(test, _)| *test != ColumnTest::Distribution).count() as f64;
    let weight = |test: ColumnTest| match (test, customary) {
        (ColumnTest::Distribution, _) if others == 0.0 => 1.0,
        (ColumnTest::Distribution, _) => CUSTOMARY,
        (_, true) => (1.0 - CUSTOMARY) / others,
        (_, false) => 1.0 / others,
    };
    let of = |&(test, p_value): &(ColumnTest, f64)| {
        if !(0.0..=1.0).contains(&p_value) {
            return Err(StatsError::Domain("a p-value is between 0 and 1"));
        }
        let corrected = column.inflation.map_or(Ok(p_value), |inflation| inflation.corrected(p_value))?;
        Ok((test, (corrected / weight(test)).clamp(LEAST_P, 1.0)))
    };
    column.tests.iter().map(of).collect()
}

fn explain(
    evidence: &ColumnEvidence,
    weighed: &[(ColumnTest, f64)],
    p_value: f64,
    factor: f64,
    level: f64,
) -> Why {
    if weighed.is_empty() {
        return Why::NoData;
    }
    if p_value > level {
        return Why::Ordinary;
    }
    let matters = |test: ColumnTest| match test {
        ColumnTest::Missing => evidence.missing_matters,
        ColumnTest::Distribution | ColumnTest::Cells => evidence.distribution_matters,
    };
    let mut findings =
        weighed.iter().filter(|(test, p)| p * factor <= level * (1.0 + 1e-9) && matters(*test));
    match findings.next() {
        Some((test, _)) => Why::Changed(*test),
        None => Why::TooSmall,
    }
}
