//! The company that columns keep: how unusual the pairs of a window are among those of other windows.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Windows in which a pair must have a value.
const LEAST_WINDOWS: usize = 5;

/// How the columns of one window go together, by pairs: [`CorrelationReference::company`] and [`DomainReference::company`]
/// make it.
///
/// [`CorrelationReference::company`]: super::CorrelationReference::company
/// [`DomainReference::company`]: super::DomainReference::company
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairValues {
    pub(super) columns: usize,
    /// A value and its sampling variance, in the order of [`pairs`].
    pub(super) values: Vec<Option<(f64, f64)>>,
}

/// What the pairs of the reference's windows ordinarily are, and how much they vary among themselves.
///
/// Pairs differ from window to window by more than sampling: rain and sight go together on rainy days only. So each has a
/// mean and a variance *between* windows, by the method of moments; a value `v` with the sampling variance `s` deviates by
/// `(v - mean) / sqrt((between + s) (1 + 1 / windows))`. A column that left the others' company deviates in many of its
/// pairs, so the mean square of a column's deviations is what is looked at, and the window's figure is that of its most
/// unusual column.
///
/// ```
/// use steersman_stats::multivariate::{Company, CorrelationReference, PairValues};
/// let x: Vec<f64> = (0..100).map(|row| f64::from(row * 37 % 100)).collect();
/// let y = |sign: f64, turn: usize| -> Vec<f64> {
///     x.iter().enumerate().map(|(row, x)| sign * x + (row * turn % 50) as f64).collect()
/// };
/// let scores = CorrelationReference::learn(&[&x, &y(1.0, 7)]).unwrap();
/// let window = |sign, turn| scores.company(&scores.moments(&[&x, &y(sign, turn)]).unwrap()).unwrap();
/// let reference: Vec<PairValues> = (0..12).map(|turn| window(1.0, 2 * turn + 3)).collect();
/// let company = Company::learn(&reference).unwrap();
/// assert!(company.judge(&window(1.0, 31)).unwrap().unusual < 10.0);
/// assert!(company.judge(&window(-1.0, 31)).unwrap().unusual > 100.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Company {
    columns: usize,
    /// In the order of [`pairs`]; none of pairs that seldom have a value.
    pairs: Vec<Option<Usual>>,
}

/// What is usual of a pair.
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
    /// The usual value.
    pub usual: f64,
    /// The window's value.
    pub current: f64,
    /// Its deviation in standard deviations of windows of this size.
    pub z: f64,
}

impl Company {
    /// Learns from at least five windows of the same columns; pairs that do not have a value in as many are left out.
    pub fn learn<'a>(windows: impl IntoIterator<Item = &'a PairValues>) -> Result<Self, StatsError> {
        let windows: Vec<&PairValues> = windows.into_iter().collect();
        let columns = windows.first().map_or(0, |window| window.columns);
        if windows.iter().any(|window| window.columns != columns) {
            return Err(StatsError::Incompatible("pairs of different numbers of columns"));
        }
        let known =
            |pair: usize| windows.iter().filter_map(move |window| window.values.get(pair).copied().flatten());
        let pairs: Vec<Option<Usual>> =
            pairs(columns).enumerate().map(|(pair, _)| Usual::of(known(pair))).collect();
        match pairs.iter().any(Option::is_some) {
            true => Ok(Self { columns, pairs }),
            false => Err(StatsError::TooFew { needed: LEAST_WINDOWS, got: windows.len() }),
        }
    }

    /// What each window would be found to be by one who has learnt from all others: what such figures ordinarily are.
    pub fn left_out(windows: &[PairValues]) -> Vec<Option<CompanyChange>> {
        let judge = |(place, window): (usize, &PairValues)| {
            let others = windows.iter().enumerate().filter(|(other, _)| *other != place);
            Self::learn(others.map(|(_, window)| window)).ok()?.judge(window).ok()
        };
        windows.iter().enumerate().map(judge).collect()
    }

    /// Judges a window; an error when no pair has a value.
    pub fn judge(&self, window: &PairValues) -> Result<CompanyChange, StatsError> {
        if window.columns != self.columns {
            return Err(StatsError::Incompatible("pairs of other columns than the reference's"));
        }
        let mut changes: Vec<Vec<PairChange>> = vec![Vec::new(); self.columns];
        for ((i, j), (usual, value)) in pairs(self.columns).zip(self.pairs.iter().zip(&window.values)) {
            let (Some(usual), Some((current, sampling))) = (usual, value) else { continue };
            let variance = (usual.between + sampling) * (1.0 + 1.0 / usual.windows);
            let z = (current - usual.mean) / variance.sqrt();
            if !z.is_finite() {
                continue;
            }
            for (own, other) in [(i, j), (j, i)] {
                if let Some(changes) = changes.get_mut(own) {
                    changes.push(PairChange { other, usual: usual.mean, current: *current, z });
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

/// All pairs of so many columns, the first before the second.
pub(super) fn pairs(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..columns).flat_map(move |j| (0..j).map(move |i| (i, j)))
}
