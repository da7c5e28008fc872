//! Metrics of decisions among several classes: means over the classes of each against the others.

use super::binary::{average_precision, roc_auc};
use super::cells::{Confusion, Rate, known_classes};
use crate::error::{StatsError, paired};
use crate::interval::{Interval, normal_quantile, wilson};

/// Accuracy with Wilson's interval, or the unweighted mean over classes of another rate with the interval of the delta
/// method for multinomial counts (Agresti, *Categorical Data Analysis*, 3rd ed. 2013, section 16.1). The same values as
/// scikit-learn's `average="macro"`: a share of nothing counts as 0.
///
/// ```
/// use steersman_stats::metric::{Rate, macro_rate};
/// let recall = macro_rate(Rate::Recall, &[0, 1, 2, 2], &[0, 1, 2, 1], 3).unwrap();
/// assert!((recall.value - 2.5 / 3.0).abs() < 1e-12);
/// ```
pub fn macro_rate(
    rate: Rate,
    decisions: &[usize],
    truths: &[usize],
    classes: usize,
) -> Result<Interval, StatsError> {
    let table = Confusion::count(decisions, truths, classes)?;
    if rate == Rate::Accuracy {
        let right = decisions.iter().zip(truths).filter(|(decision, truth)| decision == truth).count();
        return wilson(right as u64, decisions.len() as u64);
    }
    let (value, slopes) = table.macro_rate(rate)?;
    let cells = || table.cells().iter().zip(slopes.cells());
    let mean = cells().map(|(rows, slope)| rows * slope).sum::<f64>() / table.rows();
    let variance: f64 = cells().map(|(rows, slope)| rows * (slope - mean).powi(2)).sum();
    let half = normal_quantile(0.975)? * variance.sqrt();
    Ok(Interval { value, low: value - half, high: value + half }.clamped(0.0, 1.0))
}

/// The mean over classes of the area under the ROC curve of each class against all others (scikit-learn's
/// `multi_class="ovr", average="macro"`). `outputs` holds a column of scores for each class. The interval's half width
/// is the mean of the classes': an upper bound, whatever their dependence.
///
/// ```
/// let outputs = [vec![0.8, 0.1, 0.2], vec![0.1, 0.8, 0.3], vec![0.1, 0.1, 0.5]];
/// assert_eq!(steersman_stats::metric::macro_roc_auc(&outputs, &[0, 1, 2]).unwrap().value, 1.0);
/// ```
pub fn macro_roc_auc(outputs: &[Vec<f64>], truths: &[usize]) -> Result<Interval, StatsError> {
    mean_over_classes(outputs, truths, roc_auc)
}

/// The mean over classes of [`average_precision`] of each class against all others, with an interval as in
/// [`macro_roc_auc`].
///
/// ```
/// let outputs = [vec![0.8, 0.1, 0.2], vec![0.1, 0.8, 0.3], vec![0.1, 0.1, 0.5]];
/// assert_eq!(steersman_stats::metric::macro_average_precision(&outputs, &[0, 1, 2], 7).unwrap().value, 1.0);
/// ```
pub fn macro_average_precision(
    outputs: &[Vec<f64>],
    truths: &[usize],
    seed: u64,
) -> Result<Interval, StatsError> {
    mean_over_classes(outputs, truths, |scores, truths| average_precision(scores, truths, seed))
}

fn mean_over_classes(
    outputs: &[Vec<f64>],
    truths: &[usize],
    metric: impl Fn(&[f64], &[bool]) -> Result<Interval, StatsError>,
) -> Result<Interval, StatsError> {
    if outputs.len() < 2 {
        return Err(StatsError::Domain("there are at least two classes"));
    }
    known_classes(truths, outputs.len())?;
    let (mut value, mut low, mut high) = (0.0, 0.0, 0.0);
    for (class, scores) in outputs.iter().enumerate() {
        paired(scores.len(), truths.len(), 2)?;
        let own: Vec<bool> = truths.iter().map(|&truth| truth == class).collect();
        let interval = metric(scores, &own)?;
        value += interval.value;
        low += interval.low;
        high += interval.high;
    }
    let classes = outputs.len() as f64;
    Ok(Interval { value: value / classes, low: low / classes, high: high / classes })
}
