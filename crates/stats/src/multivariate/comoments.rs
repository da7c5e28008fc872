//! How columns vary together: a matrix of co-moments that merges.

use super::column::rows;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Rows that are summed up before they are merged: small enough for the cache, large enough that merging costs nothing.
pub(super) const BLOCK: usize = 1_024;

/// Means, variances and covariances of `d` columns of numbers, each pair over the rows in which both have a value.
///
/// A pair holds its count, both means and the three sums of products of deviations; two matrices merge by the pairwise
/// update of Chan, Golub and LeVeque (*Updating formulae and a pairwise algorithm*, 1979; for products Pébay,
/// SAND2008-6212), so any split of the rows gives the same numbers within rounding. `O(d^2)` space, `O(n d^2)` time.
///
/// ```
/// use steersman_stats::multivariate::CoMoments;
/// let mut moments = CoMoments::new(2);
/// moments.update(&[&[1.0, 2.0, 3.0], &[1.0, 2.0, 6.0]]).unwrap();
/// assert_eq!(moments.covariance(0, 1), Some(2.5)); // numpy.cov([1, 2, 3], [1, 2, 6])
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoMoments {
    columns: usize,
    rows: u64,
    /// The lower triangle by rows: (0,0), (1,0), (1,1), (2,0), ...
    pairs: Vec<Pair>,
}

impl CoMoments {
    /// Of `columns` columns and no rows yet.
    pub fn new(columns: usize) -> Self {
        Self { columns, rows: 0, pairs: vec![Pair::default(); columns * (columns + 1) / 2] }
    }

    /// Takes rows in, column by column; NaN and infinite values are missing.
    pub fn update(&mut self, columns: &[&[f64]]) -> Result<(), StatsError> {
        if columns.len() != self.columns {
            return Err(StatsError::Columns { left: self.columns, right: columns.len() });
        }
        let rows = rows(columns.iter().map(|column| column.len()))?;
        for start in (0..rows).step_by(BLOCK) {
            let end = (start + BLOCK).min(rows);
            let blocks: Vec<Block> =
                columns.iter().filter_map(|column| column.get(start..end)).map(Block::of).collect();
            let added = blocks.iter().enumerate().flat_map(|(i, x)| {
                let earlier = blocks.iter().take(i + 1);
                earlier.map(move |y| Pair::of(x, y))
            });
            for (own, added) in self.pairs.iter_mut().zip(added) {
                own.merge(&added);
            }
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Adds what another matrix of the same columns has seen.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        if self.columns != other.columns {
            return Err(StatsError::Incompatible("co-moments of different numbers of columns"));
        }
        for (own, other) in self.pairs.iter_mut().zip(&other.pairs) {
            own.merge(other);
        }
        self.rows += other.rows;
        Ok(())
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows seen, with or without values.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The mean of a column; none without a value.
    pub fn mean(&self, column: usize) -> Option<f64> {
        self.pair(column, column).filter(|pair| pair.count > 0).map(|pair| pair.x)
    }

    /// The sum of squared deviations of a column's values from their mean.
    pub(super) fn squares(&self, column: usize) -> f64 {
        self.pair(column, column).map_or(0.0, |pair| pair.xx)
    }

    /// The sample covariance of two columns, over the rows in which both have a value; none below two such rows.
    pub fn covariance(&self, i: usize, j: usize) -> Option<f64> {
        self.pair(i, j).filter(|pair| pair.count > 1).map(|pair| pair.xy / (pair.count - 1) as f64)
    }

    /// Pearson's correlation of two columns and the number of rows in which both have a value; none below two such rows
    /// and where a column does not vary.
    pub fn correlation(&self, i: usize, j: usize) -> Option<(f64, u64)> {
        let pair = self.pair(i, j).filter(|pair| pair.count > 1 && pair.xx > 0.0 && pair.yy > 0.0)?;
        Some(((pair.xy / (pair.xx * pair.yy).sqrt()).clamp(-1.0, 1.0), pair.count))
    }

    /// The sum of products of deviations once each missing value is replaced by the mean of its column: such a value
    /// deviates by nothing, so only complete pairs count, but about the means of all values.
    pub(super) fn imputed(&self, i: usize, j: usize) -> f64 {
        let (Some(pair), Some(x), Some(y)) = (self.pair(i, j), self.mean(i.max(j)), self.mean(i.min(j)))
        else {
            return 0.0;
        };
        pair.xy + pair.count as f64 * (pair.x - x) * (pair.y - y)
    }

    fn pair(&self, i: usize, j: usize) -> Option<&Pair> {
        let (i, j) = (i.max(j), i.min(j));
        if i >= self.columns { None } else { self.pairs.get(i * (i + 1) / 2 + j) }
    }
}

/// The moments of two columns over the rows in which both have a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Pair {
    count: u64,
    /// Means.
    x: f64,
    y: f64,
    /// Sums of products of deviations from these means.
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Pair {
    fn of(x: &Block, y: &Block) -> Self {
        let [count, sum_x, sum_y, xx, yy] = if x.complete && y.complete {
            [x.deviations.len() as f64, x.sum, y.sum, x.sum_of_squares, y.sum_of_squares]
        } else {
            [
                dot(&x.present, &y.present),
                dot(&x.deviations, &y.present),
                dot(&y.deviations, &x.present),
                dot(&x.squares, &y.present),
                dot(&y.squares, &x.present),
            ]
        };
        if count == 0.0 {
            return Self::default();
        }
        Self {
            count: count as u64,
            x: x.centre + sum_x / count,
            y: y.centre + sum_y / count,
            xx: (xx - sum_x * sum_x / count).max(0.0),
            xy: dot(&x.deviations, &y.deviations) - sum_x * sum_y / count,
            yy: (yy - sum_y * sum_y / count).max(0.0),
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (own, added) = (self.count as f64, other.count as f64);
        let together = own + added;
        let (step_x, step_y) = (other.x - self.x, other.y - self.y);
        let weight = own * added / together;
        self.count += other.count;
        self.x += step_x * added / together;
        self.y += step_y * added / together;
        self.xx += other.xx + step_x * step_x * weight;
        self.xy += other.xy + step_x * step_y * weight;
        self.yy += other.yy + step_y * step_y * weight;
    }
}

/// A column's part of a block of rows, about its own mean, so that sums of squares lose nothing to a large mean.
struct Block {
    centre: f64,
    /// 0 where there is no value.
    deviations: Vec<f64>,
    squares: Vec<f64>,
    /// 1 where there is a value, else 0.
    present: Vec<f64>,
    complete: bool,
    sum: f64,
    sum_of_squares: f64,
}

impl Block {
    fn of(values: &[f64]) -> Self {
        let present: Vec<f64> = values.iter().map(|value| f64::from(u8::from(value.is_finite()))).collect();
        let count: f64 = present.iter().sum();
        let total: f64 = values.iter().filter(|value| value.is_finite()).sum();
        let centre = if count > 0.0 { total / count } else { 0.0 };
        let deviations: Vec<f64> =
            values.iter().map(|value| if value.is_finite() { value - centre } else { 0.0 }).collect();
        Self {
            centre,
            squares: deviations.iter().map(|value| value * value).collect(),
            sum: deviations.iter().sum(),
            sum_of_squares: dot(&deviations, &deviations),
            complete: count == values.len() as f64,
            deviations,
            present,
        }
    }
}

/// The scalar product.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    sum_of(x, y, |x, y| x * y)
}

/// The sum of a term of two columns, in eight interleaved sums: their order is fixed, and they run side by side.
pub(super) fn sum_of(x: &[f64], y: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let ((x, rest_x), (y, rest_y)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let rest: f64 = rest_x.iter().zip(rest_y).map(|(x, y)| term(*x, *y)).sum();
    let mut sums = [0.0; 8];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..8 {
            sums[lane] += term(x[lane], y[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}
