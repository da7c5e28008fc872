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
    /// None where the reference has no value: nothing can be ranked, nothing has a score.
    bins: Option<Bins>,
    scores: Vec<f64>,
}

impl NormalScores {
    /// Learns from the finite values of a reference column.
    pub(super) fn learn(reference: &[f64]) -> Result<Self, StatsError> {
        let values: Vec<f64> = reference.iter().copied().filter(|value| value.is_finite()).collect();
        if values.is_empty() {
            return Ok(Self { bins: None, scores: Vec::new() });
        }
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
        Ok(Self { bins: Some(bins), scores })
    }

    /// The scores of a column; NaN where there is no finite value.
    pub(super) fn of(&self, values: &[f64]) -> Vec<f64> {
        let known = |value: &&f64| value.is_finite();
        let score = |value: &f64| {
            let cell = self.bins.as_ref().map(|bins| bins.cell(*value))?;
            self.scores.get(cell).copied()
        };
        values.iter().map(|value| Some(value).filter(known).and_then(score).unwrap_or(f64::NAN)).collect()
    }
}
