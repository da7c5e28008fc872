//! How a series is watched.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Larger numbers count as so large, so that squares stay finite.
pub(super) const LARGEST_VALUE: f64 = 1e100;
/// Differences below this share of the level are trifles.
const TRIFLE: f64 = 0.01;

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// By their difference.
    Linear,
    /// By their ratio, for positive rates; smaller values count as `floor`.
    Log {
        /// The smallest rate that matters, above 0.
        floor: f64,
    },
    /// By their ratio where they are large against `start`, by their difference where they are small: the logarithm of
    /// `start + value` (Tukey's started logarithm). For counts, whose noise is that of a ratio only while they are large.
    Started {
        /// What is added, above 0.
        start: f64,
    },
}

/// How much of the past a monitor keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// 2,000 points, and what scores need: for ranking points.
    Full,
    /// 1,000 points and no scores, a quarter of the bytes: for alarms.
    Lean,
}

impl Memory {
    pub(super) fn points(self) -> usize {
        match self {
            Self::Full => 2_000,
            Self::Lean => 1_000,
        }
    }
}

impl Scale {
    /// The number that is watched for a value.
    pub(super) fn inner(self, value: f64) -> f64 {
        let value = value.clamp(-LARGEST_VALUE, LARGEST_VALUE);
        match self {
            Self::Linear => value,
            Self::Log { floor } => value.max(floor).ln(),
            Self::Started { start } => (start + value.max(0.0)).ln(),
        }
    }

    /// The value for a number that is watched.
    pub(super) fn outer(self, number: f64) -> f64 {
        let value = match self {
            Self::Linear => number,
            Self::Log { .. } => number.exp(),
            Self::Started { start } => (number.exp() - start).max(0.0),
        };
        value.clamp(-LARGEST_VALUE, LARGEST_VALUE)
    }

    /// A difference from `level` that is none, above 0.
    pub(super) fn trifle(self, level: f64) -> f64 {
        match self {
            Self::Linear => (TRIFLE * level.abs()).max(1e-100),
            Self::Log { .. } | Self::Started { .. } => TRIFLE,
        }
    }
}

/// How a series is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesConfig {
    /// Seconds from one point to the next, from 1 to a day.
    pub step_seconds: u32,
    /// What is added to a time before its time of day and day of week are taken.
    pub offset_seconds: i32,
    /// How values are compared.
    pub scale: Scale,
    /// The budget: this many points to a false alarm.
    pub points_per_false_alarm: f64,
    /// After so many seconds a changed level is the new normal.
    pub settle_seconds: u32,
    /// After so many seconds without a value there is no data.
    pub silence_seconds: u32,
    /// How much of the past is kept.
    pub memory: Memory,
}

impl SeriesConfig {
    /// Values compared by their difference, slots in UTC, one false alarm in 10,000 points, a new normal after a day, no
    /// data after ten missing points, all of the past that scores need.
    pub fn new(step_seconds: u32) -> Self {
        Self {
            step_seconds,
            offset_seconds: 0,
            scale: Scale::Linear,
            points_per_false_alarm: 10_000.0,
            settle_seconds: 86_400,
            silence_seconds: step_seconds.saturating_mul(10),
            memory: Memory::Full,
        }
    }

    pub(super) fn check(&self) -> Result<(), StatsError> {
        if !(1..=86_400).contains(&self.step_seconds) {
            return Err(StatsError::Domain("a step is from 1 second to a day"));
        }
        if !(self.points_per_false_alarm > 1.0 && self.points_per_false_alarm.is_finite()) {
            return Err(StatsError::Domain("a budget is more than 1 point to a false alarm"));
        }
        if matches!(self.scale, Scale::Log { floor } if !(floor > 0.0 && floor.is_finite())) {
            return Err(StatsError::Domain("the floor of a rate is above 0"));
        }
        if matches!(self.scale, Scale::Started { start } if !(start > 0.0 && start.is_finite())) {
            return Err(StatsError::Domain("what is added before a logarithm is taken is above 0"));
        }
        Ok(())
    }
}
