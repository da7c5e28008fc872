//! Isotonic regression.

use crate::error::{StatsError, finite, paired};
use serde::{Deserialize, Serialize};

/// The rising function that is closest to weighted targets in squared error (pool adjacent violators; Barlow et al.,
/// *Statistical Inference under Order Restrictions*, 1972), linear between the points where it was learnt and constant
/// beyond them. The same as scikit-learn's `IsotonicRegression(out_of_bounds="clip")`.
///
/// ```
/// use steersman_stats::estimate::Isotonic;
/// let fitted = Isotonic::fit(&[1.0, 2.0, 3.0, 4.0], &[0.0, 1.0, 0.0, 1.0], None).unwrap();
/// assert_eq!(fitted.apply(&[0.0, 2.5, 3.5]), [0.0, 0.5, 0.75]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// Places and heights where the slope changes; both rise.
    knots: Vec<(f64, f64)>,
}

/// Neighbours that share a height.
struct Pool {
    first: f64,
    last: f64,
    sum: f64,
    weight: f64,
}

impl Isotonic {
    /// Learns from places, targets and weights of at least 0 (none: 1 each). Rows of one place count as their mean; rows
    /// without weight do not count. `O(n log n)`.
    pub fn fit(places: &[f64], targets: &[f64], weights: Option<&[f64]>) -> Result<Self, StatsError> {
        paired(places.len(), targets.len(), 1)?;
        finite(places)?;
        finite(targets)?;
        if let Some(weights) = weights {
            crate::learn::checked_weights(weights, places.len())?;
        }
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let mut rows: Vec<(f64, u32)> = places
            .iter()
            .map(|place| place + 0.0)
            .zip(0u32..)
            .filter(|&(_, row)| weight(row as usize) > 0.0)
            .collect();
        if rows.is_empty() {
            return Err(StatsError::Domain("all weights are zero"));
        }
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut pools: Vec<Pool> = Vec::new();
        for tied in rows.chunk_by(|a, b| a.0 == b.0) {
            let place = tied[0].0;
            let mut pool = Pool { first: place, last: place, sum: 0.0, weight: 0.0 };
            for &(_, row) in tied {
                pool.sum += weight(row as usize) * targets[row as usize];
                pool.weight += weight(row as usize);
            }
            while let Some(before) =
                pools.pop_if(|before| before.sum * pool.weight >= pool.sum * before.weight)
            {
                pool.first = before.first;
                pool.sum += before.sum;
                pool.weight += before.weight;
            }
            pools.push(pool);
        }
        let mut knots = Vec::with_capacity(2 * pools.len());
        for pool in pools {
            let height = pool.sum / pool.weight;
            knots.push((pool.first, height));
            if pool.last > pool.first {
                knots.push((pool.last, height));
            }
        }
        Ok(Self { knots })
    }

    /// The heights at places; NaN stays NaN.
    pub fn apply(&self, places: &[f64]) -> Vec<f64> {
        places.iter().map(|&place| self.height(place)).collect()
    }

    fn height(&self, place: f64) -> f64 {
        let next = self.knots.partition_point(|knot| knot.0 < place);
        let above = self.knots.get(next);
        let below = next.checked_sub(1).and_then(|before| self.knots.get(before));
        match (below, above) {
            _ if place.is_nan() => f64::NAN,
            (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (place - x0) / (x1 - x0),
            (Some(&(_, height)), None) | (None, Some(&(_, height))) => height,
            (None, None) => f64::NAN,
        }
    }
}
