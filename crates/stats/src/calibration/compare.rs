//! Two batches, no time: which columns changed.
//!
//! Each column brings the p-values of its tests, how far it moved, and whether that matters. The tests of a column are
//! combined by weighted Bonferroni, the columns by Holm, so that the probability of any false finding in the whole data
//! set is at most the family level, whatever the dependence.
//!
//! *The default level is 0.0015.* Two thirds of it are the customary Bonferroni 0.001 for the customary test of each column
//! (Kolmogorov-Smirnov for numbers, chi-square for categories); the last third pays for what that test is weak at:
//! changes of spread, new heavy values, missing values. So whatever the customary rule finds is found here too, if it
//! matters.

use super::multiplicity::holm;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// The share of a column's level that goes to its customary test, where it has others.
const CUSTOMARY: f64 = 2.0 / 3.0;
/// P-values stay above 0.
const LEAST_P: f64 = 1e-300;

/// What is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnTest {
    /// The customary test of the whole distribution: Kolmogorov-Smirnov, or chi-square of the categories.
    Distribution,
    /// Cells: chi-square of the cells into which numbers are counted, or the category whose share changed most clearly
    /// ([`super::largest_cell_p_value`]).
    Cells,
    /// The share of zeros.
    Zeros,
    /// The share of missing values.
    Missing,
    /// The words of texts ([`crate::multivariate::mmd`] of [`crate::multivariate::TextFeatures`]).
    Words,
}

/// The result of one test of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestEvidence {
    /// What was tested.
    pub test: ColumnTest,
    /// The p-value.
    pub p_value: f64,
    /// Whether what changed reaches the effect floor ([`super::Floors`]).
    pub matters: bool,
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
    /// Its tests, the customary one first; empty if there were too few rows for any.
    pub tests: Vec<TestEvidence>,
    /// Dependence of rows, where there is a column of times.
    pub inflation: Option<Inflation>,
    /// How far the column moved.
    pub distance: f64,
    /// The distance below which 95 % of equal batches of these sizes are.
    pub ordinary_high: Option<f64>,
}

/// What a comparison is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompareOptions {
    /// The probability of any false finding in a data set.
    pub family_level: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { family_level: 0.001_5 }
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
/// use steersman_stats::calibration::{
///     ColumnEvidence, ColumnTest, CompareOptions, TestEvidence, Why, decide_columns,
/// };
/// let column = |p_value: f64, matters| ColumnEvidence {
///     tests: vec![TestEvidence { test: ColumnTest::Distribution, p_value, matters }],
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
    let least = |column: &Vec<TestEvidence>| column.iter().map(|test| test.p_value).reduce(f64::min);
    let tested: Vec<f64> = weighed.iter().filter_map(least).collect();
    let mut adjusted = holm(&tested)?.into_iter();
    let decide = |(evidence, tests): (&ColumnEvidence, &Vec<TestEvidence>)| {
        let p_value = least(tests).and_then(|least| Some((least, adjusted.next()?)));
        let why = match p_value {
            None => Why::NoData,
            Some((_, adjusted)) if adjusted > options.family_level => Why::Ordinary,
            // The factor by which Holm raised the column's least p-value holds for its other tests too.
            Some((least, adjusted)) => explain(tests, options.family_level * least / adjusted),
        };
        ColumnDecision {
            drifted: matches!(why, Why::Changed(_)),
            why,
            p_value: p_value.map_or(1.0, |(_, adjusted)| adjusted),
            distance: evidence.distance,
            ordinary_high: evidence.ordinary_high,
        }
    };
    Ok(columns.iter().zip(&weighed).map(decide).collect())
}

/// The tests of a column, with p-values corrected for dependence and divided by the weight of each test.
fn weigh(column: &ColumnEvidence) -> Result<Vec<TestEvidence>, StatsError> {
    let customary = column.tests.iter().any(|test| test.test == ColumnTest::Distribution);
    let others = column.tests.iter().filter(|test| test.test != ColumnTest::Distribution).count() as f64;
    let weight = |test: ColumnTest| match (test, customary) {
        (ColumnTest::Distribution, _) if others == 0.0 => 1.0,
        (ColumnTest::Distribution, _) => CUSTOMARY,
        (_, true) => (1.0 - CUSTOMARY) / others,
        (_, false) => 1.0 / others,
    };
    let of = |test: &TestEvidence| {
        if !(0.0..=1.0).contains(&test.p_value) {
            return Err(StatsError::Domain("a p-value is between 0 and 1"));
        }
        let corrected =
            column.inflation.map_or(Ok(test.p_value), |inflation| inflation.corrected(test.p_value))?;
        Ok(TestEvidence { p_value: (corrected / weight(test.test)).clamp(LEAST_P, 1.0), ..*test })
    };
    column.tests.iter().map(of).collect()
}

/// The first test at or below this level whose change matters.
fn explain(tests: &[TestEvidence], level: f64) -> Why {
    // The level was divided by a factor that it is multiplied with here: rounding must not undo a finding.
    let significant = |test: &&TestEvidence| test.p_value <= level * (1.0 + 1e-9) && test.matters;
    match tests.iter().find(significant) {
        Some(test) => Why::Changed(test.test),
        None => Why::TooSmall,
    }
}
