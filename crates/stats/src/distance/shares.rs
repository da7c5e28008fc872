//! Distances of shares: counts of the same cells in reference and current data, and what they are when nothing differs.

use super::Test;
use crate::error::{StatsError, paired};
use statrs::distribution::{ChiSquared, ContinuousCDF as _};
use std::f64::consts::LN_2;

/// The share that an empty cell gets where other tools put a floor: this, unless a filled cell is at most as small.
const FLOOR: f64 = 1e-4;

/// The shares of two rows of counts.
fn shares(reference: &[u64], current: &[u64]) -> Result<(Vec<f64>, Vec<f64>), StatsError> {
    let (n, m) = totals(reference, current)?;
    let of = |counts: &[u64], total: f64| counts.iter().map(|&count| count as f64 / total).collect();
    Ok((of(reference, n), of(current, m)))
}

/// The totals of two rows of counts, both above zero.
pub(super) fn totals(reference: &[u64], current: &[u64]) -> Result<(f64, f64), StatsError> {
    paired(reference.len(), current.len(), 1)?;
    let of = |counts: &[u64]| match counts.iter().map(|&count| count as f64).sum::<f64>() {
        0.0 => Err(StatsError::TooFew { needed: 1, got: 0 }),
        total => Ok(total),
    };
    Ok((of(reference)?, of(current)?))
}

/// How many cells are not empty on both sides.
pub(super) fn filled(reference: &[u64], current: &[u64]) -> usize {
    reference.iter().zip(current).filter(|(a, b)| **a > 0 || **b > 0).count()
}

/// Shares with half an observation added to each cell: `(count + 1/2) / (total + K/2)`. The `K` cells are those that are
/// not empty on both sides; the others are left out, as they would tell apart nothing but the sizes of the rows.
fn smoothed(reference: &[u64], current: &[u64]) -> Result<Vec<(f64, f64)>, StatsError> {
    let (n, m) = totals(reference, current)?;
    let half = filled(reference, current) as f64 / 2.0;
    let share = |count: u64, total: f64| (count as f64 + 0.5) / (total + half);
    let cells = reference.iter().zip(current).filter(|(a, b)| **a > 0 || **b > 0);
    Ok(cells.map(|(&a, &b)| (share(a, n), share(b, m))).collect())
}

/// Shares in which the empty cells have the floor of Evidently; they no longer add up to one.
fn floored(reference: &[u64], current: &[u64]) -> Result<(Vec<f64>, Vec<f64>), StatsError> {
    let (mut p, mut q) = shares(reference, current)?;
    for shares in [&mut p, &mut q] {
        let least = shares.iter().copied().filter(|share| *share > 0.0).fold(f64::INFINITY, f64::min);
        let floor = if least <= FLOOR { least / 1e6 } else { FLOOR };
        shares.iter_mut().filter(|share| **share == 0.0).for_each(|share| *share = floor);
    }
    Ok((p, q))
}

/// Jensen-Shannon distance: the square root of the divergence with logarithms to base 2, in `[0, 1]` (Endres and
/// Schindelin, IEEE Transactions on Information Theory 49, 2003). The same as `scipy.spatial.distance.jensenshannon`
/// with `base=2`, and NannyML's.
///
/// ```
/// let distance = steersman_stats::distance::jensen_shannon(&[1, 1], &[3, 1]).unwrap();
/// assert!((distance - 0.220_895_8).abs() < 1e-6);
/// ```
pub fn jensen_shannon(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    Ok((jensen_shannon_divergence(reference, current)? / LN_2).min(1.0).sqrt())
}

/// Jensen-Shannon distance with natural logarithms, in `[0, 0.833]`: [`jensen_shannon`] times the root of `ln 2`. The
/// default base of SciPy, and Evidently's.
///
/// ```
/// let distance = steersman_stats::distance::jensen_shannon_nats(&[1, 1], &[3, 1]).unwrap();
/// assert!((distance - 0.183_907_4).abs() < 1e-6);
/// ```
pub fn jensen_shannon_nats(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    Ok(jensen_shannon_divergence(reference, current)?.min(LN_2).sqrt())
}

/// The divergence in nats.
fn jensen_shannon_divergence(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    let towards = |a: f64, b: f64| if a > 0.0 { a * (2.0 * a / (a + b)).ln() } else { 0.0 };
    let divergence: f64 = p.iter().zip(&q).map(|(&p, &q)| 0.5 * (towards(p, q) + towards(q, p))).sum();
    Ok(divergence.max(0.0))
}

/// Population stability index `sum (p - q) ln(p / q)` in nats, of shares with half an observation added to each cell:
/// `p = (count + 1/2) / (total + K/2)` over the `K` cells that are not empty on both sides. Symmetric, at least 0, and
/// finite whatever is empty (the textbook's index on Jeffreys' estimate of the shares, H. Jeffreys, Proceedings of the
/// Royal Society A 186, 1946).
///
/// ```
/// let psi = steersman_stats::distance::psi(&[50, 50], &[75, 25]).unwrap();
/// assert!((psi - 0.268_676_8).abs() < 1e-6); // (75.5 - 50.5) / 101 ln(75.5 / 25.5)
/// ```
pub fn psi(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    Ok(smoothed(reference, current)?.iter().map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

/// Population stability index of plain shares, in which an empty cell gets a floor: 1e-4, or a millionth of the smallest
/// filled share of that side if that share is at most 1e-4 (Evidently's rule). One empty cell moves it by about
/// `share x ln(share / floor)`: prefer [`psi`].
///
/// ```
/// let psi = steersman_stats::distance::psi_floored(&[50, 50], &[75, 25]).unwrap();
/// assert!((psi - 0.25 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn psi_floored(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = floored(reference, current)?;
    Ok(p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

/// Kullback-Leibler divergence of the current data from the reference, `sum p ln(p / q)` in nats with the shares of
/// [`psi`], where `p` is the reference. [`psi`] is its sum over both directions.
///
/// ```
/// let nats = steersman_stats::distance::kl_divergence(&[50, 50], &[75, 25]).unwrap();
/// assert!((nats - 0.140_567_8).abs() < 1e-6);
/// ```
pub fn kl_divergence(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let divergence: f64 = smoothed(reference, current)?.iter().map(|(p, q)| p * (p / q).ln()).sum();
    Ok(divergence.max(0.0))
}

/// Kullback-Leibler divergence `sum p ln(p / q)` in nats of shares with the floor of [`psi_floored`], brought to a sum
/// of one again (Evidently's rule).
///
/// ```
/// let nats = steersman_stats::distance::kl_divergence_floored(&[50, 50], &[75, 25]).unwrap();
/// assert!((nats - 0.143_841).abs() < 1e-6);
/// ```
pub fn kl_divergence_floored(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = floored(reference, current)?;
    let (all_p, all_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let term = |(p, q): (&f64, &f64)| p / all_p * ((p / all_p) / (q / all_q)).ln();
    Ok(p.iter().zip(&q).map(term).sum::<f64>().max(0.0))
}

/// Kullback-Leibler divergence of plain shares, as `scipy.stats.entropy(p, q)`; infinite if a cell of the current data is
/// empty and that of the reference is not.
pub(super) fn kl_divergence_plain(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    let term = |(p, q): (&f64, &f64)| if *p > 0.0 { p * (p / q).ln() } else { 0.0 };
    Ok(p.iter().zip(&q).map(term).sum::<f64>().max(0.0))
}

/// Hellinger distance `sqrt(1/2 sum (sqrt p - sqrt q)^2)`, in `[0, 1]` (E. Hellinger, Journal für die reine und
/// angewandte Mathematik 136, 1909).
///
/// ```
/// assert_eq!(steersman_stats::distance::hellinger(&[1, 0], &[0, 1]).unwrap(), 1.0);
/// ```
pub fn hellinger(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    let sum: f64 = p.iter().zip(&q).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum();
    Ok((0.5 * sum).sqrt().min(1.0))
}

/// The largest difference of the shares of one cell, in `[0, 1]`.
///
/// ```
/// assert_eq!(steersman_stats::distance::l_infinity(&[1, 1], &[3, 1]).unwrap(), 0.25);
/// ```
pub fn l_infinity(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    Ok(p.iter().zip(&q).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max))
}

/// Total variation distance `1/2 sum |p - q|`, in `[0, 1]`: the share of the rows that would have to change their cell.
///
/// ```
/// assert_eq!(steersman_stats::distance::total_variation(&[1, 1, 2], &[2, 2, 0]).unwrap(), 0.5);
/// ```
pub fn total_variation(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    Ok((0.5 * p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum::<f64>()).min(1.0))
}

/// [`psi`] with its p-value: if nothing differs, `psi / h` with `h = 1/n + 1/m` is about chi-square with `K - 1` degrees
/// of freedom for `n` and `m` rows in `K` cells (B. Yurdakul, *Statistical Properties of Population Stability Index*,
/// 2018). So `(K - 1) h` is what it shows when nothing happened. With few rows a cell it alarms less often than told.
///
/// ```
/// let test = steersman_stats::distance::psi_test(&[50, 50], &[75, 25]).unwrap();
/// assert!((test.statistic - 0.268_676_8).abs() < 1e-6 && (test.p_value - 0.000_247_1).abs() < 1e-6);
/// ```
pub fn psi_test(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    let statistic = psi(reference, current)?;
    Ok(Test { statistic, p_value: null_tail(reference, current, statistic)? })
}

/// [`jensen_shannon`] with its p-value: if nothing differs, `8 ln 2 d^2 / h` is about chi-square as in [`psi_test`]. From
/// about ten rows a cell on the level holds; with fewer it alarms too often (at 0.001 about 1 % for 50 rows in 20 cells).
///
/// ```
/// let test = steersman_stats::distance::jensen_shannon_test(&[50, 50], &[75, 25]).unwrap();
/// assert!((test.statistic - 0.220_895_8).abs() < 1e-6 && (test.p_value - 0.000_234_9).abs() < 1e-6);
/// ```
pub fn jensen_shannon_test(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    let statistic = jensen_shannon(reference, current)?;
    Ok(Test { statistic, p_value: null_tail(reference, current, 8.0 * LN_2 * statistic * statistic)? })
}

/// `P(h X > divergence)` for a chi-square `X` of one degree of freedom less than filled cells.
fn null_tail(reference: &[u64], current: &[u64], divergence: f64) -> Result<f64, StatsError> {
    let (n, m) = totals(reference, current)?;
    chi_square_tail(divergence / (1.0 / n + 1.0 / m), filled(reference, current).saturating_sub(1))
}

/// `P(X > x)` of the chi-square law; 1 when there is no degree of freedom.
pub(super) fn chi_square_tail(x: f64, degrees: usize) -> Result<f64, StatsError> {
    if degrees == 0 {
        return Ok(1.0);
    }
    Ok(chi_square_law(degrees)?.sf(x).clamp(0.0, 1.0))
}

fn chi_square_law(degrees: usize) -> Result<ChiSquared, StatsError> {
    ChiSquared::new(degrees as f64).map_err(|_| StatsError::Domain("degrees of freedom are positive"))
}
