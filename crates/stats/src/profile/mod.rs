//! What one column looks like: counts, moments, quantiles, bins, categories and times, in bounded space.
//!
//! Profiles merge: any split of the rows, merged in any order, gives the same counts and bins to the last one, the same
//! moments within rounding, and quantiles, distinct counts and the counts of many categories within their bounds.
//!
//! - `numeric`, `categorical`, `time`: a kind of column each.
//! - `bins`: cells into which numbers are counted.
//! - `hitters`: counts of the most frequent values.
//! - `sketch`: quantiles (KLL) and distinct counts (HyperLogLog) in the formats of Apache DataSketches.
//!
//! [`ColumnProfile::to_bytes`] is the stored form; it carries a version.

mod bins;
mod categorical;
mod hitters;
mod numeric;
mod sketch;
mod time;

pub use bins::Bins;
pub use categorical::{CategoricalProfile, MOST_CATEGORIES};
pub use numeric::NumericProfile;
pub use time::TimeProfile;

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"SMPF";
/// Raised with every change of the stored form; older ones stay readable.
const VERSION: u8 = 1;

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

    /// The stored form: `SMPF`, a version, the kind, and the profile in postcard's format.
    ///
    /// ```
    /// use steersman_stats::profile::{Bins, ColumnProfile, NumericProfile};
    /// let mut profile = NumericProfile::new(Bins::quantiles(&[1.0, 2.0], 2).unwrap()).unwrap();
    /// profile.update([Some(1.5), None]);
    /// let profile = ColumnProfile::Numeric(profile);
    /// let bytes = profile.to_bytes().unwrap();
    /// assert!(bytes.starts_with(b"SMPF\x01"));
    /// assert_eq!(ColumnProfile::from_bytes(&bytes).unwrap(), profile);
    /// ```
    pub fn to_bytes(&self) -> Result<Vec<u8>, StatsError> {
        let (kind, payload) = match self {
            Self::Numeric(profile) => (0, postcard::to_allocvec(profile)),
            Self::Categorical(profile) => (1, postcard::to_allocvec(profile)),
        };
        let payload = payload.map_err(|_| StatsError::Domain("the profile cannot be written"))?;
        Ok([&MAGIC[..], &[VERSION, kind], &payload].concat())
    }

    /// Reads the stored form; other bytes, and versions that are not known, are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatsError> {
        let broken = StatsError::Incompatible("the bytes are no profile");
        let rest = bytes.strip_prefix(&MAGIC).ok_or(broken.clone())?;
        match rest {
            [VERSION, 0, payload @ ..] => {
                let profile: NumericProfile = postcard::from_bytes(payload).map_err(|_| broken.clone())?;
                if profile.fits() { Ok(Self::Numeric(profile)) } else { Err(broken) }
            }
            [VERSION, 1, payload @ ..] => {
                postcard::from_bytes(payload).map(Self::Categorical).map_err(|_| broken)
            }
            [VERSION, ..] | [] => Err(broken),
            _ => Err(StatsError::Incompatible("the profile is of a version that is not known")),
        }
    }
}
