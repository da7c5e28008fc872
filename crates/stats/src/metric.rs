//! How good predictions were, each with its 95 % interval.

use crate::error::{StatsError, finite, paired};
use crate::interval::{Interval, mean_interval, normal_quantile, wilson};

/// Probabilities are kept this far from 0 and 1 before a logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-15;

/// Area under the ROC curve with DeLong's interval, cut to `[0, 1]` (DeLong et al., Biometrics 44, 1988; midranks as
/// in Sun and Xu, IEEE Signal Processing Letters 21, 2014). Ties count half. `O(n log n)`.
///
/// ```
/// let auc = steersman_stats::metric::roc_auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]).unwrap();
/// assert_eq!(auc.value, 0.75);
/// ```
pub fn roc_auc(scores: &[f64], truths: &[bool]) -> Result<Interval, StatsError> {
    let (auc, variance) = delong(scores, truths)?;
    let half = normal_quantile(0.975)? * variance.sqrt();
    Ok(Interval { value: auc, low: auc - half, high: auc + half }.clamped(0.0, 1.0))
}

/// Area under the ROC curve and the variance of that estimate.
pub(crate) fn delong(scores: &[f64], truths: &[bool]) -> Result<(f64, f64), StatsError> {
    paired(scores.len(), truths.len(), 2)?;
    finite(scores)?;
    let of_class = |wanted: bool| -> Vec<f64> {
        scores.iter().zip(truths).filter(|(_, truth)| **truth == wanted).map(|(score, _)| *score).collect()
    };
    let (positives, negatives) = (of_class(true), of_class(false));
    if positives.is_empty() || negatives.is_empty() {
        return Err(StatsError::OneClass { rows: scores.len() });
    }
    let (m, n) = (positives.len() as f64, negatives.len() as f64);
    let together: Vec<f64> = positives.iter().chain(&negatives).copied().collect();
    let ranks = midranks(&together);
    let (positive_ranks, negative_ranks) = ranks.split_at(positives.len());
    let auc = (positive_ranks.iter().sum::<f64>() - m * (m + 1.0) / 2.0) / (m * n);
    let v10 = positive_ranks.iter().zip(midranks(&positives)).map(|(all, own)| (all - own) / n);
    let v01 = negative_ranks.iter().zip(midranks(&negatives)).map(|(all, own)| 1.0 - (all - own) / m);
    Ok((auc, spread(v10, auc, m) / m + spread(v01, auc, n) / n))
}

/// Sample variance of structural components about their known mean; 0 for a single one.
fn spread(components: impl Iterator<Item = f64>, mean: f64, count: f64) -> f64 {
    if count < 2.0 {
        0.0
    } else {
        components.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)
    }
}

/// Ranks from 1; ties share the mean of their ranks.
pub(crate) fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let tied = order[start..].iter().take_while(|&&index| values[index] == values[order[start]]).count();
        let rank = start as f64 + (tied as f64 + 1.0) / 2.0;
        for &index in &order[start..start + tied] {
            ranks[index] = rank;
        }
        start += tied;
    }
    ranks
}

fn probabilities(outputs: &[f64]) -> Result<(), StatsError> {
    finite(outputs)?;
    if outputs.iter().all(|output| (0.0..=1.0).contains(output)) {
        Ok(())
    } else {
        Err(StatsError::Domain("a prediction is not a probability between 0 and 1"))
    }
}

fn truth(flag: bool) -> f64 {
    f64::from(u8::from(flag))
}

/// Mean squared error of probabilities (G. W. Brier, Monthly Weather Review 78, 1950).
///
/// ```
/// let brier = steersman_stats::metric::brier(&[0.5, 1.0], &[true, true]).unwrap();
/// assert_eq!(brier.value, 0.125);
/// ```
pub fn brier(outputs: &[f64], truths: &[bool]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    probabilities(outputs)?;
    let losses: Vec<f64> =
        outputs.iter().zip(truths).map(|(output, &flag)| (output - truth(flag)).powi(2)).collect();
    Ok(mean_interval(&losses)?.clamped(0.0, 1.0))
}

/// Mean negative log likelihood in nats; probabilities are clipped at 1e-15.
///
/// ```
/// let loss = steersman_stats::metric::log_loss(&[0.5, 0.5], &[true, false]).unwrap();
/// assert!((loss.value - std::f64::consts::LN_2).abs() < 1e-12);
/// ```
pub fn log_loss(outputs: &[f64], truths: &[bool]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    probabilities(outputs)?;
    let loss = |output: f64, flag: bool| {
        let own = if flag { output } else { 1.0 - output };
        -own.clamp(LEAST_PROBABILITY, 1.0).ln()
    };
    let losses: Vec<f64> = outputs.iter().zip(truths).map(|(&output, &flag)| loss(output, flag)).collect();
    Ok(mean_interval(&losses)?.clamped(0.0, f64::INFINITY))
}

/// Share of right decisions at `threshold`, with Wilson's interval.
///
/// ```
/// let share = steersman_stats::metric::accuracy(&[0.9, 0.2, 0.6], &[true, false, false], 0.5).unwrap();
/// assert!((share.value - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn accuracy(outputs: &[f64], truths: &[bool], threshold: f64) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 1)?;
    finite(outputs)?;
    let right = outputs.iter().zip(truths).filter(|(output, flag)| (**output >= threshold) == **flag).count();
    wilson(right as u64, outputs.len() as u64)
}

/// Mean absolute error.
///
/// ```
/// assert_eq!(steersman_stats::metric::mae(&[1.0, 4.0], &[2.0, 2.0]).unwrap().value, 1.5);
/// ```
pub fn mae(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    let losses: Vec<f64> = outputs.iter().zip(truths).map(|(output, truth)| (output - truth).abs()).collect();
    Ok(mean_interval(&losses)?.clamped(0.0, f64::INFINITY))
}

/// Root mean squared error; the interval is that of the mean square, with the root taken of its ends.
///
/// ```
/// let rmse = steersman_stats::metric::rmse(&[1.0, 4.0], &[2.0, 2.0]).unwrap();
/// assert!((rmse.value - 2.5f64.sqrt()).abs() < 1e-12);
/// ```
pub fn rmse(outputs: &[f64], truths: &[f64]) -> Result<Interval, StatsError> {
    paired(outputs.len(), truths.len(), 2)?;
    let squares: Vec<f64> =
        outputs.iter().zip(truths).map(|(output, truth)| (output - truth).powi(2)).collect();
    let mean = mean_interval(&squares)?;
    Ok(Interval { value: mean.value.sqrt(), low: mean.low.max(0.0).sqrt(), high: mean.high.sqrt() })
}
