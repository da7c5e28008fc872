//! The company that columns keep: how unusual a window's correlations are among those of other windows.

use super::comoments::CoMoments;
use super::correlation::{LEAST_ROWS, STRONGEST, pairs};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Windows in which a pair must have a correlation.
const LEAST_WINDOWS: usize = 5;

/// What correlations the windows of a reference ordinarily have, and how much they vary among themselves.
///
/// Correlations differ from window to window by more than sampling: rain and sight go together on rainy days only. So each
/// pair has a mean of Fisher's `z = atanh(r)` and a variance *between* windows, by the method of moments; a window of `m`
/// rows deviates by `(z - mean) / sqrt((between + 1 / (m - 3)) (1 + 1 / windows))`. A column that left the others' company
/// deviates in many of its pairs, so the mean square of a column's deviations is what is looked at, and the window's
/// figure is that of its most unusual column.
///
/// ```
/// use steersman_stats::multivariate::{CoMoments, Company};
/// let window = |sign: f64, turn: usize| {
///     let x: Vec<f64> = (0..100).map(|row| f64::from(row * 37 % 100)).collect();
///     let y: Vec<f64> = x.iter().enumerate().map(|(row, x)| sign * x + (row * turn % 50) as f64).collect();
///     let mut moments = CoMoments::new(2);
///     moments.update(&[&x, &y]).unwrap();
///     moments
/// };
/// let reference: Vec<CoMoments> = (0..12).map(|turn| window(1.0, 2 * turn + 3)).collect();
/// let company = Company::learn(&reference).unwrap();
/// assert!(company.judge(&window(1.0, 31)).unwrap().unusual < 10.0);
/// assert!(company.judge(&window(-1.0, 31)).unwrap().unusual > 100.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Company {
    columns: usize,
    /// In the order of [`pairs`]; none of pairs that seldom have a correlation.
    pairs: Vec<Option<Usual>>,
}

/// What is usual of a pair, in Fisher's z.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Usual {
    mean: f64,
    /// The variance between windows beyond sampling.
    between: f64,
    windows: f64,
}

/// The column whose company changed most in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct CompanyChange {
    /// The column, by position.
    pub column: usize,
    /// The mean square of the deviations of its pairs; 1 on average for a column chosen beforehand.
    pub unusual: f64,
    /// Its pairs, the one that changed most clearly first.
    pub pairs: Vec<PairChange>,
}

/// How a column goes with another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairChange {
    /// The other column, by position.
    pub other: usize,
    /// The usual correlation.
    pub usual: f64,
    /// The window's correlation.
    pub current: f64,
    /// Its deviation in standard deviations of windows of this size.
    pub z: f64,
}

impl Company {
    /// Learns from the co-moments of at least five windows of the same columns; pairs that do not have a correlation in as
    /// many are left out.
    pub fn learn<'a>(windows: impl IntoIterator<Item = &'a CoMoments>) -> Result<Self, StatsError> {
        let windows: Vec<&CoMoments> = windows.into_iter().collect();
        let columns = windows.first().map_or(0, |window| window.columns());
        if windows.iter().any(|window| window.columns() != columns) {
            return Err(StatsError::Incompatible("co-moments of different numbers of columns"));
        }
        let pairs: Vec<Option<Usual>> = pairs(columns)
            .map(|(i, j)| Usual::of(windows.iter().filter_map(|window| fisher(window, i, j))))
            .collect();
        match pairs.iter().any(Option::is_some) {
            true => Ok(Self { columns, pairs }),
            false => Err(StatsError::TooFew { needed: LEAST_WINDOWS, got: windows.len() }),
        }
    }

    /// What each window would be found to be by one who has learnt from all others: what such figures ordinarily are.
    pub fn left_out(windows: &[CoMoments]) -> Vec<Option<CompanyChange>> {
        let judge = |(place, window): (usize, &CoMoments)| {
            let others = windows.iter().enumerate().filter(|(other, _)| *other != place);
            Self::learn(others.map(|(_, window)| window)).ok()?.judge(window).ok()
        };
        windows.iter().enumerate().map(judge).collect()
    }

    /// Judges the co-moments of a window; an error when no pair has a correlation.
    pub fn judge(&self, window: &CoMoments) -> Result<CompanyChange, StatsError> {
        if window.columns() != self.columns {
            return Err(StatsError::Incompatible("co-moments of other columns than the reference's"));
        }
        let mut changes: Vec<Vec<PairChange>> = vec![Vec::new(); self.columns];
        for ((i, j), usual) in pairs(self.columns).zip(&self.pairs) {
            let (Some(usual), Some((value, sampling))) = (usual, fisher(window, i, j)) else { continue };
            let variance = (usual.between + sampling) * (1.0 + 1.0 / usual.windows);
            let z = (value - usual.mean) / variance.sqrt();
            for (own, other) in [(i, j), (j, i)] {
                if let Some(changes) = changes.get_mut(own) {
                    changes.push(PairChange { other, usual: usual.mean.tanh(), current: value.tanh(), z });
                }
            }
        }
        let unusual = |pairs: &[PairChange]| {
            let squares: f64 = pairs.iter().map(|pair| pair.z * pair.z).sum();
            squares / pairs.len() as f64
        };
        let known = changes.into_iter().enumerate().filter(|(_, pairs)| !pairs.is_empty());
        let most = known.max_by(|a, b| unusual(&a.1).total_cmp(&unusual(&b.1)));
        let Some((column, mut pairs)) = most else {
            return Err(StatsError::Domain("no pair of columns varies together in enough rows"));
        };
        pairs.sort_by(|a, b| b.z.abs().total_cmp(&a.z.abs()));
        Ok(CompanyChange { column, unusual: unusual(&pairs), pairs })
    }
}

impl Usual {
    /// Of values with their sampling variances.
    fn of(values: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let values: Vec<(f64, f64)> = values.collect();
        if values.len() < LEAST_WINDOWS {
            return None;
        }
        let windows = values.len() as f64;
        let mean = values.iter().map(|(value, _)| value).sum::<f64>() / windows;
        let total = values.iter().map(|(value, _)| (value - mean).powi(2)).sum::<f64>() / (windows - 1.0);
        let sampling = values.iter().map(|(_, sampling)| sampling).sum::<f64>() / windows;
        Some(Self { mean, between: (total - sampling).max(0.0), windows })
    }
}

/// Fisher's z of a pair and its sampling variance.
fn fisher(window: &CoMoments, i: usize, j: usize) -> Option<(f64, f64)> {
    let (correlation, rows) = window.correlation(i, j)?;
    let z = correlation.clamp(-STRONGEST, STRONGEST).atanh();
    (rows >= LEAST_ROWS).then(|| (z, 1.0 / (rows - 3) as f64))
}
