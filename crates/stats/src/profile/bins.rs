//! Cells into which numbers are counted.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Edges of the cells into which numbers are counted: cell `i` holds `edges[i-1] < x <= edges[i]`, the first and last
/// are open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    edges: Vec<f64>,
}

impl Bins {
    /// Cells that hold about the same number of `values` each, at most `cells` of them; equal values share a cell.
    ///
    /// ```
    /// use steersman_stats::profile::Bins;
    /// let values: Vec<f64> = (1..=100).map(f64::from).collect();
    /// assert_eq!(Bins::quantiles(&values, 4).unwrap().edges(), [25.0, 50.0, 75.0]);
    /// ```
    pub fn quantiles(values: &[f64], cells: usize) -> Result<Self, StatsError> {
        if values.is_empty() || cells < 2 {
            return Err(StatsError::TooFew { needed: 1, got: values.len() });
        }
        crate::error::finite(values)?;
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let edge = |cell: usize| sorted[((cell * sorted.len()).div_ceil(cells)).clamp(1, sorted.len()) - 1];
        let mut edges: Vec<f64> = (1..cells).map(edge).collect();
        edges.dedup();
        // An edge at the largest value would leave the last cell empty for ever.
        if edges.len() > 1 && edges.last() == sorted.last() {
            edges.pop();
        }
        Ok(Self { edges })
    }

    /// The edges, rising.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.edges.len() + 1
    }

    /// The cell of a value.
    pub fn cell(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge < value)
    }
}
