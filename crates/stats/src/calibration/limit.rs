//! What independent rows alone make of a distance, for any number of rows: limits and p-values that need no windows.
//!
//! `n` rows of the reference, `m` of the current data, `h = 1/n + 1/m`, `K` cells that are not empty. With shares near
//! each other PSI `= sum (q - p)^2 / p` and Jensen-Shannon `= sqrt(sum (q - p)^2 / (8 ln 2 p))`, so that both are
//! Pearson's chi-square times `h`, resp. the root of `h / (8 ln 2)` times it. They are limits for *independent* rows: if
//! windows vary among themselves, use [`super::Ordinary`].

use crate::error::StatsError;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};
use std::f64::consts::LN_2;

/// So many windows must fit into a reference before its own error may be neglected.
const WINDOWS_IN_REFERENCE: u64 = 20;

/// Sizes of two samples that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of the reference.
    pub reference: u64,
    /// Rows of the current data.
    pub current: u64,
}

impl Sizes {
    /// `h = 1/n + 1/m`, the variance of the difference of two means in units of the variance of one row.
    pub fn h(self) -> f64 {
        1.0 / self.reference as f64 + 1.0 / self.current as f64
    }

    /// Whether the reference is so large, 20 times the window, that windows compared with it one after another may be
    /// taken as independent of each other. With `n = m = 2000`, 23 % of detectors alarm within 50 windows where 6 % do
    /// with a fresh reference.
    pub fn reference_suffices(self) -> bool {
        self.reference >= WINDOWS_IN_REFERENCE.saturating_mul(self.current)
    }
}

fn law(cells: usize) -> Result<ChiSquared, StatsError> {
    if cells < 2 {
        return Err(StatsError::TooFew { needed: 2, got: cells });
    }
    ChiSquared::new((cells - 1) as f64).map_err(|_| StatsError::Domain("degrees of freedom are positive"))
}

fn chi_square_limit(cells: usize, alpha: f64) -> Result<f64, StatsError> {
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(StatsError::Domain("a level is between 0 and 1"));
    }
    let law = law(cells)?;
    // Bisection on the upper tail: the inverse of the lower one has no digits left at small levels.
    let (mut low, mut high) = (0.0, 10.0 * cells as f64 + 40.0 * (1.0 - alpha.ln()));
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if law.sf(middle) > alpha { low = middle } else { high = middle }
    }
    Ok(0.5 * (low + high))
}

/// The population stability index that is exceeded with probability `alpha` when nothing changed: `h chi2(K - 1)`.
///
/// ```
/// use steersman_stats::calibration::{psi_limit, Sizes};
/// let limit = psi_limit(Sizes { reference: 5_000, current: 200 }, 10, 0.001).unwrap();
/// assert!((limit - 0.144_961).abs() < 1e-6); // 0.0052 * 27.877: above the customary limit of 0.1
/// ```
pub fn psi_limit(sizes: Sizes, cells: usize, alpha: f64) -> Result<f64, StatsError> {
    Ok(sizes.h() * chi_square_limit(cells, alpha)?)
}

/// The Jensen-Shannon distance (base 2) that is exceeded with probability `alpha` when nothing changed:
/// `sqrt(h chi2(K - 1) / (8 ln 2))`.
///
/// ```
/// use steersman_stats::calibration::{jensen_shannon_limit, Sizes};
/// let limit = jensen_shannon_limit(Sizes { reference: 5_000, current: 200 }, 10, 0.001).unwrap();
/// assert!((limit - 0.161_685).abs() < 1e-5);
/// ```
pub fn jensen_shannon_limit(sizes: Sizes, cells: usize, alpha: f64) -> Result<f64, StatsError> {
    Ok((sizes.h() * chi_square_limit(cells, alpha)? / (8.0 * LN_2)).sqrt())
}

/// The p-value of a population stability index, for independent rows.
///
/// ```
/// use steersman_stats::calibration::{psi_p_value, Sizes};
/// let p = psi_p_value(0.144_961, Sizes { reference: 5_000, current: 200 }, 10).unwrap();
/// assert!((p - 0.001).abs() < 1e-5);
/// ```
pub fn psi_p_value(psi: f64, sizes: Sizes, cells: usize) -> Result<f64, StatsError> {
    Ok(law(cells)?.sf((psi / sizes.h()).max(0.0)))
}

/// The p-value of a Jensen-Shannon distance (base 2), for independent rows.
///
/// ```
/// use steersman_stats::calibration::{jensen_shannon_p_value, Sizes};
/// let p = jensen_shannon_p_value(0.161_685, Sizes { reference: 5_000, current: 200 }, 10).unwrap();
/// assert!((p - 0.001).abs() < 1e-5);
/// ```
pub fn jensen_shannon_p_value(distance: f64, sizes: Sizes, cells: usize) -> Result<f64, StatsError> {
    Ok(law(cells)?.sf(8.0 * LN_2 * distance * distance / sizes.h()))
}

/// The size-free part of a population stability index: what is left after the `(K - 1) h` that sampling adds in the
/// mean; at least 0.
///
/// ```
/// use steersman_stats::calibration::{psi_beyond_sampling, Sizes};
/// let left = psi_beyond_sampling(0.1, Sizes { reference: 1_000, current: 250 }, 10).unwrap();
/// assert!((left - 0.055).abs() < 1e-12);
/// ```
pub fn psi_beyond_sampling(psi: f64, sizes: Sizes, cells: usize) -> Result<f64, StatsError> {
    Ok((psi - law(cells)?.freedom() * sizes.h()).max(0.0))
}

/// The half-width of a band that holds a whole distribution function with probability `1 - delta`, from `rows` values:
/// `sqrt(ln(2 / delta) / (2 rows))` (Dvoretzky, Kiefer, Wolfowitz; constant of P. Massart, Annals of Probability 18,
/// 1990). A Kolmogorov-Smirnov statistic less this margin of the reference is evidence that stays valid for every later
/// window against the same reference.
///
/// ```
/// let margin = steersman_stats::calibration::dkw_margin(2_000, 0.05).unwrap();
/// assert!((margin - 0.030_368).abs() < 1e-6);
/// ```
pub fn dkw_margin(rows: u64, delta: f64) -> Result<f64, StatsError> {
    if rows == 0 {
        return Err(StatsError::TooFew { needed: 1, got: 0 });
    }
    if !(delta > 0.0 && delta < 1.0) {
        return Err(StatsError::Domain("a probability is between 0 and 1"));
    }
    Ok(((2.0 / delta).ln() / (2.0 * rows as f64)).sqrt())
}

/// The size-free part of a Jensen-Shannon distance (base 2): the root of what is left of its square after the
/// `(K - 1) h / (8 ln 2)` that sampling adds in the mean; at least 0.
///
/// ```
/// use steersman_stats::calibration::{jensen_shannon_beyond_sampling, Sizes};
/// let left = jensen_shannon_beyond_sampling(0.1, Sizes { reference: 1_000, current: 250 }, 10).unwrap();
/// assert!((left - 0.043_415).abs() < 2e-6); // sqrt(0.01 - 0.045 / 5.545)
/// ```
pub fn jensen_shannon_beyond_sampling(distance: f64, sizes: Sizes, cells: usize) -> Result<f64, StatsError> {
    let sampling = law(cells)?.freedom() * sizes.h() / (8.0 * LN_2);
    Ok((distance * distance - sampling).max(0.0).sqrt())
}
