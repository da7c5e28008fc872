//! Expected errors of regression (DLE, direct loss estimation).

use super::expected::Estimate;
use crate::error::{StatsError, finite, paired};
use crate::learn::{Boosted, Boosting, Loss, Matrix, out_of_fold};
use serde::{Deserialize, Serialize};

/// Folds in which the reference's own losses are predicted.
const FOLDS: usize = 5;
/// Fewest reference rows: a fifth of them must leave the learner leaves to cut.
const LEAST_ROWS: usize = 100;

/// The loss of one row. Means of it are MAE, MSE, MAPE and MSLE; [`Estimate::root`] of the second and last are RMSE and
/// RMSLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointLoss {
    /// `|output - truth|`.
    Absolute,
    /// `(output - truth)^2`.
    Squared,
    /// `|output - truth| / |truth|`; no truth may be 0.
    AbsolutePercentage,
    /// `(ln(1 + output) - ln(1 + truth))^2`; both above -1.
    SquaredLogarithmic,
}

impl PointLoss {
    /// The loss of a row.
    pub fn of(self, output: f64, truth: f64) -> Result<f64, StatsError> {
        match self {
            Self::Absolute => Ok((output - truth).abs()),
            Self::Squared => Ok((output - truth).powi(2)),
            Self::AbsolutePercentage if truth == 0.0 => {
                Err(StatsError::Domain("an error has no share of a truth that is 0"))
            }
            Self::AbsolutePercentage => Ok(((output - truth) / truth).abs()),
            Self::SquaredLogarithmic if output.min(truth) <= -1.0 => {
                Err(StatsError::Domain("a value of -1 or below has no logarithm"))
            }
            Self::SquaredLogarithmic => Ok((output.ln_1p() - truth.ln_1p()).powi(2)),
        }
    }
}

/// A model of the loss that a row will have, from its features and the output (J. Bialek et al., NannyML's *direct loss
/// estimation*, with [`Boosted`] trees in place of LightGBM).
///
/// The loss of a row strays from what is predicted for it by an amount that is taken to be in proportion to the
/// prediction; the factor is measured on rows that were held out. So sampling errors are larger than those of the rows
/// that the model learnt from, and grow with the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectLoss {
    model: Boosted,
    /// Root mean square of (loss - predicted) relative to that of the prediction.
    spread: f64,
}

impl DirectLoss {
    /// Learns from labelled reference rows, at least 100; also gives the rows' own losses as predicted by models of the
    /// other folds, which are what to estimate past windows with.
    ///
    /// ```
    /// use steersman_stats::estimate::{DirectLoss, PointLoss};
    /// use steersman_stats::learn::Matrix;
    /// // Errors are 1 where the feature is below 10, and 3 above.
    /// let x: Vec<f64> = (0..400).map(|row| f64::from(row % 20)).collect();
    /// let truths: Vec<f64> = x.iter().map(|x| if *x < 10.0 { 1.0 } else { 3.0 }).collect();
    /// let features = Matrix::new(vec![x]).unwrap();
    /// let (losses, _) =
    ///     DirectLoss::fit(PointLoss::Absolute, &features, &[0.0; 400], &truths, 7).unwrap();
    /// let window = Matrix::new(vec![vec![15.0, 16.0]]).unwrap();
    /// let mae = losses.estimate(&losses.predict(&window, &[0.0; 2]).unwrap()).unwrap();
    /// assert!((mae.value - 3.0).abs() < 0.01);
    /// ```
    pub fn fit(
        loss: PointLoss,
        features: &Matrix,
        outputs: &[f64],
        truths: &[f64],
        seed: u64,
    ) -> Result<(Self, Vec<f64>), StatsError> {
        paired(outputs.len(), truths.len(), LEAST_ROWS)?;
        finite(truths)?;
        let features = features.with_column(outputs)?;
        let losses = outputs
            .iter()
            .zip(truths)
            .map(|(&output, &truth)| loss.of(output, truth))
            .collect::<Result<Vec<f64>, _>>()?;
        let settings = Boosting::new(Loss::Squared);
        let held = out_of_fold(&settings, &features, &losses, None, FOLDS, seed)?;
        let model = Boosted::fit(&settings, &features, &losses, None)?;
        let predicted: f64 = held.iter().map(|held| held * held).sum();
        let missed: f64 = held.iter().zip(&losses).map(|(held, loss)| (loss - held).powi(2)).sum();
        let spread = if predicted > 0.0 { (missed / predicted).sqrt() } else { 0.0 };
        Ok((Self { model, spread }, held))
    }

    /// The loss that each row is expected to have.
    pub fn predict(&self, features: &Matrix, outputs: &[f64]) -> Result<Vec<f64>, StatsError> {
        self.model.predict(&features.with_column(outputs)?)
    }

    /// The mean loss of a window, from the losses that its rows are expected to have.
    pub fn estimate(&self, predicted: &[f64]) -> Result<Estimate, StatsError> {
        if predicted.is_empty() {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        finite(predicted)?;
        let rows = predicted.len() as f64;
        let squares: f64 = predicted.iter().map(|loss| loss * loss).sum();
        Ok(Estimate {
            // Trees that correct each other may end a little below 0.
            value: (predicted.iter().sum::<f64>() / rows).max(0.0),
            deviation: self.spread * squares.sqrt() / rows,
            range: (0.0, f64::INFINITY),
        })
    }
}
