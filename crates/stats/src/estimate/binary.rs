//! Expected metrics of binary outputs (CBPE, confidence-based performance estimation).
//!
//! If row `i` is positive with probability `p_i`, independently, then sums over labels have expected values and
//! variances; metrics are functions of such sums. The estimate is the function of the expected sums, as in NannyML, and
//! its sampling error follows from the metric's slope in each label: `sum p (1 - p) slope^2` (delta method).

use super::expected::Estimate;
use crate::error::{StatsError, finite, paired};
use crate::metric::{Cells, LEAST_PROBABILITY, Rate, probabilities};
use crate::ranking::Ranking;

const SHARE: (f64, f64) = (0.0, 1.0);

/// The variance of a label.
fn chance(probability: f64) -> f64 {
    probability * (1.0 - probability)
}

/// A window of decisions and probabilities, of which rates are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    cells: Cells,
    /// Variance of the positives among the rows decided positive, and among the others.
    variances: [f64; 2],
}

impl Decided {
    /// Takes the model's decisions and the calibrated probabilities of the rows. `O(n)`.
    ///
    /// ```
    /// use steersman_stats::estimate::Decided;
    /// use steersman_stats::metric::Rate;
    /// let window = Decided::new(&[true, true, false, false], &[0.9, 0.7, 0.4, 0.1]).unwrap();
    /// let accuracy = window.rate(Rate::Accuracy).unwrap();
    /// assert!((accuracy.value - (0.9 + 0.7 + 0.6 + 0.9) / 4.0).abs() < 1e-12);
    /// assert!((accuracy.deviation - (0.09f64 + 0.21 + 0.24 + 0.09).sqrt() / 4.0).abs() < 1e-12);
    /// ```
    pub fn new(decisions: &[bool], probabilities: &[f64]) -> Result<Self, StatsError> {
        paired(decisions.len(), probabilities.len(), 1)?;
        self::probabilities(probabilities)?;
        let mut cells = Cells::default();
        let mut variances = [0.0; 2];
        for (&decision, &p) in decisions.iter().zip(probabilities) {
            if decision {
                cells.true_positive += p;
                cells.false_positive += 1.0 - p;
                variances[0] += chance(p);
            } else {
                cells.false_negative += p;
                cells.true_negative += 1.0 - p;
                variances[1] += chance(p);
            }
        }
        Ok(Self { cells, variances })
    }

    /// Expected rows of each cell of the confusion matrix.
    pub fn cells(&self) -> Cells {
        self.cells
    }

    /// Sampling error of the rows of each cell: the same for both cells of a decision.
    pub fn cell_deviations(&self) -> Cells {
        let [positive, negative] = self.variances.map(f64::sqrt);
        Cells {
            true_positive: positive,
            false_positive: positive,
            false_negative: negative,
            true_negative: negative,
        }
    }

    /// A rate; an error where it is expected to be a share of nothing.
    pub fn rate(&self, rate: Rate) -> Result<Estimate, StatsError> {
        let (value, slopes) = self.cells.rate_and_slopes(rate)?;
        Ok(self.estimate(value, slopes, SHARE))
    }

    /// The window's total business value, from what a row of each cell is worth, in the unit of that.
    ///
    /// ```
    /// use steersman_stats::estimate::Decided;
    /// use steersman_stats::metric::Cells;
    /// let worth = Cells { true_positive: 100.0, false_positive: -40.0, ..Cells::default() };
    /// let value = Decided::new(&[true, false], &[0.5, 0.5]).unwrap().business_value(worth).unwrap();
    /// assert_eq!((value.value, value.deviation), (30.0, 70.0));
    /// ```
    pub fn business_value(&self, worth: Cells) -> Result<Estimate, StatsError> {
        finite(&worth.array())?;
        let everywhere = (f64::NEG_INFINITY, f64::INFINITY);
        Ok(self.estimate(self.cells.dot(worth), worth.array(), everywhere))
    }

    /// A label that turns positive moves a row between the two cells of its decision.
    fn estimate(&self, value: f64, [tp, fp, fn_, tn]: [f64; 4], range: (f64, f64)) -> Estimate {
        let [positive, negative] = self.variances;
        let variance = positive * (tp - fp).powi(2) + negative * (fn_ - tn).powi(2);
        Estimate { value, deviation: variance.sqrt(), range }
    }
}

/// A window of scores and probabilities, of which metrics of the ranking are asked.
pub struct Ranked<'a> {
    ranking: Ranking,
    probabilities: &'a [f64],
    /// Expected positives and rows of each group of equal scores, from the highest score on.
    groups: Vec<(f64, f64)>,
    /// Expected positives and negatives.
    totals: (f64, f64),
}

impl<'a> Ranked<'a> {
    /// Takes the model's scores, which rank the rows, and the calibrated probabilities. `O(n log n)`.
    pub fn new(scores: &[f64], probabilities: &'a [f64]) -> Result<Self, StatsError> {
        paired(scores.len(), probabilities.len(), 2)?;
        finite(scores)?;
        self::probabilities(probabilities)?;
        let ranking = Ranking::new(scores);
        let positives = |place: usize| probabilities[ranking.row(place)];
        let groups: Vec<(f64, f64)> =
            ranking.groups().map(|group| (group.clone().map(positives).sum(), group.len() as f64)).collect();
        let positives: f64 = groups.iter().map(|group| group.0).sum();
        let negatives = scores.len() as f64 - positives;
        if positives <= 0.0 || negatives <= 0.0 {
            return Err(StatsError::OneClass { rows: scores.len() });
        }
        Ok(Self { ranking, probabilities, groups, totals: (positives, negatives) })
    }

    /// Area under the ROC curve; rows of one score count half, as in [`crate::metric::roc_auc`].
    ///
    /// ```
    /// use steersman_stats::estimate::Ranked;
    /// let auc = Ranked::new(&[0.9, 0.5, 0.1], &[1.0, 0.5, 0.0]).unwrap().roc_auc().unwrap();
    /// assert!((auc.value - 0.944_444_444).abs() < 1e-9); // NannyML: 0.94444
    /// ```
    pub fn roc_auc(&self) -> Result<Estimate, StatsError> {
        let (value, slopes) = self.roc_auc_and_slopes();
        Ok(self.estimate(value, &slopes))
    }

    /// Average precision; rows of one score are decided together, as in [`crate::metric::average_precision`]. (NannyML
    /// decides them one by one in an order of chance.)
    ///
    /// ```
    /// use steersman_stats::estimate::Ranked;
    /// let precision = Ranked::new(&[0.9, 0.5, 0.1], &[1.0, 0.5, 0.0]).unwrap().average_precision().unwrap();
    /// assert!((precision.value - (1.0 + 0.5 * 0.75) / 1.5).abs() < 1e-12);
    /// ```
    pub fn average_precision(&self) -> Result<Estimate, StatsError> {
        let (value, slopes) = self.average_precision_and_slopes();
        Ok(self.estimate(value, &slopes))
    }

    /// The area, and for each group of equal scores by how much it changes when a label turns positive.
    pub(super) fn roc_auc_and_slopes(&self) -> (f64, Vec<f64>) {
        let (positives, negatives) = self.totals;
        let (mut above, mut wrong, mut area) = (0.0, 0.0, 0.0);
        let mut slopes = Vec::with_capacity(self.groups.len());
        for &(own, rows) in &self.groups {
            let own_wrong = rows - own;
            area += own_wrong * (above + own / 2.0);
            // It wins against the negatives below, and no longer loses against the positives above.
            slopes.push((negatives - wrong - own_wrong / 2.0) - (above + own / 2.0));
            above += own;
            wrong += own_wrong;
        }
        let value = (area / (positives * negatives)).clamp(0.0, 1.0);
        let shift = value * (1.0 / positives - 1.0 / negatives);
        slopes.iter_mut().for_each(|slope| *slope = *slope / (positives * negatives) - shift);
        (value, slopes)
    }

    /// The same of average precision.
    pub(super) fn average_precision_and_slopes(&self) -> (f64, Vec<f64>) {
        let positives = self.totals.0;
        let (mut above, mut rows_above, mut sum) = (0.0, 0.0, 0.0);
        let mut parts = Vec::with_capacity(self.groups.len());
        for &(own, rows) in &self.groups {
            above += own;
            rows_above += rows;
            sum += own * above / rows_above;
            parts.push((above / rows_above, own / rows_above));
        }
        let value = sum / positives;
        // A positive more counts with its own precision, and raises that of all groups from its own on.
        let mut below = 0.0;
        let mut slopes: Vec<f64> = parts
            .iter()
            .rev()
            .map(|(precision, part)| {
                below += part;
                (precision + below - value) / positives
            })
            .collect();
        slopes.reverse();
        (value, slopes)
    }

    fn estimate(&self, value: f64, slopes: &[f64]) -> Estimate {
        let variance: f64 = self
            .ranking
            .groups()
            .zip(slopes)
            .map(|(group, slope)| {
                let chances = group.map(|place| chance(self.probabilities[self.ranking.row(place)]));
                chances.sum::<f64>() * slope * slope
            })
            .sum();
        Estimate { value, deviation: variance.sqrt(), range: SHARE }
    }

    /// Spreads what groups have over their rows.
    pub(super) fn by_row(&self, of_groups: &[f64]) -> Vec<f64> {
        let mut of_rows = vec![0.0; self.probabilities.len()];
        for (group, &value) in self.ranking.groups().zip(of_groups) {
            group.for_each(|place| of_rows[self.ranking.row(place)] = value);
        }
        of_rows
    }
}

/// Brier score of outputs that are meant as probabilities, given the calibrated ones: `mean p (1 - o)^2 + (1 - p) o^2`.
///
/// ```
/// let brier = steersman_stats::estimate::brier(&[0.5, 1.0], &[0.3, 0.9]).unwrap();
/// assert!((brier.value - (0.25 + 0.1) / 2.0).abs() < 1e-12);
/// ```
pub fn brier(outputs: &[f64], probabilities: &[f64]) -> Result<Estimate, StatsError> {
    let loss = |output: f64| ((1.0 - output).powi(2), output.powi(2));
    mean_loss(outputs, probabilities, SHARE, loss)
}

/// Log loss in nats of outputs that are meant as probabilities and clipped at 1e-15, given the calibrated ones:
/// `mean -p ln o - (1 - p) ln (1 - o)`.
///
/// ```
/// let loss = steersman_stats::estimate::log_loss(&[0.5, 0.5], &[0.3, 0.9]).unwrap();
/// assert!((loss.value - std::f64::consts::LN_2).abs() < 1e-12 && loss.deviation == 0.0);
/// ```
pub fn log_loss(outputs: &[f64], probabilities: &[f64]) -> Result<Estimate, StatsError> {
    let least = |share: f64| -share.clamp(LEAST_PROBABILITY, 1.0).ln();
    mean_loss(outputs, probabilities, (0.0, f64::INFINITY), |output| (least(output), least(1.0 - output)))
}

/// The mean of losses that depend on whether the label is positive or negative.
fn mean_loss(
    outputs: &[f64],
    probabilities: &[f64],
    range: (f64, f64),
    loss: impl Fn(f64) -> (f64, f64),
) -> Result<Estimate, StatsError> {
    paired(outputs.len(), probabilities.len(), 1)?;
    self::probabilities(outputs)?;
    self::probabilities(probabilities)?;
    let (mut sum, mut variance) = (0.0, 0.0);
    for (&output, &p) in outputs.iter().zip(probabilities) {
        let (positive, negative) = loss(output);
        sum += p * positive + (1.0 - p) * negative;
        variance += chance(p) * (positive - negative).powi(2);
    }
    let rows = outputs.len() as f64;
    Ok(Estimate { value: sum / rows, deviation: variance.sqrt() / rows, range })
}
