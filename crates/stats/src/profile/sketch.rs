//! Sketches of Apache DataSketches: their bytes are those of the C++, Java and Python libraries.

use crate::error::StatsError;
use datasketches::common::SearchCriteria;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::hash::{Hash, Hasher};

/// Accuracy of quantile sketches: ranks are right within 1.3 % with 99 % confidence.
const KLL_K: u16 = 200;
/// Accuracy of distinct counts: 1.6 % standard error in 4 kB.
const HLL_LG_K: u8 = 12;

fn unfit(_: datasketches::error::Error) -> StatsError {
    StatsError::Incompatible("two sketches of different kind or accuracy")
}

/// Quantiles of finite numbers (KLL: Karnin, Lang, Liberty, FOCS 2016).
#[derive(Debug, Clone)]
pub(super) struct Quantiles(KllSketch<KllFloat<f64>>);

impl Quantiles {
    pub(super) fn new() -> Result<Self, StatsError> {
        KllSketch::new(KLL_K).map(Self).map_err(unfit)
    }

    pub(super) fn update(&mut self, value: f64) {
        if let Ok(value) = KllFloat::<f64>::new(value) {
            self.0.update(value);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        self.0.merge(&other.0).map_err(unfit)
    }

    pub(super) fn quantile(&self, rank: f64) -> Option<f64> {
        self.0.quantile(rank, SearchCriteria::Inclusive).ok().flatten().map(KllFloat::into_inner)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }
}

impl Serialize for Quantiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.serialize())
    }
}

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        KllSketch::deserialize(&bytes).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Text that is hashed as the other libraries do: its bytes and nothing else, so that their sketches may be united.
struct Letters<'a>(&'a str);

impl Hash for Letters<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

/// About how many values are distinct (HyperLogLog).
#[derive(Debug, Clone)]
pub(super) struct Distinct(HllSketch);

impl Distinct {
    pub(super) fn new() -> Result<Self, StatsError> {
        HllSketch::new(HLL_LG_K, HllType::Hll8).map(Self).map_err(unfit)
    }

    /// -0 and 0 are one value.
    pub(super) fn update_number(&mut self, value: f64) {
        self.0.update((value + 0.0).to_bits());
    }

    pub(super) fn update_text(&mut self, value: &str) {
        self.0.update(Letters(value));
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        let mut union = HllUnion::new(HLL_LG_K).map_err(unfit)?;
        union.update(&self.0);
        union.update(&other.0);
        self.0 = union.to_sketch(HllType::Hll8);
        Ok(())
    }

    pub(super) fn estimate(&self) -> f64 {
        self.0.estimate()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.serialize())
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        HllSketch::deserialize(&bytes).map(Self).map_err(serde::de::Error::custom)
    }
}
