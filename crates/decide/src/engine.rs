//! The engine: [`decide`] looks at the state and at what was observed, and says what should happen next.
//!
//! Every rule asks "is this still to be done?" of the state, so calling [`decide`] again after its intents became facts
//! gives nothing new, and a crash between two calls changes nothing. An intent's id is derived from what caused it.

use crate::evaluation::gate;
use crate::rollout;
use jiff::Timestamp;
use std::collections::BTreeMap;
use steersman_domain::fact::{RunTask, SnapshotRequest, TripCause, Verdict};
use steersman_domain::spec::RetrainSection;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Fact, IncidentId, IntentId, ModelName, Period, RunId, Version, Window};
use steersman_ledger::state::{ModelState, RunState, RunStatus, State, VersionState};

/// Something that should happen: the fact to write before its effect is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Derived from what caused it.
    pub id: IntentId,
    /// Positions of the facts that led to it.
    pub because: Vec<u64>,
    /// The fact.
    pub fact: Fact,
}

/// What was observed and is not in the ledger, by model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observations {
    /// One for each model that can be decided about.
    pub models: BTreeMap<ModelName, ModelObservation>,
}

/// What was observed of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelObservation {
    /// The last windows whose performance was measured, oldest first.
    pub windows: Vec<WindowStatus>,
    /// Time of the first labelled record or row of the reference.
    pub history_from: Option<Timestamp>,
    /// Records before this time have their labels, as far as they ever will.
    pub labelled_until: Option<Timestamp>,
    /// What the judge says of the active rollout.
    pub verdict: Option<Verdict>,
    /// The gateway took the candidate's traffic away by itself.
    pub tripped: Option<TripCause>,
    /// Requests that the candidate of the active rollout answered.
    pub exposed: u64,
    /// The champion's 99th percentile of latency lately, in milliseconds.
    pub latency_p99_ms: Option<f64>,
}

/// Whether a window's performance was bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowStatus {
    /// The window.
    pub window: Window,
    /// Whether its performance measurement was alarming.
    pub violated: bool,
}

/// What should happen now. Pure: the same arguments always give the same intents.
pub fn decide(state: &State, observations: &Observations, now: Timestamp) -> Vec<Intent> {
    let mut intents = Vec::new();
    for (name, model) in &state.models {
        let Some(observation) = observations.models.get(name) else { continue };
        let about = About { name, model, observation, now };
        incidents(&about, &mut intents);
        versions(&about, &mut intents);
        rollout::proceed(&about, &mut intents);
        training(&about, &mut intents);
    }
    intents
}

/// Everything a rule may look at.
pub(crate) struct About<'a> {
    pub(crate) name: &'a ModelName,
    pub(crate) model: &'a ModelState,
    pub(crate) observation: &'a ModelObservation,
    pub(crate) now: Timestamp,
}

impl About<'_> {
    /// An intent of this kind, because of these facts.
    pub(crate) fn intent(
        &self,
        kind: &str,
        because: Vec<u64>,
        fact: impl FnOnce(IntentId) -> Fact,
    ) -> Intent {
        let causes: Vec<String> = because.iter().map(u64::to_string).collect();
        let mut parts = vec![self.name.as_str(), kind];
        parts.extend(causes.iter().map(String::as_str));
        let id = IntentId::derive(&parts);
        Intent { id: id.clone(), because, fact: fact(id) }
    }
}

fn incidents(about: &About<'_>, intents: &mut Vec<Intent>) {
    let model = about.model;
    let open: Vec<_> = model.open_signals().collect();
    match (model.open_incident(), open.first()) {
        (None, Some(first)) => {
            let incident = IncidentId::derive(&[about.name.as_str(), first.signal.as_str()]);
            let because = open.iter().map(|signal| signal.seq).collect();
            intents.push(about.intent("open", because, |_| Fact::IncidentOpened {
                model: about.name.clone(),
                incident,
                signals: open.iter().map(|signal| signal.signal.clone()).collect(),
                title: first.explanation.clone(),
            }));
        }
        (Some(incident), None) => {
            intents.push(about.intent("resolve", vec![incident.seq], |_| Fact::IncidentResolved {
                model: about.name.clone(),
                incident: incident.incident.clone(),
                reason: "all its signals are cleared".to_owned(),
            }))
        }
        _ => {}
    }
}

/// The latest version goes from registered to evaluated to past the gate; a first one then serves.
fn versions(about: &About<'_>, intents: &mut Vec<Intent>) {
    let model = about.model;
    let Some(version) = model.versions.values().next_back() else { return };
    let asked_for = model.requests.iter().any(|request| request.version == version.version);
    if version.withdrawn || Some(version.version) == model.champion() || asked_for {
        return;
    }
    match (&version.evaluation, &version.gate) {
        (None, None) => evaluate(about, version, intents),
        (Some(evaluation), None) => {
            let (passed, reason) = gate(&model.spec, evaluation);
            intents.push(about.intent("gate", vec![version.seq], |intent| Fact::GateDecided {
                model: about.name.clone(),
                version: version.version,
                intent,
                gate: "evaluation".to_owned(),
                passed,
                reason,
            }));
        }
        (_, Some(gate)) if gate.passed && model.champion().is_none() => {
            intents.push(about.intent("first", vec![gate.seq], |intent| Fact::ChampionChanged {
                model: about.name.clone(),
                version: version.version,
                previous: None,
                intent,
                rollout: None,
            }));
        }
        _ => {}
    }
}

fn evaluate(about: &About<'_>, version: &VersionState, intents: &mut Vec<Intent>) {
    let model = about.model;
    let busy = model.pending_runs().next().is_some();
    let attempts: Vec<&RunState> = model.runs.iter().filter(|run| evaluates(run, version.version)).collect();
    let failed_lately = attempts.last().is_some_and(|run| {
        let cooldown = model.spec.retrain.as_ref().map_or(Period::from_days(1), |retrain| retrain.cooldown);
        matches!(run.status, RunStatus::Failed { at, .. } if cooldown.after(at) > about.now)
    });
    let Some(to) = about.observation.labelled_until.filter(|_| model.spec.serve.is_some()) else { return };
    if busy || failed_lately {
        return;
    }
    let holdout = model.spec.retrain.as_ref().map_or(Period::from_days(7), |retrain| retrain.holdout);
    let from = version.trained_until.unwrap_or_else(|| holdout.before(to));
    let mut because = vec![version.seq];
    because.extend(attempts.last().map(|run| run.seq));
    intents.push(about.intent("evaluate", because, |intent| Fact::RunRequested {
        model: about.name.clone(),
        run: RunId::derive(&[about.name.as_str(), intent.as_str()]),
        intent,
        task: RunTask::Evaluate { version: version.version, from, to },
        reason: format!("{} is new", version.version),
    }));
}

fn evaluates(run: &RunState, wanted: Version) -> bool {
    matches!(run.task, RunTask::Evaluate { version, .. } if version == wanted)
}

fn trains(run: &&RunState) -> bool {
    matches!(run.task, RunTask::Train { .. })
}

/// When to train: for a first version, when enough windows are violated, and by schedule.
fn training(about: &About<'_>, intents: &mut Vec<Intent>) {
    let model = about.model;
    let Some(retrain) = &model.spec.retrain else { return };
    let Some((request, rows_from)) = training_data(about, retrain) else { return };
    let last = model.runs.iter().rev().find(trains);
    let busy =
        model.pending_runs().next().is_some() || model.active_rollout().is_some() || awaits_gate(about);
    if busy || intents.iter().any(|intent| intent.fact.model() == Some(about.name)) {
        return;
    }
    if last.is_some_and(|run| retrain.cooldown.after(run.requested_at) > about.now) {
        return;
    }
    let week_ago = Period::from_days(7).before(about.now);
    let this_week = model.runs.iter().filter(trains).filter(|run| run.requested_at > week_ago).count();
    if this_week >= retrain.max_per_week as usize {
        return;
    }
    let Some((reason, mut because)) = training_reason(about, retrain, last) else { return };
    because.extend(last.map(|run| run.seq));
    intents.push(about.intent("train", because, |intent| Fact::RunRequested {
        model: about.name.clone(),
        run: RunId::derive(&[about.name.as_str(), intent.as_str()]),
        intent,
        task: RunTask::Train { snapshot: request },
        reason: format!(
            "{reason}; training on records from {} to {}",
            day(rows_from),
            day(request_end(about, retrain))
        ),
    }));
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

fn request_end(about: &About<'_>, retrain: &RetrainSection) -> Timestamp {
    training_data(about, retrain).map_or(about.now, |(request, _)| request.to)
}

/// The rows to train on: all that is labelled, less the holdout (at most a quarter of the history) at the end.
fn training_data(about: &About<'_>, retrain: &RetrainSection) -> Option<(SnapshotRequest, Timestamp)> {
    let (from, until) = (about.observation.history_from?, about.observation.labelled_until?);
    let begin = retrain.history.map_or(from, |history| history.before(until).max(from));
    let quarter = (micros(until) - micros(begin)) / 4;
    let to = from_micros(micros(until) - retrain.holdout.micros().min(quarter));
    let request = SnapshotRequest { as_of: about.now, from: retrain.history.map(|_| begin), to };
    (begin < to).then_some((request, begin))
}

/// Whether a version is on its way through evaluation and gate.
fn awaits_gate(about: &About<'_>) -> bool {
    let latest = about.model.versions.values().next_back();
    latest.is_some_and(|version| version.gate.is_none() && !version.withdrawn && version.evaluation.is_some())
}

/// Why a training is due, and the facts that say so.
fn training_reason(
    about: &About<'_>,
    retrain: &RetrainSection,
    last: Option<&RunState>,
) -> Option<(String, Vec<u64>)> {
    let model = about.model;
    let Some(reign) = model.champions.last() else {
        let reference = model.reference.as_ref().filter(|reference| reference.labelled > 0)?;
        return Some(("there is no version yet".to_owned(), vec![reference.seq]));
    };
    let windows: Vec<_> =
        about.observation.windows.iter().filter(|status| status.window.start >= reign.since).collect();
    let recent = &windows[windows.len().saturating_sub(retrain.trigger.of as usize)..];
    let violated = recent.iter().filter(|status| status.violated).count();
    let latest_violated = recent.last().is_some_and(|status| status.violated);
    if latest_violated && violated >= retrain.trigger.violated as usize {
        let signals = model.open_signals().map(|signal| signal.seq);
        let reason = format!("performance was bad in {violated} of the last {} windows", recent.len());
        return Some((reason, std::iter::once(reign.seq).chain(signals).collect()));
    }
    let since = last.map_or(reign.since, |run| run.requested_at);
    let due = retrain.schedule.is_some_and(|schedule| schedule.after(since) <= about.now);
    due.then(|| {
        (
            format!(
                "it is {} since the last training",
                retrain.schedule.map_or(String::new(), |s| s.to_string())
            ),
            vec![reign.seq],
        )
    })
}
