//! Follows the record log, closes windows when their time has come, and says what is to be written.
//!
//! A window is closed when the watermark passes its end, and measured again when late records or labels arrive; evidence
//! counts only the first time. [`Watcher::tick`] changes nothing in memory until [`Watcher::committed`] says that its
//! batch is on disk, so a failed write is made good by the next tick.

use crate::expected::Expected;
use crate::joint::JointMemory;
use crate::maturity::Maturity;
use crate::measure::{
    Finding, LossLimit, Measured, charge, correct, estimated, measure, performance, tolerance,
};
use crate::monitor::{Memory, share};
use crate::operation::{Load, Operation, Setting, Steps, silence};
use crate::quality::{self, Intake, NotTaken, Tally};
use crate::reference::{ReferenceProfile, watched};
use crate::segments::{self, SegmentMemory, Turn};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steersman_domain::time::from_micros;
use steersman_domain::{
    Actor, Fact, Measurement, ModelName, ModelSpec, MonitorKind, Period, Problem, Schema, Task, Window,
};
use steersman_ledger::state::ModelState;
use steersman_records::{Arms, Fresh, RecordLog, Scan, Table};
use steersman_store::{Batch, Draft, MeasurementQuery, MonitorState, Store, WindowRow};

/// The performance of this many last windows is measured again when labels arrive late.
const REVISED_WINDOWS: usize = 14;

/// Estimates are learnt from at least so many past windows, then from further ones until there are enough rows.
const PAST_WINDOWS: std::ops::RangeInclusive<usize> = 7..=28;
const PAST_ROWS: u64 = 5_000;
/// With this share of the labels a window counts as labelled.
const LABELLED: f64 = 0.95;

/// A window whose labels are not final is looked at again after a window's length, and taken as it is after so many times
/// the expected delay.
const LONGEST_WAIT: i64 = 10;

/// So many windows between the end of the reference and the first one under a champion are caught up with.
const CAUGHT_UP: usize = 60;
/// Names of the memories of all columns together in the store.
const INPUTS: &str = "inputs";
const QUALITY: &str = "quality";
const TOGETHER: &str = "together";
/// Name of what did not get in.
const INTAKE: &str = "intake";
/// Name of what is remembered of operation.
const OPERATION: &str = "operation";
/// How the names of segments' memories begin.
const SEGMENT: &str = "segment ";

/// Watches all models.
#[derive(Debug)]
pub struct Watcher {
    log: RecordLog,
    store: Store,
    models: Mutex<BTreeMap<ModelName, Watched>>,
}

#[derive(Debug)]
struct Watched {
    reference: ReferenceProfile,
    window: Period,
    /// Served records in each window, as they arrived.
    seen: BTreeMap<Window, u64>,
    last_event: Option<Timestamp>,
    last_arrival: Option<Timestamp>,
    labels_since: bool,
    /// What did not get in, and how many times it changed: now, in the batch that is being written, and on disk.
    intake: Intake,
    changes: [u64; 3],
    /// The numbers of the steps in which anything was received.
    alive: BTreeSet<i64>,
    done: Done,
    staged: Option<Done>,
}

/// What is on disk.
#[derive(Debug, Clone, Default)]
struct Done {
    /// Closed windows, with the records they were measured on and the revision.
    closed: BTreeMap<Window, (u64, u32)>,
    /// Windows whose performance was measured, with the labels it rests on and the revision.
    labelled: BTreeMap<Window, (u64, u32)>,
    memories: BTreeMap<String, Memory>,
    /// Windows whose labels are not final, and when to look again.
    waiting: BTreeMap<Window, Timestamp>,
    /// Drift and missing values of all columns.
    inputs: Option<JointMemory>,
    /// The quality of the data of all columns.
    quality: Option<JointMemory>,
    /// All features together.
    together: Option<JointMemory>,
    revised_at: Option<Timestamp>,
    operation: Option<Operation>,
    /// The last window of which it was said that nothing came.
    silent: Option<Window>,
    /// The monitors of each segment.
    segments: BTreeMap<String, SegmentMemory>,
}

impl Watcher {
    /// Watches what is in `log`, next to what is in `store`.
    pub fn new(log: RecordLog, store: Store) -> Self {
        Self { log, store, models: Mutex::default() }
    }

    /// Lets go of all models; [`Watcher::load`] takes them up again from what is in the store.
    pub fn forget(&self) {
        self.lock().clear();
    }

    /// Takes a model up, or goes on with another reference. What was measured before is found in the store.
    pub async fn load(
        &self,
        name: &ModelName,
        model: &ModelState,
        reference: ReferenceProfile,
    ) -> Result<(), Problem> {
        let window = model.spec.watch.window;
        if let Some(watched) = self.lock().get_mut(name).filter(|watched| watched.window == window) {
            watched.reference = reference;
            return Ok(());
        }
        let mut done = Done::default();
        let mut intake = Intake::default();
        for row in self.store.windows(name, Timestamp::MIN).await? {
            done.closed.insert(row.window, (row.rows, row.revision));
        }
        let query =
            MeasurementQuery { monitor: Some(MonitorKind::Performance), since: None, limit: u32::MAX };
        for measurement in self.store.measurements(name, &query).await? {
            done.labelled.insert(measurement.window, (measurement.rows, measurement.revision));
        }
        for row in self.store.monitor_states(name).await? {
            if let Some(segment) = row.name.strip_prefix(SEGMENT) {
                done.segments.insert(segment.to_owned(), remembered(&row)?);
                continue;
            }
            match row.name.as_str() {
                INPUTS => done.inputs = Some(remembered(&row)?),
                QUALITY => done.quality = Some(remembered(&row)?),
                TOGETHER => done.together = Some(remembered(&row)?),
                INTAKE => intake = remembered(&row)?,
                OPERATION => done.operation = Some(remembered(&row)?),
                _ => drop(done.memories.insert(row.name.clone(), remembered(&row)?)),
            }
        }
        // Windows of another length, from before the spec was changed, stay as they are.
        done.closed.retain(|closed, _| closed.next().start == window.after(closed.start));
        let watched = Watched {
            reference,
            window,
            seen: BTreeMap::new(),
            last_event: intake.last.map(|(at, _)| at),
            last_arrival: intake.last.map(|(_, came)| came),
            labels_since: false,
            intake,
            changes: [0; 3],
            alive: BTreeSet::new(),
            done,
            staged: None,
        };
        self.lock().insert(name.clone(), watched);
        Ok(())
    }

    /// Takes note of what arrived.
    pub fn note(&self, name: &ModelName, fresh: &Fresh) -> Result<(), Problem> {
        let (served, received) = (fresh.served_times()?, fresh.received_times()?);
        let mut models = self.lock();
        let Some(watched) = models.get_mut(name) else { return Ok(()) };
        let steps = Steps::of(watched.window);
        let from = watched.done.operation.as_ref().and_then(Operation::next);
        let alive = received.into_iter().map(|at| steps.number(from_micros(at)));
        watched.alive.extend(alive.filter(|step| from.is_none_or(|from| from <= *step)));
        // Neighbours mostly lie in the same window.
        let mut current: Option<(Window, u64)> = None;
        for (time, received_at) in served {
            let (at, arrived) = (from_micros(time), from_micros(received_at));
            watched.last_event = watched.last_event.max(Some(at));
            watched.last_arrival = watched.last_arrival.max(Some(arrived));
            match &mut current {
                Some((window, rows)) if window.contains(at) => *rows += 1,
                _ => {
                    let next = (Window::holding(at, watched.window), 1);
                    if let Some((window, rows)) = current.replace(next) {
                        *watched.seen.entry(window).or_default() += rows;
                    }
                }
            }
        }
        if let Some((window, rows)) = current {
            *watched.seen.entry(window).or_default() += rows;
        }
        watched.labels_since |= !fresh.labels.is_empty();
        Ok(())
    }

    /// Takes note of what did not get in: records that were refused, and the times of those whose id was there already.
    pub fn note_refused(&self, name: &ModelName, refused: &[NotTaken], resent: &[Timestamp], now: Timestamp) {
        let mut models = self.lock();
        let Some(watched) = models.get_mut(name).filter(|_| !(refused.is_empty() && resent.is_empty()))
        else {
            return;
        };
        watched.intake.note(watched.window, refused, resent, watched.last_event, now);
        watched.changes[0] += 1;
        watched.last_event = watched.last_event.max(watched.intake.last.map(|(at, _)| at));
        watched.last_arrival = watched.last_arrival.max(watched.intake.last.map(|(_, came)| came));
    }

    /// What did not get in, to be kept, if it changed.
    fn intake(&self, name: &ModelName) -> Result<Option<MonitorState>, Problem> {
        let mut models = self.lock();
        let Some(watched) = models.get_mut(name) else { return Ok(None) };
        // What the last turn staged is on disk by now, or is made again.
        watched.staged = None;
        let [now, staged, on_disk] = &mut watched.changes;
        *staged = *now;
        match now == on_disk {
            true => Ok(None),
            false => stored(name, INTAKE, &watched.intake).map(Some),
        }
    }

    /// What is due now: windows to close, performance to measure, signals to raise or clear.
    pub async fn tick(&self, name: &ModelName, model: &ModelState, now: Timestamp) -> Result<Batch, Problem> {
        let log = self.log.clone();
        let intake = self.intake(name)?;
        let Some(mut round) = self.round(name, model, now) else {
            return Ok(Batch { monitor_states: intake.into_iter().collect(), ..Batch::default() });
        };
        let finished = tokio::task::spawn_blocking(move || {
            round.close_windows(&log)?;
            round.measure_performance(&log)?;
            Ok::<_, Problem>(round)
        });
        let round =
            finished.await.map_err(|error| Problem::internal(format!("watching ended early: {error}")))??;
        let name = round.name.clone();
        let (mut batch, done) = round.into_batch()?;
        batch.monitor_states.extend(intake);
        if let Some(watched) = self.lock().get_mut(&name) {
            watched.staged = Some(done);
        }
        Ok(batch)
    }

    /// The batch of the last tick is on disk.
    pub fn committed(&self, name: &ModelName) {
        if let Some(watched) = self.lock().get_mut(name) {
            watched.changes[2] = watched.changes[1];
            let Some(done) = watched.staged.take() else { return };
            if let Some(next) = done.operation.as_ref().and_then(Operation::next) {
                watched.alive = watched.alive.split_off(&next);
            }
            watched.done = done;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelName, Watched>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is due, if anything is.
    fn round(&self, name: &ModelName, model: &ModelState, now: Timestamp) -> Option<Round> {
        let mut models = self.lock();
        let watched = models.get_mut(name)?;
        for window in watched.intake.worth_closing() {
            watched.seen.entry(window).or_default();
        }
        let watermark = watermark(model.spec.watch.lateness, watched, now)?;
        let close: Vec<(Window, u64)> = watched
            .seen
            .iter()
            .filter(|(window, rows)| {
                window.end <= watermark
                    && watched.done.closed.get(window).is_none_or(|(measured, _)| measured < *rows)
            })
            .map(|(window, rows)| (*window, *rows))
            .collect();
        let delay = model.spec.model.label.expected_delay;
        let mature = |window: &Window| delay.after(window.end) <= now && window.end <= watermark;
        let mut label: Vec<Window> = watched
            .seen
            .keys()
            .filter(|window| mature(window) && !watched.done.labelled.contains_key(window))
            .filter(|window| watched.done.waiting.get(window).is_none_or(|again| *again <= now))
            .copied()
            .collect();
        let revise = watched.labels_since
            && watched.done.revised_at.is_none_or(|revised| model.spec.watch.window.after(revised) <= now);
        if revise {
            let known = watched.done.labelled.keys().rev().take(REVISED_WINDOWS);
            label.extend(known.filter(|window| watched.seen.contains_key(window)).copied());
            watched.labels_since = false;
        }
        label.sort();
        let silent = silent(model.spec.watch.lateness, watched, now);
        if close.is_empty() && label.is_empty() && silent.is_none() {
            return None;
        }
        let mut done = watched.done.clone();
        let mut batch = Batch::default();
        if let (Some(window), Some(last)) = (silent, watched.last_event) {
            done.silent = Some(window);
            batch.measurements.push((name.clone(), silence(window, last)));
        }
        if revise {
            done.revised_at = Some(now);
        }
        Some(Round {
            name: name.clone(),
            reference: watched.reference.clone(),
            model: model.clone(),
            now,
            tallies: close.iter().map(|(window, _)| (*window, watched.intake.of(*window))).collect(),
            close,
            label,
            alive: watched.alive.clone(),
            done,
            batch,
        })
    }
}

/// What a monitor had in memory.
fn remembered<T: serde::de::DeserializeOwned>(row: &MonitorState) -> Result<T, Problem> {
    serde_json::from_str(&row.state).map_err(|error| {
        let words = format!("the state of monitor `{}`: {error}", row.name);
        Problem::new(steersman_domain::ErrorKind::Corrupt, words)
    })
}

fn stored(model: &ModelName, name: &str, memory: &impl serde::Serialize) -> Result<MonitorState, Problem> {
    let state = serde_json::to_string(memory)
        .map_err(|error| Problem::internal(format!("a monitor's state cannot be written: {error}")))?;
    Ok(MonitorState { model: model.clone(), name: name.to_owned(), state })
}

/// What is expected before the labels, learnt from labelled windows of the past.
fn expected(spec: &ModelSpec, schema: &Schema, history: Option<&Table>) -> Result<Expected, String> {
    match history {
        Some(history) => Expected::learn(spec, schema, history),
        None => Err("no window of this version has had the time for its labels".to_owned()),
    }
}

/// Records before this time are there, as far as one may wait for them. A model that nobody calls any more closes its
/// windows after the same wait.
fn watermark(lateness: Period, watched: &Watched, now: Timestamp) -> Option<Timestamp> {
    let (last_event, last_arrival) = (watched.last_event?, watched.last_arrival?);
    let idle = lateness.after(last_arrival) <= now;
    Some(if idle { watched.window.after(last_event).min(now) } else { lateness.before(last_event.min(now)) })
}

/// The first window after the last record, if it is over and nothing has come, neither in time nor late, and that was not
/// said before. It is only said, not closed: records that come later still count.
fn silent(lateness: Period, watched: &Watched, now: Timestamp) -> Option<Window> {
    let (last_event, last_arrival) = (watched.last_event?, watched.last_arrival?);
    let next = Window::holding(last_event, watched.window).next();
    let idle = lateness.after(last_arrival) <= now && lateness.after(next.end) <= now;
    Some(next).filter(|next| idle && watched.done.silent != Some(*next))
}

/// One turn of watching one model.
struct Round {
    name: ModelName,
    reference: ReferenceProfile,
    model: ModelState,
    now: Timestamp,
    close: Vec<(Window, u64)>,
    /// What did not get into the windows to close.
    tallies: BTreeMap<Window, Tally>,
    label: Vec<Window>,
    alive: BTreeSet<i64>,
    done: Done,
    batch: Batch,
}

impl Round {
    fn table(&self, log: &RecordLog, window: Window) -> Result<Table, Problem> {
        let scan = Scan { from: Some(window.start), to: Some(window.end), as_of: None, arms: Arms::Served };
        log.table(&self.name, &scan)
    }

    fn close_windows(&mut self, log: &RecordLog) -> Result<(), Problem> {
        let Some(reference) = &self.model.reference else { return Ok(()) };
        let schema = reference.schema.clone();
        for (window, rows) in std::mem::take(&mut self.close) {
            self.ready(log, &schema, window)?;
            let table = self.table(log, window)?;
            let mut measured = measure(&self.reference, &schema, window, &table);
            if let Some(tally) = self.tallies.get(&window) {
                let rules = &self.model.spec.watch.quality;
                measured.findings.extend(tally.findings(rules, table.len() as u64, window));
            }
            let revision = self.done.closed.get(&window).map_or(0, |(_, revision)| revision + 1);
            let operated = self.operate(window, revision, &table);
            if revision == 0 {
                let history = self.labelled(log, window)?;
                if let Some(history) = &history {
                    self.charge_columns(history, &schema, &mut measured);
                }
                self.weigh_columns(&mut measured, &schema, window);
                self.weigh_together(&mut measured, window);
                let alone = |found: &&mut Finding| {
                    let monitor = &found.measurement.monitor;
                    found.measurement.column.is_empty()
                        && *monitor != MonitorKind::Joint
                        && !quality::MONITORS.contains(monitor)
                };
                let others = measured.findings.iter_mut().filter(alone);
                others.for_each(|found| self.weigh(found, None));
                if self.reigned(window) {
                    let expected = expected(&self.model.spec, &schema, history.as_ref());
                    let limit = loss_limit(&self.model, &self.reference);
                    let spec = &self.model.spec;
                    let mut found = estimated(spec, &schema, window, &table, &expected, limit);
                    self.weigh(&mut found, None);
                    measured.findings.push(found);
                }
            }
            measured.findings.extend(operated);
            self.close_segments(log, &schema, window, revision, &table)?;
            for mut finding in measured.findings {
                finding.measurement.revision = revision;
                self.batch.measurements.push((self.name.clone(), finding.measurement));
            }
            let profile = serde_json::to_string(&measured.profiles)
                .map_err(|error| Problem::internal(format!("a profile cannot be written: {error}")))?;
            self.batch.windows.push(WindowRow { model: self.name.clone(), window, revision, rows, profile });
            self.done.closed.insert(window, (rows, revision));
        }
        Ok(())
    }

    /// How the model was used and how it ran in a window; late records are no evidence.
    fn operate(&mut self, window: Window, revision: u32, table: &Table) -> Vec<Finding> {
        let setting = Setting::of(&self.model.spec);
        let load = Load::of(window, setting.steps, table, setting.cost.as_deref());
        let operation = self.done.operation.get_or_insert_with(|| Operation::new(&setting));
        if revision > 0 {
            return operation.again(&setting, &load);
        }
        let told = operation.observe(&self.name, &setting, &load, &self.alive, &self.reference.arrivals);
        self.write(told.facts);
        told.findings
    }

    /// Brings the forecasts to where they are before this window: where they had been, or, under another champion, where
    /// the windows between its reference and now lead them.
    fn ready(&mut self, log: &RecordLog, schema: &Schema, window: Window) -> Result<(), Problem> {
        let champion = self.model.champion();
        let inputs = self.done.inputs.get_or_insert_with(|| JointMemory::new(champion));
        let mut facts = inputs.follow(&self.name, champion, window);
        if let Some(levels) = &inputs.levels {
            self.reference.resume(levels);
        } else {
            for missed in self.missed(window) {
                let measured = measure(&self.reference, schema, missed, &self.table(log, missed)?);
                self.reference.follow(&measured.windows, |_| true);
                self.reference.together.iter_mut().for_each(|learnt| learnt.follow(&measured.together));
            }
        }
        let together = self.done.together.get_or_insert_with(|| JointMemory::new(champion));
        facts.extend(together.follow(&self.name, champion, window));
        if let (Some(learnt), Some(levels)) = (&mut self.reference.together, &together.levels) {
            learnt.resume(levels);
        }
        self.write(facts);
        Ok(())
    }

    /// The last windows between the reference and this one.
    fn missed(&self, window: Window) -> Vec<Window> {
        let between = |closed: &&Window| closed.start > self.reference.to && closed.end <= window.start;
        let mut missed: Vec<Window> =
            self.done.closed.keys().rev().filter(between).take(CAUGHT_UP).copied().collect();
        missed.reverse();
        missed
    }

    /// Measures the declared segments of a window.
    fn close_segments(
        &mut self,
        log: &RecordLog,
        schema: &Schema,
        window: Window,
        revision: u32,
        table: &Table,
    ) -> Result<(), Problem> {
        let own = Arc::clone(&self.reference.segments);
        let mut memories = std::mem::take(&mut self.done.segments);
        let champion = self.model.champion();
        let cleared = segments::follow(&own, &mut memories, &self.name, champion, window);
        let behind = segments::behind(&own, &memories);
        if !behind.is_empty() {
            let missed = self.missed(window).into_iter();
            let windows = missed.map(|missed| Ok((missed, self.table(log, missed)?)));
            segments::catch_up(&own, &behind, &mut memories, champion, schema, windows)?;
        }
        let (found, facts) =
            segments::close(self.turn(window, revision), &own, &mut memories, schema, table)?;
        self.done.segments = memories;
        self.tell(found, cleared.into_iter().chain(facts).collect());
        Ok(())
    }

    fn turn(&self, window: Window, revision: u32) -> Turn<'_> {
        let budget = self.model.spec.watch.false_alarms.alpha(self.model.spec.watch.window);
        Turn { model: &self.name, champion: self.model.champion(), budget, window, revision }
    }

    fn tell(&mut self, measurements: Vec<Measurement>, facts: Vec<Fact>) {
        self.batch.measurements.extend(measurements.into_iter().map(|found| (self.name.clone(), found)));
        self.write(facts);
    }

    /// What a monitor of all records may spend: its share, less what goes to segments.
    fn alpha(&self, monitor: MonitorKind) -> f64 {
        let budget = self.model.spec.watch.false_alarms.alpha(self.model.spec.watch.window);
        segments::divide(share(budget, monitor), monitor, &self.reference.segments).0
    }

    /// Says of the columns that drifted how much it is expected to hurt.
    fn charge_columns(&self, history: &Table, schema: &Schema, measured: &mut Measured) {
        let drifted = |found: &&mut Finding| found.measurement.monitor == MonitorKind::Drift && found.matters;
        let findings = measured.findings.iter_mut().filter(drifted);
        for found in findings {
            let name = found.measurement.column.clone();
            let column = watched(schema).find(|column| column.name == name);
            if let (Some(column), Some(learnt)) = (column, self.reference.columns.get(&name))
                && let Some(current) = measured.windows.get(&name)
            {
                charge(found, &self.model.spec, column, learnt, current, history);
            }
        }
    }

    /// Shows what was found in the columns to the memories of all columns together.
    fn weigh_columns(&mut self, measured: &mut Measured, schema: &Schema, window: Window) {
        let champion = self.model.champion();
        let columns: Vec<String> = self.reference.columns.keys().cloned().collect();
        let mut facts = Vec::new();
        let alphas = [self.alpha(MonitorKind::Drift), self.alpha(MonitorKind::Unseen)];
        for (memory, monitors, columns, tests, alpha) in [
            (
                &mut self.done.inputs,
                [MonitorKind::Drift, MonitorKind::Missing].as_slice(),
                columns,
                0,
                alphas[0],
            ),
            (&mut self.done.quality, &quality::MONITORS, quality::columns(schema), quality::TESTS, alphas[1]),
        ] {
            let memory = memory.get_or_insert_with(|| JointMemory::new(champion));
            facts.extend(memory.follow(&self.name, champion, window));
            let own = |found: &&mut Finding| monitors.contains(&found.measurement.monitor);
            let mut findings: Vec<&mut Finding> = measured.findings.iter_mut().filter(own).collect();
            facts.extend(memory.observe(&self.name, &mut findings, columns, tests, alpha, window));
        }
        if let Some(inputs) = &mut self.done.inputs {
            let quality = self.done.quality.as_ref();
            let follows = |column: &str| {
                inputs.follows(column) && quality.is_none_or(|quality| quality.follows(column))
            };
            self.reference.follow(&measured.windows, follows);
            inputs.levels = Some(self.reference.levels());
        }
        self.write(facts);
    }

    /// Shows what was found in all features together to their memory.
    fn weigh_together(&mut self, measured: &mut Measured, window: Window) {
        let (Some(learnt), Some(memory)) = (&mut self.reference.together, &mut self.done.together) else {
            return;
        };
        let budget = self.model.spec.watch.false_alarms.alpha(self.model.spec.watch.window);
        let own = |found: &&mut Finding| found.measurement.monitor == MonitorKind::Joint;
        let mut findings: Vec<&mut Finding> = measured.findings.iter_mut().filter(own).collect();
        let alpha = share(budget, MonitorKind::Joint);
        let facts = memory.observe(&self.name, &mut findings, vec![String::new()], 0, alpha, window);
        if memory.follows("") {
            learnt.follow(&measured.together);
        }
        memory.levels = Some(learnt.levels());
        self.write(facts);
    }

    fn write(&mut self, facts: Vec<Fact>) {
        let actor = Actor::Platform("watch".to_owned());
        let drafts = facts.into_iter().map(|fact| Draft { actor: actor.clone(), because: Vec::new(), fact });
        self.batch.drafts.extend(drafts);
    }

    fn measure_performance(&mut self, log: &RecordLog) -> Result<(), Problem> {
        let limit = loss_limit(&self.model, &self.reference);
        for window in std::mem::take(&mut self.label) {
            let table = self.table(log, window)?;
            let mut finding = performance(&self.model.spec, window, &table, limit);
            let before = self.done.labelled.get(&window).copied();
            if before.is_some_and(|(labels, _)| labels == finding.measurement.rows) {
                continue;
            }
            if before.is_none() && !self.labels_are_final(log, window, &mut finding)? {
                self.done.waiting.insert(window, self.model.spec.watch.window.after(self.now));
                continue;
            }
            self.done.waiting.remove(&window);
            let revision = before.map_or(0, |(_, revision)| revision + 1);
            finding.measurement.revision = revision;
            let partly = finding.measurement.maturity.is_some_and(|share| share < LABELLED);
            if let Some(schema) = self.model.reference.as_ref().map(|reference| reference.schema.clone())
                && partly
                && self.reigned(window)
                && let history = self.labelled(log, window)?
                && let Ok(expected) = expected(&self.model.spec, &schema, history.as_ref())
            {
                correct(&mut finding, &self.model.spec, &schema, &table, &expected);
            }
            let weighs = revision == 0 && self.reigned(window);
            if weighs {
                self.find_weak(log, window, &mut finding)?;
                self.weigh(&mut finding, limit.map(|limit| limit.limit / limit.scale));
            }
            let own = Arc::clone(&self.reference.segments);
            let mut memories = std::mem::take(&mut self.done.segments);
            let turn = self.turn(window, revision);
            let (found, facts) =
                segments::weigh_performance(turn, &own, &mut memories, &self.model, &table, limit, weighs)?;
            self.done.segments = memories;
            self.tell(found, facts);
            self.done.labelled.insert(window, (finding.measurement.rows, revision));
            self.batch.measurements.push((self.name.clone(), finding.measurement));
        }
        Ok(())
    }

    /// Looks where the champion is worst in its last labelled windows, up to this one, and says so in its performance.
    fn find_weak(&mut self, log: &RecordLog, window: Window, finding: &mut Finding) -> Result<(), Problem> {
        let Some(schema) = self.model.reference.as_ref().map(|reference| &reference.schema) else {
            return Ok(());
        };
        let Some(labelled) = self.labelled(log, window.next())? else { return Ok(()) };
        let weak = segments::weakest(&self.model.spec, schema, window, &labelled);
        if let Some(words) = weak.words {
            finding.measurement.explanation.push_str(&format!("; {words}"));
        }
        self.tell(weak.measurements, Vec::new());
        Ok(())
    }

    /// Whether a window's labels may be taken for all; says in the finding how many were expected by now.
    fn labels_are_final(
        &self,
        log: &RecordLog,
        window: Window,
        finding: &mut Finding,
    ) -> Result<bool, Problem> {
        let known = self.done.closed.keys().rev().filter(|past| **past <= window);
        let first = known.take(*PAST_WINDOWS.start()).last().map_or(window.start, |past| past.start);
        let scan = Scan { from: Some(first), to: Some(window.end), as_of: None, arms: Arms::Served };
        let table = log.table(&self.name, &scan)?;
        let now = self.now.as_second();
        let Some(maturity) = Maturity::of(&self.model.spec, &table, window, now) else { return Ok(true) };
        let measurement = &mut finding.measurement;
        measurement.details.insert("labels_expected".to_owned(), maturity.expected);
        if maturity.depends {
            measurement.details.insert("delay_depends_on_outcome".to_owned(), 1.0);
            if maturity.expected < 0.995 {
                let percent = 100.0 * maturity.expected;
                let words =
                    format!("; labels of one outcome arrive sooner, {percent:.0} % ought to be there");
                measurement.explanation.push_str(&words);
            }
        }
        let waited = now - window.end.as_second();
        let longest = LONGEST_WAIT * self.model.spec.model.label.expected_delay.seconds();
        Ok(maturity.is_final() || waited >= longest)
    }

    /// Records of the windows that this champion served before `window` and that have had the time for their labels.
    fn labelled(&self, log: &RecordLog, window: Window) -> Result<Option<Table>, Problem> {
        let since = self.model.champions.last().map(|reign| reign.since);
        let delay = self.model.spec.model.label.expected_delay;
        let known = |past: &Window| {
            past.end <= window.start
                && delay.after(past.end) <= self.now
                && since.is_none_or(|since| since <= past.start)
        };
        let (mut first, mut last, mut windows, mut rows) = (None, None, 0, 0);
        for (past, (count, _)) in self.done.closed.iter().rev().filter(|(past, _)| known(past)) {
            if windows >= *PAST_WINDOWS.end() || (windows >= *PAST_WINDOWS.start() && rows >= PAST_ROWS) {
                break;
            }
            (first, last) = (Some(past.start), last.or(Some(past.end)));
            (windows, rows) = (windows + 1, rows + count);
        }
        if first.is_none() {
            return Ok(None);
        }
        let scan = Scan { from: first, to: last, as_of: None, arms: Arms::Served };
        log.table(&self.name, &scan).map(Some)
    }

    /// Whether one and the same version served all through a window.
    fn reigned(&self, window: Window) -> bool {
        self.model.champions.last().is_none_or(|reign| reign.since <= window.start)
    }

    /// Shows a finding to its monitor's memory.
    fn weigh(&mut self, finding: &mut Finding, limit: Option<f64>) {
        let measurement = &finding.measurement;
        let key = measurement.monitor.to_string();
        let champion = self.model.champion();
        let window = measurement.window;
        let alpha = self.alpha(measurement.monitor);
        let memory = self.done.memories.entry(key.clone()).or_insert_with(|| Memory::new(champion));
        let facts =
            [memory.follow(&self.name, champion, window), memory.observe(&self.name, finding, alpha, limit)];
        self.write(facts.into_iter().flatten().collect());
    }

    fn into_batch(mut self) -> Result<(Batch, Done), Problem> {
        // Signals of monitors that have nothing more to say about the champion of before are over.
        let champion = self.model.champion();
        let last = self.done.closed.keys().next_back().copied();
        let mut cleared: Vec<Fact> = Vec::new();
        if let Some(window) = last {
            for memory in self.done.memories.values_mut() {
                cleared.extend(memory.follow(&self.name, champion, window));
            }
            let done = &mut self.done;
            let memories = [&mut done.inputs, &mut done.quality, &mut done.together];
            for memory in memories.into_iter().flatten() {
                cleared.extend(memory.follow(&self.name, champion, window));
            }
            let own = &self.reference.segments;
            cleared.extend(segments::follow(own, &mut self.done.segments, &self.name, champion, window));
        }
        self.write(cleared);
        for (name, memory) in &self.done.segments {
            self.batch.monitor_states.push(stored(&self.name, &format!("{SEGMENT}{name}"), memory)?);
        }
        for (name, memory) in &self.done.memories {
            self.batch.monitor_states.push(stored(&self.name, name, memory)?);
        }
        if let Some(operation) = &self.done.operation {
            self.batch.monitor_states.push(stored(&self.name, OPERATION, operation)?);
        }
        let done = &self.done;
        for (name, memory) in [(INPUTS, &done.inputs), (QUALITY, &done.quality), (TOGETHER, &done.together)] {
            if let Some(memory) = memory {
                self.batch.monitor_states.push(stored(&self.name, name, memory)?);
            }
        }
        Ok((self.batch, self.done))
    }
}

/// The mean loss that is still acceptable: what the champion showed at its evaluation (without one, what the reference
/// shows), with its uncertainty, and the drop that the spec allows; a tenth more where the spec names none in this unit.
fn loss_limit(model: &ModelState, reference: &ReferenceProfile) -> Option<LossLimit> {
    let champion = model.champion().and_then(|version| model.versions.get(&version));
    let evaluated = champion.and_then(|version| version.evaluation.as_ref());
    let (value, high) = match (evaluated, reference.loss) {
        (Some(evaluation), _) => (evaluation.loss.value, evaluation.loss.high),
        (None, Some(loss)) => (loss.value, loss.high),
        (None, None) => return None,
    };
    let spec = &model.spec;
    let scale = match spec.model.task {
        Task::Binary => 1.0,
        Task::Regression => 5.0 * value,
    };
    (scale > 0.0).then(|| LossLimit { limit: (high + tolerance(spec, value)).min(0.99 * scale), scale })
}
