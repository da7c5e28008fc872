//! Metrics of binary outputs.

use super::bootstrap;
use super::cells::Cells;
use crate::error::{StatsError, finite, paired};
use crate::interval::{Interval, mean_interval, normal_quantile, wilson};
use crate::ranking::Ranking;

/// Probabilities are kept this far from 0 and 1 before a logarithm is taken.
pub(crate) const LEAST_PROBABILITY: f64 = 1e-15;

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

/// Ranks from 1; ties share the mean of their ranks. None may be NaN.
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

/// Fails unless every output is a probability.
pub(crate) fn probabilities(outputs: &[f64]) -> Result<(), StatsError> {
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

/// Share of the truly positive among those decided positive at `threshold`, with Wilson's interval.
///
/// ```
/// let share = steersman_stats::metric::precision(&[0.9, 0.2, 0.6], &[true, true, false], 0.5).unwrap();
/// assert_eq!(share.value, 0.5);
/// ```
pub fn precision(outputs: &[f64], truths: &[bool], threshold: f64) -> Result<Interval, StatsError> {
    let cells = decided(outputs, truths, threshold)?;
    wilson_of(cells.true_positive, cells.false_positive)
}

/// Share of those decided positive at `threshold` among the positive, with Wilson's interval.
///
/// ```
/// let share = steersman_stats::metric::recall(&[0.9, 0.2, 0.6], &[true, true, false], 0.5).unwrap();
/// assert_eq!(share.value, 0.5);
/// ```
pub fn recall(outputs: &[f64], truths: &[bool], threshold: f64) -> Result<Interval, StatsError> {
    let cells = decided(outputs, truths, threshold)?;
    wilson_of(cells.true_positive, cells.false_negative)
}

/// Share of those decided negative at `threshold` among the negative, with Wilson's interval.
///
/// ```
/// let share = steersman_stats::metric::specificity(&[0.9, 0.2, 0.6], &[true, false, false], 0.5).unwrap();
/// assert_eq!(share.value, 0.5);
/// ```
pub fn specificity(outputs: &[f64], truths: &[bool], threshold: f64) -> Result<Interval, StatsError> {
    let cells = decided(outputs, truths, threshold)?;
    wilson_of(cells.true_negative, cells.false_positive)
}

/// Harmonic mean of precision and recall at `threshold`, `2 TP / (2 TP + FP + FN)`. It is `2 u / (1 + u)` of the share
/// `u = TP / (TP + FP + FN)`; the interval is Wilson's of `u`, with the same function taken of its ends.
///
/// ```
/// let score = steersman_stats::metric::f1(&[0.9, 0.2, 0.6, 0.7], &[true, true, false, true], 0.5).unwrap();
/// assert!((score.value - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn f1(outputs: &[f64], truths: &[bool], threshold: f64) -> Result<Interval, StatsError> {
    let cells = decided(outputs, truths, threshold)?;
    let share = wilson_of(cells.true_positive, cells.false_positive + cells.false_negative)?;
    let score = |share: f64| 2.0 * share / (1.0 + share);
    Ok(Interval { value: score(share.value), low: score(share.low), high: score(share.high) })
}

/// Counts rows by decision and truth.
fn decided(outputs: &[f64], truths: &[bool], threshold: f64) -> Result<Cells, StatsError> {
    paired(outputs.len(), truths.len(), 1)?;
    finite(outputs)?;
    let mut cells = Cells::default();
    for (output, truth) in outputs.iter().zip(truths) {
        *match (*output >= threshold, truth) {
            (true, true) => &mut cells.true_positive,
            (true, false) => &mut cells.false_positive,
            (false, true) => &mut cells.false_negative,
            (false, false) => &mut cells.true_negative,
        } += 1.0;
    }
    Ok(cells)
}

fn wilson_of(hits: f64, misses: f64) -> Result<Interval, StatsError> {
    wilson(hits as u64, (hits + misses) as u64)
}

/// Average precision `sum (R_k - R_(k-1)) P_k` over the distinct scores from above, as in scikit-learn: rows of one
/// score are decided together. The interval comes from a bootstrap within each class, cut to `[0, 1]`.
/// `O(n log n + n resamples)`.
///
/// ```
/// let score = steersman_stats::metric::average_precision(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true], 7);
/// assert!((score.unwrap().value - 0.833_333_333_333).abs() < 1e-9);
/// ```
pub fn average_precision(scores: &[f64], truths: &[bool], seed: u64) -> Result<Interval, StatsError> {
    paired(scores.len(), truths.len(), 2)?;
    finite(scores)?;
    if truths.iter().all(|truth| *truth == truths[0]) {
        return Err(StatsError::OneClass { rows: truths.len() });
    }
    let ranking = Ranking::new(scores);
    let sorted: Vec<bool> = ranking.order().map(|row| truths[row]).collect();
    let statistic = |counts: &[u32]| {
        let (mut positives, mut rows, mut sum) = (0.0, 0.0, 0.0);
        for group in ranking.groups() {
            let mut own = 0.0;
            for place in group {
                rows += f64::from(counts[place]);
                own += if sorted[place] { f64::from(counts[place]) } else { 0.0 };
            }
            positives += own;
            if own > 0.0 {
                sum += own * positives / rows;
            }
        }
        (positives > 0.0).then(|| sum / positives)
    };
    let value = statistic(&vec![1; sorted.len()]).ok_or(StatsError::OneClass { rows: sorted.len() })?;
    let of_class =
        |wanted: bool| (0u32..).zip(&sorted).filter(move |(_, truth)| **truth == wanted).map(|(p, _)| p);
    let strata = [of_class(true).collect(), of_class(false).collect()];
    Ok(bootstrap::interval(value, &strata, seed, statistic)?.clamped(0.0, 1.0))
}

/// Expected calibration error: the mean, over `bins` of equally many rows by rising output, of the distance between the
/// mean output and the share of positives, weighted by rows (Naeini et al., AAAI 2015, with NannyML's bins). Rows of
/// one output share their truths evenly, so that their order does not matter.
///
/// The interval is that of the mean of `output - truth`, turned around in bins where it is negative. Both it and the
/// value are biased upwards: well calibrated outputs score about `0.8 sqrt(bins p (1 - p) / n)`.
///
/// ```
/// let outputs = [0.2, 0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8];
/// let truths = [false, false, true, false, false, true, true, true, true, true];
/// let error = steersman_stats::metric::expected_calibration_error(&outputs, &truths, 2).unwrap();
/// assert!((error.value - 0.1).abs() < 1e-12);
/// ```
pub fn expected_calibration_error(
    outputs: &[f64],
    truths: &[bool],
    bins: usize,
) -> Result<Interval, StatsError> {
    let ones: Vec<f64> = truths.iter().map(|&flag| truth(flag)).collect();
    let gaps = Gaps::new(outputs, &ones, bins)?;
    let value = gaps.mean();
    let spread = mean_interval(&gaps.turned)?;
    let half = spread.high - spread.value;
    Ok(Interval { value, low: value - half, high: value + half }.clamped(0.0, 1.0))
}

/// The value of [`expected_calibration_error`]; truths are 0 or 1.
pub(crate) fn calibration_gap(outputs: &[f64], truths: &[f64], bins: usize) -> Result<f64, StatsError> {
    Ok(Gaps::new(outputs, truths, bins)?.mean())
}

/// How far outputs are from truths, by bins of equally many rows.
struct Gaps {
    /// The distance of each bin, times its rows.
    of_bins: Vec<f64>,
    /// `output - truth` of each row, with the sign that makes it count for its bin's distance.
    turned: Vec<f64>,
}

impl Gaps {
    fn new(outputs: &[f64], truths: &[f64], bins: usize) -> Result<Self, StatsError> {
        if bins == 0 {
            return Err(StatsError::Domain("there is at least one bin"));
        }
        paired(outputs.len(), truths.len(), 2 * bins)?;
        probabilities(outputs)?;
        let mut rows: Vec<(f64, f64)> = outputs.iter().copied().zip(truths.iter().copied()).collect();
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut shares = Vec::with_capacity(rows.len());
        for tied in rows.chunk_by(|a, b| a.0 == b.0) {
            let share = tied.iter().map(|row| row.1).sum::<f64>() / tied.len() as f64;
            shares.extend(std::iter::repeat_n(share, tied.len()));
        }
        let width = rows.len() / bins;
        let mut gaps = Self { of_bins: Vec::with_capacity(bins), turned: Vec::with_capacity(rows.len()) };
        for bin in 0..bins {
            let end = if bin + 1 == bins { rows.len() } else { (bin + 1) * width };
            let own = bin * width..end;
            let gap: f64 =
                rows[own.clone()].iter().zip(&shares[own.clone()]).map(|(row, share)| row.0 - share).sum();
            gaps.of_bins.push(gap.abs());
            gaps.turned.extend(rows[own].iter().map(|(output, truth)| gap.signum() * (output - truth)));
        }
        Ok(gaps)
    }

    fn mean(&self) -> f64 {
        self.of_bins.iter().sum::<f64>() / self.turned.len() as f64
    }
}
