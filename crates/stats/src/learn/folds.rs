//! Predictions for rows by models that have not seen them.

use super::matrix::{Binned, Matrix};
use super::{Boosted, Boosting};
use crate::error::StatsError;
use crate::random::Random;

/// A random division of rows into folds whose sizes differ by at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folds {
    of: Vec<u32>,
    count: u32,
}

impl Folds {
    /// Divides `rows` rows into `count` folds; at least two, and at most one a row.
    ///
    /// ```
    /// let folds = steersman_stats::learn::Folds::new(10, 5, 7).unwrap();
    /// assert_eq!((folds.held(0).len(), folds.rest(0).len()), (2, 8));
    /// ```
    pub fn new(rows: usize, count: usize, seed: u64) -> Result<Self, StatsError> {
        if count < 2 {
            return Err(StatsError::Domain("there are at least two folds"));
        }
        if rows < count {
            return Err(StatsError::TooFew { needed: count, got: rows });
        }
        let count = u32::try_from(count).map_err(|_| StatsError::Domain("too many folds"))?;
        let mut of: Vec<u32> = (0..count).cycle().take(rows).collect();
        Random::new(seed).shuffle(&mut of);
        Ok(Self { of, count })
    }

    /// How many folds there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The rows of a fold, rising.
    pub fn held(&self, fold: u32) -> Vec<u32> {
        self.rows(|of| of == fold)
    }

    /// The rows of all other folds, rising.
    pub fn rest(&self, fold: u32) -> Vec<u32> {
        self.rows(|of| of != fold)
    }

    fn rows(&self, wanted: impl Fn(u32) -> bool) -> Vec<u32> {
        (0u32..).zip(&self.of).filter(|(_, of)| wanted(**of)).map(|(row, _)| row).collect()
    }
}

/// Boosted predictions for each row by the model of the other folds: as good as on new rows, unlike those of a model
/// on the rows it learnt from.
///
/// ```
/// use steersman_stats::learn::{Boosting, Loss, Matrix, out_of_fold};
/// let features = Matrix::new(vec![(0..200).map(f64::from).collect()]).unwrap();
/// let noise: Vec<f64> = (0..200).map(|row| f64::from(row * 7_919 % 200 % 2)).collect();
/// let held = out_of_fold(&Boosting::new(Loss::Squared), &features, &noise, None, 5, 7).unwrap();
/// assert_eq!(held.len(), 200);
/// ```
pub fn out_of_fold(
    settings: &Boosting,
    features: &Matrix,
    targets: &[f64],
    weights: Option<&[f64]>,
    folds: usize,
    seed: u64,
) -> Result<Vec<f64>, StatsError> {
    let folds = Folds::new(features.rows(), folds, seed)?;
    let binned = Binned::new(features);
    let mut outputs = vec![0.0; features.rows()];
    for fold in 0..folds.count() {
        let model = Boosted::fit_rows(settings, &binned, targets, weights, &folds.rest(fold))?;
        let held = folds.held(fold);
        let chosen = |column: &Vec<f64>| held.iter().map(|&row| column[row as usize]).collect();
        let predicted = model.predict(&Matrix::new(features.columns().iter().map(chosen).collect())?)?;
        held.iter().zip(predicted).for_each(|(&row, output)| outputs[row as usize] = output);
    }
    Ok(outputs)
}
