//! Segments on the page of a model: how each declared one does, and where the model is worst.

use crate::chart::{Cell, map};
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::{Measurement, MonitorKind, Window};
use steersman_ledger::state::ModelState;

/// The mean loss of a segment is that of so many last labelled windows.
const LAST: usize = 7;
/// So many segments are shown, those with an open signal first, then by share.
const MOST: usize = 30;

/// All that is shown of segments.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pub(crate) declared: Vec<DeclaredRow>,
    /// Segments that are not shown.
    pub(crate) more: usize,
    /// The heat map of their columns.
    pub(crate) drift: String,
    /// What the last search said.
    pub(crate) search: String,
    pub(crate) weak: Vec<WeakRow>,
}

/// A declared segment.
#[derive(Debug)]
pub(crate) struct DeclaredRow {
    pub(crate) name: String,
    pub(crate) share: String,
    pub(crate) loss: String,
    pub(crate) acceptable: String,
    pub(crate) estimated: String,
    pub(crate) moved: String,
    pub(crate) signals: String,
}

/// A segment in which the model is worse than elsewhere.
#[derive(Debug)]
pub(crate) struct WeakRow {
    pub(crate) name: String,
    pub(crate) share: String,
    pub(crate) labels: u64,
    pub(crate) loss: String,
    pub(crate) elsewhere: String,
    pub(crate) excess: String,
}

/// What is measured of one segment, in order of time.
type History<'a> = BTreeMap<(MonitorKind, Window), &'a Measurement>;

/// What is to be shown. `measurements` are those of segments, `whole` those of all records.
pub(crate) fn segments(model: &ModelState, measurements: &[Measurement], whole: &[&Measurement]) -> Segments {
    let mut found: BTreeMap<&str, History<'_>> = BTreeMap::new();
    for measurement in measurements.iter().filter(|one| one.monitor != MonitorKind::Weak) {
        let Some(name) = &measurement.segment else { continue };
        found.entry(name).or_default().insert((measurement.monitor, measurement.window), measurement);
    }
    // Segments of the last window; others were declared once.
    let newest = found.values().filter_map(|own| Some(last(own, MonitorKind::Volume)?.window)).max();
    found.retain(|_, own| last(own, MonitorKind::Volume).map(|volume| volume.window) == newest);
    let signals = |name: &str| -> BTreeSet<&str> {
        let own = model.open_signals().filter(|signal| signal.measurement.segment.as_deref() == Some(name));
        own.map(|signal| signal.measurement.monitor.as_str()).collect()
    };
    let rows = |own: &History<'_>| last(own, MonitorKind::Volume).map_or(0, |volume| volume.rows);
    let mut order: Vec<(&str, History<'_>)> = found.into_iter().collect();
    order.sort_by_key(|(name, own)| (signals(name).is_empty(), std::cmp::Reverse(rows(own))));
    let more = order.len().saturating_sub(MOST);
    order.truncate(MOST);
    let declared = order.iter().map(|(name, own)| declared(name, own, &signals(name))).collect();
    let cells: Vec<(String, Vec<Cell>)> =
        order.iter().map(|(name, own)| ((*name).to_owned(), cells(own))).collect();
    let search = whole.iter().rfind(|measurement| measurement.monitor == MonitorKind::Weak);
    let weak = measurements.iter().filter(|measurement| {
        measurement.monitor == MonitorKind::Weak
            && Some(measurement.window) == search.map(|search| search.window)
    });
    let mut weak: Vec<&Measurement> = weak.collect();
    let excess = |weak: &Measurement| weak.details.get("excess").copied().unwrap_or(0.0);
    weak.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
    Segments {
        declared,
        more,
        drift: map("Distance of each segment's clearest column from the reference, window by window", &cells),
        search: search.map_or(String::new(), |search| words(search)),
        weak: weak.into_iter().map(weak_row).collect(),
    }
}

fn of_kind<'a>(own: &History<'a>, kind: MonitorKind) -> Vec<&'a Measurement> {
    own.iter().filter(|((monitor, _), _)| *monitor == kind).map(|(_, measurement)| *measurement).collect()
}

fn last<'a>(own: &History<'a>, kind: MonitorKind) -> Option<&'a Measurement> {
    of_kind(own, kind).last().copied()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn declared(name: &str, own: &History<'_>, signals: &BTreeSet<&str>) -> DeclaredRow {
    let share = last(own, MonitorKind::Volume).map_or(String::new(), |volume| {
        let usual = volume.ordinary.map_or(String::new(), |(low, high)| {
            format!(", ordinarily {:.1} to {}", 100.0 * low, percent(high))
        });
        volume.reading.value().map_or("no records".to_owned(), percent) + &usual
    });
    let performance = of_kind(own, MonitorKind::Performance);
    let losses: Vec<(f64, f64)> = performance
        .iter()
        .rev()
        .filter_map(|one| Some((*one.details.get("loss")?, one.rows as f64)))
        .take(LAST)
        .collect();
    let labels: f64 = losses.iter().map(|(_, rows)| rows).sum();
    let mean = losses.iter().map(|(loss, rows)| loss * rows).sum::<f64>() / labels;
    let limit = performance.iter().rev().find_map(|one| one.details.get("loss_limit"));
    let estimated = last(own, MonitorKind::Estimate).map_or("not yet".to_owned(), |estimate| {
        match (&estimate.reading, estimate.reading.value()) {
            (steersman_domain::Reading::NotComputable { reason }, _) => format!("not computable: {reason}"),
            (_, value) => value.map_or(String::new(), |value| format!("{} {value:.4}", estimate.metric)),
        }
    });
    let moved = last(own, MonitorKind::Drift).map_or(String::new(), |drift| {
        match (&drift.reading, drift.reading.value()) {
            (steersman_domain::Reading::NotComputable { reason }, _) => format!("not computable: {reason}"),
            (_, Some(distance)) if step(drift) >= Some(2) => format!("{}: {distance:.2}", drift.column),
            _ => "as usual".to_owned(),
        }
    });
    DeclaredRow {
        name: name.to_owned(),
        share,
        loss: if labels > 0.0 {
            format!("{mean:.4} on {labels:.0} labels")
        } else {
            "not computable: too few labels".to_owned()
        },
        acceptable: limit.map_or("not known".to_owned(), |limit| format!("{limit:.4}")),
        estimated,
        moved,
        signals: signals.iter().copied().collect::<Vec<_>>().join(", "),
    }
}

/// How unusual a segment's clearest column is, from 0 to 4; none where that cannot be said.
fn step(drift: &Measurement) -> Option<u8> {
    let p_value = drift.details.get("adjusted_p_value").filter(|_| drift.reading.value().is_some())?;
    Some([0.05, 0.01, 1e-3, 1e-4].iter().filter(|limit| p_value <= *limit).count() as u8)
}

fn cells(own: &History<'_>) -> Vec<Cell> {
    let cell = |drift: &Measurement| Cell {
        from: drift.window.start,
        to: drift.window.end,
        step: step(drift),
        alarming: drift.alarming,
    };
    of_kind(own, MonitorKind::Drift).into_iter().map(cell).collect()
}

fn words(search: &Measurement) -> String {
    let day = search.window.end.strftime("%Y-%m-%d");
    match &search.reading {
        steersman_domain::Reading::NotComputable { reason } => format!("Not computable on {day}: {reason}."),
        _ => format!("Until {day}: {}.", search.explanation),
    }
}

fn weak_row(weak: &Measurement) -> WeakRow {
    let detail = |name: &str| weak.details.get(name).copied().unwrap_or(f64::NAN);
    WeakRow {
        name: weak.segment.clone().unwrap_or_default(),
        share: percent(detail("share")),
        labels: weak.rows,
        loss: format!("{:.4}", weak.reading.value().unwrap_or(f64::NAN)),
        elsewhere: format!("{:.4}", detail("loss_elsewhere")),
        excess: format!(
            "{:+.4} [{:+.4}, {:+.4}]",
            detail("excess"),
            detail("excess_low"),
            detail("excess_high")
        ),
    }
}
