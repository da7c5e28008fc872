//! Facts: everything that can be in the ledger. The state of the world is a fold over them.
//!
//! Three sorts: what people declared, what `decide` wants (each has an [`IntentId`] and is durable before its effect
//! happens), and what came of it (each names the intent or run it belongs to). A fact never holds a secret, a feature
//! value or a label.

use crate::id::{Digest, IncidentId, IntentId, ModelName, RolloutId, RunId, SignalId, Version};
use crate::measurement::Measurement;
use crate::schema::Schema;
use crate::spec::{EstimateUse, Guardrail, MeanGuard, ModelSpec, SegmentValue, Stage, Strategy};
use crate::time::{Period, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Position in the log, from 0.
    pub seq: u64,
    /// When it was written, by the platform's clock.
    pub time: Timestamp,
    /// Who or what wrote it.
    pub actor: Actor,
    /// Positions of the facts that led to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<u64>,
    /// What happened.
    pub fact: Fact,
}

/// Who or what acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The platform, by one of its rooms: `watch`, `decide`, `act`.
    Platform(String),
    /// A person or program with a name.
    Person(String),
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Platform(room) => write!(f, "platform ({room})"),
            Self::Person(name) => f.write_str(name),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Fact {
    /// The platform came up on this ledger.
    #[serde(rename = "platform.started")]
    PlatformStarted {
        /// Version of the program.
        program: String,
    },
    /// Records and labels of which all is older than `before` are to go.
    #[serde(rename = "records.expired")]
    RecordsExpired {
        /// The model.
        model: ModelName,
        /// By the times of records, and by when they were taken in.
        before: Timestamp,
        /// Segments that go.
        segments: u64,
        /// Records in them.
        records: u64,
        /// Labels in them.
        labels: u64,
    },
    /// Somebody asked for records to be erased. What they were found by is not kept.
    #[serde(rename = "erasure.requested")]
    ErasureRequested {
        /// The model.
        model: ModelName,
        /// The column that they were found by; `id` for one record.
        column: String,
    },
    /// Records were erased. Snapshots from before that held them cannot be made again.
    #[serde(rename = "erasure.finished")]
    ErasureFinished {
        /// The model.
        model: ModelName,
        /// Segments that were written anew.
        segments: u64,
        /// Records that are gone.
        records: u64,
        /// Labels that are gone.
        labels: u64,
    },
    /// A replica of the platform took the lead: it decides from here on.
    #[serde(rename = "lead.taken")]
    LeadTaken {
        /// Version of the program.
        program: String,
        /// Its name.
        replica: String,
        /// How often the lead was taken until then, this time included.
        term: u64,
    },
    /// A person declared a model, or changed its spec.
    #[serde(rename = "model.declared")]
    ModelDeclared {
        /// The model.
        model: ModelName,
        /// Its spec, whole.
        spec: Box<ModelSpec>,
        /// The folder in which its commands run.
        folder: String,
    },
    /// The reference file was read: the schema is known and windows can be compared.
    #[serde(rename = "reference.learnt")]
    ReferenceLearnt {
        /// The model.
        model: ModelName,
        /// Digest of the file.
        digest: Digest,
        /// Rows read.
        rows: u64,
        /// Rows with a label.
        labelled: u64,
        /// Time of the first row.
        from: Timestamp,
        /// Time of the last row.
        to: Timestamp,
        /// The columns.
        schema: Schema,
    },
    /// A monitor's alarm went off.
    #[serde(rename = "signal.raised")]
    SignalRaised {
        /// The model.
        model: ModelName,
        /// The alarm.
        signal: SignalId,
        /// The measurement that made it go off.
        measurement: Box<Measurement>,
        /// What it means, in words.
        explanation: String,
    },
    /// An alarm is over.
    #[serde(rename = "signal.cleared")]
    SignalCleared {
        /// The model.
        model: ModelName,
        /// The alarm.
        signal: SignalId,
        /// The window after which it was over.
        window: Window,
        /// Why it is over, in words.
        explanation: String,
    },
    /// An incident began.
    #[serde(rename = "incident.opened")]
    IncidentOpened {
        /// The model.
        model: ModelName,
        /// The incident.
        incident: IncidentId,
        /// Its first signals.
        signals: Vec<SignalId>,
        /// What it is about.
        title: String,
    },
    /// An incident ended.
    #[serde(rename = "incident.resolved")]
    IncidentResolved {
        /// The model.
        model: ModelName,
        /// The incident.
        incident: IncidentId,
        /// Why it is over.
        reason: String,
    },
    /// A job is to be done.
    #[serde(rename = "run.requested")]
    RunRequested {
        /// The model.
        model: ModelName,
        /// The job.
        run: RunId,
        /// The intent it carries out.
        intent: IntentId,
        /// What is to be done.
        task: RunTask,
        /// Why, in words.
        reason: String,
    },
    /// The data of a training was fixed.
    #[serde(rename = "snapshot.taken")]
    SnapshotTaken {
        /// The model.
        model: ModelName,
        /// The training.
        run: RunId,
        /// Digest of the rows.
        snapshot: Digest,
        /// How to take it again.
        request: SnapshotRequest,
        /// Rows in it, all labelled.
        rows: u64,
    },
    /// A job was done.
    #[serde(rename = "run.finished")]
    RunFinished {
        /// The model.
        model: ModelName,
        /// The job.
        run: RunId,
        /// How long it took by the wall clock.
        seconds: f64,
        /// Numbers the program reported.
        metrics: BTreeMap<String, f64>,
    },
    /// A job failed.
    #[serde(rename = "run.failed")]
    RunFailed {
        /// The model.
        model: ModelName,
        /// The job.
        run: RunId,
        /// What went wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A version exists.
    #[serde(rename = "version.registered")]
    VersionRegistered {
        /// The model.
        model: ModelName,
        /// Its number.
        version: Version,
        /// Digest over the artefact's files.
        artifact: Digest,
        /// The training it came from; none when a person brought it.
        run: Option<RunId>,
        /// Digest of its training data.
        snapshot: Option<Digest>,
        /// Records from this time on were not trained on.
        trained_until: Option<Timestamp>,
        /// Where it comes from, in words.
        note: String,
    },
    /// Candidate and champion were compared on records that neither was trained on.
    #[serde(rename = "evaluation.finished")]
    EvaluationFinished {
        /// The model.
        model: ModelName,
        /// The evaluation.
        run: RunId,
        /// The candidate.
        version: Version,
        /// The numbers.
        evaluation: Evaluation,
    },
    /// A gate opened or stayed shut.
    #[serde(rename = "gate.decided")]
    GateDecided {
        /// The model.
        model: ModelName,
        /// The version at the gate.
        version: Version,
        /// The intent.
        intent: IntentId,
        /// Which gate: `evaluation`.
        gate: String,
        /// Whether it may pass.
        passed: bool,
        /// Why.
        reason: String,
    },
    /// A person asked for a rollout of a registered version.
    #[serde(rename = "rollout.requested")]
    RolloutRequested {
        /// The model.
        model: ModelName,
        /// The candidate.
        version: Version,
        /// What the person chose to go without: `evaluation`, `shadow`, `fence`.
        skip: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A rollout began.
    #[serde(rename = "rollout.started")]
    RolloutStarted {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// The intent.
        intent: IntentId,
        /// The version that wants to serve.
        candidate: Version,
        /// The version that serves.
        champion: Version,
        /// The plan it follows.
        plan: RolloutPlan,
        /// What it goes without, and who chose so.
        skipped: Vec<String>,
    },
    /// A person's yes or no is needed.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// What for.
        step: ApprovalStep,
        /// The artefact the answer is bound to.
        artifact: Digest,
        /// The question.
        question: String,
    },
    /// A person said yes or no.
    #[serde(rename = "approval.decided")]
    ApprovalDecided {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// What for.
        step: ApprovalStep,
        /// The artefact the answer is bound to.
        artifact: Digest,
        /// Yes or no.
        approved: bool,
        /// Why.
        reason: String,
    },
    /// A person took hold of a rollout.
    #[serde(rename = "rollout.steered")]
    RolloutSteered {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// What the person wants.
        command: RolloutCommand,
        /// The artefact of the candidate that it is about.
        artifact: Digest,
        /// Why.
        reason: String,
    },
    /// A rollout went to a stage.
    #[serde(rename = "stage.entered")]
    StageEntered {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// The intent.
        intent: IntentId,
        /// Index into the plan's stages.
        stage: usize,
        /// Share of requests that the candidate answers, in `[0, 1]`.
        weight: f64,
        /// Whether the candidate also gets copies of the champion's requests.
        mirror: bool,
    },
    /// The gateway now splits like this.
    #[serde(rename = "route.applied")]
    RouteApplied {
        /// The model.
        model: ModelName,
        /// The version that serves.
        champion: Version,
        /// The candidate, if any.
        candidate: Option<Version>,
        /// Its share of requests.
        weight: f64,
        /// Whether it gets copies.
        mirror: bool,
    },
    /// The judge spoke.
    #[serde(rename = "verdict.given")]
    VerdictGiven {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// Index of the stage.
        stage: usize,
        /// What it said.
        verdict: Verdict,
    },
    /// A rollout ended.
    #[serde(rename = "rollout.finished")]
    RolloutFinished {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// The intent.
        intent: IntentId,
        /// How.
        outcome: RolloutOutcome,
        /// Requests that the candidate answered.
        exposed: u64,
        /// Why.
        reason: String,
    },
    /// The time is over in which the old champion stood ready after a promotion.
    #[serde(rename = "guard.ended")]
    GuardEnded {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// The intent.
        intent: IntentId,
        /// Whether the new champion stays; if not, the old one serves again and the new one is fenced.
        kept: bool,
        /// Why.
        reason: String,
    },
    /// Another version serves.
    #[serde(rename = "champion.changed")]
    ChampionChanged {
        /// The model.
        model: ModelName,
        /// The new champion.
        version: Version,
        /// The one before.
        previous: Option<Version>,
        /// The intent.
        intent: IntentId,
        /// The rollout that led to it; none for the first version.
        rollout: Option<RolloutId>,
    },
    /// A model server could not be started or died.
    #[serde(rename = "server.failed")]
    ServerFailed {
        /// The model.
        model: ModelName,
        /// The version it served.
        version: Version,
        /// What went wrong.
        reason: String,
    },
    /// The gateway took the candidate's traffic away by itself.
    #[serde(rename = "gateway.tripped")]
    GatewayTripped {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// `dead_man` (no judge) or `budget` (too many exposed requests).
        cause: TripCause,
        /// Requests that the candidate had answered.
        exposed: u64,
    },
    /// A gateway may give so many requests more to the candidate: a part of the rollout's budget.
    #[serde(rename = "budget.granted")]
    BudgetGranted {
        /// The model.
        model: ModelName,
        /// The rollout.
        rollout: RolloutId,
        /// The gateway.
        gateway: String,
        /// So many more.
        requests: u64,
    },
    /// A report was written.
    #[serde(rename = "report.issued")]
    ReportIssued {
        /// Its name.
        name: String,
        /// Digest of the file.
        digest: Digest,
        /// It speaks of the ledger up to here.
        size: u64,
    },
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunTask {
    /// Run the training command on a snapshot.
    Train {
        /// The data to train on.
        snapshot: SnapshotRequest,
    },
    /// Compare a version with the champion.
    Evaluate {
        /// The version.
        version: Version,
        /// Records from this time,
        from: Timestamp,
        /// up to but not including this time, with the labels known by then.
        to: Timestamp,
    },
}

/// Which rows of history, as known at a time: enough to take the same snapshot again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// Labels and records that were known by then.
    pub as_of: Timestamp,
    /// Records from this time; none for all history.
    pub from: Option<Timestamp>,
    /// Records before this time.
    pub to: Timestamp,
}

/// The comparison of two versions on the same labelled records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Records compared.
    pub rows: u64,
    /// Name of the metric.
    pub metric: String,
    /// The candidate's metric with its 95 % interval.
    pub candidate: Estimate,
    /// The champion's on the same records.
    pub champion: Option<Estimate>,
    /// The candidate's mean loss (squared error of a probability, absolute error of a number) with its 95 % interval.
    pub loss: Estimate,
    /// Candidate's mean loss minus champion's on the same records, with its 95 % interval; below 0 is better.
    pub difference: Option<Estimate>,
    /// The candidate's mean loss in each value of the spec's segments that has enough of the records: `origin = JFK`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, Estimate>,
    /// What losses are to be expected of outputs without a label, learnt from the same records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedLosses>,
}

/// What losses are to be expected of outputs, learnt where labels were known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpectedLosses {
    /// The champion that the candidate was compared with.
    pub against: Version,
    /// The candidate's loss, by its output.
    pub candidate: LossTable,
    /// The champion's loss, by its output.
    pub champion: LossTable,
    /// The candidate's loss less the champion's on the same record, by its output less the champion's.
    pub between: LossTable,
    /// The share of the champion's predictions that were wrong, in `[0, 1]`.
    #[serde(default)]
    pub wrong: f64,
    /// The share of the records of which one of the two was right and the other wrong.
    #[serde(default)]
    pub differ: f64,
}

/// Mean losses by ranges of outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossTable {
    /// The lowest and the highest output that was seen.
    pub span: (f64, f64),
    /// Where one range ends and the next begins, rising.
    pub edges: Vec<f64>,
    /// Of each range: rows, mean of the loss, its variance.
    pub cells: Vec<LossCell>,
}

/// Losses of the outputs in one range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossCell {
    /// Rows.
    pub rows: u64,
    /// Their mean loss.
    pub mean: f64,
    /// The variance of the loss among them.
    pub variance: f64,
}

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a rollout does, fixed when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// How traffic moves.
    #[serde(default = "canary")]
    pub strategy: Strategy,
    /// The steps.
    pub stages: Vec<Stage>,
    /// What is judged.
    pub guardrails: Vec<Guardrail>,
    /// Chance of a false rollback.
    pub alpha: f64,
    /// How many times as many bad events as the champion's is harm, once proven to be more.
    #[serde(default = "one")]
    pub harm: f64,
    /// How many times as many bad events as the champion's is still safe.
    pub margin: f64,
    /// The same in stages of few requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_margin: Option<f64>,
    /// How many times the champion's loss on the same requests is still safe.
    pub loss_margin: f64,
    /// The absolute error that counts as a loss of 1, fixed before the rollout; for regression only.
    pub loss_scale: Option<f64>,
    /// Most requests the candidate may answer before it is proven safe.
    pub budget: Option<u64>,
    /// Makes the split of this rollout independent of earlier ones.
    pub salt: String,
    /// The champion's 99th percentile of latency before the rollout, in milliseconds.
    pub latency_limit_ms: Option<f64>,
    /// Segments that are judged by themselves as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentValue>,
    /// Numbers whose mean must not get worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub means: Vec<MeanGuard>,
    /// The share of the due labels without which performance is not proven safe.
    #[serde(default)]
    pub maturity: f64,
    /// What estimated performance may do.
    #[serde(default)]
    pub estimate: EstimateUse,
    /// From what performance is estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedLosses>,
    /// How long the old champion stays ready after a promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Period>,
}

fn canary() -> Strategy {
    Strategy::Canary
}

fn one() -> f64 {
    1.0
}

/// What a person wants of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutCommand {
    /// Stay in this stage; harm still rolls back.
    Pause,
    /// Go on.
    Resume,
    /// Withdraw the candidate; after a promotion, as long as the old champion stands ready, bring it back.
    Abort,
    /// Go to the next stage without the proof that this one waits for.
    Skip,
}

impl RolloutCommand {
    /// The word in commands and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Skip => "skip",
        }
    }
}

/// What a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStep {
    /// May the candidate get its first request?
    BeforeStart,
    /// May the candidate become champion?
    BeforeFull,
    /// The judge could not decide in time: go on (yes) or withdraw (no)?
    Hold,
    /// A person wants to go on without proof: may that be?
    Skip,
}

/// What the judge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    /// Proven safe.
    Pass,
    /// Proven harmful.
    Fail,
    /// Neither yet.
    Hold,
    /// The split or its records cannot be trusted.
    Invalid,
}

impl VerdictOutcome {
    /// The word in pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Hold => "hold",
            Self::Invalid => "invalid",
        }
    }
}

/// The judge's verdict with the sums from which it can be made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Over all guardrails.
    pub outcome: VerdictOutcome,
    /// Evidence that the candidate is worse in anything: the logarithm of the mean of the guardrails' e-values, each by
    /// its share of alpha.
    #[serde(default)]
    pub harm: f64,
    /// Evidence at which that is conclusive: `-ln(alpha)`.
    #[serde(default)]
    pub conclusive: f64,
    /// One for each guardrail, segment and mean.
    pub guardrails: Vec<GuardrailVerdict>,
    /// Requests by their weight: how they were split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<WeightCount>,
    /// Requests that the champion answered during the rollout.
    pub champion_requests: u64,
    /// Requests that the candidate answered: the exposed ones.
    pub candidate_requests: u64,
    /// Requests whose copy the candidate answered.
    pub shadow_requests: u64,
    /// Share of the rollout's records whose label has arrived, in `[0, 1]`.
    pub maturity: f64,
    /// Labels that are due by now: of requests older than the expected delay.
    #[serde(default)]
    pub labels_due: u64,
    /// How many of them have come.
    #[serde(default)]
    pub labels_came: u64,
    /// What performance is estimated to be where labels are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateVerdict>,
    /// In one sentence.
    pub explanation: String,
}

/// Events or requests of both arms with one weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightCount {
    /// The probability with which such a request went to the candidate.
    pub weight: f64,
    /// Of the champion.
    pub champion: u64,
    /// Of the candidate.
    pub candidate: u64,
}

/// The candidate's performance as it is estimated, beside the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EstimateVerdict {
    /// The candidate's mean loss less the champion's; below 0 is better.
    pub difference: Estimate,
    /// Requests that it rests on.
    pub rows: u64,
    /// Whether candidate and champion answered the same requests.
    pub paired: bool,
    /// Labels that have corrected it.
    pub labels: u64,
    /// The share of requests with outputs unlike any seen when it was learnt, in `[0, 1]`.
    pub unknown: f64,
    /// Worse, safe or neither.
    pub outcome: VerdictOutcome,
    /// In one sentence.
    pub explanation: String,
}

/// The sums from which a guardrail's evidence can be made again, to the last bit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Bad events by the weight of their requests; pairs of answers have weight 1/2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<WeightCount>,
    /// Trials and bad events that are held against a level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<(u64, u64)>,
    /// What bets have won (logarithms): each that there is more harm than allowed, and that there is less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bets: Vec<(f64, f64)>,
}

/// The verdict on one guardrail. Evidence is the natural logarithm of an e-value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardrailVerdict {
    /// Which.
    pub guardrail: Guardrail,
    /// The segment or column that it is about; empty for all requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Its part of the outcome.
    pub outcome: VerdictOutcome,
    /// Evidence that the candidate is worse.
    pub harm: f64,
    /// Evidence that it is not worse than the margin allows.
    pub safety: f64,
    /// Evidence of harm at which this guardrail alone is conclusive.
    pub conclusive: f64,
    /// Evidence at which safety is proven; none where it need not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<f64>,
    /// Bad events of the champion.
    pub champion_events: u64,
    /// Bad events of the candidate.
    pub candidate_events: u64,
    /// Requests, or labels, of the champion that could have been bad.
    #[serde(default)]
    pub champion_trials: u64,
    /// The same of the candidate.
    #[serde(default)]
    pub candidate_trials: u64,
    /// Pairs of champion and shadow answers compared.
    pub pairs: u64,
    /// How much more loss, or of the number, the candidate has, with a confidence sequence at 95 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Estimate>,
    /// What the evidence is made from.
    #[serde(default)]
    pub sums: Sums,
    /// In one sentence.
    pub explanation: String,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// The candidate became champion.
    Promoted,
    /// The candidate was withdrawn because it was harmful or the split could not be trusted.
    RolledBack,
    /// The candidate was withdrawn by a person or for lack of proof.
    Aborted,
}

impl RolloutOutcome {
    /// The word in pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled back",
            Self::Aborted => "aborted",
        }
    }
}

/// Why the gateway took a candidate's traffic away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripCause {
    /// The judge was silent for too long.
    DeadMan,
    /// The budget of exposed requests was used up.
    Budget,
}

impl Fact {
    /// The kind as it stands in the ledger: `run.requested`, `champion.changed`, ...
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PlatformStarted { .. } => "platform.started",
            Self::LeadTaken { .. } => "lead.taken",
            Self::RecordsExpired { .. } => "records.expired",
            Self::ErasureRequested { .. } => "erasure.requested",
            Self::ErasureFinished { .. } => "erasure.finished",
            Self::ModelDeclared { .. } => "model.declared",
            Self::ReferenceLearnt { .. } => "reference.learnt",
            Self::SignalRaised { .. } => "signal.raised",
            Self::SignalCleared { .. } => "signal.cleared",
            Self::IncidentOpened { .. } => "incident.opened",
            Self::IncidentResolved { .. } => "incident.resolved",
            Self::RunRequested { .. } => "run.requested",
            Self::SnapshotTaken { .. } => "snapshot.taken",
            Self::RunFinished { .. } => "run.finished",
            Self::RunFailed { .. } => "run.failed",
            Self::VersionRegistered { .. } => "version.registered",
            Self::EvaluationFinished { .. } => "evaluation.finished",
            Self::GateDecided { .. } => "gate.decided",
            Self::RolloutRequested { .. } => "rollout.requested",
            Self::RolloutStarted { .. } => "rollout.started",
            Self::ApprovalRequested { .. } => "approval.requested",
            Self::ApprovalDecided { .. } => "approval.decided",
            Self::RolloutSteered { .. } => "rollout.steered",
            Self::StageEntered { .. } => "stage.entered",
            Self::RouteApplied { .. } => "route.applied",
            Self::VerdictGiven { .. } => "verdict.given",
            Self::RolloutFinished { .. } => "rollout.finished",
            Self::GuardEnded { .. } => "guard.ended",
            Self::ChampionChanged { .. } => "champion.changed",
            Self::ServerFailed { .. } => "server.failed",
            Self::GatewayTripped { .. } => "gateway.tripped",
            Self::BudgetGranted { .. } => "budget.granted",
            Self::ReportIssued { .. } => "report.issued",
        }
    }

    /// The model it is about.
    pub fn model(&self) -> Option<&ModelName> {
        match self {
            Self::PlatformStarted { .. } | Self::LeadTaken { .. } | Self::ReportIssued { .. } => None,
            Self::ModelDeclared { model, .. }
            | Self::RecordsExpired { model, .. }
            | Self::ErasureRequested { model, .. }
            | Self::ErasureFinished { model, .. }
            | Self::ReferenceLearnt { model, .. }
            | Self::SignalRaised { model, .. }
            | Self::SignalCleared { model, .. }
            | Self::IncidentOpened { model, .. }
            | Self::IncidentResolved { model, .. }
            | Self::RunRequested { model, .. }
            | Self::SnapshotTaken { model, .. }
            | Self::RunFinished { model, .. }
            | Self::RunFailed { model, .. }
            | Self::VersionRegistered { model, .. }
            | Self::EvaluationFinished { model, .. }
            | Self::GateDecided { model, .. }
            | Self::RolloutRequested { model, .. }
            | Self::RolloutStarted { model, .. }
            | Self::ApprovalRequested { model, .. }
            | Self::ApprovalDecided { model, .. }
            | Self::RolloutSteered { model, .. }
            | Self::StageEntered { model, .. }
            | Self::RouteApplied { model, .. }
            | Self::VerdictGiven { model, .. }
            | Self::RolloutFinished { model, .. }
            | Self::GuardEnded { model, .. }
            | Self::ChampionChanged { model, .. }
            | Self::ServerFailed { model, .. }
            | Self::GatewayTripped { model, .. }
            | Self::BudgetGranted { model, .. } => Some(model),
        }
    }
}
