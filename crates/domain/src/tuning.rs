//! What `steersman tune` finds, as its JSON has it: monitor and retrain policies replayed on labelled history.
//!
//! The shape is a contract: fields may be added, none changes its meaning. Losses are means over rows: the Brier score for
//! `binary`, the absolute error for `regression`; lower is better.

use crate::spec::Task;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The finding in one sentence.
    pub summary: String,
    /// The file, folder or pattern.
    pub source: String,
    /// What is predicted.
    pub task: Task,
    /// The column with the truth.
    pub target: String,
    /// `brier` or `absolute_error`.
    pub loss: String,
    /// The columns that the models learnt from.
    pub features: Vec<String>,
    /// What was trained, in words.
    pub learner: String,
    /// How history was cut.
    pub replay: Replay,
    /// When labels were known.
    pub labels: LabelTiming,
    /// Mean loss that the first model showed on rows it had not learnt from, before the replay begins.
    pub reference_loss: f64,
    /// A loss is worse than acceptable above this many times what a version showed before it served.
    pub tolerance: f64,
    /// Mean loss of the first model, were it never replaced.
    pub never_loss: f64,
    /// The best schedules with so many retrainings, found in hindsight: what no policy can know in advance.
    pub best: Vec<BestSchedule>,
    /// Mean loss of "the same as the last label that is known".
    pub persistence_loss: f64,
    /// The policies, best first.
    pub policies: Vec<PolicyResult>,
    /// Name of the recommended policy.
    pub recommended: String,
    /// By which rule it was chosen.
    pub rule: String,
    /// What to write into the spec for the recommended policy.
    pub spec: String,
    /// Loss by chunk.
    pub timeline: Vec<TuningChunk>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// How history was cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Rows with a label.
    pub rows: usize,
    /// Rows before the first chunk.
    pub history_rows: usize,
    /// Time of the first row.
    pub from: Timestamp,
    /// Begin of the first chunk: the first model is trained then.
    pub start: Timestamp,
    /// End of the last chunk.
    pub to: Timestamp,
    /// Chunks.
    pub chunks: usize,
    /// Median length of a chunk in seconds.
    pub chunk_seconds: i64,
    /// Median rows of a chunk.
    pub chunk_rows: usize,
    /// Candidates are judged on the labels of this many chunks, kept from training.
    pub holdout_chunks: usize,
    /// Models that were trained for the table.
    pub models: usize,
    /// Most rows that one of them learnt from.
    pub training_rows: usize,
}

/// When labels were known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelTiming {
    /// Median delay in seconds.
    pub median_delay_seconds: i64,
    /// Whether the delay depends on the outcome, so that labels so far give a wrong picture.
    pub outcome_dependent: bool,
    /// Only cohorts of this age in seconds were trained and judged on; none where each label counted when it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mature_after_seconds: Option<i64>,
    /// In words.
    pub why: String,
}

/// The best schedule with a number of retrainings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestSchedule {
    /// At most so many retrainings.
    pub trainings: usize,
    /// Mean loss.
    pub loss: f64,
    /// The chunks from which a new model serves, counted from 0.
    pub at: Vec<usize>,
}

/// What one policy achieves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyResult {
    /// Its name: trigger, gate and window.
    pub name: String,
    /// What starts a training: `never`, `every 4 chunks`, `harm 1 per 30d`, `2 of 5`, `adwin`, `ddm`, `page_hinkley`,
    /// `drift 1 per 30d`.
    pub trigger: String,
    /// Whether a candidate must beat the champion on labelled rows that neither learnt from.
    pub gate: bool,
    /// Whether what serves after the candidate won is trained again on all labels, those of the comparison among them.
    pub refit: bool,
    /// What is learnt from: `rolling` (as many labelled rows as the history had) or `expanding` (all).
    pub window: String,
    /// Mean loss.
    pub loss: f64,
    /// Its 95 % interval, by a block bootstrap over chunks.
    pub interval: (f64, f64),
    /// (loss of never - loss) / (loss of never - loss of the best schedule); none where no schedule is better than never.
    pub gain: Option<f64>,
    /// Standard error of the loss minus that of the best policy that a spec can express.
    pub error: f64,
    /// Trainings.
    pub trainings: usize,
    /// Times that another version began to serve.
    pub promotions: usize,
    /// Share of promotions after which the next chunks were better than with the version that was replaced.
    pub better: Option<f64>,
    /// Share after which they were worse.
    pub worse: Option<f64>,
    /// Alarms; policies with a schedule are watched by `harm 1 per 30d`.
    pub alarms: usize,
    /// Alarms while performance was ordinary.
    pub false_alarms: usize,
    /// Times that the loss was worse than acceptable for two chunks or more.
    pub degradations: usize,
    /// How many of them no alarm told of.
    pub missed: usize,
    /// Median chunks from the begin of a degradation to its alarm.
    pub detection_delay: Option<f64>,
    /// Whether no other policy has a lower loss with as few trainings.
    pub pareto: bool,
    /// Whether a spec can ask for it.
    pub expressible: bool,
    /// What to write into the spec for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
}

/// Loss in one chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningChunk {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Rows.
    pub rows: usize,
    /// Loss of the first model.
    pub never: f64,
    /// Loss under the recommended policy.
    pub recommended: f64,
    /// Loss under the best schedule in hindsight.
    pub best: f64,
    /// Whether the recommended policy's version is another than in the chunk before.
    pub promoted: bool,
    /// Whether there was an alarm at its end.
    pub alarm: bool,
}
