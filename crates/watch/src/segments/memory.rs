//! What each segment's monitors remember, and what a window says about its columns.

use super::{Segment, divide, split};
use crate::joint::JointMemory;
use crate::measure::{Evidence, Finding, LEAST_ROWS, finding, measure};
use crate::monitor::{Memory, share};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::{
    Fact, Measurement, ModelName, MonitorKind, Problem, Reading, Schema, Version, Window,
};
use steersman_records::Table;
use steersman_stats::interval::wilson;

/// What the monitors of a segment remember from window to window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SegmentMemory {
    inputs: JointMemory,
    pub(super) performance: Memory,
}

impl SegmentMemory {
    pub(super) fn new(champion: Option<Version>) -> Self {
        Self { inputs: JointMemory::new(champion), performance: Memory::new(champion) }
    }

    fn follow(&mut self, model: &ModelName, champion: Option<Version>, window: Window) -> Vec<Fact> {
        let mut facts = self.inputs.follow(model, champion, window);
        facts.extend(self.performance.follow(model, champion, window));
        facts
    }
}

/// The memories of all segments, by name.
pub(crate) type Memories = BTreeMap<String, SegmentMemory>;

/// Whose window is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) model: &'a ModelName,
    pub(crate) champion: Option<Version>,
    /// The model's false-alarm budget, a window.
    pub(crate) budget: f64,
    pub(crate) window: Window,
    pub(crate) revision: u32,
}

/// What is to be written about segments.
pub(crate) type Told = (Vec<Measurement>, Vec<Fact>);

/// Lets all memories be about this champion. Signals of segments that are not watched any more are cleared.
pub(crate) fn follow(
    segments: &[Segment],
    memories: &mut Memories,
    model: &ModelName,
    champion: Option<Version>,
    window: Window,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, memory) in memories.iter_mut() {
        facts.extend(memory.follow(model, champion, window));
        if !segments.iter().any(|segment| segment.name == *name) {
            let why = "this segment is not watched any more";
            facts.extend(memory.inputs.restart(model, champion, window, why));
            facts.extend(memory.performance.restart(model, champion, window, why));
        }
    }
    facts
}

/// The segments whose forecasts stand where the reference ends.
pub(crate) fn behind(segments: &[Segment], memories: &Memories) -> Vec<String> {
    let known = |name: &String| memories.get(name).is_some_and(|memory| memory.inputs.levels.is_some());
    segments.iter().map(|segment| segment.name.clone()).filter(|name| !known(name)).collect()
}

/// Leads the forecasts of these segments through the windows between the reference and now.
pub(crate) fn catch_up(
    segments: &[Segment],
    behind: &[String],
    memories: &mut Memories,
    champion: Option<Version>,
    schema: &Schema,
    windows: impl Iterator<Item = Result<(Window, Table), Problem>>,
) -> Result<(), Problem> {
    let own: Vec<Segment> =
        segments.iter().filter(|segment| behind.contains(&segment.name)).cloned().collect();
    let mut profiles: Vec<_> = own.iter().map(|segment| segment.profile.clone()).collect();
    for missed in windows {
        let (window, table) = missed?;
        for (profile, rows) in profiles.iter_mut().zip(split(&own, &table)?) {
            let measured = measure(profile, schema, window, &rows);
            profile.follow(&measured.windows, |_| true);
        }
    }
    for (segment, profile) in own.iter().zip(&profiles) {
        let memory = memories.entry(segment.name.clone()).or_insert_with(|| SegmentMemory::new(champion));
        memory.inputs.levels = Some(profile.levels());
    }
    Ok(())
}

/// What a window says about each segment, before labels: its share of the records, the columns that drifted, values that
/// are missing. Evidence counts the first time only.
pub(crate) fn close(
    turn: Turn<'_>,
    segments: &[Segment],
    memories: &mut Memories,
    schema: &Schema,
    table: &Table,
) -> Result<Told, Problem> {
    let (mut measurements, mut facts) = (Vec::new(), Vec::new());
    let (_, alphas) = divide(share(turn.budget, MonitorKind::Drift), MonitorKind::Drift, segments);
    for ((segment, own), alpha) in segments.iter().zip(split(segments, table)?).zip(alphas) {
        let rows = own.len() as u64;
        measurements.push(told(volume(segment, turn.window, rows, table.len() as u64), segment, turn));
        if rows < LEAST_ROWS {
            let reading = Reading::NotComputable { reason: format!("only {rows} records") };
            let drift = finding(MonitorKind::Drift, "", "jensen_shannon", turn.window, rows, reading);
            measurements.push(told(drift, segment, turn));
            continue;
        }
        let memory =
            memories.entry(segment.name.clone()).or_insert_with(|| SegmentMemory::new(turn.champion));
        let mut learnt = segment.profile.clone();
        if let Some(levels) = &memory.inputs.levels {
            learnt.resume(levels);
        }
        let mut measured = measure(&learnt, schema, turn.window, &own);
        let watched = [MonitorKind::Drift, MonitorKind::Missing];
        measured.findings.retain(|found| watched.contains(&found.measurement.monitor));
        for found in &mut measured.findings {
            label(&mut found.measurement, segment);
        }
        if turn.revision == 0 {
            let columns = learnt.columns.keys().cloned().collect();
            let mut findings: Vec<&mut Finding> = measured.findings.iter_mut().collect();
            facts.extend(memory.inputs.observe(turn.model, &mut findings, columns, 0, alpha, turn.window));
            learnt.follow(&measured.windows, |column| memory.inputs.follows(column));
            memory.inputs.levels = Some(learnt.levels());
        }
        for monitor in watched {
            let of_kind = |found: &Finding| found.measurement.monitor == monitor;
            let found = measured.findings.iter().filter(|found| of_kind(found)).collect();
            measurements.extend(clearest(found, turn.revision));
        }
    }
    Ok((measurements, facts))
}

/// Says in a measurement which segment it is about.
pub(super) fn label(measurement: &mut Measurement, segment: &Segment) {
    measurement.segment = Some(segment.name.clone());
    if !measurement.explanation.is_empty() {
        measurement.explanation = format!("where {}: {}", segment.name, measurement.explanation);
    }
}

fn told(found: Finding, segment: &Segment, turn: Turn<'_>) -> Measurement {
    let mut measurement = found.measurement;
    label(&mut measurement, segment);
    measurement.revision = turn.revision;
    measurement
}

/// A segment's share of the records. It is shown; whether it changed is what the drift of its column says.
fn volume(segment: &Segment, window: Window, rows: u64, all: u64) -> Finding {
    let reading = match wilson(rows, all) {
        Ok(share) => Reading::between(share.value, Some(share.low), Some(share.high)),
        Err(_) => Reading::NotComputable { reason: "no records".to_owned() },
    };
    let mut found = finding(MonitorKind::Volume, "", "share", window, rows, reading);
    found.measurement.ordinary = segment.share;
    found.measurement.explanation = format!("{rows} of {all} records");
    found
}

/// One measurement for all columns of a segment: of the one that speaks most clearly, with the names of the others that
/// matter.
fn clearest(mut found: Vec<&Finding>, revision: u32) -> Option<Measurement> {
    let aspects = |found: &Finding| match &found.evidence {
        Evidence::Aspects(aspects) => aspects.iter().map(|aspect| aspect.p_value).collect(),
        _ => Vec::new(),
    };
    let least = |found: &Finding| aspects(found).into_iter().fold(1.0, f64::min);
    let tests: usize = found.iter().map(|found| aspects(found).len()).sum();
    let rank = |found: &Finding| (!found.measurement.alarming, !found.matters);
    found.sort_by(|a, b| rank(a).cmp(&rank(b)).then(least(a).total_cmp(&least(b))));
    let mut measurement = found.first()?.measurement.clone();
    measurement.revision = revision;
    if tests > 0 {
        // The clearest of many is clear by chance as well.
        let smallest = found.iter().map(|found| least(found)).fold(1.0, f64::min);
        let adjusted = (smallest * tests as f64).min(1.0);
        measurement.details.insert("adjusted_p_value".to_owned(), adjusted);
    }
    let others: Vec<&str> = found
        .iter()
        .skip(1)
        .filter(|other| other.matters)
        .map(|other| other.measurement.column.as_str())
        .collect();
    if !others.is_empty() {
        measurement.explanation.push_str(&format!("; so it is with `{}`", others.join("`, `")));
    }
    Some(measurement)
}
