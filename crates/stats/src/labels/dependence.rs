//! Whether labels of one outcome arrive sooner than those of the other.

use super::DelayModel;
use crate::distance::{Test, two_proportions};
use crate::error::StatsError;
use crate::interval::{Interval, newcombe, wilson};
use statrs::distribution::{ChiSquared, ContinuousCDF as _};
use std::collections::BTreeMap;

/// An early share that is off by less than this does not matter,
const LEAST_BIAS: f64 = 0.02;
/// nor do labels of one outcome that arrive less than this many times as fast.
const LEAST_RATIO: f64 = 1.25;
/// Evidence that is asked for before the delay is said to depend on the outcome.
const LEVEL: f64 = 0.01;

/// How the delay of labels depends on their outcome, learnt from matured cohorts.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependence {
    /// Labels of outcomes 0 and 1 that were compared.
    pub labels: [u64; 2],
    /// Log-rank test that both arrive alike, with one degree of freedom.
    pub test: Test,
    /// How many times as fast labels of outcome 1 arrive: the ratio of observed to expected arrivals of outcome 1 over
    /// that of outcome 0.
    pub rate_ratio: f64,
    /// Median delay in seconds of labels of outcomes 0 and 1.
    pub medians: [i64; 2],
    /// Age in seconds by which half of all labels have arrived.
    pub early_age: i64,
    /// Share of outcome 1 among the labels that arrived by then.
    pub early: Interval,
    /// Share of outcome 1 among all labels of the matured cohorts.
    pub matured: Interval,
    /// How far the early share is off: `early - matured`.
    pub bias: Interval,
    /// Test that early and later labels have the same share of outcome 1.
    pub bias_test: Test,
    /// Share of outcome 1 among the labels that arrived by an age in seconds, by age: flat if nothing depends.
    pub by_age: Vec<(i64, f64)>,
}

impl Dependence {
    /// Whether "labels so far" give a wrong picture: the delays differ beyond doubt, and one outcome arrives at least 1.25
    /// times as fast or the early share is off by two points.
    pub fn matters(&self) -> bool {
        let faster = self.rate_ratio >= LEAST_RATIO || self.rate_ratio <= 1.0 / LEAST_RATIO;
        let biased = self.bias_test.p_value < LEVEL && self.bias.value.abs() >= LEAST_BIAS;
        self.test.p_value < LEVEL && (faster || biased)
    }
}

impl DelayModel {
    /// Compares the delays of both outcomes over the cohorts that are at least `horizon` seconds old at `now`, and their
    /// labels that arrived by that age. The horizon is an age by which nearly all labels arrive, see
    /// [`age_of`](super::curve::Curve::age_of).
    ///
    /// Log-rank (Mantel, Cancer Chemotherapy Reports 50, 1966): over delays `j`, with `d_j` labels arriving among `n_j`
    /// that are still to come, `n_1j` of them of outcome 1: `(sum d_1j - d_j n_1j / n_j)^2 / sum d_j (n_1j / n_j)
    /// (1 - n_1j / n_j) (n_j - d_j) / (n_j - 1)`. The same as `statsmodels.duration.survdiff`. Records that cancel or
    /// fail together are counted as if they were independent, so the size of the bias matters beside the p-value.
    ///
    /// ```
    /// use steersman_stats::labels::DelayModel;
    /// let mut model = DelayModel::new(1).unwrap();
    /// model.add_records("all", &[0; 40]);
    /// model.add_labels("all", &[0; 20], &[1; 20], &[true; 20]).unwrap(); // all of outcome 1 first
    /// model.add_labels("all", &[0; 20], &[5; 20], &[false; 20]).unwrap();
    /// let found = model.dependence(10, 20).unwrap();
    /// assert_eq!((found.early.value, found.matured.value, found.medians), (1.0, 0.5, [5, 1]));
    /// assert!((found.test.statistic - 39.0).abs() < 1e-9 && found.matters());
    /// ```
    pub fn dependence(&self, horizon: i64, now: i64) -> Result<Dependence, StatsError> {
        let horizon = u32::try_from(horizon / self.cell())
            .map_err(|_| StatsError::Domain("the horizon of labels is an age that is not negative"))?;
        let mut delays: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
        for cohort in self.seen(None, now).filter(|cohort| cohort.age >= horizon) {
            for (cell, [negative, positive]) in cohort.arrivals().filter(|(cell, _)| *cell <= horizon) {
                let sums = delays.entry(cell).or_default();
                *sums = [sums[0] + negative, sums[1] + positive];
            }
        }
        let delays: Vec<(i64, [u64; 2])> = delays
            .into_iter()
            .map(|(cell, counts)| (i64::from(cell).saturating_mul(self.cell()), counts))
            .collect();
        compare(&delays)
    }
}

/// Compares labels by delay; all of them have arrived.
fn compare(delays: &[(i64, [u64; 2])]) -> Result<Dependence, StatsError> {
    let labels = delays.iter().fold([0, 0], |[a, b], (_, [c, d])| [a + c, b + d]);
    let total = labels[0] + labels[1];
    if total < 2 {
        return Err(StatsError::TooFew { needed: 2, got: total as usize });
    }
    if labels.contains(&0) {
        return Err(StatsError::OneClass { rows: total as usize });
    }
    let mut early = None;
    let mut by_age = Vec::with_capacity(delays.len());
    let (mut so_far, mut expected, mut variance) = ([0u64, 0u64], 0.0, 0.0);
    for &(age, [negative, positive]) in delays {
        let left = (total - so_far[0] - so_far[1]) as f64;
        let share = (labels[1] - so_far[1]) as f64 / left;
        let events = (negative + positive) as f64;
        expected += events * share;
        if left > 1.0 {
            variance += events * share * (1.0 - share) * (left - events) / (left - 1.0);
        }
        so_far = [so_far[0] + negative, so_far[1] + positive];
        by_age.push((age, so_far[1] as f64 / (so_far[0] + so_far[1]).max(1) as f64));
        if early.is_none() && 2 * (so_far[0] + so_far[1]) >= total {
            early = Some((age, so_far));
        }
    }
    let (early_age, early) = early.unwrap_or((0, labels));
    let difference = labels[1] as f64 - expected;
    let statistic = if variance > 0.0 { difference * difference / variance } else { 0.0 };
    let law = ChiSquared::new(1.0).map_err(|_| StatsError::Domain("degrees of freedom are positive"))?;
    let first = (early[1], early[0] + early[1]);
    let later = (labels[1] - early[1], total - first.1);
    // The early labels are part of all: early - all = (1 - share of early) (early - later).
    let part = later.1 as f64 / total as f64;
    let (bias, bias_test) = if later.1 == 0 {
        (Interval { value: 0.0, low: 0.0, high: 0.0 }, Test { statistic: 0.0, p_value: 1.0 })
    } else {
        let Interval { value, low, high } = newcombe(first, later)?;
        let bias = Interval { value: part * value, low: part * low, high: part * high };
        (bias, two_proportions(later, first)?)
    };
    let expected_negative = total as f64 - expected;
    Ok(Dependence {
        labels,
        test: Test { statistic, p_value: law.sf(statistic) },
        rate_ratio: (labels[1] as f64 / expected) / (labels[0] as f64 / expected_negative),
        medians: [median(delays, 0, labels[0]), median(delays, 1, labels[1])],
        early_age,
        early: wilson(first.0, first.1)?,
        matured: wilson(labels[1], total)?,
        bias,
        bias_test,
        by_age,
    })
}

/// The delay by which half of the labels of an outcome have arrived.
fn median(delays: &[(i64, [u64; 2])], outcome: usize, count: u64) -> i64 {
    let mut so_far = 0;
    let half = delays.iter().find(|(_, counts)| {
        so_far += counts[outcome];
        2 * so_far >= count
    });
    half.map_or(0, |(age, _)| *age)
}
