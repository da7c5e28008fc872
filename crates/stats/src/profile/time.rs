//! Columns of times.

use serde::{Deserialize, Serialize};

/// The profile of a column of times, in microseconds since 1970.
///
/// ```
/// use steersman_stats::profile::TimeProfile;
/// let mut profile = TimeProfile::default();
/// profile.update([Some(7), None, Some(3)]);
/// assert_eq!((profile.count, profile.missing, profile.first, profile.last), (2, 1, Some(3), Some(7)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimeProfile {
    /// Values.
    pub count: u64,
    /// Rows without a value.
    pub missing: u64,
    /// The earliest.
    pub first: Option<i64>,
    /// The latest.
    pub last: Option<i64>,
}

impl TimeProfile {
    /// Takes a column of values in.
    pub fn update(&mut self, values: impl IntoIterator<Item = Option<i64>>) {
        for value in values {
            match value {
                None => self.missing += 1,
                Some(value) => {
                    self.merge(&Self { count: 1, missing: 0, first: Some(value), last: Some(value) })
                }
            }
        }
    }

    /// Adds what another profile has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.missing += other.missing;
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.into_iter().chain(other.last).max();
    }
}
