//! The state of the world, as a fold over facts.
//!
//! [`State::apply`] is the only way to change it. The same entries always give the same state, so it is rebuilt at
//! start and nothing else is stored. Lists are in order of time.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::fact::{
    ApprovalStep, Evaluation, RolloutCommand, RolloutOutcome, RolloutPlan, RunTask, SnapshotRequest,
    TripCause, Verdict,
};
use steersman_domain::{
    Actor, Digest, Entry, ErrorKind, Fact, IncidentId, IntentId, Measurement, ModelName, ModelSpec, Period,
    Problem, RolloutId, RunId, Schema, SignalId, Version,
};

/// Everything that is so, according to the facts up to `size`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct State {
    /// Number of entries folded in.
    pub size: u64,
    /// Time of the last entry.
    pub time: Option<Timestamp>,
    /// Declared models by name. A copy of the state shares those that have not changed since.
    #[serde(serialize_with = "models")]
    pub models: BTreeMap<ModelName, Arc<ModelState>>,
}

fn models<S: Serializer>(
    models: &BTreeMap<ModelName, Arc<ModelState>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(models.iter().map(|(name, model)| (name, &**model)))
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelState {
    /// The spec as last declared.
    pub spec: ModelSpec,
    /// The folder in which its commands run.
    pub folder: String,
    /// When it was last declared.
    pub declared_at: Timestamp,
    /// Position of that fact.
    pub declared_seq: u64,
    /// Records of which all is older are gone, or about to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_before: Option<Timestamp>,
    /// What windows are compared with.
    pub reference: Option<ReferenceState>,
    /// Versions by number.
    pub versions: BTreeMap<Version, VersionState>,
    /// Which version served from when on; the last one serves.
    pub champions: Vec<ChampionState>,
    /// Jobs.
    pub runs: Vec<RunState>,
    /// Rollouts that people asked for.
    pub requests: Vec<RequestState>,
    /// Rollouts.
    pub rollouts: Vec<RolloutState>,
    /// What the gateway was last told.
    pub route: Option<RouteState>,
    /// Alarms.
    pub signals: Vec<SignalState>,
    /// Incidents.
    pub incidents: Vec<IncidentState>,
    /// Failures of model servers.
    pub server_failures: Vec<ServerFailureState>,
}

/// The reference of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceState {
    /// Digest of the file.
    pub digest: Digest,
    /// Rows.
    pub rows: u64,
    /// Rows with a label.
    pub labelled: u64,
    /// Time of the first row.
    pub from: Timestamp,
    /// Time of the last row.
    pub to: Timestamp,
    /// Columns.
    pub schema: Schema,
    /// Position of the fact.
    pub seq: u64,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionState {
    /// Its number.
    pub version: Version,
    /// Digest over the artefact's files.
    pub artifact: Digest,
    /// The training it came from.
    pub run: Option<RunId>,
    /// Digest of its training data.
    pub snapshot: Option<Digest>,
    /// Records from this time on were not trained on.
    pub trained_until: Option<Timestamp>,
    /// Where it comes from.
    pub note: String,
    /// Who registered it.
    pub registered_by: Actor,
    /// When.
    pub registered_at: Timestamp,
    /// Position of the fact.
    pub seq: u64,
    /// Its comparison with the champion of that time.
    pub evaluation: Option<Evaluation>,
    /// What the evaluation gate said.
    pub gate: Option<GateState>,
    /// Withdrawn after a rollout: it gets no traffic again unless a person asks for it, and neither does another version
    /// with the same artefact.
    pub withdrawn: bool,
    /// Why it is withdrawn; empty if it is not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fence: String,
}

/// What a gate said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateState {
    /// Whether the version may pass.
    pub passed: bool,
    /// Why.
    pub reason: String,
    /// Position of the fact.
    pub seq: u64,
}

/// One reign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChampionState {
    /// Who serves.
    pub version: Version,
    /// From then on.
    pub since: Timestamp,
    /// The rollout that led to it.
    pub rollout: Option<RolloutId>,
    /// Position of the fact.
    pub seq: u64,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunState {
    /// Its id.
    pub run: RunId,
    /// The intent it carries out.
    pub intent: IntentId,
    /// What it does.
    pub task: RunTask,
    /// Why.
    pub reason: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Position of that fact.
    pub seq: u64,
    /// The training data, once fixed.
    pub snapshot: Option<SnapshotState>,
    /// How it went.
    pub status: RunStatus,
}

/// Training data of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SnapshotState {
    /// Digest of the rows.
    pub digest: Digest,
    /// How to take it again.
    pub request: SnapshotRequest,
    /// Rows.
    pub rows: u64,
}

/// How a run goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RunStatus {
    /// Not done yet.
    Requested,
    /// Done.
    Finished {
        /// When.
        at: Timestamp,
        /// Seconds by the wall clock.
        seconds: f64,
        /// Numbers the program reported.
        metrics: BTreeMap<String, f64>,
    },
    /// Failed.
    Failed {
        /// When.
        at: Timestamp,
        /// What went wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
}

/// A rollout that a person asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestState {
    /// The candidate.
    pub version: Version,
    /// What to go without.
    pub skip: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: Actor,
    /// Position of the fact.
    pub seq: u64,
    /// Whether a rollout was started for it.
    pub taken: bool,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutState {
    /// Its id.
    pub rollout: RolloutId,
    /// The version that wants to serve.
    pub candidate: Version,
    /// The version that served when it began.
    pub champion: Version,
    /// What it does.
    pub plan: RolloutPlan,
    /// What it goes without.
    pub skipped: Vec<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// Position of that fact.
    pub seq: u64,
    /// The stages it entered; the last one is current.
    pub stages: Vec<StageState>,
    /// What people were asked.
    pub approvals: Vec<ApprovalState>,
    /// What the judge said, each time it changed its mind.
    pub verdicts: Vec<VerdictState>,
    /// What people wanted of it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steered: Vec<SteeredState>,
    /// The gateway took the traffic away by itself.
    pub tripped: Option<TripState>,
    /// How much of its budget each gateway may use.
    pub grants: BTreeMap<String, u64>,
    /// How it ended.
    pub finished: Option<FinishState>,
    /// After a promotion: how long the old champion stands ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardState>,
}

/// A person took hold of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SteeredState {
    /// What was wanted.
    pub command: RolloutCommand,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Position of the fact.
    pub seq: u64,
}

/// The time after a promotion in which the old champion stands ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardState {
    /// When it began.
    pub since: Timestamp,
    /// When it is over, if nothing happens.
    pub until: Timestamp,
    /// How it ended.
    pub ended: Option<GuardEndState>,
}

/// How the time after a promotion ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardEndState {
    /// Whether the new champion stayed.
    pub kept: bool,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Position of the fact.
    pub seq: u64,
}

/// A stage that a rollout entered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageState {
    /// Index into the plan's stages.
    pub stage: usize,
    /// Share of requests.
    pub weight: f64,
    /// Whether requests are copied.
    pub mirror: bool,
    /// When.
    pub entered_at: Timestamp,
    /// Position of the fact.
    pub seq: u64,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApprovalState {
    /// What for.
    pub step: ApprovalStep,
    /// The artefact the answer is bound to.
    pub artifact: Digest,
    /// The question.
    pub question: String,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Position of that fact.
    pub seq: u64,
    /// The answer.
    pub answer: Option<AnswerState>,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerState {
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Position of the fact.
    pub seq: u64,
}

/// What the judge said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerdictState {
    /// In this stage.
    pub stage: usize,
    /// This.
    pub verdict: Verdict,
    /// At this time.
    pub at: Timestamp,
    /// Position of the fact.
    pub seq: u64,
}

/// The gateway acted by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TripState {
    /// Why.
    pub cause: TripCause,
    /// Position of the fact.
    pub seq: u64,
}

/// The end of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FinishState {
    /// How.
    pub outcome: RolloutOutcome,
    /// When.
    pub at: Timestamp,
    /// Requests that the candidate answered.
    pub exposed: u64,
    /// Why.
    pub reason: String,
    /// Position of the fact.
    pub seq: u64,
}

/// What the gateway was told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RouteState {
    /// The version that serves.
    pub champion: Version,
    /// The candidate.
    pub candidate: Option<Version>,
    /// Its share.
    pub weight: f64,
    /// Whether it gets copies.
    pub mirror: bool,
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalState {
    /// Its id.
    pub signal: SignalId,
    /// The measurement that made it go off.
    pub measurement: Measurement,
    /// In words.
    pub explanation: String,
    /// When it went off.
    pub raised_at: Timestamp,
    /// Position of that fact.
    pub seq: u64,
    /// When and why it was over.
    pub cleared: Option<(Timestamp, String)>,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentState {
    /// Its id.
    pub incident: IncidentId,
    /// What it is about.
    pub title: String,
    /// Its signals; those raised while it is open join it.
    pub signals: Vec<SignalId>,
    /// When it began.
    pub opened_at: Timestamp,
    /// Position of that fact.
    pub seq: u64,
    /// When and why it ended.
    pub resolved: Option<(Timestamp, String)>,
}

/// A failure of a model server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerFailureState {
    /// The version it served.
    pub version: Version,
    /// What went wrong.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl ModelState {
    fn declared(spec: ModelSpec, folder: String, at: Timestamp, seq: u64) -> Self {
        Self {
            spec,
            folder,
            declared_at: at,
            declared_seq: seq,
            expired_before: None,
            reference: None,
            versions: BTreeMap::new(),
            champions: Vec::new(),
            runs: Vec::new(),
            requests: Vec::new(),
            rollouts: Vec::new(),
            route: None,
            signals: Vec::new(),
            incidents: Vec::new(),
            server_failures: Vec::new(),
        }
    }

    /// The version that serves.
    pub fn champion(&self) -> Option<Version> {
        self.champions.last().map(|reign| reign.version)
    }

    /// The rollout that has begun and not ended; there is at most one.
    pub fn active_rollout(&self) -> Option<&RolloutState> {
        self.rollouts.last().filter(|rollout| rollout.finished.is_none())
    }

    /// The rollout after whose promotion the old champion still stands ready; there is at most one.
    pub fn guarded_rollout(&self) -> Option<(&RolloutState, &GuardState)> {
        let last = self.rollouts.last()?;
        Some((last, last.guard.as_ref().filter(|guard| guard.ended.is_none())?))
    }

    /// Jobs that are asked for and not done.
    pub fn pending_runs(&self) -> impl Iterator<Item = &RunState> {
        self.runs.iter().filter(|run| run.status == RunStatus::Requested)
    }

    /// Alarms that are on.
    pub fn open_signals(&self) -> impl Iterator<Item = &SignalState> {
        self.signals.iter().filter(|signal| signal.cleared.is_none())
    }

    /// The incident that is open; there is at most one.
    pub fn open_incident(&self) -> Option<&IncidentState> {
        self.incidents.last().filter(|incident| incident.resolved.is_none())
    }

    /// Questions without an answer.
    pub fn open_approvals(&self) -> impl Iterator<Item = (&RolloutState, &ApprovalState)> {
        let rollout = self.active_rollout();
        rollout.into_iter().flat_map(|rollout| {
            rollout
                .approvals
                .iter()
                .filter(|approval| approval.answer.is_none())
                .map(move |approval| (rollout, approval))
        })
    }

    /// The number of the next version.
    pub fn next_version(&self) -> Version {
        self.versions.keys().next_back().map_or(Version(1), |version| version.next())
    }

    fn run_mut(&mut self, run: &RunId) -> Result<&mut RunState, Problem> {
        self.runs.iter_mut().rev().find(|state| state.run == *run).ok_or_else(|| unknown("run", run))
    }

    fn version_mut(&mut self, version: Version) -> Result<&mut VersionState, Problem> {
        self.versions.get_mut(&version).ok_or_else(|| unknown("version", &version))
    }

    fn rollout_mut(&mut self, rollout: &RolloutId) -> Result<&mut RolloutState, Problem> {
        self.rollouts
            .iter_mut()
            .rev()
            .find(|state| state.rollout == *rollout)
            .ok_or_else(|| unknown("rollout", rollout))
    }
}

impl VersionState {
    /// Keeps it from being rolled out, for a reason, or no more.
    fn fence(&mut self, reason: Option<String>) {
        self.withdrawn = reason.is_some();
        self.fence = reason.unwrap_or_default();
    }
}

impl RolloutState {
    /// The stage it is in; none before the first.
    pub fn current_stage(&self) -> Option<&StageState> {
        self.stages.last()
    }

    /// The command that holds it in its stage, if one does.
    pub fn paused(&self) -> Option<&SteeredState> {
        let holds = |steered: &&SteeredState| {
            matches!(steered.command, RolloutCommand::Pause | RolloutCommand::Resume)
        };
        self.steered.iter().rev().find(holds).filter(|last| last.command == RolloutCommand::Pause)
    }

    /// The last command of this kind.
    pub fn command(&self, command: RolloutCommand) -> Option<&SteeredState> {
        self.steered.iter().rev().find(|steered| steered.command == command)
    }

    /// The question of this step, if it was asked.
    pub fn approval(&self, step: ApprovalStep) -> Option<&ApprovalState> {
        self.approvals.iter().rev().find(|approval| approval.step == step)
    }
}

fn unknown(what: &str, id: &dyn std::fmt::Display) -> Problem {
    Problem::new(ErrorKind::Corrupt, format!("a fact speaks of {what} `{id}`, which no earlier fact made"))
}

impl State {
    /// Folds `entries`, which start at position 0.
    pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, Problem> {
        let mut state = Self::default();
        for entry in entries {
            state.apply(entry)?;
        }
        Ok(state)
    }

    /// The model of this name.
    pub fn model(&self, name: &ModelName) -> Result<&ModelState, Problem> {
        self.models.get(name).map(Arc::as_ref).ok_or_else(|| {
            let known: Vec<_> = self.models.keys().map(ModelName::as_str).collect();
            let hint = match known.is_empty() {
                true => "no model is declared yet: `steersman apply SPEC`".to_owned(),
                false => format!("declared are: {}", known.join(", ")),
            };
            Problem::not_found(format!("there is no model `{name}`")).hint(hint)
        })
    }

    /// Takes one entry in. An error means that the ledger contradicts itself; the state is then as before.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Problem> {
        if entry.seq != self.size {
            let message = format!("entry {} follows entry count {}", entry.seq, self.size);
            return Err(Problem::new(ErrorKind::Corrupt, message));
        }
        match &entry.fact {
            Fact::PlatformStarted { .. } | Fact::LeadTaken { .. } | Fact::ReportIssued { .. } => {}
            Fact::ModelDeclared { model, spec, folder } => match self.models.get_mut(model) {
                Some(state) => {
                    let state = Arc::make_mut(state);
                    state.spec = (**spec).clone();
                    state.folder.clone_from(folder);
                    state.declared_at = entry.time;
                    state.declared_seq = entry.seq;
                }
                None => {
                    let state = ModelState::declared((**spec).clone(), folder.clone(), entry.time, entry.seq);
                    self.models.insert(model.clone(), Arc::new(state));
                }
            },
            fact => {
                if let Some(name) = fact.model() {
                    let model = self.models.get_mut(name).ok_or_else(|| unknown("model", name))?;
                    apply_to_model(Arc::make_mut(model), entry)?;
                }
            }
        }
        self.size += 1;
        self.time = Some(entry.time);
        Ok(())
    }
}

fn apply_to_model(model: &mut ModelState, entry: &Entry) -> Result<(), Problem> {
    let (at, seq) = (entry.time, entry.seq);
    match entry.fact.clone() {
        Fact::PlatformStarted { .. }
        | Fact::LeadTaken { .. }
        | Fact::ReportIssued { .. }
        | Fact::ErasureRequested { .. }
        | Fact::ErasureFinished { .. }
        | Fact::ModelDeclared { .. } => {}
        Fact::RecordsExpired { before, .. } => model.expired_before = model.expired_before.max(Some(before)),
        Fact::ReferenceLearnt { digest, rows, labelled, from, to, schema, .. } => {
            model.reference = Some(ReferenceState { digest, rows, labelled, from, to, schema, seq });
        }
        Fact::SignalRaised { signal, measurement, explanation, .. } => {
            if let Some(incident) = model.incidents.last_mut().filter(|incident| incident.resolved.is_none())
            {
                incident.signals.push(signal.clone());
            }
            let measurement = *measurement;
            model.signals.push(SignalState {
                signal,
                measurement,
                explanation,
                raised_at: at,
                seq,
                cleared: None,
            });
        }
        Fact::SignalCleared { signal, explanation, .. } => {
            let state = model.signals.iter_mut().rev().find(|state| state.signal == signal);
            state.ok_or_else(|| unknown("signal", &signal))?.cleared = Some((at, explanation));
        }
        Fact::IncidentOpened { incident, signals, title, .. } => {
            model.incidents.push(IncidentState {
                incident,
                title,
                signals,
                opened_at: at,
                seq,
                resolved: None,
            });
        }
        Fact::IncidentResolved { incident, reason, .. } => {
            let state = model.incidents.iter_mut().rev().find(|state| state.incident == incident);
            state.ok_or_else(|| unknown("incident", &incident))?.resolved = Some((at, reason));
        }
        Fact::RunRequested { run, intent, task, reason, .. } => {
            let status = RunStatus::Requested;
            model.runs.push(RunState {
                run,
                intent,
                task,
                reason,
                requested_at: at,
                seq,
                snapshot: None,
                status,
            });
        }
        Fact::SnapshotTaken { run, snapshot, request, rows, .. } => {
            model.run_mut(&run)?.snapshot = Some(SnapshotState { digest: snapshot, request, rows });
        }
        Fact::RunFinished { run, seconds, metrics, .. } => {
            model.run_mut(&run)?.status = RunStatus::Finished { at, seconds, metrics };
        }
        Fact::RunFailed { run, reason, hint, .. } => {
            model.run_mut(&run)?.status = RunStatus::Failed { at, reason, hint };
        }
        Fact::VersionRegistered { version, artifact, run, snapshot, trained_until, note, .. } => {
            let same = |other: &&VersionState| other.withdrawn && other.artifact == artifact;
            let fence = model.versions.values().rev().find(same).map_or(String::new(), |other| {
                format!("the same artefact as {}: {}", other.version, other.fence)
            });
            let state = VersionState {
                version,
                artifact,
                run,
                snapshot,
                trained_until,
                note,
                registered_by: entry.actor.clone(),
                registered_at: at,
                seq,
                evaluation: None,
                gate: None,
                withdrawn: !fence.is_empty(),
                fence,
            };
            model.versions.insert(version, state);
        }
        Fact::EvaluationFinished { version, evaluation, .. } => {
            model.version_mut(version)?.evaluation = Some(evaluation);
        }
        Fact::GateDecided { version, passed, reason, .. } => {
            model.version_mut(version)?.gate = Some(GateState { passed, reason, seq });
        }
        Fact::RolloutRequested { version, skip, reason, .. } => {
            model.version_mut(version)?.fence(None);
            let by = entry.actor.clone();
            model.requests.push(RequestState { version, skip, reason, by, seq, taken: false });
        }
        Fact::RolloutStarted { rollout, candidate, champion, plan, skipped, .. } => {
            for request in model.requests.iter_mut().filter(|request| request.version == candidate) {
                request.taken = true;
            }
            model.rollouts.push(RolloutState {
                rollout,
                candidate,
                champion,
                plan,
                skipped,
                started_at: at,
                seq,
                stages: Vec::new(),
                approvals: Vec::new(),
                verdicts: Vec::new(),
                steered: Vec::new(),
                tripped: None,
                grants: BTreeMap::new(),
                finished: None,
                guard: None,
            });
        }
        Fact::ApprovalRequested { rollout, step, artifact, question, .. } => {
            let approval = ApprovalState { step, artifact, question, requested_at: at, seq, answer: None };
            model.rollout_mut(&rollout)?.approvals.push(approval);
        }
        Fact::ApprovalDecided { rollout, step, approved, reason, .. } => {
            let answer = AnswerState { approved, by: entry.actor.clone(), reason, at, seq };
            let rollout = model.rollout_mut(&rollout)?;
            let approval = rollout.approvals.iter_mut().rev().find(|approval| approval.step == step);
            approval.ok_or_else(|| unknown("approval of rollout", &rollout.rollout))?.answer = Some(answer);
        }
        Fact::StageEntered { rollout, stage, weight, mirror, .. } => {
            let stage = StageState { stage, weight, mirror, entered_at: at, seq };
            model.rollout_mut(&rollout)?.stages.push(stage);
        }
        Fact::RouteApplied { champion, candidate, weight, mirror, .. } => {
            model.route = Some(RouteState { champion, candidate, weight, mirror });
        }
        Fact::VerdictGiven { rollout, stage, verdict, .. } => {
            model.rollout_mut(&rollout)?.verdicts.push(VerdictState { stage, verdict, at, seq });
        }
        Fact::RolloutFinished { rollout, outcome, exposed, reason, .. } => {
            let state = model.rollout_mut(&rollout)?;
            let candidate = state.candidate;
            let why = format!("{}: {reason}", outcome.as_str());
            state.finished = Some(FinishState { outcome, at, exposed, reason, seq });
            if outcome == RolloutOutcome::Promoted {
                let guard = |time: Period| GuardState { since: at, until: time.after(at), ended: None };
                state.guard = state.plan.guard.map(guard);
            } else {
                model.version_mut(candidate)?.fence(Some(why));
            }
        }
        Fact::RolloutSteered { rollout, command, reason, .. } => {
            let by = entry.actor.clone();
            model.rollout_mut(&rollout)?.steered.push(SteeredState { command, by, reason, at, seq });
        }
        Fact::GuardEnded { rollout, kept, reason, .. } => {
            let state = model.rollout_mut(&rollout)?;
            let candidate = state.candidate;
            let guard = state.guard.as_mut().ok_or_else(|| unknown("guard of rollout", &rollout))?;
            guard.ended = Some(GuardEndState { kept, at, reason: reason.clone(), seq });
            if !kept {
                model.version_mut(candidate)?.fence(Some(format!("reverted: {reason}")));
            }
        }
        Fact::ChampionChanged { version, rollout, .. } => {
            model.champions.push(ChampionState { version, since: at, rollout, seq });
        }
        Fact::ServerFailed { version, reason, .. } => {
            model.server_failures.push(ServerFailureState { version, reason, at });
        }
        Fact::GatewayTripped { rollout, cause, .. } => {
            model.rollout_mut(&rollout)?.tripped = Some(TripState { cause, seq });
        }
        Fact::BudgetGranted { rollout, gateway, requests, .. } => {
            *model.rollout_mut(&rollout)?.grants.entry(gateway).or_default() += requests;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, fact: Fact) -> Entry {
        Entry {
            seq,
            time: Timestamp::UNIX_EPOCH,
            actor: Actor::Person("ada".to_owned()),
            because: Vec::new(),
            fact,
        }
    }

    #[test]
    fn a_contradicting_entry_is_refused_and_changes_nothing() {
        let mut state = State::default();
        let started = Fact::PlatformStarted { program: "0.1.0".to_owned() };
        state.apply(&entry(0, started.clone())).unwrap();
        let before = state.clone();
        assert!(state.apply(&entry(5, started)).is_err());
        let model: ModelName = "ghost".parse().unwrap();
        let run = RunId::derive(&["x"]);
        let lost = Fact::RunFailed { model, run, reason: String::new(), hint: String::new() };
        assert_eq!(state.apply(&entry(1, lost)).unwrap_err().kind, ErrorKind::Corrupt);
        assert_eq!(state, before);
    }
}
