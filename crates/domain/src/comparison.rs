//! Two data sets side by side: what `steersman compare` finds, as its JSON has it.
//!
//! The shape is a contract: fields may be added, none changes its meaning.

use crate::schema::DataKind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whether any column drifted, or all of them together.
    pub drifted: bool,
    /// The finding in one sentence.
    pub summary: String,
    /// What is compared with.
    pub reference: Side,
    /// What is compared.
    pub current: Side,
    /// Whose binning and formulas the distances follow: `steersman`, `evidently`, `nannyml`, `scipy`. What is called
    /// drifted does not depend on it.
    pub convention: String,
    /// The probability of calling anything drifted when nothing changed, for all columns together.
    pub level: f64,
    /// The column of times, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The columns that both sides have, in the order of the reference.
    pub columns: Vec<ColumnComparison>,
    /// Whether the sides can be told apart from all columns together, which no single column may show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint: Option<JointComparison>,
    /// Whether the truth follows the predictions as it did, where both a target and a prediction were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept: Option<ConceptComparison>,
    /// What the change means for predictions, where a target or a prediction was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harm: Option<Harm>,
    /// The same comparison within segments, largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentComparison>,
    /// Columns that only the reference has.
    pub removed: Vec<String>,
    /// Columns that only the current data has.
    pub added: Vec<String>,
    /// What a reader should know of how the files were read.
    pub notes: Vec<String>,
}

/// A value of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Both<T> {
    /// Of the reference.
    pub reference: T,
    /// Of the current data.
    pub current: T,
}

/// One of the two data sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The file, folder or pattern.
    pub source: String,
    /// Files that were read.
    pub files: usize,
    /// Rows.
    pub rows: usize,
    /// Time of the first row, where there is a column of times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Time of the last row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// What is known of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnComparison {
    /// Its name.
    pub name: String,
    /// What it holds in the reference.
    pub kind: DataKind,
    /// What the current data has in its place, where that is another kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_kind: Option<DataKind>,
    /// Shares of rows without a value.
    pub missing: Both<f64>,
    /// Distances by name; those that can be computed.
    pub distances: BTreeMap<String, f64>,
    /// Probabilities of a distance at least as large when nothing changed, by test.
    pub p_values: BTreeMap<String, f64>,
    /// How large the change is, in the unit of `effect_measure`; none where it cannot be said.
    pub effect: Option<f64>,
    /// What `effect` is: `wasserstein_normed` (numbers: in robust standard deviations), `l_infinity` (categories: the
    /// largest change of a share).
    pub effect_measure: String,
    /// An effect below this does not matter, however certain it is.
    pub effect_floor: f64,
    /// Jensen-Shannon distances between which equal data of these sizes lie, 90 times in 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinary: Option<(f64, f64)>,
    /// The probability of the column's findings when nothing changed, corrected for all tests of all columns.
    pub p_value: f64,
    /// Whether it changed, certainly and by enough to matter.
    pub drifted: bool,
    /// Why, in words.
    pub why: String,
    /// What it was and what it is, in words: `mean 38.2 -> 71.0`.
    pub moved: String,
    /// How the change of this column alone would change the mean loss of the predictions, where that can be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harm: Option<f64>,
    /// Summaries of both sides.
    pub summary: Both<ColumnSummary>,
    /// Its distribution on both sides.
    pub shape: Shape,
    /// Its course over time, where there is a column of times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<TimelinePoint>,
}

/// One side of a column in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// Rows with a value.
    pub count: u64,
    /// Rows without.
    pub missing: u64,
    /// Infinite values; they are in no other number.
    pub infinite: u64,
    /// Distinct values.
    pub distinct: u64,
    /// Mean, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
    /// Minimum, 5 %, 25 %, 50 %, 75 %, 95 % quantile and maximum, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<[f64; 7]>,
}

/// The distribution of a column, to be drawn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Shape {
    /// Shares of equal bins between `edges`, and the quantiles 1 % to 99 % of both sides.
    Numeric {
        /// Edges, one more than bins.
        edges: Vec<f64>,
        /// Shares of the values in each bin; what is outside is in the first and last.
        shares: Both<Vec<f64>>,
        /// Pairs of quantiles (reference, current) at 1, 2, ... 99 %.
        quantiles: Vec<(f64, f64)>,
    },
    /// Shares of categories, those that changed most first; the last is all others.
    Categories {
        /// Names.
        names: Vec<String>,
        /// Shares.
        shares: Both<Vec<f64>>,
        /// Distinct categories that are not named.
        others: u64,
    },
    /// Nothing can be drawn.
    #[default]
    Empty,
}

/// A column in an interval of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// Middle of the interval.
    pub at: Timestamp,
    /// Whether it belongs to the reference.
    pub reference: bool,
    /// Rows with a value.
    pub rows: u64,
    /// Mean of numbers, or the share of the category that changed most; none without rows.
    pub value: Option<f64>,
    /// Its 95 % interval.
    pub range: Option<(f64, f64)>,
}

/// Whether a classifier can tell the two sides apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointComparison {
    /// How: `domain_classifier`.
    pub method: String,
    /// Area under the ROC curve on rows that it was not trained on; 0.5 is chance.
    pub roc_auc: f64,
    /// Its 95 % interval.
    pub interval: (f64, f64),
    /// The 95 % interval of the area between the earlier and the later half of the reference, where rows have times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinary: Option<(f64, f64)>,
    /// The probability of an area at least as large when nothing differs and rows are independent.
    pub p_value: f64,
    /// Whether the sides differ, certainly and by enough to matter.
    pub drifted: bool,
    /// The columns that it uses most, with their share of the explanation.
    pub columns: Vec<(String, f64)>,
    /// Rows that were used.
    pub rows: Both<u64>,
    /// In words.
    pub why: String,
}

/// Whether the truth still follows the predictions as it did. What counts is whether the truth is 1 or, where it is a number,
/// whether it is farther above its prediction than one half of the reference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConceptComparison {
    /// The share of the current rows in which that was to be expected, of their predictions and the reference.
    pub expected: f64,
    /// The share in which it is so.
    pub observed: f64,
    /// How far the chance moved, in the mean over the current rows.
    pub effect: f64,
    /// The p-value; corrected for time where there is one.
    pub p_value: f64,
    /// Whether it changed, certainly and by enough to matter.
    pub drifted: bool,
    /// Rows with a prediction and a truth that were used.
    pub rows: Both<u64>,
    /// In words.
    pub why: String,
}

/// What the change would do to predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    /// The loss: `brier`, `absolute_error`, ...
    pub loss: String,
    /// Whose predictions: the named column, or a small model that was trained on the reference for this purpose.
    pub predictions: String,
    /// The loss in the reference.
    pub reference: f64,
    /// The loss that the shifts of the columns let one expect.
    pub expected: f64,
    /// The 95 % interval of the expected change.
    pub change: (f64, f64),
    /// The loss in the current data, where it has the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realised: Option<f64>,
    /// In words, with what it cannot see.
    pub why: String,
}

/// The comparison within one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentComparison {
    /// The column.
    pub column: String,
    /// Its value.
    pub value: String,
    /// Rows.
    pub rows: Both<usize>,
    /// Whether anything drifted within it; the level is shared among segments.
    pub drifted: bool,
    /// The columns that did.
    pub columns: Vec<String>,
}

/// A number in few digits, for people.
///
/// ```
/// use steersman_domain::comparison::brief;
/// assert_eq!([brief(0.0), brief(0.123_456), brief(48.57), brief(21_951.2)], ["0", "0.123", "48.6", "21951"]);
/// ```
pub fn brief(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 1_000.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}
