//! What a user declares about a model: one TOML file, checked key by key.
//!
//! [`ModelSpec::parse`] is the only way in: unknown keys, wrong types and contradictions are refused with the path of
//! the key, the line, and what to write instead.

mod exposure;
mod personal;
mod quality;
mod rollout;
mod serve;

pub use exposure::{Audience, SegmentBudget};
pub use personal::Personal;
pub use quality::{ColumnQuality, Portion, QualityCheck, QualitySection};
pub use rollout::{EstimateUse, Guard, JUDGED_MEANS, JUDGED_SEGMENTS, MeanGuard, SegmentValue, Worse};
pub use serve::{Repeatable, ServeSection};

use crate::id::ModelName;
use crate::problem::Problem;
use crate::time::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A model's spec: what it is, what it reads, how it is watched, retrained, rolled out and served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// What the model is.
    pub model: ModelSection,
    /// The data it reads.
    pub data: DataSection,
    /// How it is watched.
    #[serde(default)]
    pub watch: WatchSection,
    /// How a new version is trained; without it Steersman never trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain: Option<RetrainSection>,
    /// How a new version gets traffic.
    #[serde(default)]
    pub rollout: RolloutSection,
    /// How versions are served; without it Steersman only watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<ServeSection>,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Name in routes, tables and pages.
    #[schemars(with = "String")]
    pub name: ModelName,
    /// The team that owns it.
    #[serde(default = "default_team")]
    pub team: String,
    /// What it predicts.
    pub task: Task,
    /// Name of the output: for `binary` the probability of the positive class, for `regression` the value.
    pub prediction: String,
    /// The truth.
    pub label: LabelSection,
    /// A probability at or above this counts as a positive prediction; only for `binary`.
    #[serde(default = "default_threshold")]
    pub threshold: f64,
}

fn default_team() -> String {
    "default".to_owned()
}

fn default_threshold() -> f64 {
    0.5
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// The probability that something is so; labels are 0 or 1.
    Binary,
    /// A number.
    Regression,
}

/// `label = { column = "late", expected_delay = "3h" }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelSection {
    /// Its column in the reference file.
    pub column: String,
    /// How long after the prediction the truth is usually known.
    #[serde(default = "default_delay")]
    #[schemars(with = "String")]
    pub expected_delay: Period,
    /// The reference file's column with the time at which the truth became known; without it the record's time plus
    /// `expected_delay` is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

fn default_delay() -> Period {
    Period::from_days(1)
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// A CSV (also gzip) or Parquet file of labelled history, relative to the spec file: the schema is learnt from
    /// it, windows are compared with it, and the first version is trained on it.
    pub reference: String,
    /// The column with the time of the prediction.
    pub time: String,
    /// The column with the record id; without it rows are numbered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Columns of the reference file that are not features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Columns to treat as categories although they hold numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<String>,
    /// Features with few values, such as a region or a customer group: each value is a segment with all
    /// monitors of its own, within the same false-alarm budget. At most 5 columns; of each the 20 most frequent values,
    /// all others together; 240 rows of the reference are needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
    /// Features whose values are about persons, each with `hash` or `drop`: what becomes of the values before they reach
    /// a disk.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub personal: BTreeMap<String, Personal>,
    /// Records and labels that are older go; by default as the server's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub retention: Option<Period>,
}

/// At most so many columns may be declared as segments.
pub const SEGMENT_COLUMNS: usize = 5;
/// So many values of each are segments by themselves, the most frequent ones.
pub const SEGMENT_VALUES: usize = 20;

/// `[watch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WatchSection {
    /// Length of a window of event time.
    #[schemars(with = "String")]
    pub window: Period,
    /// How long after its end a window waits for late records before it is measured.
    #[schemars(with = "String")]
    pub lateness: Period,
    /// How often a false alarm is acceptable, for the whole model.
    #[schemars(with = "String")]
    pub false_alarms: FalseAlarms,
    /// What is asked of the predictions once labels arrive.
    pub performance: PerformanceSection,
    /// What is known about the quality of the data.
    pub quality: QualitySection,
    /// How traffic, failed calls, latency and cost are watched.
    pub operation: OperationSection,
}

impl Default for WatchSection {
    fn default() -> Self {
        Self {
            window: Period::from_days(1),
            lateness: Period::from_seconds(3_600),
            false_alarms: FalseAlarms { count: 1, per: Period::from_days(30) },
            performance: PerformanceSection::default(),
            quality: QualitySection::default(),
            operation: OperationSection::default(),
        }
    }
}

/// A false-alarm budget, written `1 per 30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FalseAlarms {
    /// This many
    pub count: u32,
    /// in this time.
    pub per: Period,
}

impl FalseAlarms {
    /// The acceptable probability of a false alarm in one window of length `window`, at most 1/2.
    ///
    /// ```
    /// use steersman_domain::{Period, spec::FalseAlarms};
    /// let budget: FalseAlarms = "1 per 30d".parse().unwrap();
    /// assert_eq!(budget.alpha(Period::from_seconds(3600)), 1.0 / 720.0);
    /// ```
    pub fn alpha(&self, window: Period) -> f64 {
        let windows = self.per.seconds() as f64 / window.seconds() as f64;
        (f64::from(self.count) / windows).min(0.5)
    }
}

impl FromStr for FalseAlarms {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parsed = text.split_once(" per ").and_then(|(count, per)| {
            let count = count.trim().parse::<u32>().ok().filter(|&count| count > 0)?;
            Some(Self { count, per: per.parse().ok()? })
        });
        parsed.ok_or_else(|| {
            Problem::invalid(format!("`{text}` is not a false-alarm budget")).hint("write it as `1 per 30d`")
        })
    }
}

impl TryFrom<String> for FalseAlarms {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<FalseAlarms> for String {
    fn from(budget: FalseAlarms) -> String {
        budget.to_string()
    }
}

impl fmt::Display for FalseAlarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, self.per)
    }
}

/// `performance = { metric = "roc_auc", floor = 0.70, drop = 0.03 }`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PerformanceSection {
    /// The metric shown first; by default `brier` for binary, `mae` for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The metric should not get worse than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// It should not get worse than the reference by more than this, in the metric's units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<f64>,
}

/// `operation = { settle = "3d", cost = "tokens" }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperationSection {
    /// A level of traffic, failed calls, latency or cost that has changed and stayed so for this long is the new normal.
    #[schemars(with = "String")]
    pub settle: Period,
    /// A feature, or the prediction, that says what a record costs; without it no cost is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
}

impl Default for OperationSection {
    fn default() -> Self {
        Self { settle: Period::from_days(3), cost: None }
    }
}

/// A performance metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Area under the ROC curve; higher is better.
    RocAuc,
    /// Share of right decisions at the threshold; higher is better.
    Accuracy,
    /// Mean squared error of the probability; lower is better.
    Brier,
    /// Mean negative log likelihood; lower is better.
    LogLoss,
    /// Mean absolute error; lower is better.
    Mae,
    /// Root mean squared error; lower is better.
    Rmse,
}

impl Metric {
    /// The word in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RocAuc => "roc_auc",
            Self::Accuracy => "accuracy",
            Self::Brier => "brier",
            Self::LogLoss => "log_loss",
            Self::Mae => "mae",
            Self::Rmse => "rmse",
        }
    }

    /// Whether a higher value is better.
    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::RocAuc | Self::Accuracy)
    }

    /// The task it can be computed for.
    pub fn task(self) -> Task {
        match self {
            Self::RocAuc | Self::Accuracy | Self::Brier | Self::LogLoss => Task::Binary,
            Self::Mae | Self::Rmse => Task::Regression,
        }
    }
}

/// `[retrain]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrainSection {
    /// Program and arguments, run in the spec file's folder. `{snapshot}` is the training data, `{artifact}` the
    /// folder in which the program must leave the trained model.
    pub command: Vec<String>,
    /// Train a candidate at least this often; without it only alarms train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub schedule: Option<Period>,
    /// Least time between two trainings.
    #[serde(default = "default_cooldown")]
    #[schemars(with = "String")]
    pub cooldown: Period,
    /// At most this many trainings in seven days.
    #[serde(default = "default_max_per_week")]
    pub max_per_week: u32,
    /// An alarm trains when this many of the last windows, the latest among them, were violated: `2 of 5`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub trigger: Trigger,
    /// How far back the training data reaches; without it all history is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub history: Option<Period>,
    /// The latest labelled records, kept from training, on which candidate and champion are compared.
    #[serde(default = "default_holdout")]
    #[schemars(with = "String")]
    pub holdout: Period,
    /// The program is stopped after this time.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Period,
    /// Format of the snapshot file.
    #[serde(default)]
    pub format: SnapshotFormat,
    /// Names of environment variables that are passed on beside `PATH`, `HOME`, `LANG` and `TMPDIR`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
}

fn default_cooldown() -> Period {
    Period::from_days(1)
}

fn default_max_per_week() -> u32 {
    3
}

fn default_holdout() -> Period {
    Period::from_days(7)
}

fn default_timeout() -> Period {
    Period::from_seconds(3_600)
}

/// Format of a snapshot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotFormat {
    /// Apache Parquet.
    #[default]
    Parquet,
    /// Comma-separated text with a header line.
    Csv,
}

impl SnapshotFormat {
    /// Ending of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// `2 of 5`: so many of the last windows must be violated, the latest among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trigger {
    /// So many
    pub violated: u32,
    /// of so many last windows.
    pub of: u32,
}

impl Default for Trigger {
    fn default() -> Self {
        Self { violated: 2, of: 5 }
    }
}

impl FromStr for Trigger {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parsed = text.split_once(" of ").and_then(|(violated, of)| {
            let trigger = Self { violated: violated.trim().parse().ok()?, of: of.trim().parse().ok()? };
            (1..=trigger.of).contains(&trigger.violated).then_some(trigger)
        });
        parsed.filter(|trigger| trigger.of <= 100).ok_or_else(|| {
            Problem::invalid(format!("`{text}` is not a trigger"))
                .hint("write it as `2 of 5`: at least one window, at most 100")
        })
    }
}

impl TryFrom<String> for Trigger {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<Trigger> for String {
    fn from(trigger: Trigger) -> String {
        trigger.to_string()
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.violated, self.of)
    }
}

/// `[rollout]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutSection {
    /// How traffic moves.
    pub strategy: Strategy,
    /// The steps: `shadow 1d`, `5%`, `25% 2d`, `100%`; a time is the least time in the step. Without them the strategy
    /// says which.
    #[schemars(with = "Vec<String>")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// What the judge looks at.
    pub guardrails: Vec<Guardrail>,
    /// When a person must agree.
    pub approval: Approval,
    /// Chance that a candidate that is no worse is rolled back, for the whole rollout.
    pub alpha: f64,
    /// A candidate that is proven to have more than this many times the champion's bad events is rolled back.
    pub harm: f64,
    /// How many times as many bad events as the champion's a candidate may have and still count as safe.
    pub margin: f64,
    /// The same, if it is more, in stages that give the candidate at most 5 % of the requests.
    pub early_margin: f64,
    /// How many times the champion's mean loss a candidate may have on the same requests and still count as safe.
    pub loss_margin: f64,
    /// Segments that are judged by themselves as well, such as `origin = JFK`: harm there is enough to roll back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub segments: Vec<SegmentValue>,
    /// Numbers whose mean must not get worse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub means: Vec<MeanGuard>,
    /// Performance is proven safe only once this share of the labels that are due has come.
    pub maturity: f64,
    /// What estimated performance may do until the labels come.
    pub estimate: EstimateUse,
    /// How long the old champion stays ready after a promotion, with the new one watched against it; or `off`.
    #[schemars(with = "String")]
    pub guard: Guard,
    /// A stage that has not been judged safe after this time is put on hold.
    #[schemars(with = "String")]
    pub stage_timeout: Period,
    /// What happens to a rollout on hold.
    pub on_hold: OnHold,
    /// The most requests that the candidate may answer before it is proven safe; the gateway enforces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// The most requests of each value of a column that the candidate may answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segment_budgets: Vec<SegmentBudget>,
    /// Request header, or `cookie:NAME`, whose value keeps a caller on one arm; without it each request is its own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// Who may be given to the candidate at all; by default everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

impl Default for RolloutSection {
    fn default() -> Self {
        Self {
            strategy: Strategy::Canary,
            stages: Vec::new(),
            guardrails: vec![Guardrail::Errors, Guardrail::Performance],
            approval: Approval::None,
            alpha: 0.05,
            harm: 1.0,
            margin: 1.5,
            early_margin: 2.0,
            loss_margin: 1.1,
            segments: Vec::new(),
            means: Vec::new(),
            maturity: 0.8,
            estimate: EstimateUse::Hold,
            guard: Guard(Some(Period::from_days(1))),
            stage_timeout: Period::from_days(7),
            on_hold: OnHold::Wait,
            budget: None,
            segment_budgets: Vec::new(),
            sticky: None,
            audience: None,
        }
    }
}

/// How traffic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Copies of requests alone, until the candidate is proven safe.
    Shadow,
    /// Step by step, judged at each step.
    Canary,
    /// All requests move at once, and back at once if the old champion turns out to have been better.
    BlueGreen,
    /// Callers are divided for a time, each stays on one side, and the candidate must be proven better.
    Ab,
    /// The candidate gets copies for a long time, and takes over when it is proven better.
    ChampionChallenger,
}

/// What the judge looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guardrail {
    /// Failed calls.
    Errors,
    /// Calls without an answer: in time, or at all.
    Timeouts,
    /// Calls slower than the champion's 99th percentile before the rollout.
    LatencyP99,
    /// Wrong predictions, as labels arrive.
    Performance,
    /// The mean of a number, as `rollout.means` says.
    Mean,
}

impl Guardrail {
    /// The word in files and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Timeouts => "timeouts",
            Self::LatencyP99 => "latency_p99",
            Self::Performance => "performance",
            Self::Mean => "mean",
        }
    }
}

/// When a person must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Never.
    #[default]
    None,
    /// Before the candidate gets its first request.
    BeforeStart,
    /// Before the candidate becomes champion.
    BeforeFull,
}

/// What happens to a rollout on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnHold {
    /// A person decides.
    #[default]
    Wait,
    /// The candidate is withdrawn.
    RollBack,
}

/// One step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stage {
    /// Share of the traffic.
    pub share: Share,
    /// Least time in this step.
    pub at_least: Option<Period>,
}

/// Share of the traffic that a stage gives to the candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// Nothing yet: its server stands ready.
    Preview,
    /// Copies of all requests; its answers are not used.
    Shadow,
    /// This percentage of the requests, above 0 and at most 100.
    Percent(f64),
}

impl Stage {
    /// Weight of the candidate in `[0, 1]`.
    pub fn weight(&self) -> f64 {
        match self.share {
            Share::Preview | Share::Shadow => 0.0,
            Share::Percent(percent) => percent / 100.0,
        }
    }
}

impl FromStr for Stage {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let mut words = text.split_whitespace();
        let share = match words.next() {
            Some("preview") => Some(Share::Preview),
            Some("shadow") => Some(Share::Shadow),
            Some(word) => word
                .strip_suffix('%')
                .and_then(|digits| digits.parse::<f64>().ok())
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Share::Percent),
            None => None,
        };
        let at_least = words.next().map(str::parse).transpose()?;
        match (share, words.next()) {
            (Some(share), None) => Ok(Self { share, at_least }),
            _ => Err(Problem::invalid(format!("`{text}` is not a stage"))
                .hint("write `shadow 1d`, `5%` or `25% 2d`: a share and, if wanted, the least time in it")),
        }
    }
}

impl TryFrom<String> for Stage {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> String {
        stage.to_string()
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.share {
            Share::Preview => f.write_str("preview")?,
            Share::Shadow => f.write_str("shadow")?,
            Share::Percent(percent) => write!(f, "{percent}%")?,
        }
        match self.at_least {
            Some(period) => write!(f, " {period}"),
            None => Ok(()),
        }
    }
}

impl ModelSpec {
    /// Reads a spec file's text.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let spec: Self = from_toml(text)?;
        spec.check()?;
        Ok(spec)
    }

    /// Contradictions that types cannot rule out.
    fn check(&self) -> Result<(), Problem> {
        let wrong =
            |field: &str, message: &str, hint: &str| Err(Problem::invalid(message).field(field).hint(hint));
        if !(self.model.threshold > 0.0 && self.model.threshold < 1.0) {
            return wrong("model.threshold", "not between 0 and 1", "0.5 is the usual threshold");
        }
        let label = &self.model.label.column;
        if *label == self.model.prediction {
            return wrong(
                "model.label.column",
                "same name as the prediction",
                "truth and output are two columns",
            );
        }
        if let Some(metric) = self.watch.performance.metric
            && metric.task() != self.model.task
        {
            return wrong(
                "watch.performance.metric",
                "does not fit the task",
                "binary: roc_auc, accuracy, brier, log_loss; regression: mae, rmse",
            );
        }
        if self.watch.performance.drop.is_some_and(|drop| !(drop.is_finite() && drop >= 0.0)) {
            return wrong("watch.performance.drop", "not a number >= 0", "how much worse is too much");
        }
        self.watch.quality.check_alone()?;
        self.check_segments()?;
        self.check_personal()?;
        if let Some(retrain) = &self.retrain {
            check_command("retrain.command", &retrain.command, &["{snapshot}", "{artifact}"])?;
        }
        if let Some(serve) = &self.serve {
            serve.check()?;
        }
        let rollout = &self.rollout;
        if !(rollout.alpha > 0.0 && rollout.alpha <= 0.5) {
            return wrong("rollout.alpha", "not between 0 and 0.5", "0.05 is the default");
        }
        if !(rollout.margin > 1.0 && rollout.margin <= 10.0) {
            return wrong(
                "rollout.margin",
                "not above 1 and at most 10",
                "1.5: half as many bad events again",
            );
        }
        if !(rollout.loss_margin > 1.0 && rollout.loss_margin <= 10.0) {
            return wrong("rollout.loss_margin", "not above 1 and at most 10", "1.1: a tenth more loss");
        }
        if rollout.guardrails.is_empty() {
            return wrong(
                "rollout.guardrails",
                "empty",
                "nothing could be judged; errors and performance are usual",
            );
        }
        exposure::check(
            rollout.sticky.as_deref(),
            rollout.audience.as_ref(),
            &rollout.segment_budgets,
            rollout.budget,
        )?;
        rollout.check()
    }

    /// What is wrong with the declared segments, as far as the spec alone tells.
    fn check_segments(&self) -> Result<(), Problem> {
        let (data, segments) = (&self.data, &self.data.segments);
        let wrong = |place: usize, message: String, hint: &str| {
            Err(Problem::invalid(message).field(format!("data.segments[{place}]")).hint(hint))
        };
        for (place, name) in segments.iter().enumerate() {
            if segments.iter().take(place).any(|other| other == name) {
                return wrong(place, format!("`{name}` is named twice"), "name each column once");
            }
            let own = [&data.time, &self.model.prediction, &self.model.label.column];
            let is_feature = !own.into_iter().chain(&data.id).chain(&data.ignore).any(|other| other == name);
            if !is_feature {
                let hint = "a segment is a value of a feature: not of the time, id, label, output or what is ignored";
                return wrong(place, format!("`{name}` is no feature"), hint);
            }
        }
        if segments.len() > SEGMENT_COLUMNS {
            let message = format!("{} columns, at most {SEGMENT_COLUMNS}", segments.len());
            let hint = "every segment takes its part of the false-alarm budget: declare those that matter";
            return Err(Problem::invalid(message).field("data.segments").hint(hint));
        }
        Ok(())
    }

    /// The metric shown first.
    pub fn metric(&self) -> Metric {
        self.watch.performance.metric.unwrap_or(match self.model.task {
            Task::Binary => Metric::Brier,
            Task::Regression => Metric::Mae,
        })
    }

    /// The JSON Schema of the spec file, for editors.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(ModelSpec).to_value()
    }
}

fn check_command(field: &str, command: &[String], placeholders: &[&str]) -> Result<(), Problem> {
    if command.first().is_none_or(String::is_empty) {
        return Err(Problem::invalid("empty")
            .field(field)
            .hint("a program and its arguments, as a list of strings"));
    }
    for placeholder in placeholders {
        if !command.iter().any(|argument| argument.contains(placeholder)) {
            return Err(Problem::invalid(format!("does not contain `{placeholder}`"))
                .field(field)
                .hint("Steersman puts the path or port there"));
        }
    }
    Ok(())
}

/// Reads a TOML file's text; what is refused is named by its key and line.
pub(crate) fn from_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let deserializer =
        toml::Deserializer::parse(text).map_err(|error| toml_problem(text, error.span(), error.message()))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let problem = toml_problem(text, inner.span(), inner.message());
        let place = problem.field.clone().unwrap_or_default();
        if path == "." { problem } else { problem.field(format!("{path} ({place})")) }
    })
}

fn toml_problem(text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> Problem {
    let line = span.map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let problem = Problem::invalid(message.trim().replace('\n', ", "));
    match line {
        Some(line) => problem.field(format!("line {line}")),
        None => problem,
    }
}

/// Fills `{name}` placeholders of a command.
///
/// ```
/// use std::collections::BTreeMap;
/// use steersman_domain::spec::fill;
/// let values = BTreeMap::from([("port", "9000".to_owned())]);
/// assert_eq!(fill(&["--listen=127.0.0.1:{port}".to_owned()], &values), ["--listen=127.0.0.1:9000"]);
/// ```
pub fn fill(command: &[String], values: &BTreeMap<&str, String>) -> Vec<String> {
    let fill_one = |argument: &String| {
        values
            .iter()
            .fold(argument.clone(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    command.iter().map(fill_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = r#"
[model]
name = "flight-delay"
task = "binary"
prediction = "score"
label = { column = "late" }

[data]
reference = "reference.csv"
time = "ts"
"#;

    fn refusal(extra: &str) -> String {
        ModelSpec::parse(&format!("{SPEC}{extra}")).unwrap_err().to_string()
    }

    #[test]
    fn the_shortest_spec_gets_defaults() {
        let spec = ModelSpec::parse(SPEC).unwrap();
        assert_eq!(spec.metric(), Metric::Brier);
        assert_eq!(spec.rollout.steps().len(), 4);
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(ModelSpec::parse(&text).unwrap(), spec);
    }

    #[test]
    fn refusals_name_the_key_and_the_line() {
        assert!(refusal("[watch]\nwindwo = '1d'").starts_with("watch.windwo (line 12): unknown field"));
        assert!(refusal("[watch]\nwindow = 7").starts_with("watch.window (line 12): invalid type"));
        assert!(refusal("[watch]\nwindow = '7'").contains("`7` is not a period"));
        assert!(
            refusal("[rollout]\nstages = ['50%', '5%', '100%']").starts_with("rollout.stages: does not rise")
        );
        assert!(
            refusal("[rollout]\nstages = ['50%']").starts_with("rollout.stages: does not end with `100%`")
        );
        assert!(refusal("[serve]\ncommand = ['x']").contains("does not contain `{artifact}`"));
        assert!(refusal("[serve]\nurl = 'http://x'").starts_with("serve.url: does not contain `{version}`"));
        assert!(refusal("[rollout]\nsticky = 'cookie:'").starts_with("rollout.sticky: not the name"));
        let segments = "[rollout]\nsegment_budgets = [{ column = 'a', requests = 1 }]";
        assert!(refusal(segments).starts_with("rollout.segment_budgets: without a budget"));
        assert!(refusal("[watch]\nperformance = { metric = 'mae' }").contains("does not fit the task"));
        assert!(refusal("segments = ['a', 'a']").starts_with("data.segments[1]: `a` is named twice"));
        assert!(refusal("segments = ['late']").starts_with("data.segments[0]: `late` is no feature"));
        assert!(refusal("segments = ['a', 'b', 'c', 'd', 'e', 'f']").starts_with("data.segments: 6 columns"));
    }
}
