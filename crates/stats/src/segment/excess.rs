//! Is a segment worse than the rest?

use crate::error::StatsError;
use crate::harm::CellLoss;
use crate::interval::Interval;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// How much larger the mean loss of a segment is than that of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    /// The difference of the means, with its two-sided 95 % interval.
    pub difference: Interval,
    /// One-sided: how likely a difference this large is if the true one is at most the least that matters.
    pub p_value: f64,
}

/// A difference of two means and the variances of both.
pub(super) struct Difference {
    pub(super) value: f64,
    segment: f64,
    rest: f64,
}

impl Difference {
    /// Of the segment's mean loss from that of the rest; none if one has fewer than two losses.
    pub(super) fn new(segment: &CellLoss, rest: &CellLoss) -> Option<Self> {
        let (n, m) = (segment.count as f64, rest.count as f64);
        let mut all = *segment;
        all.merge(rest);
        let variance = segment.variance()?.max(all.variance()?);
        let value = segment.mean()? - rest.mean()?;
        Some(Self { value, segment: variance / n, rest: rest.variance()? / m })
    }

    pub(super) fn error(&self) -> f64 {
        (self.segment + self.rest).sqrt()
    }
}

/// One-sided Welch test that the mean loss of a segment exceeds that of the rest by more than `least`, in the
/// unit of the loss (B. L. Welch, Biometrika 34, 1947). The same as
/// `scipy.stats.ttest_ind(segment, rest, equal_var=False, alternative="greater")`, except that the segment's
/// variance is not taken to be smaller than that of all losses together: thirty losses that happen to be
/// equal are no proof that the segment does not vary.
///
/// Fails below two losses on a side.
///
/// ```
/// use steersman_stats::segment::excess_loss;
/// let segment = [0.9, 0.1, 0.8, 0.3].into_iter().collect();
/// let rest = [0.2, 0.3, 0.1, 0.2, 0.3, 0.1].into_iter().collect();
/// let excess = excess_loss(&segment, &rest, 0.0).unwrap();
/// assert!((excess.difference.value - 0.325).abs() < 1e-12);
/// assert!((excess.p_value - 0.095_316_471_9).abs() < 1e-9); // scipy 1.17
/// ```
pub fn excess_loss(segment: &CellLoss, rest: &CellLoss, least: f64) -> Result<Excess, StatsError> {
    if !(segment.is_finite() && rest.is_finite()) {
        return Err(StatsError::Domain("a sum of losses is not a finite number"));
    }
    if !least.is_finite() {
        return Err(StatsError::Domain("the least excess that matters is a finite number"));
    }
    let too_few = StatsError::TooFew { needed: 2, got: segment.count.min(rest.count) as usize };
    let found = Difference::new(segment, rest).ok_or(too_few)?;
    let (value, error) = (found.value, found.error());
    if error == 0.0 {
        // All losses are the same.
        let p_value = if value > least { 0.0 } else { 1.0 };
        return Ok(Excess { difference: Interval { value, low: value, high: value }, p_value });
    }
    // Welch and Satterthwaite's degrees of freedom.
    let freedom = (found.segment + found.rest).powi(2)
        / (found.segment.powi(2) / (segment.count - 1) as f64 + found.rest.powi(2) / (rest.count - 1) as f64);
    let law = StudentsT::new(0.0, 1.0, freedom)
        .map_err(|_| StatsError::Domain("degrees of freedom are positive"))?;
    let half = law.inverse_cdf(0.975) * error;
    let difference = Interval { value, low: value - half, high: value + half };
    Ok(Excess { difference, p_value: law.sf((value - least) / error) })
}
