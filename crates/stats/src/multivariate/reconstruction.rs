//! Reconstruction error: how far rows lie from the plane in which the reference lies.

use super::column::Column;
use super::comoments::{BLOCK, CoMoments, dot};
use super::eigen;
use super::frequencies::Frequencies;
use super::rank::RankTest;
use crate::error::StatsError;
use crate::interval::{Interval, normal_quantile};
use serde::{Deserialize, Serialize};

/// The share of the variance that the plane keeps, as in NannyML.
pub const KEPT_VARIANCE: f64 = 0.65;

/// A principal component analysis of the reference, and with it the distance of any row from what the reference's main
/// directions can express. A window whose columns no longer move together as they did has another mean distance,
/// though each column by itself may look the same.
///
/// Defined as NannyML's data reconstruction error: categories become shares ([`Frequencies`]), missing numbers the
/// reference's mean, each column is brought to mean 0 and population variance 1 of the reference (a constant column
/// keeps its unit), and the leading eigenvectors of the covariance are kept until they hold more than `kept` of the
/// variance. The error of a row is the Euclidean norm of what these leave out, in standard deviations.
///
/// ```
/// use steersman_stats::multivariate::{Column, Reconstruction};
/// let (x, y) = ([-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0]);
/// let line = Reconstruction::fit(&[Column::Numeric(&x), Column::Numeric(&y)], 0.65).unwrap();
/// let off = line.errors(&[Column::Numeric(&[1.0]), Column::Numeric(&[-2.0])]).unwrap();
/// assert!((off[0] - 3f64.sqrt()).abs() < 1e-12); // (1, -2) is sqrt(1.5) (1, -1): all of it is left out
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconstruction {
    frequencies: Frequencies,
    scales: Vec<Scale>,
    kept: usize,
    /// The eigenvectors that are left out.
    left_out: Vec<Vec<f64>>,
}

/// What brings a column to mean 0 and variance 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Scale {
    mean: f64,
    deviation: f64,
}

impl Reconstruction {
    /// Fits to the rows of a reference, keeping at least the share `kept` in `(0, 1)` of its variance.
    pub fn fit(reference: &[Column<'_>], kept: f64) -> Result<Self, StatsError> {
        let frequencies = Frequencies::learn(reference)?;
        let mut moments = CoMoments::new(frequencies.columns());
        let numbers = frequencies.encode(reference)?;
        moments.update(&numbers.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        Self::from_moments(frequencies, &moments, kept)
    }

    /// Fits to what frequencies and co-moments of encoded columns have seen, wherever and in how many parts.
    pub fn from_moments(
        frequencies: Frequencies,
        moments: &CoMoments,
        kept: f64,
    ) -> Result<Self, StatsError> {
        if !(kept > 0.0 && kept < 1.0) {
            return Err(StatsError::Domain("the kept share of the variance is between 0 and 1"));
        }
        if frequencies.columns() != moments.columns() {
            return Err(StatsError::Columns { left: frequencies.columns(), right: moments.columns() });
        }
        if moments.rows() < 2 {
            return Err(StatsError::TooFew { needed: 2, got: moments.rows() as usize });
        }
        let rows = moments.rows() as f64;
        let scales: Vec<Scale> = (0..moments.columns()).map(|column| Scale::of(moments, column)).collect();
        let covariance = |i: usize, x: &Scale| -> Vec<f64> {
            let entry = |(j, y): (usize, &Scale)| moments.imputed(i, j) / rows / (x.deviation * y.deviation);
            scales.iter().enumerate().map(entry).collect()
        };
        let components = eigen::symmetric(scales.iter().enumerate().map(|(i, x)| covariance(i, x)).collect());
        let total: f64 = components.iter().map(|(value, _)| value.max(0.0)).sum();
        if total <= 0.0 {
            return Err(StatsError::Domain("no column of the reference varies"));
        }
        let mut kept_components = 0;
        let mut held = 0.0;
        for (value, _) in &components {
            kept_components += 1;
            held += value.max(0.0) / total;
            if held > kept {
                break;
            }
        }
        let left_out = components.into_iter().skip(kept_components).map(|(_, vector)| vector).collect();
        Ok(Self { frequencies, scales, kept: kept_components, left_out })
    }

    /// How many components are kept.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The error of each row.
    pub fn errors(&self, table: &[Column<'_>]) -> Result<Vec<f64>, StatsError> {
        let mut errors = Vec::new();
        self.residuals(table, |along| {
            let start = errors.len();
            for values in along {
                errors.resize(start + values.len(), 0.0);
                errors.iter_mut().skip(start).zip(values).for_each(|(error, value)| *error += value * value);
            }
        })?;
        errors.iter_mut().for_each(|error| *error = error.sqrt());
        Ok(errors)
    }

    /// The mean squared error by column; together they are the mean square of [`errors`](Self::errors). The columns
    /// that gained most against the reference are the ones that left the others' company.
    pub fn by_column(&self, table: &[Column<'_>]) -> Result<Vec<f64>, StatsError> {
        let mut squares = vec![0.0; self.scales.len()];
        let rows = self.residuals(table, |along| {
            for (column, square) in squares.iter_mut().enumerate() {
                let weights = self.left_out.iter().filter_map(|vector| vector.get(column));
                let residuals = weighted(along.iter().map(Vec::as_slice).zip(weights));
                *square += dot(&residuals, &residuals);
            }
        })?;
        if rows == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        Ok(squares.into_iter().map(|square| square / rows as f64).collect())
    }

    /// Gives block after block of rows, in order, as coordinates along the eigenvectors that are left out; returns the
    /// number of rows.
    fn residuals(
        &self,
        table: &[Column<'_>],
        mut take: impl FnMut(&[Vec<f64>]),
    ) -> Result<usize, StatsError> {
        let encoded = self.frequencies.encode(table)?;
        let rows = encoded.first().map_or(0, |column| column.len());
        for start in (0..rows).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(rows);
            let standardised: Vec<Vec<f64>> = encoded
                .iter()
                .zip(&self.scales)
                .map(|(column, scale)| {
                    column
                        .get(block.clone())
                        .unwrap_or_default()
                        .iter()
                        .map(|&value| scale.apply(value))
                        .collect()
                })
                .collect();
            let along = |vector: &Vec<f64>| weighted(standardised.iter().map(Vec::as_slice).zip(vector));
            take(&self.left_out.iter().map(along).collect::<Vec<_>>());
        }
        Ok(rows)
    }
}

impl Scale {
    fn of(moments: &CoMoments, column: usize) -> Self {
        let rows = moments.rows() as f64;
        let mean = moments.mean(column).unwrap_or(0.0);
        let variance = moments.squares(column) / rows;
        // What rounding leaves of a constant column is no variance (the bound is scikit-learn's).
        let rounding = rows * f64::EPSILON * variance + (rows * mean * f64::EPSILON).powi(2);
        Self { mean, deviation: if variance > rounding { variance.sqrt() } else { 1.0 } }
    }

    fn apply(self, value: f64) -> f64 {
        if value.is_finite() { (value - self.mean) / self.deviation } else { 0.0 }
    }
}

/// The weighted sum of columns, row by row.
fn weighted<'a>(columns: impl Iterator<Item = (&'a [f64], &'a f64)>) -> Vec<f64> {
    let mut sums = Vec::new();
    for (column, weight) in columns {
        sums.resize(column.len(), 0.0);
        sums.iter_mut().zip(column).for_each(|(sum, value)| *sum += weight * value);
    }
    sums
}

/// A window's reconstruction error against the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReconstructionDrift {
    /// Mean error of the window. The interval is the mean -+ 1.96 sampling errors, not below 0.
    pub error: Interval,
    /// Standard error of that mean: the errors' sample deviation divided by the root of their number.
    pub sampling_error: f64,
    /// Mean error of the reference.
    pub reference: f64,
    /// The probability that an error of the window is above one of the reference; 0.5 without drift.
    pub above: f64,
    /// Two-sided, of the rank test of the window's errors against the reference's: a column that left the others' company
    /// may lie nearer to the plane as well as farther from it.
    pub p_value: f64,
}

/// Compares the errors of a window's rows with those of reference rows; [`Reconstruction::errors`] gives both.
///
/// The p-value is that of ranks, which heavy tails do not disturb. Rows to which the components were fitted lie a little
/// nearer to the plane than others, by a part of about `components / rows`: give errors of reference rows that were left
/// out of the fit, or fit to many more rows than the window has.
///
/// ```
/// let drift = steersman_stats::multivariate::compare_errors(&[1.0, 2.0, 3.0, 4.0], &[2.5, 3.5]).unwrap();
/// assert_eq!((drift.error.value, drift.reference, drift.above), (3.0, 2.5, 0.625));
/// assert_eq!(drift.sampling_error, 0.5);
/// ```
pub fn compare_errors(reference: &[f64], window: &[f64]) -> Result<ReconstructionDrift, StatsError> {
    let ranks = RankTest::of(reference, window)?;
    if window.len() < 2 {
        return Err(StatsError::TooFew { needed: 2, got: window.len() });
    }
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let (value, rows) = (mean(window), window.len() as f64);
    let variance = window.iter().map(|error| (error - value).powi(2)).sum::<f64>() / (rows - 1.0);
    let sampling_error = (variance / rows).sqrt();
    let half = normal_quantile(0.975)? * sampling_error;
    Ok(ReconstructionDrift {
        error: Interval { value, low: (value - half).max(0.0), high: value + half },
        sampling_error,
        reference: mean(reference),
        above: ranks.above,
        p_value: ranks.different(),
    })
}
