//! What a whole stretch of points comes to, beside the stretches before it.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Tails are taken to be at least as heavy as with so many degrees of freedom.
const MOST_FREEDOM: f64 = 8.0;
/// Fewer stretches say nothing about the next one.
const LEAST_STRETCHES: usize = 8;

/// The probability of a value at least as far from the mean of the last ones, on either side, by Student's predictive law:
/// `t = (x - mean) / sqrt((s^2 + trifle^2) (1 + 1/n))` with `n - 1` degrees of freedom, at most 8. None with fewer than
/// 8 values before.
///
/// Exact for independent normal values without a trifle and with up to 9 of them; heavier tails and the trifle make it
/// larger. Points in a row that carry over into each other hide a shift from their one-step forecasts; a stretch of them
/// shows it.
///
/// ```
/// let past = [0.1, -0.1, 0.0, 0.1, -0.1, 0.0, 0.1, -0.1, 0.0, 0.1, -0.1, 0.0];
/// let p = steersman_stats::series::stretch_p(&past, 0.3, 0.0).unwrap();
/// assert!((p - 0.009_644_449).abs() < 1e-8, "{p}"); // SciPy: 2 * t.sf(...)
/// assert!(steersman_stats::series::stretch_p(&past[5..], 0.3, 0.0).is_none());
/// ```
pub fn stretch_p(past: &[f64], value: f64, trifle: f64) -> Option<f64> {
    let count = past.len() as f64;
    if past.len() < LEAST_STRETCHES || !value.is_finite() {
        return None;
    }
    let mean = past.iter().sum::<f64>() / count;
    let variance = past.iter().map(|known| (known - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let spread = ((variance + trifle * trifle) * (1.0 + 1.0 / count)).sqrt();
    let t = if spread > 0.0 { (value - mean).abs() / spread } else { 0.0 };
    let law = StudentsT::new(0.0, 1.0, (count - 1.0).min(MOST_FREEDOM)).ok()?;
    Some((2.0 * law.sf(t)).clamp(f64::MIN_POSITIVE, 1.0))
}
