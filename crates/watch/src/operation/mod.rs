//! How a model is used and how it runs: traffic, failed calls, latency, cost. Pure.
//!
//! A closed window is cut into [`Steps`]; each step is a point of up to five series, and a
//! [`SeriesMonitor`](steersman_stats::series::SeriesMonitor) learns what is usual at its time of day and week. Failed
//! calls are also weighed as single calls (`rate`), so that a burst is found before anything is learnt. A monitor's share
//! of the budget is divided among its series; any of them may raise its signal, if what changed is enough to matter. The
//! signal is cleared when the change is over or has become the new normal.
//!
//! What is missing is unknown, never zero. A step without records is zero traffic only where something else of the model
//! was received meanwhile (a label), or where such a step is nothing unusual, as at night; or, while little is known, in
//! a window that has records. Otherwise there is no data, which is said and is no evidence. Latency, failures and cost
//! of a step without calls are always unknown.
//!
//! Other than what is learnt from a version's reference, all this goes on when another version serves.

mod arrivals;
mod rate;
mod series;
mod steps;
mod words;

use crate::measure::{Finding, finding};
use crate::monitor::share;
pub use arrivals::Arrivals;
use jiff::Timestamp;
use rate::Rate;
pub(crate) use rate::{odds, ordinary_rate};
use serde::{Deserialize, Serialize};
use series::{End, Kind, Said, Series, Settling};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use steersman_domain::measurement::Reading;
use steersman_domain::time::micros;
use steersman_domain::{Fact, ModelName, ModelSpec, MonitorKind, Period, SignalId, Window};
use steersman_stats::interval::wilson;
use steersman_stats::series::Season;
pub use steps::{Load, Step, Steps};
pub(crate) use words::{moment, number};

/// What was expected of so many last windows is remembered, for when they are measured again.
const REMEMBERED: usize = 8;
/// A stretch of more windows without records is passed over.
const LONGEST_GAP: i64 = 14;
/// Where fewer records than this are nothing unusual, none is zero.
const LEAST_TRAFFIC: f64 = 1.0;
/// If traffic at first is so many times what the reference has, or less than its reciprocal, the reference is a sample.
const SAMPLED: f64 = 2.0;

/// How operation is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// How windows are cut.
    pub steps: Steps,
    /// The false alarms of the whole model that are acceptable in a window.
    pub alpha: f64,
    /// After this time a changed level is the new normal.
    pub settle: Period,
    /// The column of costs.
    pub cost: Option<String>,
}

impl Setting {
    /// How a spec says so.
    pub fn of(spec: &ModelSpec) -> Self {
        let watch = &spec.watch;
        let (settle, cost) = (watch.operation.settle, watch.operation.cost.clone());
        Self { steps: Steps::of(watch.window), alpha: watch.false_alarms.alpha(watch.window), settle, cost }
    }

    /// The budget of each part of a monitor: so many windows to a false alarm. Parts are the steps and the windows of
    /// each series, the failed calls, and that nothing comes at all (`silence`). The mean of the parts' detectors is a
    /// detector, and no part alone goes beyond its number of parts times the budget before the mean is beyond it.
    fn windows(&self, monitor: MonitorKind) -> f64 {
        let parts = match monitor {
            MonitorKind::Latency => 4.0,
            MonitorKind::Volume => 3.0,
            _ => 2.0,
        };
        (parts / share(self.alpha, monitor)).clamp(2.0, 1e12)
    }

    /// How many times a day it may be said in vain that nothing comes any more.
    pub(crate) fn stops_a_day(&self) -> f64 {
        let window = self.steps.count() as f64 * self.steps.seconds() as f64;
        Period::from_days(1).seconds() as f64 / window / self.windows(MonitorKind::Volume)
    }

    /// The same in steps.
    fn points(&self, monitor: MonitorKind) -> f64 {
        self.steps.count() as f64 * self.windows(monitor)
    }

    fn settle_seconds(&self) -> u32 {
        u32::try_from(self.settle.seconds()).unwrap_or(u32::MAX)
    }
}

fn monitor_of(kind: Kind) -> MonitorKind {
    match kind {
        Kind::Traffic => MonitorKind::Volume,
        Kind::Failures => MonitorKind::Errors,
        Kind::Median | Kind::Tail => MonitorKind::Latency,
        Kind::Cost => MonitorKind::Cost,
    }
}

/// What is expected of a series in a window, and between what it ordinarily lies.
type Expected = (Option<f64>, Option<(f64, f64)>);

/// What is remembered from window to window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    step_seconds: i64,
    /// The number of the first step that is not taken in; none before the first window.
    next: Option<i64>,
    series: BTreeMap<Kind, Series>,
    rate: Rate,
    signals: BTreeMap<MonitorKind, SignalId>,
    told: VecDeque<(Window, BTreeMap<Kind, Expected>)>,
}

/// What was found in a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// A finding of each monitor.
    pub findings: Vec<Finding>,
    /// Signals that go off or are over.
    pub facts: Vec<Fact>,
}

impl Operation {
    /// Nothing is known yet.
    pub fn new(setting: &Setting) -> Self {
        let mut series = BTreeMap::new();
        for kind in [Kind::Traffic, Kind::Failures, Kind::Median, Kind::Tail, Kind::Cost] {
            if kind == Kind::Cost && setting.cost.is_none() {
                continue;
            }
            let points = setting.points(monitor_of(kind));
            let one = Series::new(kind, setting.steps.seconds(), points, setting.settle_seconds());
            series.extend(one.ok().map(|one| (kind, one)));
        }
        let (signals, told) = (BTreeMap::new(), VecDeque::new());
        Self { step_seconds: setting.steps.seconds(), next: None, series, rate: Rate::new(), signals, told }
    }

    /// How many records usually come between two times; none before anything is known.
    pub(crate) fn usual(&self, from: Timestamp, to: Timestamp) -> Option<f64> {
        let traffic = self.series.get(&Kind::Traffic)?;
        let (from, to, length) = (micros(from), micros(to), self.step_seconds.max(1) * 1_000_000);
        let mut usual = 0.0;
        for step in from.div_euclid(length)..=to.div_euclid(length) {
            let start = step * length;
            let inside = (to.min(start + length) - from.max(start)).max(0) as f64 / length as f64;
            usual += inside * traffic.level(start / 1_000_000)?;
        }
        Some(usual)
    }

    /// The pattern that traffic follows, as far as it is known.
    pub(crate) fn season(&self) -> Season {
        self.series.get(&Kind::Traffic).map_or(Season::None, Series::season)
    }

    /// The number of the first step that is not taken in.
    pub(crate) fn next(&self) -> Option<i64> {
        self.next
    }

    /// Takes a window in that is measured for the first time. `alive` are the numbers of steps in which anything of the
    /// model was received, `arrivals` what the reference says of traffic.
    pub fn observe(
        &mut self,
        model: &ModelName,
        setting: &Setting,
        load: &Load,
        alive: &BTreeSet<i64>,
        arrivals: &Arrivals,
    ) -> Told {
        let first = setting.steps.number(load.window.start);
        if self.next.is_some_and(|next| first < next) && self.step_seconds == setting.steps.seconds() {
            return Told { findings: self.again(setting, load), facts: Vec::new() };
        }
        let mut facts = self.fit(model, setting, load.window);
        if self.next.is_none() {
            self.learn(setting, load, arrivals);
        }
        let silent = self.take(setting, load, alive);
        let mut findings = self.close(setting, load, silent);
        for found in &mut findings {
            facts.extend(self.judge(model, found));
        }
        Told { findings: findings.into_iter().map(|judged| judged.found).collect(), facts }
    }

    /// Measures a window again: what was expected of it stays, and nothing is evidence twice.
    pub fn again(&self, setting: &Setting, load: &Load) -> Vec<Finding> {
        let known = self.told.iter().find(|(window, _)| *window == load.window).map(|(_, expected)| expected);
        let said = |kind| {
            let (expected, ordinary) = known.and_then(|known| known.get(&kind)).copied().unwrap_or_default();
            Said { expected, ordinary, ..Said::default() }
        };
        let monitors = [MonitorKind::Volume, MonitorKind::Errors, MonitorKind::Latency, MonitorKind::Cost];
        let wanted =
            monitors.into_iter().filter(|monitor| *monitor != MonitorKind::Cost || setting.cost.is_some());
        wanted.map(|monitor| self.measured(setting, load, monitor, &said).found).collect()
    }

    /// Begins anew where steps have another length, and follows the spec in everything else.
    fn fit(&mut self, model: &ModelName, setting: &Setting, window: Window) -> Vec<Fact> {
        if self.step_seconds != setting.steps.seconds()
            || self.series.contains_key(&Kind::Cost) != setting.cost.is_some()
        {
            let before = std::mem::replace(self, Self::new(setting));
            let explanation = "windows or costs are measured in another way now".to_owned();
            let clear = |signal| Fact::SignalCleared {
                model: model.clone(),
                signal,
                window,
                explanation: explanation.clone(),
            };
            return before.signals.into_values().map(clear).collect();
        }
        for (kind, series) in &mut self.series {
            series.retune(setting.points(monitor_of(*kind)), setting.settle_seconds());
        }
        Vec::new()
    }

    /// Learns from the reference how traffic goes with the time of day and week. Its level is that of the first window, if
    /// the reference is only a sample.
    fn learn(&mut self, setting: &Setting, load: &Load, arrivals: &Arrivals) {
        let windows = arrivals.windows(setting.steps, load.window.start);
        let warmed = |factor: f64| {
            let mut trial = Self::new(setting);
            for (window, counts) in &windows {
                let step =
                    |&rows: &u64| Step { records: (rows as f64 * factor).round() as u64, ..Step::default() };
                let load = Load::of_steps(*window, counts.iter().map(step).collect());
                trial.take(setting, &load, &BTreeSet::new());
                trial.close(setting, &load, None);
            }
            trial.series.values_mut().for_each(Series::accept);
            trial
        };
        let Some(first) = load.steps.iter().position(|step| step.records > 0).filter(|_| !windows.is_empty())
        else {
            return;
        };
        let mut known = warmed(1.0);
        let begin = setting.steps.number(load.window.start);
        let level = |known: &mut Self, place: usize| {
            let at = setting.steps.start(begin + place as i64).as_second();
            known.series.get_mut(&Kind::Traffic).and_then(|traffic| traffic.level(at)).unwrap_or(0.0)
        };
        let expected: f64 = (first..load.steps.len()).map(|place| level(&mut known, place)).sum();
        let factor = load.whole.records as f64 / expected;
        if factor.is_finite() && !(1.0 / SAMPLED..=SAMPLED).contains(&factor) {
            known = warmed(factor);
        }
        self.series = known.series;
        self.next = Some(begin + first as i64);
    }

    /// Takes the steps of a window in; returns the longest stretch without data.
    fn take(
        &mut self,
        setting: &Setting,
        load: &Load,
        alive: &BTreeSet<i64>,
    ) -> Option<(Timestamp, Timestamp)> {
        let steps = setting.steps;
        let first = steps.number(load.window.start);
        let begun =
            load.steps.iter().position(|step| step.records > 0).map_or(first, |place| first + place as i64);
        let from = self.next.unwrap_or(begun);
        let end = first + load.steps.len() as i64;
        self.next = Some(end);
        let traffic = self.series.get_mut(&Kind::Traffic)?;
        let mut stretches = Stretches::default();
        let mut number = from;
        if first - from > LONGEST_GAP * steps.count() as i64 {
            stretches.add(from, first);
            number = first;
        }
        for number in number..end {
            let at = steps.start(number).as_second();
            let place = usize::try_from(number - first).ok();
            let step = place.and_then(|place| load.steps.get(place)).copied().unwrap_or_default();
            let unusual = |traffic: &mut Series| {
                traffic.least(at).map_or(place.is_none(), |least| least >= LEAST_TRAFFIC)
            };
            let unknown = step.records == 0 && !alive.contains(&number) && unusual(traffic);
            if unknown {
                stretches.add(number, number + 1);
            }
            traffic.observe(place, at, (!unknown).then_some(step.records as f64));
        }
        for (place, step) in load.steps.iter().enumerate() {
            let number = first + place as i64;
            if number < from {
                continue;
            }
            let at = steps.start(number).as_second();
            self.rate.observe(step.failed, step.calls, setting.points(MonitorKind::Errors));
            let failures = (step.calls > 0).then(|| step.failed as f64 / step.calls as f64);
            for (kind, value) in [
                (Kind::Failures, failures),
                (Kind::Median, step.p50_ms),
                (Kind::Tail, step.p99_ms),
                (Kind::Cost, step.cost),
            ] {
                if let Some(series) = self.series.get_mut(&kind) {
                    series.observe(Some(place), at, value);
                }
            }
        }
        stretches.longest.map(|(from, to)| (steps.start(from), steps.start(to)))
    }

    /// What is said of the window that was taken in.
    fn close(
        &mut self,
        setting: &Setting,
        load: &Load,
        silent: Option<(Timestamp, Timestamp)>,
    ) -> Vec<Judged> {
        let whole = &load.whole;
        let failures = (whole.calls > 0).then(|| whole.failed as f64 / whole.calls as f64);
        let of = |kind| match kind {
            Kind::Traffic => Some(whole.records as f64),
            Kind::Failures => failures,
            Kind::Median => whole.p50_ms,
            Kind::Tail => whole.p99_ms,
            Kind::Cost => whole.cost,
        };
        let settling = |kind| Settling {
            windows_per_false_alarm: setting.windows(monitor_of(kind)),
            window_seconds: load.window.end.as_second() - load.window.start.as_second(),
            window_end: load.window.end.as_second(),
            settle_seconds: setting.settle.seconds(),
        };
        let said: BTreeMap<Kind, Said> = self
            .series
            .iter_mut()
            .map(|(kind, series)| (*kind, series.close(of(*kind), settling(*kind))))
            .collect();
        let expected = said.iter().map(|(kind, said)| (*kind, (said.expected, said.ordinary))).collect();
        self.told.push_back((load.window, expected));
        if self.told.len() > REMEMBERED {
            self.told.pop_front();
        }
        let about = |kind| said.get(&kind).copied().unwrap_or_default();
        let monitors: BTreeSet<MonitorKind> = said.keys().map(|kind| monitor_of(*kind)).collect();
        let mut judged: Vec<Judged> =
            monitors.into_iter().map(|monitor| self.measured(setting, load, monitor, &about)).collect();
        for one in &mut judged {
            let measurement = &mut one.found.measurement;
            if measurement.monitor == MonitorKind::Errors {
                self.close_rate(setting, load, one);
            } else if let Some((from, to)) = silent.filter(|_| measurement.monitor == MonitorKind::Volume) {
                measurement.explanation.push_str(&words::no_data(from, to, setting.steps));
                let seconds = to.as_second() - from.as_second();
                measurement.details.insert("seconds_without_data".to_owned(), seconds as f64);
            }
        }
        judged
    }

    /// Puts what single calls say beside what their series says.
    fn close_rate(&mut self, setting: &Setting, load: &Load, judged: &mut Judged) {
        let (failed, calls) = (load.whole.failed, load.whole.calls);
        let limit = self.rate.limit();
        judged
            .found
            .measurement
            .details
            .insert("evidence".to_owned(), self.evidence(setting, MonitorKind::Errors));
        if self.rate.is_changed() {
            judged.found.matters |= failed as f64 > limit * calls as f64
                || load
                    .steps
                    .iter()
                    .any(|step| step.failed > 2 && step.failed as f64 > 2.0 * limit * step.calls as f64);
        }
        let end = self.rate.close(load.window, failed, calls, setting.settle);
        judged.changed |= self.rate.is_changed();
        judged.end = judged.end.max(end);
    }

    /// The largest evidence of a monitor's parts, as if all were windows.
    fn evidence(&self, setting: &Setting, monitor: MonitorKind) -> f64 {
        let steps = (setting.steps.count() as f64).ln();
        let series = self.series.iter().filter(|(kind, _)| monitor_of(**kind) == monitor);
        let largest = series
            .map(|(_, series)| series.log_m())
            .map(|(of_steps, of_windows)| (of_steps - steps).max(of_windows))
            .fold(f64::MIN, f64::max);
        if monitor == MonitorKind::Errors { largest.max(self.rate.log_m() - steps) } else { largest }
    }

    /// The measurement of a monitor, with what is said of its series.
    fn measured(
        &self,
        setting: &Setting,
        load: &Load,
        monitor: MonitorKind,
        said: &dyn Fn(Kind) -> Said,
    ) -> Judged {
        let whole = &load.whole;
        let unknown = |reason: &str| Reading::NotComputable { reason: reason.to_owned() };
        let of = |value: Option<f64>, reason: &str| value.map_or_else(|| unknown(reason), Reading::of);
        let column = setting.cost.clone().unwrap_or_default();
        let (metric, rows, reading, kinds): (_, _, _, &[Kind]) = match monitor {
            MonitorKind::Errors => {
                let share = wilson(whole.failed, whole.calls)
                    .map(|share| Reading::between(share.value, Some(share.low), Some(share.high)));
                let reading = share.unwrap_or_else(|_| unknown("no record says how its call ended"));
                ("failed_share", whole.calls, reading, &[Kind::Failures])
            }
            MonitorKind::Latency => {
                let reading = of(whole.p99_ms, "no record has a latency");
                ("p99_ms", whole.records, reading, &[Kind::Tail, Kind::Median])
            }
            MonitorKind::Cost => {
                let reading = of(whole.cost, &format!("no record has a number in `{column}`"));
                ("mean_cost", whole.records, reading, &[Kind::Cost])
            }
            _ => ("records", whole.records, Reading::of(whole.records as f64), &[Kind::Traffic]),
        };
        let mut found = finding(monitor, "", metric, load.window, rows, reading);
        let first = kinds.first().map_or_else(Said::default, |kind| said(*kind));
        let measurement = &mut found.measurement;
        measurement.ordinary = match monitor {
            MonitorKind::Errors => Some((0.0, self.rate.limit())),
            _ => first.ordinary,
        };
        let mut detail = |name: &str, value: Option<f64>| {
            measurement.details.extend(value.map(|value| (name.to_owned(), value)));
        };
        detail("expected", first.expected);
        if monitor == MonitorKind::Latency {
            detail("p50_ms", whole.p50_ms);
            detail("p90_ms", load.p90_ms);
        }
        let evidence = self.evidence(setting, monitor);
        detail("evidence", Some(evidence).filter(|evidence| *evidence > f64::MIN));
        detail("conclusive", Some(setting.windows(monitor).ln()));
        measurement.explanation =
            words::whole(monitor, load, &measurement.ordinary.filter(|_| first.ordinary.is_some()));
        let all: Vec<(Kind, Said)> = kinds.iter().map(|kind| (*kind, said(*kind))).collect();
        let strangest = all
            .iter()
            .filter(|(_, said)| said.matters)
            .find_map(|(kind, said)| Some((kind, said.strangest?)));
        let strangest =
            strangest.or_else(|| all.iter().find_map(|(kind, said)| Some((kind, said.strangest?))));
        if let Some((kind, strange)) = strangest {
            measurement.explanation.push_str(&words::strange(*kind, strange, load.window, setting.steps));
        }
        let to_learn = all.iter().map(|(_, said)| said.to_learn).min().unwrap_or(0);
        if measurement.reading.value().is_some() && to_learn > 0 && monitor != MonitorKind::Errors {
            measurement.explanation.push_str(&words::learning(to_learn, setting.steps));
        }
        found.matters = all.iter().any(|(_, said)| said.matters);
        let changed = all.iter().any(|(_, said)| said.changed);
        let end = all.iter().filter_map(|(_, said)| said.end).max();
        Judged { found, changed, end }
    }

    /// Whether a signal goes off or is over.
    fn judge(&mut self, model: &ModelName, judged: &mut Judged) -> Option<Fact> {
        let measurement = &mut judged.found.measurement;
        let monitor = measurement.monitor;
        measurement.alarming = judged.found.matters;
        if let Some(signal) = self.signals.get(&monitor).filter(|_| !judged.changed).cloned() {
            self.signals.remove(&monitor);
            let explanation = words::ended(judged.end);
            return Some(Fact::SignalCleared {
                model: model.clone(),
                signal,
                window: measurement.window,
                explanation,
            });
        }
        if !judged.found.matters || self.signals.contains_key(&monitor) {
            return None;
        }
        let start = measurement.window.start.to_string();
        let signal = SignalId::derive(&[model.as_str(), monitor.as_str(), "", &start]);
        self.signals.insert(monitor, signal.clone());
        Some(Fact::SignalRaised {
            model: model.clone(),
            signal,
            explanation: measurement.explanation.clone(),
            measurement: Box::new(measurement.clone()),
        })
    }
}

/// A finding, and how the changes of its series stand.
struct Judged {
    found: Finding,
    /// Whether a change goes on at the end of the window.
    changed: bool,
    end: Option<End>,
}

/// Stretches of steps without data; the longest counts.
#[derive(Default)]
struct Stretches {
    last: Option<(i64, i64)>,
    longest: Option<(i64, i64)>,
}

impl Stretches {
    fn add(&mut self, from: i64, to: i64) {
        let joined = match self.last {
            Some((begun, end)) if end == from => (begun, to),
            _ => (from, to),
        };
        self.last = Some(joined);
        if self.longest.is_none_or(|longest| longest.1 - longest.0 < joined.1 - joined.0) {
            self.longest = Some(joined);
        }
    }
}
