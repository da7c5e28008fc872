//! What a monitor found in a window: a value, its interval, and why it matters.

use crate::time::Window;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The aspects that monitors watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitorKind {
    /// Number of records in the window.
    Volume,
    /// Distance of a column's distribution from the reference.
    Drift,
    /// How all features hang together.
    Joint,
    /// Share of missing values of a column.
    Missing,
    /// Share of values the reference has never seen.
    Unseen,
    /// Share of numbers far outside the range of the reference: by more than its own width.
    Range,
    /// A column that varies in the reference has one value all window long.
    Constant,
    /// A column repeats its value more often, or for longer, than the reference does.
    Stale,
    /// Share of records whose id was there already.
    Duplicates,
    /// Share of records refused for a value of a wrong type, by column; without a column, for not being records.
    Types,
    /// A column that no record carries any more; without a column, the share of records refused for columns that the model
    /// does not have.
    Schema,
    /// Share of failed calls.
    Errors,
    /// 99th percentile of latency in milliseconds.
    Latency,
    /// Mean cost of a record.
    Cost,
    /// Realised performance from labels.
    Performance,
    /// Performance as it is expected before the labels are there. It never promotes or retrains.
    Estimate,
    /// Segments in which the model is worse than elsewhere, found by search. It never alarms.
    Weak,
}

impl MonitorKind {
    /// The word in tables and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Drift => "drift",
            Self::Joint => "joint",
            Self::Missing => "missing",
            Self::Unseen => "unseen",
            Self::Range => "range",
            Self::Constant => "constant",
            Self::Stale => "stale",
            Self::Duplicates => "duplicates",
            Self::Types => "types",
            Self::Schema => "schema",
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::Performance => "performance",
            Self::Estimate => "estimate",
            Self::Weak => "weak",
        }
    }

    /// Whether it is about the quality of the data.
    pub fn about_quality(self) -> bool {
        matches!(
            self,
            Self::Missing
                | Self::Unseen
                | Self::Range
                | Self::Constant
                | Self::Stale
                | Self::Duplicates
                | Self::Types
                | Self::Schema
        )
    }
}

impl fmt::Display for MonitorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Reading {
    /// The number with its 95 % interval, where there is one.
    Value {
        /// The point estimate; finite.
        value: f64,
        /// Lower end of the interval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low: Option<f64>,
        /// Upper end of the interval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        high: Option<f64>,
    },
    /// It cannot be computed.
    NotComputable {
        /// Because of this.
        reason: String,
    },
}

impl Reading {
    /// A number without an interval; not computable when it is not finite.
    pub fn of(value: f64) -> Self {
        Self::between(value, None, None)
    }

    /// A number with its interval.
    pub fn between(value: f64, low: Option<f64>, high: Option<f64>) -> Self {
        if !value.is_finite() {
            return Self::NotComputable { reason: "the result is not a finite number".to_owned() };
        }
        Self::Value {
            value,
            low: low.filter(|low| low.is_finite()),
            high: high.filter(|high| high.is_finite()),
        }
    }

    /// The number, if there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Value { value, .. } => Some(*value),
            Self::NotComputable { .. } => None,
        }
    }
}

/// The name of the segment of the records with this value of a column.
///
/// ```
/// assert_eq!(steersman_domain::measurement::segment_name("origin", "JFK"), "origin = JFK");
/// ```
pub fn segment_name(column: &str, value: &str) -> String {
    format!("{column} = {value}")
}

/// One monitor's finding for one window. Made again with a higher revision when late records or labels arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Which aspect.
    pub monitor: MonitorKind,
    /// The column it is about; empty for the whole model.
    pub column: String,
    /// The segment it is about, such as `origin = JFK`; none for all records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// The name of the number: `jensen_shannon`, `roc_auc`, `missing_share`, ...
    pub metric: String,
    /// The window of event time.
    pub window: Window,
    /// Raised each time the window is measured again.
    pub revision: u32,
    /// The finding.
    pub reading: Reading,
    /// The range in which the number lies when nothing changed.
    pub ordinary: Option<(f64, f64)>,
    /// How many rows it rests on.
    pub rows: u64,
    /// Share of the predictions whose label had arrived, in `[0, 1]`; only for performance. How many ought to have arrived
    /// is the detail `labels_expected`.
    pub maturity: Option<f64>,
    /// Further numbers: other distances, p-values, effect sizes, evidence.
    pub details: BTreeMap<String, f64>,
    /// Whether this window speaks for a change that matters.
    pub alarming: bool,
    /// The finding in one sentence.
    pub explanation: String,
}
