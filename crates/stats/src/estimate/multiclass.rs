//! Expected metrics of decisions among several classes (CBPE).

use super::binary::Ranked;
use super::calibration::Calibration;
use super::expected::Estimate;
use crate::error::{StatsError, paired};
use crate::metric::{Confusion, Rate, known_classes, probabilities};
use serde::{Deserialize, Serialize};

const SHARE: (f64, f64) = (0.0, 1.0);
/// Rounding that is forgiven when probabilities are added up.
const ROUNDING: f64 = 1e-9;

/// A calibration for each class against all others, as in NannyML; a row's probabilities are then divided by their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCalibration {
    classes: Vec<Calibration>,
}

impl ClassCalibration {
    /// Learns from a column of scores for each class and the class numbers of labelled rows; also gives the rows' own
    /// probabilities out of fold, column by column.
    pub fn fit(
        scores: &[Vec<f64>],
        truths: &[usize],
        seed: u64,
    ) -> Result<(Self, Vec<Vec<f64>>), StatsError> {
        known_classes(truths, scores.len())?;
        let (mut classes, mut held) = (Vec::new(), Vec::new());
        for (class, column) in scores.iter().enumerate() {
            let own: Vec<bool> = truths.iter().map(|&truth| truth == class).collect();
            let (calibration, probabilities) = Calibration::fit(column, &own, seed)?;
            classes.push(calibration);
            held.push(probabilities);
        }
        normalise(&mut held)?;
        Ok((Self { classes }, held))
    }

    /// The calibration of each class against all others.
    pub fn classes(&self) -> &[Calibration] {
        &self.classes
    }

    /// The probabilities of rows, column by column.
    pub fn apply(&self, scores: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, StatsError> {
        if scores.len() != self.classes.len() {
            return Err(StatsError::Columns { left: self.classes.len(), right: scores.len() });
        }
        let pairs = self.classes.iter().zip(scores);
        let mut columns = pairs.map(|(class, column)| class.apply(column)).collect::<Result<Vec<_>, _>>()?;
        normalise(&mut columns)?;
        Ok(columns)
    }
}

/// Divides each row by its sum; a row of zeros becomes uniform.
fn normalise(columns: &mut [Vec<f64>]) -> Result<(), StatsError> {
    let rows = same_rows(columns)?;
    let even = 1.0 / columns.len() as f64;
    for row in 0..rows {
        let sum: f64 = columns.iter().map(|column| column[row]).sum();
        columns.iter_mut().for_each(|column| column[row] = if sum > 0.0 { column[row] / sum } else { even });
    }
    Ok(())
}

/// The rows of columns, at least two, of one length.
fn same_rows(columns: &[Vec<f64>]) -> Result<usize, StatsError> {
    let [first, others @ ..] = columns else {
        return Err(StatsError::Domain("there are at least two classes"));
    };
    if others.is_empty() {
        return Err(StatsError::Domain("there are at least two classes"));
    }
    others.iter().try_for_each(|column| paired(first.len(), column.len(), 1))?;
    Ok(first.len())
}

/// A window of probabilities, a column for each class, of which macro averages are asked: unweighted means over the
/// classes of each class against all others.
///
/// Sampling errors know that a row has one class: with slopes `d_c` of the metric in the label of each class, a row adds
/// `sum p_c d_c^2 - (sum p_c d_c)^2` to the variance.
///
/// ```
/// use steersman_stats::estimate::Multiclass;
/// use steersman_stats::metric::Rate;
/// let probabilities = [vec![0.7, 0.2], vec![0.2, 0.5], vec![0.1, 0.3]];
/// let window = Multiclass::new(&probabilities).unwrap();
/// let accuracy = window.rate(Rate::Accuracy, &[0, 1]).unwrap();
/// assert!((accuracy.value - 0.6).abs() < 1e-12);
/// assert!((accuracy.deviation - (0.7f64 * 0.3 + 0.5 * 0.5).sqrt() / 2.0).abs() < 1e-12);
/// ```
pub struct Multiclass<'a> {
    probabilities: &'a [Vec<f64>],
    rows: usize,
}

impl<'a> Multiclass<'a> {
    /// Takes the calibrated probabilities of the rows; each row's add up to 1.
    pub fn new(probabilities: &'a [Vec<f64>]) -> Result<Self, StatsError> {
        let rows = same_rows(probabilities)?;
        probabilities.iter().try_for_each(|column| self::probabilities(column))?;
        let whole = |row: usize| probabilities.iter().map(|column| column[row]).sum::<f64>();
        if !(0..rows).all(|row| (whole(row) - 1.0).abs() < ROUNDING) {
            return Err(StatsError::Domain("the probabilities of a row do not add up to 1"));
        }
        Ok(Self { probabilities, rows })
    }

    /// Expected rows by true class and decided class.
    pub fn confusion(&self, decisions: &[usize]) -> Result<Confusion, StatsError> {
        paired(self.rows, decisions.len(), 1)?;
        known_classes(decisions, self.probabilities.len())?;
        let mut table = Confusion::empty(self.probabilities.len())?;
        for (class, column) in self.probabilities.iter().enumerate() {
            decisions.iter().zip(column).for_each(|(&decision, &p)| table.add(class, decision, p));
        }
        Ok(table)
    }

    /// Accuracy, or the macro average of another rate; a share of nothing counts as 0.
    pub fn rate(&self, rate: Rate, decisions: &[usize]) -> Result<Estimate, StatsError> {
        let (value, slopes) = self.confusion(decisions)?.macro_rate(rate)?;
        let slope = |class: usize, row: usize| slopes.get(class, decisions[row]);
        Ok(self.estimate(value, slope))
    }

    /// Macro average of the area under the ROC curve; `scores` holds a column for each class.
    pub fn roc_auc(&self, scores: &[Vec<f64>]) -> Result<Estimate, StatsError> {
        self.ranked(scores, |ranked| ranked.roc_auc_and_slopes())
    }

    /// Macro average of average precision; `scores` holds a column for each class.
    pub fn average_precision(&self, scores: &[Vec<f64>]) -> Result<Estimate, StatsError> {
        self.ranked(scores, |ranked| ranked.average_precision_and_slopes())
    }

    fn ranked(
        &self,
        scores: &[Vec<f64>],
        metric: impl Fn(&Ranked<'_>) -> (f64, Vec<f64>),
    ) -> Result<Estimate, StatsError> {
        let classes = self.probabilities.len();
        if scores.len() != classes {
            return Err(StatsError::Columns { left: classes, right: scores.len() });
        }
        let (mut sum, mut slopes) = (0.0, Vec::with_capacity(classes));
        for (scores, probabilities) in scores.iter().zip(self.probabilities) {
            let ranked = Ranked::new(scores, probabilities)?;
            let (value, of_groups) = metric(&ranked);
            sum += value;
            slopes.push(ranked.by_row(&of_groups));
        }
        let share = 1.0 / classes as f64;
        Ok(self.estimate(sum * share, |class, row| slopes[class][row] * share))
    }

    fn estimate(&self, value: f64, slope: impl Fn(usize, usize) -> f64) -> Estimate {
        let of_row = |row: usize| {
            let (mut mean, mut square) = (0.0, 0.0);
            for (class, column) in self.probabilities.iter().enumerate() {
                let own = slope(class, row);
                mean += column[row] * own;
                square += column[row] * own * own;
            }
            (square - mean * mean).max(0.0)
        };
        let variance: f64 = (0..self.rows).map(of_row).sum();
        Estimate { value, deviation: variance.sqrt(), range: SHARE }
    }
}
