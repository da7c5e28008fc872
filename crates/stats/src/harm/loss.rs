//! Losses of one cell, in three numbers that add up.

use serde::{Deserialize, Serialize};

/// How many losses a cell holds, their sum and the sum of their squares, in the unit of the loss. The default
/// is nothing; merging is addition.
///
/// ```
/// use steersman_stats::harm::CellLoss;
/// let mut cell: CellLoss = [1.0, 2.0].into_iter().collect();
/// cell.merge(&[6.0].into_iter().collect());
/// assert_eq!((cell.mean(), cell.variance()), (Some(3.0), Some(7.0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CellLoss {
    /// Losses.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
}

impl CellLoss {
    /// Takes one loss in.
    pub fn update(&mut self, loss: f64) {
        self.count += 1;
        self.sum += loss;
        self.sum_squares += loss * loss;
    }

    /// Adds the losses of another cell.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.sum_squares += other.sum_squares;
    }

    /// These losses without those of a `part` of them; nothing if it is not a part.
    pub fn without(&self, part: &Self) -> Self {
        if part.count >= self.count {
            return Self::default();
        }
        Self {
            count: self.count - part.count,
            sum: self.sum - part.sum,
            sum_squares: self.sum_squares - part.sum_squares,
        }
    }

    /// Mean; none without losses.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Sum of squared deviations from the mean.
    pub(crate) fn deviations(&self) -> f64 {
        let centre = self.mean().map_or(0.0, |mean| self.sum * mean);
        (self.sum_squares - centre).max(0.0)
    }

    /// Sample variance; none below two losses.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.deviations() / (self.count - 1) as f64)
    }

    /// Whether the sums are numbers at all.
    pub(crate) fn is_finite(&self) -> bool {
        self.sum.is_finite() && self.sum_squares.is_finite()
    }
}

impl Extend<f64> for CellLoss {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, losses: I) {
        losses.into_iter().for_each(|loss| self.update(loss));
    }
}

impl FromIterator<f64> for CellLoss {
    fn from_iter<I: IntoIterator<Item = f64>>(losses: I) -> Self {
        let mut cell = Self::default();
        cell.extend(losses);
        cell
    }
}
