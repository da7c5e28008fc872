//! Features as columns, and the same columns cut into bins.

use crate::error::StatsError;

/// Most rows from which the edges of bins are taken.
const EDGE_ROWS: usize = 100_000;
/// Most bins of values in a column; one more holds what is missing, so that a bin fits into a byte.
const VALUE_BINS: usize = 255;

/// A table of numbers, column by column. NaN stands for missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    columns: Vec<Vec<f64>>,
    rows: usize,
}

impl Matrix {
    /// A table of at least one column and one row; infinite values become missing.
    ///
    /// ```
    /// let matrix = steersman_stats::learn::Matrix::new(vec![vec![1.0, f64::NAN], vec![3.0, 4.0]]).unwrap();
    /// assert_eq!((matrix.rows(), matrix.columns().len()), (2, 2));
    /// ```
    pub fn new(mut columns: Vec<Vec<f64>>) -> Result<Self, StatsError> {
        let rows = columns.first().map_or(0, Vec::len);
        if rows == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        if u32::try_from(rows).is_err() {
            return Err(StatsError::Domain("a table holds fewer than 2^32 rows"));
        }
        if let Some(other) = columns.iter().find(|column| column.len() != rows) {
            return Err(StatsError::Length { left: rows, right: other.len() });
        }
        for value in columns.iter_mut().flatten().filter(|value| value.is_infinite()) {
            *value = f64::NAN;
        }
        Ok(Self { columns, rows })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn columns(&self) -> &[Vec<f64>] {
        &self.columns
    }

    /// This table with the rows of another one below; both have the same columns.
    pub fn stacked(&self, below: &Self) -> Result<Self, StatsError> {
        let (left, right) = (self.columns.len(), below.columns.len());
        if left != right {
            return Err(StatsError::Columns { left, right });
        }
        let pairs = self.columns.iter().zip(&below.columns);
        Self::new(pairs.map(|(above, below)| [above.as_slice(), below].concat()).collect())
    }
}

/// Columns cut into at most 256 bins each. Bin 0 holds what is missing; bin `b` above it holds the values with
/// `edges[b - 2] < value <= edges[b - 1]`, the first and last are open.
pub(super) struct Binned {
    edges: Vec<Vec<f64>>,
    bins: Vec<Vec<u8>>,
    rows: usize,
}

impl Binned {
    pub(super) fn new(matrix: &Matrix) -> Self {
        let edges: Vec<Vec<f64>> = matrix.columns.iter().map(|column| edges(column)).collect();
        let bin = |value: f64, edges: &[f64]| match value.is_nan() {
            true => 0,
            false => 1 + edges.partition_point(|edge| *edge < value) as u8,
        };
        let columns = matrix.columns.iter().zip(&edges);
        let bins =
            columns.map(|(column, edges)| column.iter().map(|&value| bin(value, edges)).collect()).collect();
        Self { edges, bins, rows: matrix.rows }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The bins of each column.
    pub(super) fn columns(&self) -> &[Vec<u8>] {
        &self.bins
    }

    /// How many bins a column has, the one of missing values included.
    pub(super) fn cells(&self, column: usize) -> usize {
        self.edges[column].len() + 2
    }

    /// The largest value that belongs to a bin; infinite for the last one.
    pub(super) fn upper_edge(&self, column: usize, bin: u8) -> f64 {
        self.edges[column].get(usize::from(bin) - 1).copied().unwrap_or(f64::INFINITY)
    }
}

/// Edges between the distinct values if these are few, otherwise at quantiles of an even choice of rows.
fn edges(column: &[f64]) -> Vec<f64> {
    let step = column.len().div_ceil(EDGE_ROWS);
    let mut values: Vec<f64> = column.iter().step_by(step).copied().filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let mut distinct = values.clone();
    distinct.dedup();
    if distinct.len() > VALUE_BINS {
        distinct = (1..=VALUE_BINS).map(|cell| values[cell * count / VALUE_BINS - 1]).collect();
        distinct.dedup();
    }
    // Whatever is above the last edge but one belongs to the last bin.
    distinct.pop();
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_a_bin_each_and_many_share_bins_evenly() {
        let few = Binned::new(&Matrix::new(vec![vec![2.0, 0.0, f64::NAN, 1.0, f64::INFINITY]]).unwrap());
        assert_eq!(few.columns()[0], [3, 1, 0, 2, 0]);
        assert_eq!((few.cells(0), few.upper_edge(0, 1), few.upper_edge(0, 3)), (4, 0.0, f64::INFINITY));
        let many: Vec<f64> = (0..51_000).map(f64::from).collect();
        let many = Binned::new(&Matrix::new(vec![many]).unwrap());
        let mut counts = vec![0; many.cells(0)];
        many.columns()[0].iter().for_each(|&bin| counts[usize::from(bin)] += 1);
        assert!(counts.len() == 256 && counts[0] == 0 && counts[1..].iter().all(|&count| count == 200));
        assert!(Matrix::new(vec![vec![1.0], vec![]]).is_err() && Matrix::new(vec![]).is_err());
    }
}
