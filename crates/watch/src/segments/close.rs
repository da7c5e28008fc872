//! What a window says about each segment before its labels.

use super::memory::{self, Memories};
use super::performance::limit;
use super::thin::{Thin, shown};
use super::{Told, Turn, label, members, split};
use crate::expected::Expected;
use crate::measure::{Evidence, Finding, LEAST_ROWS, estimated, finding, measure};
use crate::operation::{Load, Setting};
use std::collections::BTreeMap;
use steersman_domain::{Measurement, MonitorKind, Problem, Reading, Schema};
use steersman_records::Table;

/// What is known of a window of all records.
pub(crate) struct Closed<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) table: &'a Table,
    pub(crate) setting: &'a Setting,
    pub(crate) load: &'a Load,
    /// Values that are no segment.
    pub(crate) thin: &'a [Thin],
    /// What is expected of performance, with the history that it was learnt from; none where nothing is to be said of it.
    pub(crate) expected: Option<(&'a Result<Expected, String>, Option<&'a Table>)>,
}

/// What a window says about each segment: the columns that drifted, values that are missing or wrong, how it was used and how
/// it ran, and what its performance is expected to be. Evidence counts the first time only.
pub(crate) fn close(turn: Turn<'_>, memories: &mut Memories, closed: &Closed<'_>) -> Result<Told, Problem> {
    let (mut measurements, mut facts) = (Vec::new(), Vec::new());
    let tables = split(closed.table, &members(turn.segments, closed.table))?;
    let history = closed.expected.and_then(|(_, history)| history);
    let history: Vec<Vec<bool>> = history.map_or_else(Vec::new, |history| members(turn.segments, history));
    for (place, ((segment, own), budget)) in turn.segments.iter().zip(tables).zip(turn.budgets()).enumerate()
    {
        let memory = memory::of(memories, segment, turn.champion());
        let load = Load::of(turn.window, closed.setting.steps, &own, closed.setting.cost.as_deref());
        let (operated, told) = memory.operation.observe(turn, segment, closed, &load, budget);
        facts.extend(told);
        let mut findings = operated;
        let rows = own.len() as u64;
        if rows < LEAST_ROWS {
            let monitors = [(MonitorKind::Drift, "jensen_shannon")].into_iter();
            let estimate = (MonitorKind::Estimate, turn.model.spec.metric().as_str());
            for (monitor, metric) in monitors.chain(closed.expected.map(|_| estimate)) {
                let reason = format!("only {rows} records, {LEAST_ROWS} are needed to look at their values");
                let reading = Reading::NotComputable { reason: reason.clone() };
                let mut found = finding(monitor, "", metric, turn.window, rows, reading);
                found.measurement.explanation = reason;
                label(&mut found.measurement, segment);
                findings.push(found);
            }
            measurements.extend(one_of_each(findings.into_iter(), turn.revision));
            continue;
        }
        let mut learnt = segment.profile.clone();
        memory.monitors.resume(&mut learnt);
        let mut measured = measure(&learnt, closed.schema, turn.window, &own);
        measured.findings.iter_mut().for_each(|found| label(&mut found.measurement, segment));
        if turn.revision == 0 {
            let monitors = &mut memory.monitors;
            let told = monitors.weigh_columns(
                turn.name,
                budget,
                closed.schema,
                &mut learnt,
                &mut measured,
                turn.window,
            );
            facts.extend(told);
        }
        findings.extend(measured.findings);
        if let Some((expected, _)) = closed.expected {
            let spec = &turn.model.spec;
            let holds =
                |row: usize| history.get(place).and_then(|own| own.get(row)).copied().unwrap_or(false);
            let expected = expected.as_ref().map(|all| all.within(spec, holds)).map_err(String::clone);
            let limit = limit(turn, segment);
            let mut found = estimated(spec, closed.schema, turn.window, &own, &expected, limit);
            label(&mut found.measurement, segment);
            facts.extend(memory.monitors.weigh(turn.name, budget, &mut found, None));
            findings.push(found);
        }
        measurements.extend(one_of_each(findings.into_iter(), turn.revision));
    }
    let left = closed.thin.iter().flat_map(|thin| shown(thin, turn.window, closed.table, turn.revision));
    measurements.extend(left);
    Ok((measurements, facts))
}

/// One measurement for each monitor of a segment.
fn one_of_each(findings: impl Iterator<Item = Finding>, revision: u32) -> Vec<Measurement> {
    let mut by_monitor: BTreeMap<MonitorKind, Vec<Finding>> = BTreeMap::new();
    for found in findings {
        by_monitor.entry(found.measurement.monitor).or_default().push(found);
    }
    by_monitor.into_values().filter_map(|found| clearest(found, revision)).collect()
}

/// One measurement for all columns of a segment: of the one that speaks most clearly, with the names of the others that
/// matter.
fn clearest(mut found: Vec<Finding>, revision: u32) -> Option<Measurement> {
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
        let smallest = found.iter().map(least).fold(1.0, f64::min);
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
