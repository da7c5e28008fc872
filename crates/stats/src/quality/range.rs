//! Values where the reference has none, or few.

use super::share::{Check, Floor, compared};
use crate::error::StatsError;
use crate::interval::{Interval, difference, wilson};
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};
use statrs::function::beta::ln_beta;
use statrs::function::factorial::ln_binomial;

/// Share of values outside the reference's smallest and largest value, in either direction. `reference` is
/// the number of its values, at least two; `current` is `(values outside, values)`.
///
/// The reference itself has none outside, and yet some are to be expected: of values that follow the same
/// continuous law, `2 / (n + 1)` on average. Their number among `m` is beta-binomial with parameters 2 and
/// `n - 1`, whatever the law (E. J. Gumbel and H. von Schelling, Annals of Mathematical Statistics 21, 1950),
/// which makes the p-value, one-sided, exact; it is too large, never too small, where values repeat. The
/// usual share is that law's mean with its middle 95 %.
///
/// ```
/// use steersman_stats::quality::{Floor, out_of_range};
/// let check = out_of_range(99, (3, 50), Floor::default()).unwrap();
/// assert_eq!(check.usual.value, 0.02);
/// assert!((check.p_value - 0.110_076_06).abs() < 1e-8); // scipy.stats.betabinom(50, 2, 98).sf(2)
/// ```
pub fn out_of_range(reference: u64, current: (u64, u64), floor: Floor) -> Result<Check, StatsError> {
    if reference < 2 {
        return Err(StatsError::TooFew { needed: 2, got: reference as usize });
    }
    let share = wilson(current.0, current.1)?;
    let law = Beta::new(2.0, reference as f64 - 1.0).map_err(|_| StatsError::Domain("two values or more"))?;
    let value = 2.0 / (reference as f64 + 1.0);
    let usual = Interval { value, low: law.inverse_cdf(0.025), high: law.inverse_cdf(0.975) };
    let matters = floor.reached(usual.value, share.value);
    let p_value = exceeding(current.0, current.1, reference - 1);
    Ok(Check { share, usual, effect: difference(share, usual), p_value, matters })
}

/// `P(K >= hits)` for `K` beta-binomial of `count` trials with parameters 2 and `b`.
fn exceeding(hits: u64, count: u64, b: u64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    let (k, m, b) = (hits as f64, count as f64, b as f64);
    let mut term = (ln_binomial(count, hits) + ln_beta(k + 2.0, m - k + b) - ln_beta(2.0, b)).exp();
    let mut sum = 0.0;
    for j in hits..=count {
        sum += term;
        let (j, before) = (j as f64, term);
        term *= (m - j) * (j + 2.0) / ((j + 1.0) * (m - j - 1.0 + b));
        // Terms rise to the mode and then fall faster and faster.
        if term < before && term <= sum * f64::EPSILON * 0.01 {
            break;
        }
    }
    sum.min(1.0)
}

/// Robust limits of a column: beyond them are outliers, wherever the reference's own outliers lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fences {
    /// Smallest value inside.
    pub low: f64,
    /// Largest value inside.
    pub high: f64,
}

impl Fences {
    /// Three interquartile ranges beyond the quartiles (the outer fences of J. W. Tukey, *Exploratory Data
    /// Analysis*, 1977). Fails if the quartiles coincide: such a column has no spread to measure by.
    ///
    /// ```
    /// let fences = steersman_stats::quality::Fences::new(10.0, 14.0).unwrap();
    /// assert_eq!((fences.low, fences.high), (-2.0, 26.0));
    /// ```
    pub fn new(first_quartile: f64, third_quartile: f64) -> Result<Self, StatsError> {
        let range = third_quartile - first_quartile;
        if !(range > 0.0 && range.is_finite()) {
            return Err(StatsError::Domain("the quartiles coincide or are not finite"));
        }
        Ok(Self { low: first_quartile - 3.0 * range, high: third_quartile + 3.0 * range })
    }

    /// Whether a value is inside.
    pub fn hold(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Share of values beyond the reference's [`Fences`]. Both sides are `(beyond, values)`.
///
/// ```
/// use steersman_stats::quality::{Floor, beyond_fences};
/// let check = beyond_fences((4, 2_000), (31, 500), Floor::default()).unwrap();
/// assert!(check.matters && check.p_value < 1e-15);
/// ```
pub fn beyond_fences(reference: (u64, u64), current: (u64, u64), floor: Floor) -> Result<Check, StatsError> {
    compared(reference, current, floor)
}
