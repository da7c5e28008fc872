//! Calibration for a window whose mix of rows has changed (PAPE, also called M-CBPE).

use super::isotonic::Isotonic;
use crate::error::{StatsError, finite, paired};
use crate::learn::{Boosting, Loss, Matrix, out_of_fold};

/// Folds in which rows are told apart, so that no row is recognised.
const FOLDS: usize = 5;
/// Trees that tell a window from the reference: fewer than usual, as only the ratio of densities is asked.
const BOOSTING: Boosting = Boosting { trees: 50, leaves: 15, ..Boosting::new(Loss::Log) };
/// Weights above this share of them are cut down to it.
const CUT: f64 = 0.99;
/// A row is told apart with at most this certainty.
const CERTAIN: f64 = 1.0 - 1e-6;

/// Labelled reference rows.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// Features, without the score.
    pub features: &'a Matrix,
    /// The model's scores.
    pub scores: &'a [f64],
    /// The truths.
    pub truths: &'a [bool],
}

/// Probabilities of a window's rows by a calibration that was made for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapted {
    /// The probability of each row.
    pub probabilities: Vec<f64>,
    /// The calibration itself, for more rows of the same mix.
    pub function: Isotonic,
    /// As many reference rows of equal weight would say as much: `(sum w)^2 / sum w^2` (Kish). A small part of the
    /// reference means that it knows little of the window, and the estimate is weak.
    pub effective_rows: f64,
}

/// How much more often rows like each reference row occur in the window than in the reference.
///
/// `w = (n_r / n_c) g / (1 - g)`, where `g` is the probability that the row is of the window, by [`out_of_fold`] boosted
/// trees over both; cut at the 99th percentile (J. Bialek, W. Kuberski et al., *Estimating Model Performance Under
/// Covariate Shift Without Labels*, arXiv 2401.08348).
pub fn density_ratio(reference: &Matrix, window: &Matrix, seed: u64) -> Result<Vec<f64>, StatsError> {
    let (here, there) = (reference.rows(), window.rows());
    let together = reference.stacked(window)?;
    let origin: Vec<f64> = (0..here + there).map(|row| if row < here { 0.0 } else { 1.0 }).collect();
    let told = out_of_fold(&BOOSTING, &together, &origin, None, FOLDS, seed)?;
    let prior = here as f64 / there as f64;
    let weight = |share: f64| prior * share.min(CERTAIN) / (1.0 - share.min(CERTAIN));
    let mut weights: Vec<f64> = told.into_iter().take(here).map(weight).collect();
    let mut sorted = weights.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (CUT * here as f64).ceil() as usize;
    if let Some(&most) = sorted.get(rank.saturating_sub(1)) {
        weights.iter_mut().for_each(|weight| *weight = weight.min(most));
    }
    Ok(weights)
}

/// Calibrates a window's scores on reference rows weighted by [`density_ratio`] over features and score. The
/// probabilities go into [`super::Decided`] and [`super::Ranked`] as those of [`super::Calibration`] do.
///
/// It follows any change of the mix of rows that the features show, also where scores come to mean something else in
/// the new mix. It cannot see concept drift (labels that change for the same features), nor a change in features that
/// it is not given, nor learn about rows unlike all of the reference.
///
/// ```
/// use steersman_stats::estimate::{Labelled, adapt};
/// use steersman_stats::learn::Matrix;
/// // In group 0 one of four rows is positive, in group 1 three of four; the score does not know.
/// let group: Vec<f64> = (0..2_000).map(|row| f64::from(row % 2)).collect();
/// let truths: Vec<bool> = (0..2_000).map(|row| (row / 2 % 4 == 0) != (row % 2 == 1)).collect();
/// let features = Matrix::new(vec![group]).unwrap();
/// let reference = Labelled { features: &features, scores: &[0.5; 2_000], truths: &truths };
/// let window = Matrix::new(vec![vec![1.0; 500]]).unwrap();
/// let adapted = adapt(&reference, &window, &[0.5; 500], 7).unwrap();
/// assert!((adapted.probabilities[0] - 0.75).abs() < 0.02 && adapted.effective_rows < 1_200.0);
/// ```
pub fn adapt(
    reference: &Labelled<'_>,
    features: &Matrix,
    scores: &[f64],
    seed: u64,
) -> Result<Adapted, StatsError> {
    paired(reference.scores.len(), reference.truths.len(), FOLDS)?;
    finite(reference.scores)?;
    finite(scores)?;
    let known = reference.features.with_column(reference.scores)?;
    let weights = density_ratio(&known, &features.with_column(scores)?, seed)?;
    let ones: Vec<f64> = reference.truths.iter().map(|&truth| f64::from(u8::from(truth))).collect();
    let function = Isotonic::fit(reference.scores, &ones, Some(&weights))?;
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    let probabilities = function.apply(scores);
    Ok(Adapted { probabilities, function, effective_rows: sum * sum / squares })
}
