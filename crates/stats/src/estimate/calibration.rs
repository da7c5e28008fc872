//! What scores mean as probabilities.

use super::isotonic::Isotonic;
use crate::error::{StatsError, finite, paired};
use crate::learn::Folds;
use crate::metric::{calibration_gap, probabilities};
use serde::{Deserialize, Serialize};

/// Bins of the calibration error and folds in which it is measured, as in NannyML.
const BINS: usize = 10;
const FOLDS: usize = 10;

/// How scores become probabilities: by [`Isotonic`] regression where that lowers the calibration error on rows that
/// were held out, otherwise they are taken as they are.
///
/// This is NannyML's rule (expected calibration error in 10 bins of equally many rows) with ten folds that each row is
/// held out of once, in place of NannyML's ten overlapping random tenths. Scores that are no probabilities are always
/// calibrated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The function; none if scores are taken as they are.
    pub function: Option<Isotonic>,
    /// Calibration error of the scores as they are; none if they are no probabilities.
    pub gap_before: Option<f64>,
    /// Calibration error of rows that were calibrated by the others.
    pub gap_after: f64,
}

impl Calibration {
    /// Learns from labelled reference rows, at least 40 of both classes; also gives the rows' own probabilities, each
    /// from a function that has not seen its label. Those are what to estimate past windows with, as the function's own
    /// rows flatter it.
    ///
    /// ```
    /// use steersman_stats::estimate::Calibration;
    /// let scores: Vec<f64> = (0..1_000).map(|row| f64::from(row % 10) / 10.0 + 0.05).collect();
    /// // The share of positives is the square of the score.
    /// let truths: Vec<bool> =
    ///     (0..1_000).map(|row| f64::from(row / 10) / 100.0 < scores[row as usize].powi(2)).collect();
    /// let (calibration, held) = Calibration::fit(&scores, &truths, 7).unwrap();
    /// assert!(calibration.function.is_some() && calibration.gap_after < calibration.gap_before.unwrap());
    /// assert!((held[5] - 0.55f64.powi(2)).abs() < 0.02);
    /// ```
    pub fn fit(scores: &[f64], truths: &[bool], seed: u64) -> Result<(Self, Vec<f64>), StatsError> {
        paired(scores.len(), truths.len(), 2 * BINS.max(FOLDS) * 2)?;
        finite(scores)?;
        if truths.iter().all(|truth| *truth == truths[0]) {
            return Err(StatsError::OneClass { rows: truths.len() });
        }
        let ones: Vec<f64> = truths.iter().map(|&truth| f64::from(u8::from(truth))).collect();
        let held = held_out(scores, &ones, None, seed)?;
        let gap_after = calibration_gap(&held, &ones, BINS)?;
        let gap_before = match probabilities(scores) {
            Ok(()) => Some(calibration_gap(scores, &ones, BINS)?),
            Err(_) => None,
        };
        if gap_before.is_some_and(|before| before <= gap_after) {
            return Ok((Self { function: None, gap_before, gap_after }, scores.to_vec()));
        }
        let function = Some(Isotonic::fit(scores, &ones, None)?);
        Ok((Self { function, gap_before, gap_after }, held))
    }

    /// The probabilities of scores.
    pub fn apply(&self, scores: &[f64]) -> Result<Vec<f64>, StatsError> {
        finite(scores)?;
        match &self.function {
            Some(function) => Ok(function.apply(scores)),
            None => {
                probabilities(scores)?;
                Ok(scores.to_vec())
            }
        }
    }
}

/// Each row's calibrated score by a function of the other folds.
pub(super) fn held_out(
    scores: &[f64],
    ones: &[f64],
    weights: Option<&[f64]>,
    seed: u64,
) -> Result<Vec<f64>, StatsError> {
    let folds = Folds::new(scores.len(), FOLDS, seed)?;
    let mut outputs = vec![0.0; scores.len()];
    for fold in 0..folds.count() {
        let (rest, held) = (folds.rest(fold), folds.held(fold));
        let of =
            |values: &[f64], rows: &[u32]| rows.iter().map(|&row| values[row as usize]).collect::<Vec<f64>>();
        let weights = weights.map(|weights| of(weights, &rest));
        let function = Isotonic::fit(&of(scores, &rest), &of(ones, &rest), weights.as_deref())?;
        held.iter().zip(function.apply(&of(scores, &held))).for_each(|(&row, p)| outputs[row as usize] = p);
    }
    Ok(outputs)
}
