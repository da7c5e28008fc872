//! The change of a model of the loss, shared out over groups of columns.

use crate::error::{StatsError, finite};
use crate::interval::{Interval, mean_interval, normal_quantile};
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// Up to this many groups all coalitions may be enumerated.
const ENUMERATED: usize = 10;
/// Fewer pairs of permutations say nothing about their spread.
const LEAST_PAIRS: usize = 2;

/// What [`shapley`] may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapleyOptions {
    /// Pairs of a reference and a current row, at most.
    pub rows: usize,
    /// Evaluations of the loss model on all these rows, at most.
    pub evaluations: usize,
    /// Of the choice of rows and permutations.
    pub seed: u64,
}

impl Default for ShapleyOptions {
    /// 2,000 pairs of rows and 1,024 evaluations, which enumerates 10 groups.
    fn default() -> Self {
        Self { rows: 2_000, evaluations: 1_024, seed: 0 }
    }
}

/// How the coalitions of groups were gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// All of them.
    Exact,
    /// Along random permutations and their reverses.
    Sampled {
        /// Permutations, reverses included.
        permutations: usize,
    },
}

/// What one group of columns adds to the change of the mean loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupHarm {
    /// Its columns.
    pub columns: Vec<usize>,
    /// Its share of the change, with a 95 % interval from both errors; above 0 is harm.
    pub change: Interval,
    /// Standard error because the rows are a sample.
    pub sampling_error: f64,
    /// Standard error because the permutations are a sample; 0 if all coalitions were gone through.
    pub monte_carlo_error: f64,
}

/// A change of the mean loss and how it is shared out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// The change of the mean loss, current minus reference, over the rows used.
    pub total: Interval,
    /// One entry a group, as given; their values sum to the total within rounding.
    pub groups: Vec<GroupHarm>,
    /// How the coalitions were gone through.
    pub method: Method,
    /// Pairs of rows used.
    pub rows: usize,
    /// Evaluations of the loss model.
    pub evaluations: usize,
}

/// Shapley values of groups of columns for the change of the mean loss between reference and current rows.
///
/// The value of a coalition is the mean loss of rows whose columns come from a current row for groups in the
/// coalition and from a reference row otherwise (the sampling scheme of E. Strumbelj and I. Kononenko, JMLR
/// 11, 2010, between two populations as in K. Budhathoki et al., *Why did the distribution change?*, AISTATS
/// 2021). Rows are paired at random, up to `options.rows` pairs; groups keep the dependence inside them, so
/// put correlated columns together ([`column_groups`](super::column_groups)).
///
/// With at most 10 groups, and if the budget allows `2^groups` evaluations, the values are exact for these
/// rows: `sum_S |S|! (k - |S| - 1)! / k! (v(S + g) - v(S))`. Otherwise they are means along seeded random
/// permutations, each with its reverse (R. Mitchell et al., *Sampling permutations for Shapley value
/// estimation*, JMLR 23, 2022, on antithetic sampling), as many pairs as the budget allows, and the
/// Monte-Carlo error is that of the means of pairs. Either way the values sum to the total.
///
/// `reference` and `current` hold the same columns, each side with its own number of rows; `groups` lists
/// each column once. `loss` is given one slice a column and gives one loss a row. Fails on unequal columns,
/// fewer than two rows on a side, groups that are no partition, a budget below two pairs of permutations, and
/// losses that are not finite.
///
/// For a linear loss a group's value is the sum of coefficient times mean shift:
///
/// ```
/// use steersman_stats::harm::{Method, ShapleyOptions, shapley};
/// let loss = |columns: &[&[f64]]| -> Vec<f64> {
///     columns[0].iter().zip(columns[1]).map(|(x, y)| 2.0 * x - 3.0 * y).collect()
/// };
/// let (x, y) = ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]);
/// let (moved_x, moved_y) = ([2.0, 3.0, 4.0], [3.5, 3.5, 3.5]);
/// let options = ShapleyOptions::default();
/// let found = shapley(&[&x, &y], &[&moved_x, &moved_y], &[vec![0], vec![1]], &loss, &options).unwrap();
/// assert!((found.groups[0].change.value - 2.0).abs() < 1e-12); // 2 * 1
/// assert!((found.groups[1].change.value - 1.5).abs() < 1e-12); // -3 * -0.5
/// assert_eq!(found.method, Method::Exact);
/// ```
pub fn shapley(
    reference: &[&[f64]],
    current: &[&[f64]],
    groups: &[Vec<usize>],
    loss: &dyn Fn(&[&[f64]]) -> Vec<f64>,
    options: &ShapleyOptions,
) -> Result<Attribution, StatsError> {
    let mut random = Random::new(options.seed);
    let mut game = Game::new(reference, current, groups, loss, options.rows, &mut random)?;
    let affordable = groups.len() <= ENUMERATED && 1 << groups.len() <= options.evaluations;
    let shares = match affordable {
        true => game.enumerate()?,
        false => game.sample(options.evaluations, &mut random)?,
    };
    let z = normal_quantile(0.975)?;
    let mut total = vec![0.0; game.rows];
    let mut found = Vec::with_capacity(groups.len());
    for ((columns, share), monte_carlo_error) in groups.iter().zip(&shares.by_row).zip(shares.errors) {
        total.iter_mut().zip(share).for_each(|(total, share)| *total += share);
        let (value, sampling_error) = mean_and_error(share);
        let half = z * sampling_error.hypot(monte_carlo_error);
        let change = Interval { value, low: value - half, high: value + half };
        found.push(GroupHarm { columns: columns.clone(), change, sampling_error, monte_carlo_error });
    }
    // Row by row, the shares sum to the difference between everybody's and nobody's coalition.
    let total = mean_interval(&total)?;
    Ok(Attribution {
        total,
        groups: found,
        method: shares.method,
        rows: game.rows,
        evaluations: game.evaluations,
    })
}

/// Values of each group, row by row, and the standard errors that the permutations leave.
struct Shares {
    by_row: Vec<Vec<f64>>,
    errors: Vec<f64>,
    method: Method,
}

/// Two sides of paired rows, and a loss.
struct Game<'a> {
    reference: Vec<Vec<f64>>,
    current: Vec<Vec<f64>>,
    groups: &'a [Vec<usize>],
    loss: &'a dyn Fn(&[&[f64]]) -> Vec<f64>,
    rows: usize,
    evaluations: usize,
}

impl<'a> Game<'a> {
    fn new(
        reference: &[&[f64]],
        current: &[&[f64]],
        groups: &'a [Vec<usize>],
        loss: &'a dyn Fn(&[&[f64]]) -> Vec<f64>,
        most_rows: usize,
        random: &mut Random,
    ) -> Result<Self, StatsError> {
        if reference.len() != current.len() {
            return Err(StatsError::Length { left: reference.len(), right: current.len() });
        }
        let mut columns: Vec<usize> = groups.iter().flatten().copied().collect();
        columns.sort_unstable();
        if columns.is_empty() || !columns.into_iter().eq(0..reference.len()) {
            return Err(StatsError::Domain("the groups do not hold each column once"));
        }
        let (before, now) = (same_rows(reference)?, same_rows(current)?);
        let rows = before.min(now).min(most_rows);
        if rows < 2 {
            return Err(StatsError::TooFew { needed: 2, got: rows });
        }
        let mut choose = |columns: &[&[f64]], of: usize| -> Vec<Vec<f64>> {
            let chosen = random.choose(of, rows);
            columns.iter().map(|column| chosen.iter().map(|&row| column[row]).collect()).collect()
        };
        let (reference, current) = (choose(reference, before), choose(current, now));
        Ok(Self { reference, current, groups, loss, rows, evaluations: 0 })
    }

    /// The loss of each row when the groups in the coalition are current.
    fn value(&mut self, coalition: &[bool]) -> Result<Vec<f64>, StatsError> {
        let mut columns: Vec<&[f64]> = self.reference.iter().map(Vec::as_slice).collect();
        let inside = self.groups.iter().zip(coalition).filter(|(_, inside)| **inside);
        for &column in inside.flat_map(|(group, _)| group) {
            columns[column] = &self.current[column];
        }
        self.evaluations += 1;
        let losses = (self.loss)(&columns);
        if losses.len() != self.rows {
            return Err(StatsError::Length { left: self.rows, right: losses.len() });
        }
        finite(&losses)?;
        Ok(losses)
    }

    /// Over all coalitions: one of `s` of `k` groups counts `(s - 1)! (k - s)! / k!` for those
    /// inside and `-s! (k - s - 1)! / k!` for those outside.
    fn enumerate(&mut self) -> Result<Shares, StatsError> {
        let groups = self.groups.len();
        // s! (k - s - 1)! / k! for s = 0..k, by recurrence from 1 / k.
        let mut weights = vec![1.0 / groups as f64; groups];
        for size in 1..groups {
            weights[size] = weights[size - 1] * size as f64 / (groups - size) as f64;
        }
        let mut shares = vec![vec![0.0; self.rows]; groups];
        for mask in 0..1usize << groups {
            let coalition: Vec<bool> = (0..groups).map(|group| (mask >> group) & 1 == 1).collect();
            let losses = self.value(&coalition)?;
            let size = mask.count_ones() as usize;
            for (share, inside) in shares.iter_mut().zip(&coalition) {
                let weight = if *inside { weights[size - 1] } else { -weights[size] };
                share.iter_mut().zip(&losses).for_each(|(share, loss)| *share += weight * loss);
            }
        }
        Ok(Shares { by_row: shares, errors: vec![0.0; groups], method: Method::Exact })
    }

    /// Along random permutations and their reverses.
    fn sample(&mut self, evaluations: usize, random: &mut Random) -> Result<Shares, StatsError> {
        let groups = self.groups.len();
        // Both ends are evaluated once; each permutation passes `groups - 1` coalitions between them.
        let pairs = evaluations.saturating_sub(2) / (2 * (groups - 1)).max(1);
        if pairs < LEAST_PAIRS {
            return Err(StatsError::Domain("the budget of evaluations is below two pairs of permutations"));
        }
        let (none, all) = (self.value(&vec![false; groups])?, self.value(&vec![true; groups])?);
        let weight = 1.0 / (2 * pairs) as f64;
        let mut by_row = vec![vec![0.0; self.rows]; groups];
        let mut means = vec![Vec::with_capacity(pairs); groups];
        let mut order: Vec<usize> = (0..groups).collect();
        for _ in 0..pairs {
            random.shuffle(&mut order);
            let mut of_pair = vec![0.0; groups];
            for _direction in 0..2 {
                let mut coalition = vec![false; groups];
                let mut before = none.clone();
                for (step, &group) in order.iter().enumerate() {
                    coalition[group] = true;
                    let after = if step + 1 < groups { self.value(&coalition)? } else { all.clone() };
                    for ((share, after), before) in by_row[group].iter_mut().zip(&after).zip(&before) {
                        *share += weight * (after - before);
                        of_pair[group] += 0.5 * (after - before) / self.rows as f64;
                    }
                    before = after;
                }
                order.reverse();
            }
            means.iter_mut().zip(of_pair).for_each(|(means, mean)| means.push(mean));
        }
        let errors = means.iter().map(|means| mean_and_error(means).1).collect();
        Ok(Shares { by_row, errors, method: Method::Sampled { permutations: 2 * pairs } })
    }
}

/// The number of rows that all columns have.
fn same_rows(columns: &[&[f64]]) -> Result<usize, StatsError> {
    let rows = columns.first().map_or(0, |column| column.len());
    match columns.iter().find(|column| column.len() != rows) {
        Some(other) => Err(StatsError::Length { left: rows, right: other.len() }),
        None => Ok(rows),
    }
}

/// The mean of two or more values and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}
