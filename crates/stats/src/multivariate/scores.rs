//! Numbers as normal scores: what joint monitors read where heavy tails would drown the rest.

use crate::error::StatsError;
use crate::interval::normal_quantile;
use crate::profile::Bins;
use serde::{Deserialize, Serialize};

/// Cells in which values share a score.
const CELLS: usize = 200;

/// Turns values into the normal quantile of their mid-rank among the reference's values (van der Waerden scores, in
/// cells of half a percent): bounded, and of mean 0 and variance about 1 whatever the reference looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NormalScores {
    bins: Bins,
    scores: Vec<f64>,
}

impl NormalScores {
    /// Learns from the finite values of a reference column.
    pub(super) fn learn(reference: &[f64]) -> Result<Self, StatsError> {
        let values: Vec<f64> = reference.iter().copied().filter(|value| value.is_finite()).collect();
        let bins = Bins::quantiles(&values, CELLS)?;
        let mut cells = vec![0.0; bins.cells()];
        for value in &values {
            cells[bins.cell(*value)] += 1.0;
        }
        let total = values.len() as f64;
        let mut below = 0.0;
        let mut scores = Vec::with_capacity(cells.len());
        for cell in cells {
            let middle: f64 = (below + cell / 2.0) / total;
            scores.push(normal_quantile(middle.clamp(0.5 / total, 1.0 - 0.5 / total))?);
            below += cell;
        }
        Ok(Self { bins, scores })
    }

    /// The scores of a column; NaN where there is no finite value.
    pub(super) fn of(&self, values: &[f64]) -> Vec<f64> {
        let score = |value: &f64| match value.is_finite() {
            true => self.scores.get(self.bins.cell(*value)).copied().unwrap_or(f64::NAN),
            false => f64::NAN,
        };
        values.iter().map(score).collect()
    }
}
