//! How good predictions are before their labels are there: what `steersman estimate` finds, as its JSON has it.
//!
//! The shape is a contract: fields may be added, none changes its meaning. `docs/estimate.md` describes it for readers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The result of an estimation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimation {
    /// Whether any metric of the current data is worse than in the reference, or beyond its floor, with its whole interval.
    pub worse: bool,
    /// The finding in one sentence.
    pub summary: String,
    /// What is predicted.
    pub task: EstimationTask,
    /// Whether the task was inferred from the data rather than named.
    pub task_inferred: bool,
    /// How metrics are estimated.
    pub method: Method,
    /// The labelled data that the estimator learnt from.
    pub reference: LabelledSide,
    /// The data that is judged.
    pub current: LabelledSide,
    /// The column of times, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What scores mean as probabilities; none for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Labelled windows of the reference, whose estimates were compared with what came.
    pub past: PastWindows,
    /// Metrics of the current data as a whole.
    pub metrics: Vec<MetricEstimate>,
    /// The same over time, reference first.
    pub chunks: Vec<Chunk>,
    /// How many labels of the current data have arrived, where some have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maturity: Option<Maturity>,
    /// What an estimate without labels cannot see.
    pub blind: String,
    /// What a reader should know of the data and of how they were used.
    pub notes: Vec<String>,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EstimationTask {
    /// The probability that something is so.
    Binary,
    /// The probabilities of several classes.
    Multiclass,
    /// A number.
    Regression,
}

impl EstimationTask {
    /// The word in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Regression => "regression",
        }
    }
}

/// How metrics are estimated without labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Confidence-based: expected from calibrated probabilities.
    Cbpe,
    /// Direct loss estimation: a second model knows which rows are hard.
    Dle,
}

/// One of the two data sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelledSide {
    /// The file, folder or pattern.
    pub source: String,
    /// Rows with a prediction, which are those that are used.
    pub rows: usize,
    /// Of these, rows with a label.
    pub labelled: usize,
    /// Time of the first row, where there is a column of times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Time of the last row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// What scores mean as probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Whether the scores had to be calibrated: isotonic regression was closer to the labels on rows held out.
    pub needed: bool,
    /// Expected calibration error (ten bins) of the scores as they are; for several classes, the mean over them.
    pub gap_before: f64,
    /// The same of the calibrated scores of rows held out.
    pub gap_after: f64,
    /// Score against share of positives in the reference; of the first class where there are several.
    pub curve: Vec<CalibrationBin>,
}

/// Rows of similar score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean score.
    pub score: f64,
    /// Mean calibrated probability, of rows held out.
    pub calibrated: f64,
    /// Share of positives.
    pub positive: Band,
    /// Rows.
    pub rows: usize,
}

/// The windows from which the estimator's own error is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastWindows {
    /// How many.
    pub windows: usize,
    /// Rows of each.
    pub rows: usize,
}

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// An estimate by a calibration that was made for the current mix of rows (PAPE).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adapted {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// So many reference rows of equal weight would say as much: a small part of the reference means that it knows little
    /// of such rows.
    pub effective_rows: f64,
}

/// A metric that labels show.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FromLabels {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Labels behind it.
    pub labels: usize,
}

/// Which of a metric's numbers is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Expected without labels.
    Estimated,
    /// Expected without labels, for the current mix of rows.
    Adapted,
    /// Estimates corrected by the labels that have arrived.
    Corrected,
    /// All labels.
    Realised,
}

impl Basis {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Estimated => "estimated",
            Self::Adapted => "adapted",
            Self::Corrected => "corrected",
            Self::Realised => "realised",
        }
    }
}

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither: a share of rows; it raises no alarm.
    Neither,
}

/// One metric of one stretch of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricEstimate {
    /// Its name: `roc_auc`, `accuracy`, `mae`, ...
    pub name: String,
    /// Which way is better.
    pub better: Better,
    /// What it is expected to be without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated: Option<Band>,
    /// The same by a calibration made for these rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapted: Option<Adapted>,
    /// What the labels that are there show, which is not the truth as long as labels are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realised: Option<FromLabels>,
    /// The estimate corrected by the labels that are there (prediction-powered), where some are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<FromLabels>,
    /// What it was in the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Band>,
    /// The number to believe: the one that knows most labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// That number minus the one of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
    /// The floor (or, of a loss, the ceiling) that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Whether that number's whole interval is worse than the whole interval of the reference, or beyond the floor.
    pub alarm: bool,
    /// Why a number is missing, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl MetricEstimate {
    /// The number to believe.
    pub fn best(&self) -> Option<Band> {
        let labels = |found: FromLabels| Band { value: found.value, low: found.low, high: found.high };
        match self.basis? {
            Basis::Estimated => self.estimated,
            Basis::Adapted => {
                self.adapted.map(|found| Band { value: found.value, low: found.low, high: found.high })
            }
            Basis::Corrected => self.corrected.map(labels),
            Basis::Realised => self.realised.map(labels),
        }
    }
}

/// A stretch of time or of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Whether it is part of the reference; its estimates are then of rows held out.
    pub reference: bool,
    /// Its place within its side, from 0.
    pub index: usize,
    /// Time of its begin, where there is a column of times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Time of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Rows.
    pub rows: usize,
    /// Of these, rows with a label.
    pub labelled: usize,
    /// Its metrics.
    pub metrics: Vec<MetricEstimate>,
    /// Whether any of them alarms; never in the reference.
    pub alarm: bool,
}

/// How many labels have arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Maturity {
    /// Labels that are there.
    pub arrived: usize,
    /// Their share of all rows.
    pub share: f64,
    /// The share that ought to be there, by the delays of earlier labels; known where the arrival of labels has a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// Whether labels of one outcome arrive sooner, so that those that are there are no fair sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on_outcome: Option<bool>,
    /// In words.
    pub why: String,
}
