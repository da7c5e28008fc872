//! One number that a window says about a column, with its sampling variance, on a scale on which windows vary about
//! normally.
//!
//! Distances alone do not find everything: in a column that differs from window to window (weather, by day) the distance
//! of an ordinary window is already near its maximum, and a change of unit hardly adds to it. So a column has several
//! aspects, each seen by its own statistic.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// How far the shares of its cells are from the reference's.
    Distance,
    /// Where its mean is.
    Location,
    /// How wide it is.
    Spread,
    /// How much of it is missing.
    Missing,
}

impl Aspect {
    /// Whether low values are as unusual as high ones; they are not for a distance.
    pub fn two_sided(self) -> bool {
        self != Self::Distance
    }
}

/// A statistic of one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WindowValue {
    /// The statistic.
    pub value: f64,
    /// The variance that it has from sampling the window's rows alone.
    pub variance: f64,
    /// The season of the window (hour of day, day of week), as a number from 0 that the caller chooses; windows are
    /// compared with windows of the same season.
    pub season: usize,
}

impl WindowValue {
    /// The mean of `rows` values whose variance within a window is `within`. Outliers are the caller's to cut: a mean of
    /// values cut at the reference's range, extended by its own width, is moved by a change of unit but hardly by one
    /// bad row.
    pub fn location(mean: f64, within: f64, rows: u64) -> Result<Self, StatsError> {
        Self::checked(mean, within / rows.max(1) as f64, rows, 1)
    }

    /// The logarithm of the standard deviation of `rows` values, in units of the reference's `unit`. A constant window
    /// counts as one with a thousandth of the unit.
    pub fn spread(deviation: f64, unit: f64, rows: u64) -> Result<Self, StatsError> {
        if unit.is_nan() || unit <= 0.0 {
            return Err(StatsError::Domain("the reference is constant, so its spread is no unit"));
        }
        let value = (deviation / unit).hypot(1e-3).ln();
        Self::checked(value, 0.5 / rows.max(1) as f64, rows, 2)
    }

    /// The share `missing` of `rows` on the arcsine scale, `asin sqrt((missing + 3/8) / (rows + 3/4))`, where its variance
    /// `1 / (4 rows)` does not depend on the share (F. J. Anscombe, Biometrika 35, 1948).
    pub fn missing(missing: u64, rows: u64) -> Result<Self, StatsError> {
        if missing > rows {
            return Err(StatsError::Domain("more hits than trials"));
        }
        let share = (missing as f64 + 0.375) / (rows as f64 + 0.75);
        Self::checked(share.sqrt().asin(), 0.25 / rows.max(1) as f64, rows, 1)
    }

    fn checked(value: f64, variance: f64, rows: u64, needed: u64) -> Result<Self, StatsError> {
        if rows < needed {
            return Err(StatsError::TooFew { needed: needed as usize, got: rows as usize });
        }
        match value.is_finite() && variance >= 0.0 && variance.is_finite() {
            true => Ok(Self { value, variance, season: 0 }),
            false => Err(StatsError::NotFinite { row: 0 }),
        }
    }

    /// The same, of this season.
    pub fn in_season(self, season: usize) -> Self {
        Self { season, ..self }
    }
}

/// How much more the reference's windows differ than independent rows would: the log likelihood ratio `G` (about
/// Pearson's chi-square) of a window of `m` rows has mean `d (1 + m excess)`, `d` degrees of freedom.
///
/// The variance of a share among windows adds to its sampling variance; the excess is their ratio for one row, by the
/// method of moments, so that it serves windows of any size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    excess: f64,
    windows: usize,
}

impl Dispersion {
    /// The excess among windows with these counts, each compared with all others.
    ///
    /// ```
    /// use steersman_stats::calibration::Dispersion;
    /// // Windows that are alike to the row have no excess; windows that differ by 20 points have.
    /// let alike = Dispersion::learn(&[vec![50, 50], vec![50, 50], vec![50, 50]]).unwrap();
    /// let apart = Dispersion::learn(&[vec![70, 30], vec![50, 50], vec![30, 70]]).unwrap();
    /// assert_eq!(alike.factor(100), 1.0);
    /// assert!((apart.factor(100) - 16.340_5).abs() < 1e-4); // ratios of 24.51, 0 and 24.51 where 1 is expected
    /// ```
    pub fn learn(windows: &[Vec<u64>]) -> Result<Self, StatsError> {
        let total = super::band::sums(windows)?;
        let mut excess = Vec::new();
        for own in windows {
            let rows: u64 = own.iter().sum();
            let rest: Vec<u64> = total.iter().zip(own).map(|(all, own)| all - own).collect();
            if let Some((statistic, freedom)) = deviance(&rest, own) {
                excess.push((statistic / freedom - 1.0) / rows as f64);
            }
        }
        if excess.len() < 2 {
            return Err(StatsError::TooFew { needed: 2, got: excess.len() });
        }
        let mean = excess.iter().sum::<f64>() / excess.len() as f64;
        Ok(Self { excess: mean.max(0.0), windows: excess.len() })
    }

    /// By what windows of so many rows inflate a chi-square statistic; 1 for independent rows.
    pub fn factor(self, rows: u64) -> f64 {
        1.0 + rows as f64 * self.excess
    }

    /// How many windows it was learnt from.
    pub fn windows(self) -> usize {
        self.windows
    }

    /// The distance of a window's counts from the reference's (all of it, or all of it but this window): the cube root of
    /// the log likelihood ratio over what it is in the mean, `(G / (d + l))^(1/3)`, `l = d m excess`. A cube root of a
    /// chi-square is nearly normal, with variance `2 (d + 2 l) / (9 (d + l)^2)` (Wilson and Hilferty, PNAS 17, 1931;
    /// delta method for `l > 0`).
    pub fn distance(self, reference: &[u64], own: &[u64]) -> Result<WindowValue, StatsError> {
        if reference.len() != own.len() {
            return Err(StatsError::Length { left: reference.len(), right: own.len() });
        }
        let rows: u64 = own.iter().sum();
        let (statistic, freedom) =
            deviance(reference, own).ok_or(StatsError::TooFew { needed: 1, got: 0 })?;
        let more = freedom * rows as f64 * self.excess;
        let expected = freedom + more;
        let variance = 2.0 * (freedom + 2.0 * more) / (9.0 * expected * expected);
        WindowValue::checked((statistic / expected).cbrt(), variance, rows, 1)
    }
}

/// The log likelihood ratio of two rows of counts, `2 sum O ln(O / E)`, and its degrees of freedom; none if a row is empty.
/// It is like Pearson's chi-square where much is expected, but a single row in a cell where next to none is expected
/// does not make it large. Rows that are all in one cell count as the mean of the law that a second cell would give.
fn deviance(reference: &[u64], own: &[u64]) -> Option<(f64, f64)> {
    let (n, m) = (reference.iter().sum::<u64>() as f64, own.iter().sum::<u64>() as f64);
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let cells = reference.iter().zip(own).filter(|(a, b)| **a + **b > 0);
    let freedom = cells.clone().count() as f64 - 1.0;
    if freedom < 1.0 {
        return Some((1.0, 1.0));
    }
    let term = |observed: f64, expected: f64| match observed > 0.0 {
        true => observed * (observed / expected).ln(),
        false => 0.0,
    };
    let of = |(&a, &b): (&u64, &u64)| {
        let share = (a + b) as f64 / (n + m);
        term(a as f64, share * n) + term(b as f64, share * m)
    };
    Some(((2.0 * cells.map(of).sum::<f64>()).max(0.0), freedom))
}
