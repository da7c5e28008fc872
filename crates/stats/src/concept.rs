//! Whether the truth still follows the predictions as it did.
//!
//! Inputs can look as before while the truth behind them changed: labels are turned around, fraud learns. Each column, and
//! all columns together, are blind to it; a loss sees it late, because what it costs is small beside the scatter of losses.
//! Here the labels are compared with what *the same scores* meant in the reference.

use crate::calibration::Inflation;
use crate::error::StatsError;
use crate::learn::{Logistic, Matrix};

/// Where the curve of the labels over the scores may bend: these quantiles of all scores.
const KNOTS: [f64; 3] = [0.25, 0.5, 0.75];
/// Keeps scores that separate the labels from infinite coefficients.
const RIDGE: f64 = 1e-6;
/// Fewer rows than this on a side say nothing.
const LEAST_ROWS: usize = 30;

/// Scores and labels of one side, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// What was predicted, on a scale on which equal steps mean about the same: the log odds of a probability, or a number.
    pub scores: &'a [f64],
    /// Whether the label was the positive one; for numbers, whether it was above what was predicted.
    pub labels: &'a [bool],
}

impl Labelled<'_> {
    fn check(&self) -> Result<(), StatsError> {
        if self.scores.len() != self.labels.len() {
            return Err(StatsError::Length { left: self.scores.len(), right: self.labels.len() });
        }
        if self.scores.len() < LEAST_ROWS {
            return Err(StatsError::TooFew { needed: LEAST_ROWS, got: self.scores.len() });
        }
        crate::error::finite(self.scores)
    }
}

/// How the labels of the current rows differ from what their scores meant in the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConceptShift {
    /// The share of positive labels that the reference lets one expect of the current scores.
    pub expected: f64,
    /// The share that is there.
    pub observed: f64,
    /// The mean, over the current rows, of how far the chance of a positive label moved.
    pub effect: f64,
    /// Twice the gain in log likelihood of a curve of its own for the current rows.
    pub statistic: f64,
    /// The p-value.
    pub p_value: f64,
}

/// Compares the labels of two sides, given their scores.
///
/// The log odds of a label are a curve of the score, linear between the quartiles, that both sides share; the current side may
/// shift and tilt it: `logit P = f(s) + side (a + b s)`. That is D. R. Cox's recalibration (Biometrika 45, 1958; Miller, Hui,
/// Tierney, Statistics in Medicine 10, 1991) between two samples; because `f` may bend, scores need not be calibrated, and a
/// change of the scores alone is no finding. `a = b = 0` is tested by the likelihood ratio, chi-square with 2 degrees of
/// freedom.
///
/// `blocks` is the block of time of each row of the reference, where rows that are close in time are alike: the statistic is
/// divided by how much more the residuals of blocks vary than those of independent rows ([`Inflation`]).
///
/// ```
/// use steersman_stats::concept::{Labelled, concept_shift};
/// // Scores 0 and 1, a hundred rows of each; so many of them are positive.
/// let scores: Vec<f64> = (0..200).map(|row| f64::from(row / 100)).collect();
/// let labels = |low, high| -> Vec<bool> { (0..200).map(|row| row % 100 < [low, high][row / 100]).collect() };
/// let (before, after) = (labels(20, 60), labels(30, 50));
/// let side = |labels| Labelled { scores: &scores, labels };
/// let found = concept_shift(side(&before), side(&after), None).unwrap();
/// // As many are positive as before, but each chance moved by a tenth: G = 2.680_7 + 2.023_8 of two tables.
/// assert!((found.expected - 0.4).abs() < 1e-6 && (found.observed - 0.4).abs() < 1e-6);
/// assert!((found.effect - 0.1).abs() < 1e-6 && (found.statistic - 4.704_5).abs() < 1e-3);
/// assert!((found.p_value - 0.095_16).abs() < 1e-4);
/// ```
pub fn concept_shift(
    reference: Labelled<'_>,
    current: Labelled<'_>,
    blocks: Option<&[Option<usize>]>,
) -> Result<ConceptShift, StatsError> {
    reference.check()?;
    current.check()?;
    let sides = [(reference, 0.0), (current, 1.0)];
    let scores: Vec<f64> = sides.iter().flat_map(|(side, _)| side.scores.iter().copied()).collect();
    let labels = sides.iter().flat_map(|(side, _)| side.labels.iter());
    let targets: Vec<f64> = labels.map(|label| f64::from(u8::from(*label))).collect();
    let side: Vec<f64> = sides.iter().flat_map(|(side, of)| vec![*of; side.scores.len()]).collect();
    let tilt: Vec<f64> = scores.iter().zip(&side).map(|(score, side)| score * side).collect();
    let shared = curve(&scores);
    let mut own = shared.clone();
    own.extend([side.clone(), tilt]);
    let (shared, own) = (Matrix::new(shared)?, Matrix::new(own)?);
    let together = Logistic::fit(&shared, &targets, None, RIDGE)?.predict(&shared)?;
    let apart = Logistic::fit(&own, &targets, None, RIDGE)?;
    let chances = apart.predict(&own)?;
    let statistic =
        (2.0 * (log_likelihood(&chances, &targets) - log_likelihood(&together, &targets))).max(0.0);
    // The current rows, as they would be on the reference's side.
    let first = reference.scores.len();
    let mut before: Vec<Vec<f64>> = shared.columns().to_vec();
    before.extend([vec![0.0; side.len()], vec![0.0; side.len()]]);
    let before = apart.predict(&Matrix::new(before)?)?;
    let rows = current.scores.len() as f64;
    let moved = chances.iter().zip(&before).skip(first);
    let inflation = blocks.and_then(|blocks| inflation(blocks, &before[..first], &targets[..first]));
    let p_value = match inflation {
        Some(inflation) => inflation.chi_square(statistic, 2)?,
        // The upper tail of a chi-square law with 2 degrees of freedom.
        None => (-0.5 * statistic).exp().max(1e-300),
    };
    Ok(ConceptShift {
        expected: before[first..].iter().sum::<f64>() / rows,
        observed: targets[first..].iter().sum::<f64>() / rows,
        effect: moved.map(|(now, before)| (now - before).abs()).sum::<f64>() / rows,
        statistic,
        p_value,
    })
}

/// The columns of a curve over the scores: the score, and how far it is above each quartile.
fn curve(scores: &[f64]) -> Vec<Vec<f64>> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut knots: Vec<f64> =
        KNOTS.iter().map(|share| sorted[((sorted.len() - 1) as f64 * share) as usize]).collect();
    // A knot at an end makes a column that is constant, or the score again.
    knots.retain(|knot| Some(knot) != sorted.first() && Some(knot) != sorted.last());
    knots.dedup();
    let above = |knot: &f64| scores.iter().map(|score| (score - knot).max(0.0)).collect();
    std::iter::once(scores.to_vec()).chain(knots.iter().map(above)).collect()
}

fn log_likelihood(chances: &[f64], targets: &[f64]) -> f64 {
    let of = |(chance, target): (&f64, &f64)| {
        let chance = chance.clamp(1e-15, 1.0 - 1e-15);
        if *target > 0.5 { chance.ln() } else { (-chance).ln_1p() }
    };
    chances.iter().zip(targets).map(of).sum()
}

/// How much more the sums of residuals in blocks vary than those of independent rows.
fn inflation(blocks: &[Option<usize>], chances: &[f64], targets: &[f64]) -> Option<Inflation> {
    let count = blocks.iter().flatten().max()? + 1;
    let mut sums = vec![(0.0, 0.0); count];
    for ((block, chance), target) in blocks.iter().zip(chances).zip(targets) {
        if let Some(block) = block {
            sums[*block].0 += target - chance;
            sums[*block].1 += chance * (1.0 - chance);
        }
    }
    let known: Vec<f64> = sums
        .iter()
        .filter(|(_, variance)| *variance > 0.0)
        .map(|(sum, variance)| sum * sum / variance)
        .collect();
    (known.len() >= 2)
        .then(|| Inflation { factor: known.iter().sum::<f64>() / known.len() as f64, blocks: known.len() })
}
