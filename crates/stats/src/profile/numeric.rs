//! Columns of numbers.

use super::bins::Bins;
use super::sketch::{Distinct, Quantiles};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// The profile of a column of numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NumericProfile {
    /// Values.
    pub count: u64,
    /// Rows without a value; NaN counts as missing.
    pub missing: u64,
    /// Infinite values; in no other number of this profile.
    pub infinite: u64,
    /// Values that are zero.
    pub zeros: u64,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Mean.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
    /// Cells.
    bins: Bins,
    /// Values in each cell.
    cells: Vec<u64>,
    quantiles: Quantiles,
    distinct: Distinct,
}

impl PartialEq for NumericProfile {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count
            && self.missing == other.missing
            && self.infinite == other.infinite
            && self.cells == other.cells
            && self.bins == other.bins
            && self.mean == other.mean
            && self.squares == other.squares
            && (self.min, self.max) == (other.min, other.max)
            && self.quantile(0.5) == other.quantile(0.5)
            && self.distinct() == other.distinct()
    }
}

impl NumericProfile {
    /// An empty profile.
    pub fn new(bins: Bins) -> Result<Self, StatsError> {
        let cells = vec![0; bins.cells()];
        Ok(Self {
            count: 0,
            missing: 0,
            infinite: 0,
            zeros: 0,
            min: None,
            max: None,
            mean: 0.0,
            squares: 0.0,
            bins,
            cells,
            quantiles: Quantiles::new()?,
            distinct: Distinct::new()?,
        })
    }

    /// Takes a column of values in.
    pub fn update(&mut self, values: impl IntoIterator<Item = Option<f64>>) {
        for value in values {
            match value {
                Some(value) if value.is_finite() => self.add(value),
                Some(value) if value.is_infinite() => self.infinite += 1,
                _ => self.missing += 1,
            }
        }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.zeros += u64::from(value == 0.0);
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
        self.cells[self.bins.cell(value)] += 1;
        self.quantiles.update(value);
        self.distinct.update_number(value);
    }

    /// Adds what another profile with the same bins has seen (moments as in Chan, Golub, LeVeque, 1979).
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        if self.bins != other.bins {
            return Err(StatsError::Incompatible("two profiles with different bins"));
        }
        let (own, added) = (self.count as f64, other.count as f64);
        if other.count > 0 {
            let delta = other.mean - self.mean;
            self.mean += delta * added / (own + added);
            self.squares += other.squares + delta * delta * own * added / (own + added);
        }
        self.count += other.count;
        self.missing += other.missing;
        self.infinite += other.infinite;
        self.zeros += other.zeros;
        self.min = self.min.into_iter().chain(other.min).reduce(f64::min);
        self.max = self.max.into_iter().chain(other.max).reduce(f64::max);
        for (own, other) in self.cells.iter_mut().zip(&other.cells) {
            *own += other;
        }
        self.quantiles.merge(&other.quantiles)?;
        self.distinct.merge(&other.distinct)
    }

    /// Whether there is a count for every cell: not so in damaged bytes.
    pub(super) fn fits(&self) -> bool {
        self.cells.len() == self.bins.cells()
    }

    /// Cells.
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    /// Values in each cell.
    pub fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// Sample standard deviation; none below two values.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).max(0.0).sqrt())
    }

    /// The value below or at which a share `rank` of the values lies, within the sketch's bound; none when empty.
    pub fn quantile(&self, rank: f64) -> Option<f64> {
        self.quantiles.quantile(rank)
    }

    /// About how many distinct values there are.
    pub fn distinct(&self) -> f64 {
        self.distinct.estimate()
    }

    /// The quantile sketch in the format of Apache DataSketches: `kll_doubles_sketch.deserialize` of the Python package
    /// `datasketches` reads it.
    pub fn quantile_sketch(&self) -> Vec<u8> {
        self.quantiles.to_bytes()
    }

    /// The sketch of distinct values in the format of Apache DataSketches: `hll_sketch.deserialize` reads it.
    pub fn distinct_sketch(&self) -> Vec<u8> {
        self.distinct.to_bytes()
    }
}
