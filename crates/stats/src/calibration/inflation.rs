//! Tests of rows that are alike within blocks of time.

use super::compare::Inflation;
use crate::error::StatsError;
use statrs::distribution::{ContinuousCDF as _, FisherSnedecor};

/// P-values stay above 0.
const LEAST_P: f64 = 1e-300;

impl Inflation {
    /// The p-value of a chi-square statistic with `freedom` degrees of freedom: `statistic / (freedom factor)` in the law
    /// of Fisher and Snedecor with `freedom` and one less than there are blocks degrees of freedom, as in quasi-likelihood
    /// (McCullagh and Nelder, *Generalized Linear Models*, 2nd ed. 1989, section 4.5). Unlike a p-value that is corrected
    /// afterwards it loses nothing where the plain one is too small for a number.
    ///
    /// ```
    /// use steersman_stats::calibration::Inflation;
    /// let days = Inflation { factor: 4.0, blocks: 31 };
    /// let p = days.chi_square(16.0, 1).unwrap(); // F = 4 with 1 and 30 degrees of freedom
    /// assert!((p - 0.054_6).abs() < 1e-4);
    /// ```
    pub fn chi_square(self, statistic: f64, freedom: usize) -> Result<f64, StatsError> {
        if self.blocks < 2 || freedom == 0 {
            return Err(StatsError::TooFew { needed: 2, got: self.blocks.min(freedom) });
        }
        if !(statistic >= 0.0 && statistic.is_finite()) {
            return Err(StatsError::Domain("a chi-square statistic is finite and not negative"));
        }
        let law = FisherSnedecor::new(freedom as f64, (self.blocks - 1) as f64)
            .map_err(|_| StatsError::Domain("degrees of freedom are positive"))?;
        Ok(law.sf(statistic / (freedom as f64 * self.factor.max(1.0))).clamp(LEAST_P, 1.0))
    }

    /// The two-sided p-value of a normal score: the same with one degree of freedom.
    pub fn normal(self, z: f64) -> Result<f64, StatsError> {
        self.chi_square(z * z, 1)
    }
}
