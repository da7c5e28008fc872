//! The rank test behind joint monitors: is one sample above the other?

use crate::error::{StatsError, finite};
use crate::metric::midranks;
use statrs::distribution::{ContinuousCDF as _, Normal};

/// Where the values of a window lie among those of a reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RankTest {
    /// The probability that a value of the window is above one of the reference, ties half: the area under the ROC curve.
    pub(super) above: f64,
    /// Its distance from 1/2 in standard errors without a difference, `sqrt((n + m + 1) / (12 n m))`.
    pub(super) z: f64,
}

impl RankTest {
    /// Of two samples (Mann and Whitney, Annals of Mathematical Statistics 18, 1947). Ties leave less variance than the
    /// standard error says, so p-values err to the safe side.
    pub(super) fn of(reference: &[f64], window: &[f64]) -> Result<Self, StatsError> {
        for sample in [reference, window] {
            if sample.is_empty() {
                return Err(StatsError::TooFew { needed: 1, got: 0 });
            }
            finite(sample)?;
        }
        let (n, m) = (reference.len() as f64, window.len() as f64);
        let together: Vec<f64> = window.iter().chain(reference).copied().collect();
        let ranks: f64 = midranks(&together).iter().take(window.len()).sum();
        let above = (ranks - m * (m + 1.0) / 2.0) / (n * m);
        Ok(Self { above, z: (above - 0.5) / chance_variance(reference.len(), window.len()).sqrt() })
    }

    /// The p-value of "the two differ".
    pub(super) fn different(&self) -> f64 {
        (2.0 * tail(self.z.abs())).min(1.0)
    }
}

/// The variance of the area under the ROC curve of `n` against `m` rows of the same distribution, without ties.
pub(super) fn chance_variance(n: usize, m: usize) -> f64 {
    let (n, m) = (n as f64, m as f64);
    (n + m + 1.0) / (12.0 * n * m)
}

/// `P(Z >= z)` of a standard normal variable, above 0 so that it can be calibrated to an e-value.
pub(super) fn tail(z: f64) -> f64 {
    Normal::standard().sf(z).max(f64::MIN_POSITIVE)
}
