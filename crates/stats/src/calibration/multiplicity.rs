//! Many tests at once: adjusted p-values, and which e-values are evidence together.
//!
//! An adjusted p-value is compared with the level for the whole family: the share of false findings (Benjamini and
//! Hochberg, Yekutieli) or the probability of any (Holm). All return their numbers in the order of the input and agree
//! with `statsmodels.stats.multitest.multipletests`.

use crate::error::StatsError;

fn probabilities(p_values: &[f64]) -> Result<(), StatsError> {
    match p_values.iter().all(|p| (0.0..=1.0).contains(p)) {
        true => Ok(()),
        false => Err(StatsError::Domain("a p-value is between 0 and 1")),
    }
}

/// The positions of values, smallest value first.
fn rising(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}

/// Holm's adjusted p-values: at most `alpha` of all families have any false finding, whatever the dependence (S. Holm,
/// Scandinavian Journal of Statistics 6, 1979).
///
/// ```
/// let adjusted = steersman_stats::calibration::holm(&[0.01, 0.04, 0.03]).unwrap();
/// assert_eq!(adjusted, [0.03, 0.06, 0.06]); // 3 * 0.01, then 2 * 0.03, then max(0.06, 0.04)
/// ```
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    probabilities(p_values)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0f64;
    for (rank, position) in rising(p_values).into_iter().enumerate() {
        largest = largest.max(p_values[position] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[position] = largest;
    }
    Ok(adjusted)
}

/// Benjamini and Hochberg's adjusted p-values: at most a share `alpha` of the findings is false in the mean, for
/// independent or positively dependent tests (JRSS B 57, 1995).
///
/// ```
/// let adjusted = steersman_stats::calibration::benjamini_hochberg(&[0.01, 0.04, 0.03]).unwrap();
/// assert_eq!(adjusted, [0.03, 0.04, 0.04]); // 3/1 * 0.01; 3/2 * 0.03 = 0.045, but 3/3 * 0.04 is less
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    step_up(p_values, 1.0)
}

/// Benjamini and Yekutieli's adjusted p-values: as [`benjamini_hochberg`], for any dependence (Annals of Statistics 29,
/// 2001).
///
/// ```
/// let adjusted = steersman_stats::calibration::benjamini_yekutieli(&[0.01, 0.04]).unwrap();
/// assert_eq!(adjusted, [0.03, 0.06]); // Benjamini-Hochberg times 1 + 1/2
/// ```
pub fn benjamini_yekutieli(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    step_up(p_values, (1..=p_values.len()).map(|rank| 1.0 / rank as f64).sum())
}

fn step_up(p_values: &[f64], factor: f64) -> Result<Vec<f64>, StatsError> {
    probabilities(p_values)?;
    let count = p_values.len() as f64;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least = 1.0f64;
    for (rank, position) in rising(p_values).into_iter().enumerate().rev() {
        // In this order a factor of 1 leaves the p-value as it is.
        least = least.min(p_values[position] * (factor * count / (rank + 1) as f64));
        adjusted[position] = least;
    }
    Ok(adjusted)
}

/// The positions of the e-values that are findings together, rising: the `k` largest, for the largest `k` whose smallest
/// is at least `count / (alpha k)`. At most a share `alpha` of them is false in the mean, whatever the dependence (Wang
/// and Ramdas, *False discovery rate control with e-values*, JRSS B 84, 2022).
///
/// ```
/// let logs = [100f64, 1.0, 50.0, 0.0].map(f64::ln);
/// // Of four at level 0.1, one needs 40, two need 20 each, three 13.3 each.
/// assert_eq!(steersman_stats::calibration::e_bh(&logs, 0.1).unwrap(), [0, 2]);
/// ```
pub fn e_bh(log_e: &[f64], alpha: f64) -> Result<Vec<usize>, StatsError> {
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(StatsError::Domain("a level is between 0 and 1"));
    }
    if log_e.iter().any(|log| log.is_nan()) {
        return Err(StatsError::Domain("an e-value is a number"));
    }
    let mut order = rising(log_e);
    order.reverse();
    let needed = |found: usize| (log_e.len() as f64 / (alpha * found as f64)).ln();
    let found = (1..=order.len()).rev().find(|&found| log_e[order[found - 1]] >= needed(found)).unwrap_or(0);
    order.truncate(found);
    order.sort_unstable();
    Ok(order)
}
