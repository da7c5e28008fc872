//! Metrics of numbers against numbers.

use super::bootstrap;
use crate::error::{StatsError, finite, paired};
use crate::interval::{Interval, mean_interval};

/// Mean absolute error.
///
/// ```
/// assert_eq!(steersman_stats::metric::mae(&[1.0, 4.0], &[2.0, 2.0]).unwrap().value, 1.5);
/// ```
pub fn mae(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    mean_loss(outputs, truths, |output, truth| (output - truth).abs())
}

/// Mean squared error.
///
/// ```
/// assert_eq!(steersman_stats::metric::mse(&[1.0, 4.0], &[2.0, 2.0]).unwrap().value, 2.5);
/// ```
pub fn mse(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    mean_loss(outputs, truths, |output, truth| (output - truth).powi(2))
}

/// Root mean squared error; the interval is that of the mean square, with the root taken of its ends.
///
/// ```
/// let rmse = steersman_stats::metric::rmse(&[1.0, 4.0], &[2.0, 2.0]).unwrap();
/// assert!((rmse.value - 2.5f64.sqrt()).abs() < 1e-12);
/// ```
pub fn rmse(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    Ok(root(mse(outputs, truths)?))
}

/// Mean absolute error as a share of the truth, `mean |output - truth| / |truth|`; no truth may be 0.
///
/// ```
/// assert_eq!(steersman_stats::metric::mape(&[1.0, 4.0], &[2.0, 2.0]).unwrap().value, 0.75);
/// ```
pub fn mape(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    if truths.contains(&0.0) {
        return Err(StatsError::Domain("an error has no share of a truth that is 0"));
    }
    mean_loss(outputs, truths, |output, truth| ((output - truth) / truth).abs())
}

/// Mean squared difference of `ln(1 + value)`; outputs and truths are above -1.
///
/// ```
/// let e = std::f64::consts::E;
/// assert!((steersman_stats::metric::msle(&[0.0, e - 1.0], &[0.0, 0.0]).unwrap().value - 0.5).abs() < 1e-12);
/// ```
pub fn msle(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    if outputs.iter().chain(truths).any(|value| *value <= -1.0) {
        return Err(StatsError::Domain("a value of -1 or below has no logarithm"));
    }
    mean_loss(outputs, truths, |output, truth| (output.ln_1p() - truth.ln_1p()).powi(2))
}

/// The root of [`msle`], with the root taken of the ends of its interval.
///
/// ```
/// let e = std::f64::consts::E;
/// assert!((steersman_stats::metric::rmsle(&[e - 1.0, e - 1.0], &[0.0, 0.0]).unwrap().value - 1.0).abs() < 1e-12);
/// ```
pub fn rmsle(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    Ok(root(msle(outputs, truths)?))
}

/// Mean quantile (pinball) loss of outputs that predict the quantile at `level` in `(0, 1)`: `level` times what the
/// truth is above, or `1 - level` times what it is below (Koenker and Bassett, Econometrica 46, 1978).
///
/// ```
/// let loss = steersman_stats::metric::quantile_loss(&[1.0, 1.0], &[2.0, 0.0], 0.9).unwrap();
/// assert!((loss.value - 0.5).abs() < 1e-12);
/// ```
pub fn quantile_loss(outputs: &[f64], truths: &[f64], level: f64) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    if !(level > 0.0 && level < 1.0) {
        return Err(StatsError::Domain("a probability is between 0 and 1"));
    }
    mean_loss(outputs, truths, |output, truth| {
        let above = truth - output;
        if above >= 0.0 { level * above } else { (level - 1.0) * above }
    })
}

/// The share of the truths' variance that the outputs explain, `1 - sum (output - truth)^2 / sum (truth - mean)^2`, at
/// most 1; the interval comes from a bootstrap. Fails on constant truths.
///
/// ```
/// let share = steersman_stats::metric::r2(&[2.5, 0.0, 2.0, 8.0], &[3.0, -0.5, 2.0, 7.0], 7).unwrap();
/// assert!((share.value - 0.948_608_137_045).abs() < 1e-9);
/// ```
pub fn r2(outputs: &[f64], truths: &[f64], seed: u64) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    finite(outputs)?;
    finite(truths)?;
    let statistic = |counts: &[u32]| {
        let rows = || counts.iter().map(|&count| f64::from(count)).zip(outputs.iter().zip(truths));
        let mean = rows().map(|(count, (_, truth))| count * truth).sum::<f64>() / outputs.len() as f64;
        let left: f64 = rows().map(|(count, (output, truth))| count * (output - truth).powi(2)).sum();
        let all: f64 = rows().map(|(count, (_, truth))| count * (truth - mean).powi(2)).sum();
        (all > 0.0).then(|| 1.0 - left / all)
    };
    let value = statistic(&vec![1; outputs.len()])
        .ok_or(StatsError::Domain("the truths are constant, so there is no variance to explain"))?;
    let interval = bootstrap::interval(value, &bootstrap::whole(outputs.len()), seed, statistic)?;
    Ok(interval.clamped(f64::NEG_INFINITY, 1.0))
}

fn mean_loss(
    outputs: &[f64],
    truths: &[f64],
    loss: impl Fn(f64, f64) -> f64,
) -> Result<Interval, StatsError> {
    let losses: Vec<f64> = outputs.iter().zip(truths).map(|(&output, &truth)| loss(output, truth)).collect();
    Ok(mean_interval(&losses)?.clamped(0.0, f64::INFINITY))
}

fn root(square: Interval) -> Interval {
    Interval { value: square.value.sqrt(), low: square.low.max(0.0).sqrt(), high: square.high.sqrt() }
}
