//! Logistic regression.

use super::boosted::{checked_weights, probability};
use super::matrix::Matrix;
use crate::error::{StatsError, finite, paired};
use serde::{Deserialize, Serialize};

/// Steps after which Newton's method gives up; it takes five to ten.
const MOST_STEPS: usize = 100;
/// A step this small, in units of standardised coefficients, is the last.
const LAST_STEP: f64 = 1e-10;

/// Logistic regression with an L2 penalty, fitted by Newton's method (McCullagh and Nelder, *Generalized Linear Models*,
/// 1989, section 4.4).
///
/// Columns are standardised, missing values stand for the column's mean and constant columns have no influence. The
/// penalty is `ridge / 2` times the sum of the squared coefficients of standardised columns, the intercept excluded:
/// scikit-learn's `C` is `1 / ridge` behind a `StandardScaler`.
///
/// ```
/// use steersman_stats::learn::{Logistic, Matrix};
/// let features = Matrix::new(vec![vec![0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]).unwrap();
/// let targets = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
/// let model = Logistic::fit(&features, &targets, None, 0.0).unwrap();
/// assert!((model.predict(&features).unwrap()[0] - 0.25).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    intercept: f64,
    terms: Vec<Term>,
}

/// One column's part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Term {
    mean: f64,
    deviation: f64,
    coefficient: f64,
}

impl Term {
    fn standardised(&self, value: f64) -> f64 {
        if value.is_nan() || self.deviation == 0.0 { 0.0 } else { (value - self.mean) / self.deviation }
    }
}

impl Logistic {
    /// Learns targets between 0 and 1; weights as in [`super::Boosted::fit`]. Classes that the features separate need a
    /// positive ridge. `O(rows x columns^2)` a step.
    pub fn fit(
        features: &Matrix,
        targets: &[f64],
        weights: Option<&[f64]>,
        ridge: f64,
    ) -> Result<Self, StatsError> {
        paired(features.rows(), targets.len(), 2)?;
        finite(targets)?;
        if !targets.iter().all(|target| (0.0..=1.0).contains(target)) {
            return Err(StatsError::Domain("a target of the log loss is not between 0 and 1"));
        }
        if !(ridge >= 0.0 && ridge.is_finite()) {
            return Err(StatsError::Domain("a ridge is at least 0"));
        }
        let weights = match weights {
            Some(weights) => checked_weights(weights, targets.len())?,
            None => &vec![1.0; targets.len()],
        };
        let total: f64 = weights.iter().sum();
        let mean = weights.iter().zip(targets).map(|(weight, target)| weight * target).sum::<f64>() / total;
        if !(mean > 0.0 && mean < 1.0) {
            return Err(StatsError::OneClass { rows: targets.len() });
        }
        let mut terms: Vec<Term> = features.columns().iter().map(|column| scale(column, weights)).collect();
        let standardised: Vec<Vec<f64>> = features
            .columns()
            .iter()
            .zip(&terms)
            .map(|(column, term)| column.iter().map(|&value| term.standardised(value)).collect())
            .collect();
        let problem = Problem { columns: &standardised, targets, weights, ridge };
        let coefficients = problem.solve((mean / (1.0 - mean)).ln())?;
        let Some((&intercept, slopes)) = coefficients.split_first() else {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        };
        terms.iter_mut().zip(slopes).for_each(|(term, &slope)| term.coefficient = slope);
        Ok(Self { intercept, terms })
    }

    /// The probability of each row; the columns are those that were learnt from.
    pub fn predict(&self, features: &Matrix) -> Result<Vec<f64>, StatsError> {
        features.expect_columns(self.terms.len())?;
        let mut outputs = vec![self.intercept; features.rows()];
        for (column, term) in features.columns().iter().zip(&self.terms) {
            for (output, &value) in outputs.iter_mut().zip(column) {
                *output += term.coefficient * term.standardised(value);
            }
        }
        outputs.iter_mut().for_each(|output| *output = probability(*output));
        Ok(outputs)
    }

    /// The coefficients of the standardised columns.
    pub fn coefficients(&self) -> Vec<f64> {
        self.terms.iter().map(|term| term.coefficient).collect()
    }
}

/// Weighted mean and standard deviation of the values that are not missing.
fn scale(column: &[f64], weights: &[f64]) -> Term {
    let known = || column.iter().zip(weights).filter(|(value, _)| !value.is_nan());
    let total: f64 = known().map(|(_, weight)| weight).sum();
    if total <= 0.0 {
        return Term { mean: 0.0, deviation: 0.0, coefficient: 0.0 };
    }
    let mean = known().map(|(value, weight)| value * weight).sum::<f64>() / total;
    let variance = known().map(|(value, weight)| weight * (value - mean).powi(2)).sum::<f64>() / total;
    let constant = variance.sqrt() <= 1e-12 * mean.abs();
    Term { mean, deviation: if constant { 0.0 } else { variance.sqrt() }, coefficient: 0.0 }
}

/// What Newton's method works on; the intercept is coefficient 0.
struct Problem<'a> {
    columns: &'a [Vec<f64>],
    targets: &'a [f64],
    weights: &'a [f64],
    ridge: f64,
}

impl Problem<'_> {
    fn solve(&self, intercept: f64) -> Result<Vec<f64>, StatsError> {
        let mut coefficients = vec![0.0; self.columns.len() + 1];
        coefficients[0] = intercept;
        let mut loss = self.loss(&coefficients);
        for _ in 0..MOST_STEPS {
            let step = self.step(&coefficients)?;
            let mut share = 1.0;
            // A step that goes too far is halved until the loss falls.
            let (next, next_loss) = loop {
                let next: Vec<f64> = coefficients.iter().zip(&step).map(|(c, s)| c + share * s).collect();
                let next_loss = self.loss(&next);
                if next_loss <= loss || share < 1e-6 {
                    break (next, next_loss);
                }
                share /= 2.0;
            };
            (coefficients, loss) = (next, next_loss);
            if step.iter().all(|step| step.abs() < LAST_STEP) || share < 1e-6 {
                return Ok(coefficients);
            }
        }
        Err(StatsError::Domain("logistic regression does not converge: the classes need a larger ridge"))
    }

    fn scores(&self, coefficients: &[f64]) -> Vec<f64> {
        let mut scores = vec![coefficients[0]; self.targets.len()];
        for (column, &slope) in self.columns.iter().zip(&coefficients[1..]) {
            scores.iter_mut().zip(column).for_each(|(score, value)| *score += slope * value);
        }
        scores
    }

    fn loss(&self, coefficients: &[f64]) -> f64 {
        let scores = self.scores(coefficients);
        let rows = scores.iter().zip(self.targets).zip(self.weights);
        let loss: f64 = rows
            .map(|((&score, target), weight)| {
                weight * (score.max(0.0) + (-score.abs()).exp().ln_1p() - target * score)
            })
            .sum();
        loss + 0.5 * self.ridge * coefficients[1..].iter().map(|slope| slope * slope).sum::<f64>()
    }

    /// Newton's step: the solution of `hessian * step = -gradient`.
    fn step(&self, coefficients: &[f64]) -> Result<Vec<f64>, StatsError> {
        let shares: Vec<f64> = self.scores(coefficients).into_iter().map(probability).collect();
        let rows = || shares.iter().zip(self.targets).zip(self.weights);
        let slopes: Vec<f64> = rows().map(|((share, target), weight)| weight * (target - share)).collect();
        let curvatures: Vec<f64> =
            rows().map(|((share, _), weight)| weight * share * (1.0 - share)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let size = coefficients.len();
        let mut downhill = vec![slopes.iter().sum::<f64>()];
        let mut hessian = vec![vec![0.0; size]; size];
        hessian[0][0] = curvatures.iter().sum();
        for (index, column) in self.columns.iter().enumerate() {
            let row = index + 1;
            downhill.push(dot(column, &slopes) - self.ridge * coefficients[row]);
            let curved: Vec<f64> = column.iter().zip(&curvatures).map(|(value, c)| value * c).collect();
            hessian[row][0] = curved.iter().sum();
            for (other, values) in self.columns[..=index].iter().enumerate() {
                hessian[row][other + 1] = dot(&curved, values);
            }
            hessian[row][row] += self.ridge;
            if hessian[row][row] == 0.0 {
                hessian[row][row] = 1.0; // a constant column: its coefficient stays 0
            }
        }
        solve_symmetric(hessian, downhill)
    }
}

/// Solves `matrix * x = right` for a positive definite matrix, of which the lower triangle is read (Cholesky).
fn solve_symmetric(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Result<Vec<f64>, StatsError> {
    let size = right.len();
    for row in 0..size {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| matrix[row][k] * matrix[column][k]).sum();
            let rest = matrix[row][column] - known;
            matrix[row][column] = if row > column {
                rest / matrix[column][column]
            } else if rest > 1e-12 * matrix[row][row] {
                rest.sqrt()
            } else {
                return Err(StatsError::Domain("columns depend on each other and the ridge is too small"));
            };
        }
    }
    for row in 0..size {
        let known: f64 = (0..row).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|k| matrix[k][row] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Ok(right)
}
