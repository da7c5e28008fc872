//! How a segment is used and how it runs, beside all records: its traffic, failed calls, latency and cost.
//!
//! What all records share, such as the hour, a holiday or a slow machine, is for the monitors of all records. So a segment counts
//! only if it is unusual twice: beside its own last windows, and in its ratio to all records of the same window. Of the two
//! p-values (Student's predictive law, [`stretch_p`]) the larger one counts, and of what the two lead to expect, what is nearer
//! to what was found. Failed calls are weighed like those of all records, by likelihood ratios against the ordinary rate
//! ([`odds`]); what all *other* records show in the same window is ordinary too.
//!
//! A reference tells nothing of this, so it is learnt from the last windows. While a signal is open nothing is learnt, unless the
//! change lasts as long as the spec says: then it is the new normal. Another champion changes nothing.

use super::close::Closed;
use super::{Segment, Turn, label};
use crate::measure::{Evidence, Finding, LEAST_ROWS, finding};
use crate::monitor::{Memory, share};
use crate::operation::{Load, Step, odds, ordinary_rate};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use steersman_domain::{Fact, ModelName, MonitorKind, Reading, Window};
use steersman_stats::calibration::{AspectEvidence, column_log_e};
use steersman_stats::interval::wilson;
use steersman_stats::sequential::mean_of_logs;
use steersman_stats::series::stretch_p;

/// What is ordinary is learnt from so many last windows.
const PAST_WINDOWS: usize = 30;
/// Differences below this share are none.
const TRIFLE: f64 = 0.02;

/// What is remembered of a segment's operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Operation(BTreeMap<MonitorKind, Watched>);

/// A monitor, and what it learns from. A window is a pair for each of its series: the logarithm of the value, and of its ratio to
/// that of all records; or failed calls and calls.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Watched {
    memory: Memory,
    past: VecDeque<Vec<Pair>>,
    /// The windows since the signal was raised, and how many they are.
    during: VecDeque<Vec<Pair>>,
    changed: i64,
}

/// Seven digits are enough, and take half of the room.
type Pair = (f32, f32);

/// What a window says of one series.
struct Judged {
    expected: f64,
    p_value: f64,
    matters: bool,
}

impl Operation {
    /// Takes a window in; evidence counts the first time only.
    pub(super) fn observe(
        &mut self,
        turn: Turn<'_>,
        segment: &Segment,
        closed: &Closed<'_>,
        load: &Load,
        budget: f64,
    ) -> (Vec<Finding>, Vec<Fact>) {
        let (own, all) = (&load.whole, &closed.load.whole);
        let (mut findings, mut facts) = (Vec::new(), Vec::new());
        for monitor in [MonitorKind::Volume, MonitorKind::Errors, MonitorKind::Latency, MonitorKind::Cost] {
            let watched = self.0.entry(monitor).or_default();
            let told = match monitor {
                MonitorKind::Volume => Some(watched.traffic(segment, turn.window, own, all)),
                MonitorKind::Errors => watched.failures(turn.window, own, all),
                MonitorKind::Latency => watched.latency(turn.window, own, all),
                _ => watched.cost(turn.window, own, all),
            };
            let Some((mut found, values)) = told else { continue };
            label(&mut found.measurement, segment);
            if turn.revision == 0 {
                facts.extend(watched.memory.observe(turn.name, &mut found, share(budget, monitor), None));
                let settle = closed.setting.settle.seconds();
                facts.extend(watched.learn(turn.name, turn.window, settle, values));
            }
            findings.push(found);
        }
        (findings, facts)
    }

    /// Begins anew; open signals are cleared for this reason.
    pub(super) fn restart(&mut self, model: &ModelName, window: Window, why: &str) -> Vec<Fact> {
        let before = std::mem::take(self).0.into_values();
        before.filter_map(|mut watched| watched.memory.restart(model, None, window, why)).collect()
    }
}

impl Watched {
    /// Records: fewer than half are too few.
    fn traffic(&self, segment: &Segment, window: Window, own: &Step, all: &Step) -> (Finding, Vec<Pair>) {
        let (rows, of) = (own.records, all.records);
        let reading = match wilson(rows, of) {
            Ok(share) => Reading::between(share.value, Some(share.low), Some(share.high)),
            Err(_) => Reading::NotComputable { reason: "no records".to_owned() },
        };
        let mut found = finding(MonitorKind::Volume, "", "share", window, rows, reading);
        found.measurement.ordinary = segment.share;
        let values = Scale { start: 10.0, falls: true }.pair(rows as f64, of as f64);
        let judged = self
            .judge(0, values, Scale { start: 10.0, falls: true }, |value, expected| value < 0.5 * expected);
        let words = format!("{rows} of {of} records");
        let expected = |judged: &Judged| format!(", {:.0} were expected", judged.expected);
        found.measurement.explanation = words + &judged.as_ref().map_or(String::new(), expected);
        weigh(&mut found, &[judged]);
        (found, values.into_iter().collect())
    }

    /// Failed calls: more than the ordinary rate are too many.
    fn failures(&self, window: Window, own: &Step, all: &Step) -> Option<(Finding, Vec<Pair>)> {
        let share = wilson(own.failed, own.calls);
        let reading = match (&share, all.calls) {
            (_, 0) => return None,
            (Ok(share), _) => Reading::between(share.value, Some(share.low), Some(share.high)),
            (Err(_), _) => Reading::NotComputable { reason: "no calls".to_owned() },
        };
        let mut found = finding(MonitorKind::Errors, "", "failed_share", window, own.calls, reading);
        let Ok(share) = share else { return Some((found, Vec::new())) };
        let past = self.past.iter().flatten().map(|(failed, calls)| (*failed as u64, *calls as u64));
        let sum = past.clone().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let usual = wilson(sum.0, sum.1).map(|rate| rate.value).ok();
        let others = (all.failed.saturating_sub(own.failed), all.calls.saturating_sub(own.calls));
        let elsewhere = wilson(others.0, others.1).map(|rate| rate.value).ok();
        let limit = ordinary_rate(past).max(elsewhere.unwrap_or(0.0)).min(0.5);
        let measurement = &mut found.measurement;
        measurement.ordinary = Some((0.0, limit));
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        measurement.explanation = format!(
            "{} of {} calls failed where {} was expected",
            percent(share.value),
            own.calls,
            usual.map_or(format!("up to {}", percent(limit)), percent)
        );
        if let Some(elsewhere) = elsewhere {
            measurement.explanation.push_str(&format!(", and {} of all others", percent(elsewhere)));
            measurement.details.insert("elsewhere".to_owned(), elsewhere);
        }
        measurement.details.extend(usual.map(|usual| ("expected".to_owned(), usual)));
        found.matters = share.value > limit;
        let log_e = mean_of_logs(&odds(own.failed, own.calls, limit));
        found.evidence = Evidence::LogE(if found.matters { log_e } else { log_e.min(0.0) });
        Some((found, vec![(own.failed as f32, own.calls as f32)]))
    }

    /// Latency: half as much again, and what a person could notice, is too much.
    fn latency(&self, window: Window, own: &Step, all: &Step) -> Option<(Finding, Vec<Pair>)> {
        let (tail, middle) = (all.p99_ms?, all.p50_ms?);
        let few = own.records < LEAST_ROWS;
        let reading = match own.p99_ms.filter(|_| !few) {
            Some(tail) => Reading::of(tail),
            None => Reading::NotComputable { reason: format!("only {} calls", own.records) },
        };
        let mut found = finding(MonitorKind::Latency, "", "p99_ms", window, own.records, reading);
        let (Some(own_tail), Some(own_middle), false) = (own.p99_ms, own.p50_ms, few) else {
            return Some((found, Vec::new()));
        };
        let scale = Scale { start: 5.0, falls: false };
        let values = [scale.pair(own_tail, tail)?, scale.pair(own_middle, middle)?];
        let matters = |value: f64, expected: f64| value > 1.5 * expected && value > expected + 5.0;
        let judged = [0, 1].map(|series| self.judge(series, Some(values[series]), scale, matters));
        let expected = |series: usize| {
            judged[series].as_ref().map_or(String::new(), |judged| {
                format!(" where {} were expected", milliseconds(judged.expected))
            })
        };
        found.measurement.explanation = format!(
            "99 of 100 calls took less than {}{}, half of them less than {}{}",
            milliseconds(own_tail),
            expected(0),
            milliseconds(own_middle),
            expected(1)
        );
        found.measurement.details.insert("p50_ms".to_owned(), own_middle);
        weigh(&mut found, &judged);
        Some((found, values.to_vec()))
    }

    /// Cost: half as much again is too much.
    fn cost(&self, window: Window, own: &Step, all: &Step) -> Option<(Finding, Vec<Pair>)> {
        let of = all.cost?;
        let few = own.records < LEAST_ROWS;
        let reading = match own.cost.filter(|_| !few) {
            Some(cost) => Reading::of(cost),
            None => Reading::NotComputable { reason: format!("only {} records", own.records) },
        };
        let mut found = finding(MonitorKind::Cost, "", "mean_cost", window, own.records, reading);
        let scale = Scale { start: 0.0, falls: false };
        let cost = own.cost.filter(|_| !few);
        let Some((cost, values)) = cost.and_then(|cost| Some((cost, scale.pair(cost, of)?))) else {
            return Some((found, Vec::new()));
        };
        let judged = self.judge(0, Some(values), scale, |value, expected| value > 1.5 * expected);
        let expected = |judged: &Judged| format!(" where {:.4} was expected", judged.expected);
        found.measurement.explanation = format!("a record costs {cost:.4} in the mean")
            + &judged.as_ref().map_or(String::new(), expected);
        weigh(&mut found, &[judged]);
        Some((found, vec![values]))
    }

    /// How unusual a value is, of the series of this place; none while too little is known.
    fn judge(
        &self,
        series: usize,
        value: Option<Pair>,
        scale: Scale,
        matters: impl Fn(f64, f64) -> bool,
    ) -> Option<Judged> {
        let value = value?;
        let (own, ratio) = (f64::from(value.0), f64::from(value.1));
        let known = || self.past.iter().filter_map(|window| window.get(series));
        let owns: Vec<f64> = known().map(|pair| f64::from(pair.0)).collect();
        let ratios: Vec<f64> = known().map(|pair| f64::from(pair.1)).collect();
        let p_value = stretch_p(&owns, own, TRIFLE)?.max(stretch_p(&ratios, ratio, TRIFLE)?);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let (of_own, of_ratio) = (mean(&owns), mean(&ratios) + own - ratio);
        let expected = scale.back(if scale.falls { of_own.min(of_ratio) } else { of_own.max(of_ratio) });
        Some(Judged { expected, p_value, matters: matters(scale.back(own), expected) })
    }

    /// Learns from a window that is over; a change that has lasted for `settle` seconds is the new normal.
    fn learn(&mut self, model: &ModelName, window: Window, settle: i64, values: Vec<Pair>) -> Option<Fact> {
        let open = self.memory.signal().is_some();
        let remembered = if open { &mut self.during } else { &mut self.past };
        if !values.is_empty() {
            remembered.push_back(values);
            if remembered.len() > PAST_WINDOWS {
                remembered.pop_front();
            }
        }
        if !open {
            (self.changed, self.during) = (0, VecDeque::new());
            return None;
        }
        self.changed += window.end.as_second() - window.start.as_second();
        if self.changed < settle {
            return None;
        }
        let past = std::mem::take(&mut self.during);
        let mut before = std::mem::replace(self, Self { past, ..Self::default() });
        let why =
            "the change has lasted so long that it is the new normal: what is ordinary is learnt from it now";
        before.memory.restart(model, None, window, why)
    }
}

/// Counts and latencies are compared by their ratio where they are large, by their difference where they are small.
#[derive(Clone, Copy)]
struct Scale {
    start: f64,
    /// Whether less is worse.
    falls: bool,
}

impl Scale {
    /// A value, and its ratio to that of all records.
    fn pair(self, own: f64, all: f64) -> Option<Pair> {
        let (own, all) = ((self.start + own).ln(), (self.start + all).ln());
        (own.is_finite() && all.is_finite()).then_some((own as f32, (own - all) as f32))
    }

    fn back(self, log: f64) -> f64 {
        (log.exp() - self.start).max(0.0)
    }
}

/// Sets what a finding weighs.
fn weigh(found: &mut Finding, judged: &[Option<Judged>]) {
    let known: Vec<&Judged> = judged.iter().flatten().collect();
    let details = &mut found.measurement.details;
    details.extend(known.first().map(|first| ("expected".to_owned(), first.expected)));
    let p_value = known.iter().map(|judged| judged.p_value).fold(1.0, f64::min);
    if known.is_empty() {
        return;
    }
    details.insert("p_value".to_owned(), p_value);
    found.matters = known.iter().any(|judged| judged.matters);
    let aspects: Vec<AspectEvidence> =
        known.iter().map(|judged| AspectEvidence::of_window(judged.p_value, judged.matters)).collect();
    found.evidence = column_log_e(&aspects).map_or(Evidence::None, Evidence::LogE);
}

/// A latency with as many digits as say something.
fn milliseconds(value: f64) -> String {
    let digits = if value < 10.0 { 1 } else { 0 };
    format!("{value:.digits$} ms")
}
