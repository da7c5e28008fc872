//! Intervals of means, shares and differences of shares. All are two-sided at 95 %.

use crate::error::{StatsError, finite};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// The quantile of the standard normal distribution at 0.975.
pub(crate) const Z_95: f64 = 1.959_963_984_540_054;

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The same interval cut to `[low, high]`.
    pub fn clamped(self, low: f64, high: f64) -> Self {
        Self { value: self.value, low: self.low.max(low), high: self.high.min(high) }
    }
}

/// The quantile of the standard normal distribution at `p` in `(0, 1)`.
///
/// ```
/// let z = steersman_stats::interval::normal_quantile(0.975).unwrap();
/// assert!((z - 1.959_963_984_540_054).abs() < 1e-9);
/// ```
pub fn normal_quantile(p: f64) -> Result<f64, StatsError> {
    if !(p > 0.0 && p < 1.0) {
        return Err(StatsError::Domain("a probability is between 0 and 1"));
    }
    Ok(Normal::standard().inverse_cdf(p))
}

/// The mean with Student's t interval.
///
/// ```
/// let mean = steersman_stats::interval::mean_interval(&[1.0, 2.0, 3.0, 4.0]).unwrap();
/// assert_eq!(mean.value, 2.5);
/// assert!((mean.low - 0.445_739_743_239_121_3).abs() < 1e-9); // scipy.stats.t.interval(.95, 3, 2.5, sem)
/// ```
pub fn mean_interval(values: &[f64]) -> Result<Interval, StatsError> {
    if values.len() < 2 {
        return Err(StatsError::TooFew { needed: 2, got: values.len() });
    }
    finite(values)?;
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half = student_quantile(count - 1.0)? * (variance / count).sqrt();
    Ok(Interval { value: mean, low: mean - half, high: mean + half })
}

/// The quantile of Student's distribution at 0.975.
pub(crate) fn student_quantile(freedom: f64) -> Result<f64, StatsError> {
    let law = StudentsT::new(0.0, 1.0, freedom);
    Ok(law.map_err(|_| StatsError::Domain("degrees of freedom are positive"))?.inverse_cdf(0.975))
}

/// Wilson's score interval of a share: `hits` of `count` (E. B. Wilson, JASA 22, 1927).
///
/// ```
/// let share = steersman_stats::interval::wilson(3, 10).unwrap();
/// assert!((share.low - 0.107_791_3).abs() < 1e-6 && (share.high - 0.603_221_9).abs() < 1e-6);
/// ```
pub fn wilson(hits: u64, count: u64) -> Result<Interval, StatsError> {
    if count == 0 {
        return Err(StatsError::TooFew { needed: 1, got: 0 });
    }
    if hits > count {
        return Err(StatsError::Domain("more hits than trials"));
    }
    Ok(wilson_share(hits as f64 / count as f64, count as f64))
}

/// Wilson's interval of a share in `[0, 1]` of a number of trials that need not be whole.
pub(crate) fn wilson_share(share: f64, count: f64) -> Interval {
    let z = Z_95;
    let denominator = 1.0 + z * z / count;
    let centre = (share + z * z / (2.0 * count)) / denominator;
    let half = z / denominator * (share * (1.0 - share) / count + z * z / (4.0 * count * count)).sqrt();
    Interval { value: share, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

/// Newcombe's interval of the difference of two independent shares, `first - second` (R. G. Newcombe, Statistics in
/// Medicine 17, 1998, method 10).
///
/// ```
/// let difference = steersman_stats::interval::newcombe((56, 70), (48, 80)).unwrap();
/// assert!((difference.low - 0.0524).abs() < 1e-4 && (difference.high - 0.3339).abs() < 1e-4);
/// ```
pub fn newcombe(first: (u64, u64), second: (u64, u64)) -> Result<Interval, StatsError> {
    Ok(difference(wilson(first.0, first.1)?, wilson(second.0, second.1)?))
}

/// The interval of a difference of two independent estimates from their own intervals (Newcombe's method 10 in general).
pub(crate) fn difference(first: Interval, second: Interval) -> Interval {
    let value = first.value - second.value;
    let low = value - (first.value - first.low).hypot(second.high - second.value);
    let high = value + (first.high - first.value).hypot(second.value - second.low);
    Interval { value, low, high }
}
