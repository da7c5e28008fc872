//! What a change of one column's distribution would cost, from counts and sums.

use super::loss::CellLoss;
use crate::error::StatsError;
use crate::interval::{Interval, normal_quantile};
use serde::{Deserialize, Serialize};

/// The change of the mean loss that the change of one column's shares brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// Expected change of the mean loss, current minus reference, with its 95 % interval; above 0 is harm.
    pub change: Interval,
    /// Its standard error.
    pub standard_error: f64,
    /// What each cell adds to it: `(q - p) (cell's mean loss - overall mean loss)`. These sum to the change.
    pub cells: Vec<f64>,
    /// Share of the current rows in cells for which no loss is known; they count with the overall mean loss.
    pub uncovered: f64,
}

/// Mean losses of cells and the variances of these means.
struct Levels {
    overall: f64,
    means: Vec<f64>,
    variances: Vec<f64>,
    known: Vec<bool>,
}

impl Levels {
    /// A single loss says nothing of its own spread, so it has the spread within all cells; with no spread
    /// anywhere the error is 0.
    fn new(losses: &[CellLoss]) -> Result<Self, StatsError> {
        if losses.iter().any(|cell| !cell.is_finite()) {
            return Err(StatsError::Domain("a cell's sum of losses is not a finite number"));
        }
        let mut total = CellLoss::default();
        losses.iter().for_each(|cell| total.merge(cell));
        let overall = total.mean().ok_or(StatsError::TooFew { needed: 1, got: 0 })?;
        let filled = losses.iter().filter(|cell| cell.count > 0).count() as u64;
        let within: f64 = losses.iter().map(CellLoss::deviations).sum();
        let pooled = if total.count > filled { within / (total.count - filled) as f64 } else { 0.0 };
        let variance = |cell: &CellLoss| match cell.count {
            0 => 0.0,
            count => cell.variance().unwrap_or(pooled) / count as f64,
        };
        Ok(Self {
            overall,
            means: losses.iter().map(|cell| cell.mean().unwrap_or(overall)).collect(),
            variances: losses.iter().map(variance).collect(),
            known: losses.iter().map(|cell| cell.count > 0).collect(),
        })
    }
}

/// Shares of counts, and their total.
fn shares(counts: &[u64]) -> Result<(Vec<f64>, f64), StatsError> {
    match counts.iter().sum::<u64>() {
        0 => Err(StatsError::TooFew { needed: 1, got: 0 }),
        total => Ok((counts.iter().map(|&count| count as f64 / total as f64).collect(), total as f64)),
    }
}

/// Variance of the mean of `values` that are drawn with these shares, `count` times.
fn drawn(shares: &[f64], values: impl Iterator<Item = f64> + Clone, count: f64) -> f64 {
    let mean: f64 = shares.iter().zip(values.clone()).map(|(share, value)| share * value).sum();
    let square: f64 = shares.iter().zip(values).map(|(share, value)| share * (value - mean).powi(2)).sum();
    square / count
}

fn estimate(value: f64, variance: f64) -> Result<(Interval, f64), StatsError> {
    let standard_error = variance.max(0.0).sqrt();
    let half = normal_quantile(0.975)? * standard_error;
    Ok((Interval { value, low: value - half, high: value + half }, standard_error))
}

fn same_cells(cells: usize, others: &[usize]) -> Result<(), StatsError> {
    match others.iter().find(|&&other| other != cells) {
        Some(&right) => Err(StatsError::Length { left: cells, right }),
        None => Ok(()),
    }
}

/// The expected change of the mean loss from one column's shift alone: `sum_i (q_i - p_i) m_i`, with `p` and
/// `q` the shares of the column's cells in reference and current rows (quantile bins or categories) and `m`
/// the cells' mean losses in the reference, from labels or estimated.
///
/// The variance, by the delta method: `sum_i (q_i - p_i)^2 s_i^2 / n_i` for the mean losses, and for the
/// shares the multinomial variance of `sum m_i p_i` and of `sum m_i q_i`. It is what post-stratification does
/// (W. G. Cochran, *Sampling Techniques*, 1977, section 5A.9) with the current shares as strata. It holds as
/// far as the loss within a cell stays what it was; columns that move together are each charged with the
/// whole.
///
/// `losses`, `reference` and `current` are of the same cells in the same order; the reference's rows may be
/// more than those with losses. Fails if the lengths differ, or if there are no losses or no rows on a side.
///
/// ```
/// use steersman_stats::harm::{CellLoss, marginal_shift};
/// let cell = |losses: &[f64]| losses.iter().copied().collect::<CellLoss>();
/// let losses = [cell(&[0.0, 0.2]), cell(&[0.8, 1.0])];
/// // A quarter of the rows moves from the cell with mean loss 0.1 to that with 0.9.
/// let shift = marginal_shift(&losses, &[50, 50], &[25, 75]).unwrap();
/// assert!((shift.change.value - 0.25 * 0.8).abs() < 1e-12);
/// let variance = 2.0 * 0.25f64.powi(2) * 0.01 + 0.16 / 100.0 + 0.12 / 100.0;
/// assert!((shift.standard_error - variance.sqrt()).abs() < 1e-12);
/// ```
pub fn marginal_shift(losses: &[CellLoss], reference: &[u64], current: &[u64]) -> Result<Shift, StatsError> {
    same_cells(losses.len(), &[reference.len(), current.len()])?;
    let levels = Levels::new(losses)?;
    let ((p, n), (q, m)) = (shares(reference)?, shares(current)?);
    let cells: Vec<f64> =
        p.iter().zip(&q).zip(&levels.means).map(|((p, q), mean)| (q - p) * (mean - levels.overall)).collect();
    let of_losses: f64 =
        p.iter().zip(&q).zip(&levels.variances).map(|((p, q), variance)| (q - p).powi(2) * variance).sum();
    let means = levels.means.iter().copied();
    let of_shares = drawn(&p, means.clone(), n) + drawn(&q, means, m);
    let (change, standard_error) = estimate(cells.iter().sum(), of_losses + of_shares)?;
    let uncovered = q.iter().zip(&levels.known).filter(|(_, known)| !**known).map(|(q, _)| q).sum();
    Ok(Shift { change, standard_error, cells, uncovered })
}

/// The change of a mean loss in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MixAndRate {
    /// Because rows moved between cells, at the reference's losses.
    pub mix: Interval,
    /// Because losses within cells changed, at the current shares: what the mix does not explain.
    pub rate: Interval,
}

/// Splits the change of the mean loss, current minus reference, into what the shift of a column explains and
/// what it does not: `sum (q - p) m + sum q (m' - m)` (E. M. Kitagawa, JASA 50, 1955; the reference's losses
/// weigh the mix). `q` and `p` are the shares of rows *with losses*, so the parts add up to the whole change
/// of the mean. Current rows in cells without reference losses are compared with the reference's overall
/// mean. Both summaries are of the same cells in the same order.
///
/// ```
/// use steersman_stats::harm::{CellLoss, mix_and_rate};
/// let cell = |losses: &[f64]| losses.iter().copied().collect::<CellLoss>();
/// let parts = mix_and_rate(
///     &[cell(&[0.0, 0.2]), cell(&[0.8, 1.0])],
///     &[cell(&[0.2]), cell(&[0.9, 1.0, 1.1])],
/// ).unwrap();
/// // The mean loss rose from 0.5 to 0.8.
/// assert!((parts.mix.value - 0.2).abs() < 1e-12 && (parts.rate.value - 0.1).abs() < 1e-12);
/// ```
pub fn mix_and_rate(reference: &[CellLoss], current: &[CellLoss]) -> Result<MixAndRate, StatsError> {
    same_cells(reference.len(), &[current.len()])?;
    let counts = |cells: &[CellLoss]| cells.iter().map(|cell| cell.count).collect::<Vec<u64>>();
    let shift = marginal_shift(reference, &counts(reference), &counts(current))?;
    let (before, now) = (Levels::new(reference)?, Levels::new(current)?);
    let (q, m) = shares(&counts(current))?;
    // Cells that are empty now have no weight.
    let changes = before.means.iter().zip(&now.means).map(|(before, now)| now - before);
    let value: f64 = q.iter().zip(changes.clone()).map(|(q, change)| q * change).sum();
    let of_losses: f64 =
        q.iter().zip(before.variances.iter().zip(&now.variances)).map(|(q, (a, b))| q * q * (a + b)).sum();
    let (rate, _) = estimate(value, of_losses + drawn(&q, changes, m))?;
    Ok(MixAndRate { mix: shift.change, rate })
}
