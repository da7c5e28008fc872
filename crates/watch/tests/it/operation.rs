//! Operation: what is found in two windows and not before, what is no news, what is unknown.

use crate::random::Random;
use crate::{at, name};
use std::collections::BTreeSet;
use steersman_domain::{Fact, Measurement, ModelSpec, MonitorKind, Period, Window};
use steersman_watch::operation::{Arrivals, Load, Operation, Setting, Step};

/// A model with busy afternoons and calm weekends; noise lasts for some hours.
struct Model {
    setting: Setting,
    operation: Operation,
    random: Random,
    noise: f64,
    alive: BTreeSet<i64>,
    facts: Vec<(i64, Fact)>,
}

fn setting() -> Setting {
    let spec = "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={column='y'}\n\
                [data]\nreference='r.csv'\ntime='ts'\n[watch]\noperation={cost='tokens'}\n";
    Setting::of(&ModelSpec::parse(spec).unwrap())
}

impl Model {
    fn new(seed: u64) -> Self {
        let setting = setting();
        let operation = Operation::new(&setting);
        let (noise, alive, facts) = (0.0, BTreeSet::new(), Vec::new());
        Self { setting, operation, random: Random(seed), noise, alive, facts }
    }

    fn step(&mut self, hour: i64) -> Step {
        self.noise = 0.7 * self.noise + 0.06 * self.random.normal();
        let day = (std::f64::consts::TAU * (hour % 24 - 9) as f64 / 24.0).sin();
        let week = if hour / 24 % 7 >= 5 { 0.6 } else { 1.0 };
        let mean = 300.0 * (1.1 + day) * week * self.noise.exp();
        let records = (mean + mean.sqrt() * self.random.normal()).max(0.0).round();
        let failed = (0..records as u64).filter(|_| self.random.uniform() < 0.002).count() as u64;
        let latency = 40.0 * (1.0 + 0.3 * (1.1 + day)) * (0.1 * self.random.normal()).exp();
        let tail = latency * 3.0 * (0.3 * self.random.normal().abs()).exp();
        Step {
            records: records as u64,
            calls: records as u64,
            failed,
            p50_ms: (records >= 5.0).then_some(latency),
            p99_ms: (records >= 20.0).then_some(tail),
            cost: (records > 0.0).then_some(300.0 * (0.05 * self.random.normal()).exp()),
        }
    }

    /// A day, changed by `change`; a day without any record is no window.
    fn day(&mut self, day: i64, change: impl Fn(i64, &mut Step)) -> Vec<Measurement> {
        let steps: Vec<Step> = (0..24)
            .map(|hour| {
                let mut step = self.step(day * 24 + hour);
                change(hour, &mut step);
                step
            })
            .collect();
        if steps.iter().all(|step| step.records == 0) {
            return Vec::new();
        }
        let load = Load::of_steps(Window::holding(at(day, 0), Period::from_days(1)), steps);
        let told = self.operation.observe(&name(), &self.setting, &load, &self.alive, &Arrivals::default());
        self.facts.extend(told.facts.into_iter().map(|fact| (day, fact)));
        told.findings.into_iter().map(|found| found.measurement).collect()
    }

    fn calm(&mut self, days: std::ops::Range<i64>) {
        days.for_each(|day| drop(self.day(day, |_, _| {})));
    }

    fn raised(&self) -> Vec<(i64, MonitorKind, &str)> {
        self.facts
            .iter()
            .filter_map(|(day, fact)| match fact {
                Fact::SignalRaised { measurement, explanation, .. } => {
                    Some((*day, measurement.monitor, explanation.as_str()))
                }
                _ => None,
            })
            .collect()
    }

    fn cleared(&self) -> Vec<(i64, &str)> {
        self.facts
            .iter()
            .filter_map(|(day, fact)| match fact {
                Fact::SignalCleared { explanation, .. } => Some((*day, explanation.as_str())),
                _ => None,
            })
            .collect()
    }
}

fn silent(step: &mut Step) {
    *step = Step::default();
}

fn times(step: &mut Step, factor: f64) {
    step.records = (step.records as f64 * factor).round() as u64;
    step.calls = step.records;
}

#[test]
fn what_changes_is_found_in_two_windows_and_not_before() {
    type Change = fn(i64, &mut Step);
    let cases: [(&str, MonitorKind, Change); 6] = [
        ("collapse", MonitorKind::Volume, |_, step| times(step, 0.1)),
        ("doubling", MonitorKind::Volume, |_, step| times(step, 2.0)),
        ("slow", MonitorKind::Latency, |_, step| {
            step.p50_ms = step.p50_ms.map(|ms| 2.5 * ms);
            step.p99_ms = step.p99_ms.map(|ms| 2.5 * ms);
        }),
        ("slow tail", MonitorKind::Latency, |_, step| step.p99_ms = step.p99_ms.map(|ms| 4.0 * ms)),
        ("errors", MonitorKind::Errors, |hour, step| {
            if (10..12).contains(&hour) {
                step.failed = step.calls / 5;
            }
        }),
        ("dear", MonitorKind::Cost, |_, step| step.cost = step.cost.map(|cost| 2.0 * cost)),
    ];
    for (what, monitor, change) in cases {
        let mut model = Model::new(7);
        model.calm(0..60);
        for day in 60..62 {
            model.day(day, change);
        }
        let raised = model.raised();
        println!("{what}: {raised:?}");
        assert!(
            matches!(raised.as_slice(), [(60..=61, found, _)] if *found == monitor),
            "{what}: {raised:?}"
        );
    }
}

#[test]
fn a_burst_of_failures_is_found_in_the_first_window() {
    let mut model = Model::new(3);
    let measured =
        model.day(0, |hour, step| step.failed = if hour == 20 { step.calls / 4 } else { step.failed });
    let errors = measured.iter().find(|found| found.monitor == MonitorKind::Errors).unwrap();
    assert!(errors.alarming && errors.explanation.contains("calls failed"), "{}", errors.explanation);
    let traffic = measured.iter().find(|found| found.monitor == MonitorKind::Volume).unwrap();
    assert!(traffic.explanation.contains("still learning what is ordinary"), "{}", traffic.explanation);
    model.calm(1..10);
    assert_eq!((model.raised().len(), model.cleared().len()), (1, 1));
}

#[test]
fn quiet_years_stay_within_the_budget() {
    // A sixteenth of one false alarm in thirty days: three in four years.
    let mut raised = 0;
    for seed in 0..4 {
        let mut model = Model::new(100 + seed);
        model.calm(0..365);
        println!("{seed}: {:?}", model.raised());
        raised += model.raised().len();
    }
    assert!(raised <= 3, "{raised}");
}

#[test]
fn a_gap_is_no_data_and_no_collapse() {
    let mut model = Model::new(11);
    model.calm(0..40);
    // From Tuesday 10:00 to Thursday 15:00; Wednesday is no window at all.
    model.day(40, |hour, step| {
        if hour >= 10 {
            silent(step)
        }
    });
    model.day(41, |_, step| silent(step));
    let measured = model.day(42, |hour, step| {
        if hour < 15 {
            silent(step)
        }
    });
    assert_eq!(model.raised(), []);
    let traffic = measured.iter().find(|found| found.monitor == MonitorKind::Volume).unwrap();
    let words = "no data from 1970-02-11 00:00 to 1970-02-12 15:00: that is unknown, not zero";
    assert!(traffic.explanation.contains(words), "{}", traffic.explanation);
    assert!(!traffic.alarming && traffic.details["seconds_without_data"] == 39.0 * 3_600.0);
    // What is there is as expected, although much is missing.
    let (low, high) = traffic.ordinary.unwrap();
    let records = traffic.reading.value().unwrap();
    assert!((low..=high).contains(&records) && high < 6_000.0, "{low} {records} {high}");

    // The same silence is a collapse where labels keep coming.
    let mut model = Model::new(11);
    model.calm(0..40);
    model.alive = (40 * 24 + 10..41 * 24).collect();
    model.day(40, |hour, step| {
        if hour >= 10 {
            silent(step)
        }
    });
    let raised = model.raised();
    assert!(
        matches!(raised.as_slice(), [(40, MonitorKind::Volume, words)] if words.contains("none at all")),
        "{raised:?}"
    );
}

#[test]
fn a_new_level_becomes_the_new_normal() {
    let mut model = Model::new(5);
    model.calm(0..50);
    for day in 50..90 {
        model.day(day, |_, step| times(step, 2.0));
    }
    let (raised, cleared) = (model.raised(), model.cleared());
    assert!(
        matches!(raised.as_slice(), [(50..=51, MonitorKind::Volume, words)] if words.contains("times as many")),
        "{raised:?}"
    );
    assert!(
        matches!(cleared.as_slice(), [(52..=55, words)] if words.contains("the new normal")),
        "{cleared:?}"
    );
}

#[test]
fn after_a_new_level_the_weekly_pattern_is_still_known() {
    for (seed, back) in [(5, 0.5), (6, 0.5), (7, 1.0), (8, 1.0)] {
        let mut model = Model::new(seed);
        model.calm(0..50);
        (50..120).for_each(|day| drop(model.day(day, |_, step| times(step, 2.0))));
        let before = model.raised().len();
        (120..124).for_each(|day| drop(model.day(day, |_, step| times(step, back))));
        let raised = model.raised();
        println!("{seed} {back}: {raised:?} {:?}", model.cleared());
        // The doubling, then what happened seventy days after it; nothing between the two.
        assert_eq!(before, 1, "{raised:?}");
        assert!(matches!(raised.get(1), Some((120..=123, MonitorKind::Volume, _))), "{raised:?}");
    }
}
