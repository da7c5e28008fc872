//! What one column looks like: counts, moments, quantiles, bins and categories, in bounded space.
//!
//! Profiles merge: any split of the rows, merged in any order, gives the same counts and bins to the last one, the same
//! moments within rounding, and quantiles and distinct counts within the sketches' bounds. Quantiles are KLL sketches
//! (Karnin, Lang, Liberty, FOCS 2016) and distinct counts HyperLogLog, in the formats of Apache DataSketches.

use crate::error::StatsError;
use datasketches::common::SearchCriteria;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Accuracy of quantile sketches: ranks are right within 1.3 % with 99 % confidence.
const KLL_K: u16 = 200;
/// Accuracy of distinct counts: 1.6 % standard error in 4 kB.
const HLL_LG_K: u8 = 12;
/// More distinct categories than this share one count.
pub const MOST_CATEGORIES: usize = 1_000;

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

/// The profile of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ColumnProfile {
    /// Of numbers.
    Numeric(NumericProfile),
    /// Of categories.
    Categorical(CategoricalProfile),
}

impl ColumnProfile {
    /// Rows seen, missing ones included.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Numeric(profile) => profile.count + profile.missing,
            Self::Categorical(profile) => profile.count + profile.missing,
        }
    }

    /// Rows without a value.
    pub fn missing(&self) -> u64 {
        match self {
            Self::Numeric(profile) => profile.missing,
            Self::Categorical(profile) => profile.missing,
        }
    }

    /// Adds what another profile of the same column has seen.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        match (self, other) {
            (Self::Numeric(own), Self::Numeric(other)) => own.merge(other),
            (Self::Categorical(own), Self::Categorical(other)) => own.merge(other),
            _ => Err(StatsError::Incompatible("a profile of numbers and one of categories")),
        }
    }
}

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
    #[serde(serialize_with = "kll_out", deserialize_with = "kll_in")]
    quantiles: KllSketch<KllFloat<f64>>,
    #[serde(serialize_with = "hll_out", deserialize_with = "hll_in")]
    distinct: HllSketch,
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
            quantiles: KllSketch::new(KLL_K).map_err(sketch)?,
            distinct: HllSketch::new(HLL_LG_K, HllType::Hll8).map_err(sketch)?,
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
        if let Ok(value) = KllFloat::<f64>::new(value) {
            self.quantiles.update(value);
        }
        // -0 and 0 are one value.
        self.distinct.update((value + 0.0).to_bits());
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
        self.quantiles.merge(&other.quantiles).map_err(sketch)?;
        self.distinct = merged(&self.distinct, &other.distinct)?;
        Ok(())
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
        self.quantiles.quantile(rank, SearchCriteria::Inclusive).ok().flatten().map(KllFloat::into_inner)
    }

    /// About how many distinct values there are.
    pub fn distinct(&self) -> f64 {
        self.distinct.estimate()
    }
}

/// The profile of a column of categories.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CategoricalProfile {
    /// Values.
    pub count: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Values whose category is not counted by itself because there were [`MOST_CATEGORIES`] before it.
    pub other: u64,
    categories: BTreeMap<String, u64>,
    #[serde(serialize_with = "hll_out", deserialize_with = "hll_in")]
    distinct: HllSketch,
}

impl PartialEq for CategoricalProfile {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.missing == other.missing && self.categories == other.categories
    }
}

impl CategoricalProfile {
    /// An empty profile.
    pub fn new() -> Result<Self, StatsError> {
        let distinct = HllSketch::new(HLL_LG_K, HllType::Hll8).map_err(sketch)?;
        Ok(Self { count: 0, missing: 0, other: 0, categories: BTreeMap::new(), distinct })
    }

    /// Takes a column of values in.
    pub fn update<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a str>>) {
        for value in values {
            let Some(value) = value else {
                self.missing += 1;
                continue;
            };
            self.count += 1;
            self.distinct.update(value);
            self.add(value, 1);
        }
    }

    fn add(&mut self, category: &str, count: u64) {
        if let Some(known) = self.categories.get_mut(category) {
            *known += count;
        } else if self.categories.len() < MOST_CATEGORIES {
            self.categories.insert(category.to_owned(), count);
        } else {
            self.other += count;
        }
    }

    /// Adds what another profile has seen.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        self.count += other.count;
        self.missing += other.missing;
        self.other += other.other;
        for (category, count) in &other.categories {
            self.add(category, *count);
        }
        self.distinct = merged(&self.distinct, &other.distinct)?;
        Ok(())
    }

    /// Counts by category.
    pub fn categories(&self) -> &BTreeMap<String, u64> {
        &self.categories
    }

    /// Counts of the reference's categories in this profile, and in the last cell of all others.
    pub fn cells(&self, reference: &Self) -> Vec<u64> {
        let mut cells: Vec<u64> = reference
            .categories
            .keys()
            .map(|category| self.categories.get(category).copied().unwrap_or(0))
            .collect();
        let known: u64 = cells.iter().sum();
        cells.push(self.count - known);
        cells
    }

    /// About how many distinct categories there are.
    pub fn distinct(&self) -> f64 {
        self.distinct.estimate()
    }
}

fn sketch(_: datasketches::error::Error) -> StatsError {
    StatsError::Incompatible("two sketches of different kind or accuracy")
}

fn merged(own: &HllSketch, other: &HllSketch) -> Result<HllSketch, StatsError> {
    let mut union = HllUnion::new(HLL_LG_K).map_err(sketch)?;
    union.update(own);
    union.update(other);
    Ok(union.to_sketch(HllType::Hll8))
}

fn kll_out<S: Serializer>(value: &KllSketch<KllFloat<f64>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&value.serialize())
}

fn kll_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KllSketch<KllFloat<f64>>, D::Error> {
    KllSketch::deserialize(&Vec::<u8>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn hll_out<S: Serializer>(value: &HllSketch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&value.serialize())
}

fn hll_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HllSketch, D::Error> {
    HllSketch::deserialize(&Vec::<u8>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
