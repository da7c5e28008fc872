//! Gradient-boosted trees.

use super::matrix::{Binned, Matrix};
use super::tree::{Grower, Tree};
use crate::error::{StatsError, finite, paired};
use serde::{Deserialize, Serialize};

/// Rows that are scored together, so that their columns and a tree stay in the cache.
const BLOCK: usize = 256;
/// A share of positive targets is kept this far from 0 and 1 before the logarithm of its odds is taken.
const LEAST_SHARE: f64 = 1e-6;

/// Gradients are kept in single precision.
const LARGEST_TARGET: f64 = 1e30;

/// What boosting lowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Squared error; predictions are means.
    Squared,
    /// Log loss of targets between 0 and 1; predictions are probabilities.
    Log,
}

/// How to boost. The defaults of [`Boosting::new`] are those of LightGBM, with a ridge of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    /// What is lowered.
    pub loss: Loss,
    /// How many trees.
    pub trees: usize,
    /// The share of its correction that each tree makes.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub leaves: usize,
    /// Fewest rows of a leaf.
    pub least_leaf_rows: usize,
    /// Weight of the squared leaf value in the loss, in rows.
    pub ridge: f64,
}

impl Boosting {
    /// 100 trees of 31 leaves with 20 rows or more each, learning rate 0.1, ridge 1.
    pub const fn new(loss: Loss) -> Self {
        Self { loss, trees: 100, learning_rate: 0.1, leaves: 31, least_leaf_rows: 20, ridge: 1.0 }
    }

    fn check(&self) -> Result<(), StatsError> {
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err(StatsError::Domain("a learning rate is above 0 and at most 1"));
        }
        if !(self.ridge >= 0.0 && self.ridge.is_finite()) {
            return Err(StatsError::Domain("a ridge is at least 0"));
        }
        Ok(())
    }
}

/// Gradient-boosted trees (J. H. Friedman, Annals of Statistics 29, 2001) with second-order gains (Chen and Guestrin,
/// *XGBoost*, KDD 2016), grown leaf by leaf on histograms of at most 256 bins (Ke et al., *LightGBM*, NeurIPS 2017).
/// Missing values take the side that lowers the loss. Nothing is sampled: the same data give the same trees.
///
/// ```
/// use steersman_stats::learn::{Boosted, Boosting, Loss, Matrix};
/// let x: Vec<f64> = (0..400).map(|row| f64::from(row % 20)).collect();
/// let y: Vec<f64> = x.iter().map(|x| if *x < 10.0 { 1.0 } else { 3.0 }).collect();
/// let features = Matrix::new(vec![x]).unwrap();
/// let model = Boosted::fit(&Boosting::new(Loss::Squared), &features, &y, None).unwrap();
/// let fitted = model.predict(&features).unwrap();
/// assert!((fitted[0] - 1.0).abs() < 1e-3 && (fitted[10] - 3.0).abs() < 1e-3);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Boosted {
    loss: Loss,
    columns: usize,
    base: f64,
    trees: Vec<Tree>,
}

impl Boosted {
    /// Learns the targets, which for [`Loss::Log`] lie between 0 and 1, from as many rows of features. Weights are
    /// not negative and not all 0; none means 1 for each row. `O(rows x columns)` for each level of each tree.
    pub fn fit(
        settings: &Boosting,
        features: &Matrix,
        targets: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<Self, StatsError> {
        let rows: Vec<u32> = (0..features.rows() as u32).collect();
        Self::fit_rows(settings, &Binned::new(features), targets, weights, &rows)
    }

    /// The same on some of the rows.
    pub(super) fn fit_rows(
        settings: &Boosting,
        binned: &Binned,
        targets: &[f64],
        weights: Option<&[f64]>,
        rows: &[u32],
    ) -> Result<Self, StatsError> {
        settings.check()?;
        paired(binned.rows(), targets.len(), 1)?;
        finite(targets)?;
        if settings.loss == Loss::Log && !targets.iter().all(|target| (0.0..=1.0).contains(target)) {
            return Err(StatsError::Domain("a target of the log loss is not between 0 and 1"));
        }
        if !targets.iter().all(|target| target.abs() <= LARGEST_TARGET) {
            return Err(StatsError::Domain("a target is beyond 1e30"));
        }
        let weights = match weights {
            Some(weights) => checked_weights(weights, targets.len())?,
            None => &vec![1.0; targets.len()],
        };
        let total: f64 = rows.iter().map(|&row| weights[row as usize]).sum();
        if total <= 0.0 {
            return Err(StatsError::Domain("all weights are zero"));
        }
        let mean = rows.iter().map(|&row| weights[row as usize] * targets[row as usize]).sum::<f64>() / total;
        let base = match settings.loss {
            Loss::Squared => mean,
            Loss::Log => log_odds(mean.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE)),
        };
        // The ridge counts rows: weights are taken relative to their mean.
        let unit = rows.len() as f64 / total;
        let mut scores = vec![base; targets.len()];
        let mut slopes = vec![[0.0f32; 2]; targets.len()];
        let mut grower = Grower::new(binned, settings, rows);
        let mut trees = Vec::with_capacity(settings.trees);
        for _ in 0..settings.trees {
            for &row in rows {
                let row = row as usize;
                let (gradient, hessian) = match settings.loss {
                    Loss::Squared => (scores[row] - targets[row], 1.0),
                    Loss::Log => {
                        let share = probability(scores[row]);
                        (share - targets[row], share * (1.0 - share))
                    }
                };
                let weight = unit * weights[row];
                slopes[row] = [(weight * gradient) as f32, (weight * hessian) as f32];
            }
            let Some(tree) = grower.grow(&slopes, &mut scores) else { break };
            trees.push(tree);
        }
        Ok(Self { loss: settings.loss, columns: binned.columns().len(), base, trees })
    }

    /// The mean or probability of each row; the columns are those that were learnt from.
    pub fn predict(&self, features: &Matrix) -> Result<Vec<f64>, StatsError> {
        features.expect_columns(self.columns)?;
        let mut outputs = vec![self.base; features.rows()];
        for (block, outputs) in outputs.chunks_mut(BLOCK).enumerate() {
            for tree in &self.trees {
                for (place, output) in outputs.iter_mut().enumerate() {
                    *output += tree.value(features.columns(), block * BLOCK + place);
                }
            }
        }
        if self.loss == Loss::Log {
            outputs.iter_mut().for_each(|output| *output = probability(*output));
        }
        Ok(outputs)
    }
}

/// The stored form, not yet known to be sound.
#[derive(Deserialize)]
struct Stored {
    loss: Loss,
    columns: usize,
    base: f64,
    trees: Vec<Tree>,
}

impl TryFrom<Stored> for Boosted {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { loss, columns, base, trees } = stored;
        if !base.is_finite() || trees.iter().any(|tree| !tree.sound(columns)) {
            return Err(StatsError::Incompatible("the stored trees are damaged"));
        }
        Ok(Self { loss, columns, base, trees })
    }
}

/// Fails unless there is a finite weight of at least 0 for each row.
pub(super) fn checked_weights(weights: &[f64], rows: usize) -> Result<&[f64], StatsError> {
    paired(weights.len(), rows, 1)?;
    finite(weights)?;
    if weights.iter().any(|weight| *weight < 0.0) {
        return Err(StatsError::Domain("a weight is below 0"));
    }
    Ok(weights)
}

fn log_odds(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

/// The probability with the given logarithm of odds.
pub(super) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn table(rows: usize, columns: usize) -> Vec<Vec<f64>> {
        let mut random = Random::new(7);
        (0..columns).map(|_| (0..rows).map(|_| random.below(1_000) as f64 / 1_000.0).collect()).collect()
    }

    #[test]
    fn probabilities_follow_the_odds_and_missing_values_choose_a_side() {
        let mut columns = table(20_000, 3);
        let mut random = Random::new(1);
        let chance = |x: &[Vec<f64>], row: usize| 0.1 + 0.6 * x[0][row] * x[1][row];
        let targets: Vec<f64> = (0..20_000)
            .map(|row| f64::from(u8::from((random.below(1_000) as f64) < 1e3 * chance(&columns, row))))
            .collect();
        let features = Matrix::new(columns.clone()).unwrap();
        let settings = Boosting { trees: 50, leaves: 8, ..Boosting::new(Loss::Log) };
        let model = Boosted::fit(&settings, &features, &targets, None).unwrap();
        let predicted = model.predict(&features).unwrap();
        let error: f64 =
            (0..20_000).map(|row| (predicted[row] - chance(&columns, row)).abs()).sum::<f64>() / 2e4;
        assert!(error < 0.02, "mean error {error}");
        assert_eq!(model, Boosted::fit(&settings, &features, &targets, None).unwrap());

        // What is missing tells the target here.
        columns[2]
            .iter_mut()
            .zip(&targets)
            .filter(|(_, target)| **target == 1.0)
            .for_each(|(x, _)| *x = f64::NAN);
        let features = Matrix::new(columns).unwrap();
        let predicted =
            Boosted::fit(&settings, &features, &targets, None).unwrap().predict(&features).unwrap();
        assert!(predicted.iter().zip(&targets).all(|(p, y)| (p - y).abs() < 0.05));
    }

    #[test]
    fn a_row_of_weight_two_is_two_rows() {
        // Few values, so that the bins are the same.
        let mut columns = table(400, 2);
        columns.iter_mut().flatten().for_each(|value| *value = (*value * 50.0).round());
        let targets: Vec<f64> = columns[0].iter().zip(&columns[1]).map(|(a, b)| a * b).collect();
        let weights: Vec<f64> = (0..400).map(|row| f64::from(1 + row % 2)).collect();
        let twice: Vec<usize> = (0..400).flat_map(|row| vec![row; 1 + row % 2]).collect();
        let repeated = |values: &[f64]| twice.iter().map(|&row| values[row]).collect::<Vec<f64>>();
        // Without a ridge, and with leaves of any size, the weighted sums are the same.
        let settings =
            Boosting { trees: 5, least_leaf_rows: 1, ridge: 0.0, leaves: 4, ..Boosting::new(Loss::Squared) };
        let features = Matrix::new(columns.clone()).unwrap();
        let weighted = Boosted::fit(&settings, &features, &targets, Some(&weights)).unwrap();
        let large = Matrix::new(columns.iter().map(|column| repeated(column)).collect()).unwrap();
        let plain = Boosted::fit(&settings, &large, &repeated(&targets), None).unwrap();
        let (a, b) = (weighted.predict(&features).unwrap(), plain.predict(&features).unwrap());
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-3, "{worst}"); // gradients have single precision, targets reach 2500
    }

    #[test]
    fn bad_input_is_refused_and_stored_trees_are_checked() {
        let features = Matrix::new(table(50, 2)).unwrap();
        let settings = Boosting::new(Loss::Log);
        assert!(Boosted::fit(&settings, &features, &[0.0; 49], None).is_err());
        assert!(Boosted::fit(&settings, &features, &[2.0; 50], None).is_err());
        assert!(Boosted::fit(&settings, &features, &[f64::NAN; 50], None).is_err());
        assert!(Boosted::fit(&settings, &features, &[1.0; 50], Some(&[0.0; 50])).is_err());
        // Nothing to learn is no error.
        let model = Boosted::fit(&settings, &features, &[1.0; 50], None).unwrap();
        assert!(model.predict(&features).unwrap().iter().all(|p| (p - 1.0).abs() < 1e-3));
        assert!(model.predict(&Matrix::new(table(50, 3)).unwrap()).is_err());

        let targets: Vec<f64> = features.columns()[0].iter().map(|x| x.round()).collect();
        let model = Boosted::fit(&settings, &features, &targets, None).unwrap();
        let text = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<Boosted>(&text).unwrap(), model);
        let damaged = text.replacen("\"children\":[1,2]", "\"children\":[0,2]", 1);
        assert!(damaged != text && serde_json::from_str::<Boosted>(&damaged).is_err());
    }
}
