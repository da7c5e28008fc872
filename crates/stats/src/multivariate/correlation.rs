//! Correlation drift: pairs of columns that no longer move together as they did.

use super::comoments::CoMoments;
use super::company::{PairValues, pairs};
use super::rank::tail;
use super::scores::NormalScores;
use crate::calibration::benjamini_hochberg;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Correlations beyond this count as this: Fisher's transformation ends at 1.
const STRONGEST: f64 = 0.9999;
/// Rows in which both columns must have a value.
const LEAST_ROWS: u64 = 10;
/// Scores have the variance 1 in the reference; with less than this in a window they hardly vary.
const LEAST_VARIANCE: f64 = 0.1;

/// The correlations of a reference's columns of numbers, against which those of windows are tested.
///
/// Values become normal scores of the reference first, so that a correlation is one of ranks and no single value can
/// make or hide it. Fisher's `z = atanh(r)` then has the variance `f / (n - 3)`, with `f = 1` for normal pairs and
/// otherwise the variance of the influence function `(u v - r (u^2 + v^2) / 2) / (1 - r^2)` of standardised scores,
/// taken from the reference (Fisher, Metron 1, 1921; Devlin, Gnanadesikan and Kettenring, Biometrika 62, 1975). Rain and
/// sight of the flights from New York have `f = 2.9`: with `f = 1` every twentieth window would alarm at a level of one
/// in a thousand.
///
/// ```
/// use steersman_stats::multivariate::CorrelationReference;
/// let x: Vec<f64> = (0..400).map(f64::from).collect();
/// let turned: Vec<f64> = x.iter().rev().copied().collect();
/// let reference = CorrelationReference::learn(&[&x, &x]).unwrap();
/// let drift = reference.compare(&reference.moments(&[&x, &turned]).unwrap()).unwrap();
/// assert!(drift.pairs[0].reference > 0.99 && drift.pairs[0].current < -0.99 && drift.p_value < 1e-9);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationReference {
    scores: Vec<NormalScores>,
    moments: CoMoments,
    /// The factor `f` of each pair, in the order of [`pairs`].
    factors: Vec<f64>,
}

impl CorrelationReference {
    /// Learns from the columns of a reference; NaN and infinite values are missing.
    pub fn learn(reference: &[&[f64]]) -> Result<Self, StatsError> {
        if reference.len() < 2 {
            return Err(StatsError::Domain("a correlation needs two columns"));
        }
        let scores: Vec<NormalScores> =
            reference.iter().map(|column| NormalScores::learn(column)).collect::<Result<_, _>>()?;
        let scored: Vec<Vec<f64>> =
            scores.iter().zip(reference).map(|(scores, column)| scores.of(column)).collect();
        let mut moments = CoMoments::new(scored.len());
        moments.update(&scored.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let factor = |(i, j): (usize, usize)| match (scored.get(i), scored.get(j)) {
            (Some(x), Some(y)) => factor(x, y),
            _ => 1.0,
        };
        let factors = pairs(scored.len()).map(factor).collect();
        Ok(Self { scores, moments, factors })
    }

    /// The co-moments of the scores of a window, or of a part of one: they merge.
    pub fn moments(&self, window: &[&[f64]]) -> Result<CoMoments, StatsError> {
        let scored: Vec<Vec<f64>> =
            self.scores.iter().zip(window).map(|(scores, column)| scores.of(column)).collect();
        let mut moments = CoMoments::new(self.scores.len());
        moments.update(&scored.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        Ok(moments)
    }

    /// Fisher's `z = atanh(r)` of every pair of columns, with the sampling variance `1 / (rows - 3)` of normal pairs: for
    /// [`Company`](super::Company), which learns what goes beyond it. Columns that hardly vary in the window, where a single
    /// row would decide, have none.
    pub fn company(&self, window: &CoMoments) -> Result<PairValues, StatsError> {
        if window.columns() != self.scores.len() {
            return Err(StatsError::Incompatible("co-moments of other columns than the reference's"));
        }
        let varies = |column: usize| window.covariance(column, column) >= Some(LEAST_VARIANCE);
        let value = |(i, j): (usize, usize)| {
            if !(varies(i) && varies(j)) {
                return None;
            }
            let (correlation, rows) = window.correlation(i, j).filter(|(_, rows)| *rows >= LEAST_ROWS)?;
            Some((correlation.clamp(-STRONGEST, STRONGEST).atanh(), 1.0 / (rows - 3) as f64))
        };
        Ok(PairValues { columns: window.columns(), values: pairs(window.columns()).map(value).collect() })
    }

    /// Tests every pair of columns. Pairs in which a column does not vary, or with fewer than 10 common rows, are left
    /// out; an error when none is left.
    pub fn compare(&self, window: &CoMoments) -> Result<CorrelationDrift, StatsError> {
        if window.columns() != self.scores.len() {
            return Err(StatsError::Incompatible("co-moments of other columns than the reference's"));
        }
        let test = |((i, j), factor): ((usize, usize), &f64)| {
            let (reference, n) = self.moments.correlation(i, j)?;
            let (current, m) = window.correlation(i, j)?;
            if n.min(m) < LEAST_ROWS {
                return None;
            }
            let fisher = |r: f64| r.clamp(-STRONGEST, STRONGEST).atanh();
            let variance = factor * (1.0 / (n - 3) as f64 + 1.0 / (m - 3) as f64);
            let z = (fisher(current) - fisher(reference)) / variance.sqrt();
            let p_value = (2.0 * tail(z.abs())).min(1.0);
            Some(CorrelationChange { columns: (i, j), reference, current, z, p_value, adjusted: p_value })
        };
        let mut pairs: Vec<CorrelationChange> =
            pairs(self.scores.len()).zip(&self.factors).filter_map(test).collect();
        let p_values: Vec<f64> = pairs.iter().map(|pair| pair.p_value).collect();
        let adjusted = benjamini_hochberg(&p_values)?;
        pairs.iter_mut().zip(adjusted).for_each(|(pair, adjusted)| pair.adjusted = adjusted);
        let Some(smallest) = pairs.iter().map(|pair| pair.p_value).reduce(f64::min) else {
            return Err(StatsError::Domain("no pair of columns varies together in enough rows"));
        };
        let p_value = (smallest * pairs.len() as f64).min(1.0);
        Ok(CorrelationDrift { pairs, p_value })
    }
}

/// How the correlations of a window differ from the reference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationDrift {
    /// Every pair that could be tested.
    pub pairs: Vec<CorrelationChange>,
    /// Of "no correlation has changed": the smallest p-value times the number of pairs (Bonferroni), valid however the
    /// pairs depend on each other.
    pub p_value: f64,
}

/// One pair of columns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CorrelationChange {
    /// The two columns, by position, the first smaller.
    pub columns: (usize, usize),
    /// Correlation of the scores in the reference.
    pub reference: f64,
    /// The same in the window.
    pub current: f64,
    /// Difference of Fisher's transforms in standard errors; positive when the correlation rose.
    pub z: f64,
    /// Two-sided.
    pub p_value: f64,
    /// The p-value adjusted by Benjamini and Hochberg: pairs at or below `q` have an expected share of false ones of at
    /// most `q`.
    pub adjusted: f64,
}

/// The variance of the influence function of Fisher's z; 1 where there is nothing to learn it from.
fn factor(x: &[f64], y: &[f64]) -> f64 {
    let both = || x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite());
    let count = both().count() as f64;
    let mean = |of: &dyn Fn(f64, f64) -> f64| both().map(|(x, y)| of(*x, *y)).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(&|x, _| x), mean(&|_, y| y));
    let (sd_x, sd_y) = (mean(&|x, _| (x - mean_x).powi(2)).sqrt(), mean(&|_, y| (y - mean_y).powi(2)).sqrt());
    if !(sd_x > 0.0 && sd_y > 0.0) {
        return 1.0;
    }
    let standard = |x: f64, y: f64| ((x - mean_x) / sd_x, (y - mean_y) / sd_y);
    let r = mean(&|x, y| {
        let (u, v) = standard(x, y);
        u * v
    });
    if r.abs() >= STRONGEST {
        return 1.0;
    }
    let variance = mean(&|x, y| {
        let (u, v) = standard(x, y);
        ((u * v - r * (u * u + v * v) / 2.0) / (1.0 - r * r)).powi(2)
    });
    if variance > 0.0 { variance } else { 1.0 }
}
