//! One turn of watching one model: windows to close, and what is to be written of them.

use super::done::Done;
use super::labels::{expected, loss_limit};
use crate::measure::{Finding, Measured, charge, estimated, measure};
use crate::monitor::share;
use crate::operation::{Load, Operation, Setting};
use crate::quality::Tally;
use crate::reference::{ReferenceProfile, watched};
use crate::segments::{self, Closed, Segment, Turn};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::{Actor, Fact, Measurement, ModelName, MonitorKind, Problem, Schema, Window};
use steersman_ledger::state::ModelState;
use steersman_records::{Arms, RecordLog, Scan, Table};
use steersman_store::{Batch, Draft, WindowRow};

/// So many windows between the end of the reference and the first one under a champion are caught up with.
const CAUGHT_UP: usize = 60;

/// One turn of watching one model.
pub(super) struct Round {
    pub(super) name: ModelName,
    pub(super) reference: ReferenceProfile,
    pub(super) model: ModelState,
    pub(super) now: Timestamp,
    pub(super) close: Vec<(Window, u64)>,
    /// What did not get into the windows to close.
    pub(super) tallies: BTreeMap<Window, Tally>,
    pub(super) label: Vec<Window>,
    pub(super) alive: BTreeSet<i64>,
    pub(super) done: Done,
    pub(super) batch: Batch,
}

impl Round {
    pub(super) fn table(&self, log: &RecordLog, window: Window) -> Result<Table, Problem> {
        let scan = Scan { from: Some(window.start), to: Some(window.end), as_of: None, arms: Arms::Served };
        log.table(&self.name, &scan)
    }

    pub(super) fn close_windows(&mut self, log: &RecordLog) -> Result<(), Problem> {
        let Some(reference) = &self.model.reference else { return Ok(()) };
        let schema = reference.schema.clone();
        let setting = Setting::of(&self.model.spec);
        let thin = Arc::clone(&self.reference.thin);
        for (window, rows) in std::mem::take(&mut self.close) {
            self.ready(log, &schema, window)?;
            let table = self.table(log, window)?;
            let load = Load::of(window, setting.steps, &table, setting.cost.as_deref());
            let mut measured = measure(&self.reference, &schema, window, &table);
            if let Some(tally) = self.tallies.get(&window) {
                let rules = &self.model.spec.watch.quality;
                measured.findings.extend(tally.findings(rules, table.len() as u64, window));
            }
            let revision = self.done.closed.get(&window).map_or(0, |(_, revision)| revision + 1);
            let (table, load) = (&table, &load);
            let mut closed =
                Closed { schema: &schema, table, setting: &setting, load, thin: &thin, expected: None };
            let operated = self.operate(&setting, load, revision);
            let history = if revision == 0 { self.labelled(log, window)? } else { None };
            let expected = (revision == 0 && self.reigned(window))
                .then(|| expected(&self.model.spec, &schema, history.as_ref()));
            if revision == 0 {
                if let Some(history) = &history {
                    self.charge_columns(history, &schema, &mut measured);
                }
                self.weigh_columns(&schema, &mut measured, window);
                self.weigh_together(&mut measured, window);
            }
            if let Some(expected) = &expected {
                let limit = loss_limit(&self.model, &self.reference);
                let mut found = estimated(&self.model.spec, &schema, window, table, expected, limit);
                self.weigh(&mut found, None);
                measured.findings.push(found);
                closed.expected = Some((expected, history.as_ref()));
            }
            measured.findings.extend(operated);
            self.close_segments(log, &closed, window, revision)?;
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
    fn operate(&mut self, setting: &Setting, load: &Load, revision: u32) -> Vec<Finding> {
        let setting = Setting { alpha: self.budget(), ..setting.clone() };
        let operation = self.done.operation.get_or_insert_with(|| Operation::new(&setting));
        if revision > 0 {
            return operation.again(&setting, load);
        }
        let told = operation.observe(&self.name, &setting, load, &self.alive, &self.reference.arrivals);
        self.write(told.facts);
        told.findings
    }

    /// Brings the forecasts to where they are before this window: where they had been, or, under another champion, where
    /// the windows between its reference and now lead them.
    fn ready(&mut self, log: &RecordLog, schema: &Schema, window: Window) -> Result<(), Problem> {
        let champion = self.model.champion();
        let mut facts = self.done.monitors.follow(&self.name, champion, window);
        if self.done.monitors.has_followed() {
            self.done.monitors.resume(&mut self.reference);
        } else {
            for missed in self.missed(window) {
                let measured = measure(&self.reference, schema, missed, &self.table(log, missed)?);
                self.reference.follow(&measured, |_| true);
                self.reference.together.iter_mut().for_each(|learnt| learnt.follow(&measured.together));
            }
        }
        facts.extend(self.done.together.follow(&self.name, champion, window));
        if let (Some(learnt), Some(levels)) = (&mut self.reference.together, &self.done.together.levels) {
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
        closed: &Closed<'_>,
        window: Window,
        revision: u32,
    ) -> Result<(), Problem> {
        let own = Arc::clone(&self.reference.segments);
        let mut memories = std::mem::take(&mut self.done.segments);
        let champion = self.model.champion();
        let cleared = segments::follow(&own, &mut memories, &self.name, champion, window);
        let behind = segments::behind(&own, &memories);
        if !behind.is_empty() {
            let missed = self.missed(window).into_iter();
            let windows = missed.map(|missed| Ok((missed, self.table(log, missed)?)));
            segments::catch_up(&own, &behind, &mut memories, champion, closed.schema, windows)?;
        }
        let (found, facts) = segments::close(self.turn(&own, window, revision), &mut memories, closed)?;
        self.done.segments = memories;
        self.tell(found, cleared.into_iter().chain(facts).collect());
        Ok(())
    }

    pub(super) fn turn<'a>(&'a self, segments: &'a [Segment], window: Window, revision: u32) -> Turn<'a> {
        let limit = loss_limit(&self.model, &self.reference);
        Turn { name: &self.name, model: &self.model, segments, limit, window, revision }
    }

    pub(super) fn tell(&mut self, measurements: Vec<Measurement>, facts: Vec<Fact>) {
        self.batch.measurements.extend(measurements.into_iter().map(|found| (self.name.clone(), found)));
        self.write(facts);
    }

    /// What the monitors of all records may spend: the budget, less what goes to segments.
    fn budget(&self) -> f64 {
        let watch = &self.model.spec.watch;
        segments::divide(watch.false_alarms.alpha(watch.window), &self.reference.segments).0
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

    /// Shows what was found in the columns to the monitors of all records.
    fn weigh_columns(&mut self, schema: &Schema, measured: &mut Measured, window: Window) {
        let budget = self.budget();
        let (monitors, learnt) = (&mut self.done.monitors, &mut self.reference);
        let facts = monitors.weigh_columns(&self.name, budget, schema, learnt, measured, window);
        self.write(facts);
    }

    /// Shows what was found in all features together to their memory.
    fn weigh_together(&mut self, measured: &mut Measured, window: Window) {
        let Some(learnt) = &mut self.reference.together else { return };
        let memory = &mut self.done.together;
        // Segments have no such monitor, so nothing of its share is divided.
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

    /// Whether one and the same version served all through a window.
    pub(super) fn reigned(&self, window: Window) -> bool {
        self.model.champions.last().is_none_or(|reign| reign.since <= window.start)
    }

    /// Shows a finding to its monitor's memory.
    pub(super) fn weigh(&mut self, finding: &mut Finding, limit: Option<f64>) {
        let (champion, window, budget) = (self.model.champion(), finding.measurement.window, self.budget());
        let monitors = &mut self.done.monitors;
        let mut facts = monitors.follow(&self.name, champion, window);
        facts.extend(monitors.weigh(&self.name, budget, finding, limit));
        self.write(facts);
    }

    pub(super) fn into_batch(mut self) -> Result<(Batch, Done), Problem> {
        // Signals of monitors that have nothing more to say about the champion of before are over.
        let champion = self.model.champion();
        if let Some(window) = self.done.closed.keys().next_back().copied() {
            let (done, name) = (&mut self.done, &self.name);
            let mut cleared = done.monitors.follow(name, champion, window);
            cleared.extend(done.together.follow(name, champion, window));
            let own = &self.reference.segments;
            cleared.extend(segments::follow(own, &mut done.segments, name, champion, window));
            self.write(cleared);
        }
        self.batch.monitor_states.extend(self.done.states(&self.name)?);
        Ok((self.batch, self.done))
    }
}
