//! Maximum mean discrepancy: do two sets of rows come from one distribution, of any shape?

use super::column::rows;
use super::comoments::sum_of;
use crate::calibration::NullBand;
use crate::error::StatsError;
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// Most rows that are compared, both samples together: the kernel of all pairs must fit into memory.
const MOST_ROWS: usize = 1_000;

/// The maximum mean discrepancy of two samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KernelDrift {
    /// The unbiased estimate of the squared discrepancy: 0 on average without a difference, so it may be negative.
    pub statistic: f64,
    /// The kernel's bandwidth, in the unit of the columns.
    pub bandwidth: f64,
    /// Rows of the reference that were compared.
    pub reference_rows: usize,
    /// Rows of the window that were compared.
    pub window_rows: usize,
    /// `(1 + k) / (1 + permutations)`, with `k` the permutations whose statistic is at least as large.
    pub p_value: f64,
    /// Finer than `1 / (1 + permutations)`: beyond the largest tenth of the permutations' statistics, from 100 permutations
    /// on, the tail of a generalised Pareto law that is fitted to them (Knijnenburg et al., Bioinformatics 25, 2009). An
    /// extrapolation; where it is none, the same as `p_value`.
    pub tail_p_value: f64,
}

/// Tests by permutation whether rows of `reference` and of `window` have one distribution: the unbiased squared maximum
/// mean discrepancy (Gretton et al., JMLR 13, 2012, lemma 6) with the kernel `exp(-|x - y|^2 / (2 s^2))`, `s` the median
/// distance of the pooled rows. Exact at any size; `p_value` cannot be below `1 / (1 + permutations)`.
///
/// Both tables are given by columns, which should be on a common scale, as embeddings and
/// [`TextFeatures`](super::TextFeatures) are. Of more than 1,000 rows together, as many are drawn: the window keeps up
/// to a half. `O(rows^2 columns + permutations window_rows^2)`.
///
/// ```
/// let x: Vec<f64> = (0..40).map(f64::from).collect();
/// let y: Vec<f64> = (0..40).map(|value| f64::from(value) + 30.0).collect();
/// let drift = steersman_stats::multivariate::mmd(&[&x], &[&y], 999, 7).unwrap();
/// assert_eq!((drift.bandwidth, drift.p_value), (20.0, 0.001));
/// ```
pub fn mmd(
    reference: &[&[f64]],
    window: &[&[f64]],
    permutations: usize,
    seed: u64,
) -> Result<KernelDrift, StatsError> {
    if reference.len() != window.len() {
        return Err(StatsError::Columns { left: reference.len(), right: window.len() });
    }
    if permutations == 0 {
        return Err(StatsError::Domain("a permutation test needs a permutation"));
    }
    let mut random = Random::new(seed);
    let (n, m) =
        (rows(reference.iter().map(|column| column.len()))?, rows(window.iter().map(|column| column.len()))?);
    if n.min(m) < 2 {
        return Err(StatsError::TooFew { needed: 2, got: n.min(m) });
    }
    let kept_m = if n + m > MOST_ROWS { m.min((MOST_ROWS / 2).max(MOST_ROWS.saturating_sub(n))) } else { m };
    let kept_n = n.min(MOST_ROWS - kept_m);
    let mut points = points(reference, &draw(n, kept_n, &mut random))?;
    points.extend(self::points(window, &draw(m, kept_m, &mut random))?);

    let (kernel, bandwidth) = kernel(&points);
    let sums: Vec<f64> = kernel.iter().map(|row| row.iter().sum()).collect();
    let total: f64 = sums.iter().sum();
    let (n, m) = (kept_n as f64, kept_m as f64);
    let statistic = |own: &mut [usize]| {
        own.sort_unstable();
        // What the window's rows have among themselves gives the other two sums as well; each pair counts twice.
        let earlier = |(at, &row): (usize, &usize)| {
            let row = kernel.get(row).map_or(&[][..], Vec::as_slice);
            own.iter().take(at).filter_map(|&other| row.get(other)).sum::<f64>()
        };
        let within: f64 = 2.0 * own.iter().enumerate().map(earlier).sum::<f64>();
        let rows: f64 = own.iter().filter_map(|&row| sums.get(row)).sum();
        let (between, others) = (rows - within, total - 2.0 * rows + within);
        others / (n * (n - 1.0)) + within / (m * (m - 1.0)) - 2.0 * between / (n * m)
    };
    let mut order: Vec<usize> = (0..points.len()).collect();
    let observed = statistic(order.get_mut(kept_n..).unwrap_or_default());
    // Sums in another order differ in the last bits: equal statistics must count as equal.
    let limit = observed - 1e-12;
    let permuted: Vec<f64> = (0..permutations)
        .map(|_| {
            random.shuffle(&mut order);
            statistic(order.get_mut(kept_n..).unwrap_or_default())
        })
        .collect();
    let null = NullBand::from_windows(&permuted)?;
    Ok(KernelDrift {
        statistic: observed,
        bandwidth,
        reference_rows: kept_n,
        window_rows: kept_m,
        p_value: null.p_value(limit),
        tail_p_value: null.tail_p_value(limit).p_value.max(f64::MIN_POSITIVE),
    })
}

/// `kept` of `rows` row numbers, at random but in their order.
pub(super) fn draw(rows: usize, kept: usize, random: &mut Random) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..rows).collect();
    if kept < rows {
        random.shuffle(&mut chosen);
        chosen.truncate(kept);
        chosen.sort_unstable();
    }
    chosen
}

/// Chosen rows of a table, row by row.
fn points(columns: &[&[f64]], chosen: &[usize]) -> Result<Vec<Vec<f64>>, StatsError> {
    let point = |&row: &usize| {
        let values: Vec<f64> = columns.iter().filter_map(|column| column.get(row).copied()).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(StatsError::NotFinite { row }),
        }
    };
    chosen.iter().map(point).collect()
}

/// The kernel of all pairs of rows, 0 on the diagonal, and its bandwidth.
fn kernel(points: &[Vec<f64>]) -> (Vec<Vec<f64>>, f64) {
    let apart = |x: &[f64], y: &[f64]| sum_of(x, y, |x, y| (x - y) * (x - y));
    let lower: Vec<Vec<f64>> = points
        .iter()
        .enumerate()
        .map(|(i, x)| points.iter().take(i).map(|y| apart(x, y)).collect())
        .collect();
    let squares = typical(lower.concat());
    // Where all rows are equal every kernel is 1.
    let scale = if squares > 0.0 { -0.5 / squares } else { 0.0 };
    let mut kernel = vec![vec![0.0; points.len()]; points.len()];
    for (i, distances) in lower.iter().enumerate() {
        for (j, square) in distances.iter().enumerate() {
            let value = (square * scale).exp();
            kernel[i][j] = value;
            kernel[j][i] = value;
        }
    }
    (kernel, squares.sqrt())
}

/// The square of the median distance, or, where half of the rows are equal, the mean square.
fn typical(mut squares: Vec<f64>) -> f64 {
    let middle = squares.len() / 2;
    let even = squares.len().is_multiple_of(2);
    let (below, upper, _) = squares.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = if even { below.iter().copied().fold(0.0, f64::max) } else { *upper };
    let median = (lower.sqrt() + upper.sqrt()) / 2.0;
    match median > 0.0 {
        true => median * median,
        false => squares.iter().sum::<f64>() / squares.len() as f64,
    }
}
