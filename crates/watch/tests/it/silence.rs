//! Nothing comes any more: found within minutes where traffic is steady, and no news at night, at weekends, from a sender
//! that collects, in a replay, or after an absence; said once, whatever restarts.

use crate::random::Random;
use crate::{World, at, name};
use std::io::Read as _;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Fact, ModelSpec, MonitorKind, Period, Window};
use steersman_watch::operation::{Arrivals, Load, Operation, Setting, Step};
use steersman_watch::silence::{Said, Silence, Usual};

const SECOND: i64 = 1_000_000;
const SLICE: i64 = 300;
const DAY: i64 = 86_400;

/// How a model is called.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Calls {
    /// All day long, with a wave; by people, so that noise lasts for hours.
    Steady,
    /// On weekdays from eight to six.
    Office,
    /// As steadily, but told once a day, some time after two.
    Collected,
    /// Now and then, some days not at all.
    Irregular,
    /// About one call an hour.
    Sparse,
    /// Steadily, but the sender is restarted now and then, for minutes.
    Flaky,
}

impl Calls {
    fn an_hour(self, hour: i64) -> f64 {
        let wave = 1.1 + (std::f64::consts::TAU * (hour % 24 - 9) as f64 / 24.0).sin();
        let (of_day, weekend) = (hour % 24, hour / 24 % 7 >= 5);
        match self {
            Self::Steady | Self::Flaky => 120.0 * wave * if weekend { 0.6 } else { 1.0 },
            Self::Collected => 20.0 * wave,
            Self::Office if weekend || !(8..18).contains(&of_day) => 0.0,
            Self::Office => 60.0,
            Self::Irregular | Self::Sparse => 1.0,
        }
    }
}

struct Life {
    calls: Calls,
    setting: Setting,
    operation: Operation,
    silence: Silence,
    random: Random,
    noise: f64,
    /// Until when there is nothing, for a sender that restarts or a model that is called irregularly.
    off: i64,
    on: i64,
    waiting: Vec<i64>,
    hours: Vec<Step>,
    said: Vec<(i64, Said)>,
}

fn setting() -> Setting {
    let spec = "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={column='y'}\n\
                [data]\nreference='r.csv'\ntime='ts'\n";
    Setting::of(&ModelSpec::parse(spec).unwrap())
}

fn usual(operation: &Operation) -> Usual<'_> {
    Usual { operation: Some(operation), reference: &[], window: Period::from_days(1) }
}

impl Life {
    fn new(calls: Calls, seed: u64) -> Self {
        let setting = setting();
        let operation = Operation::new(&setting);
        Self {
            calls,
            setting,
            operation,
            silence: Silence::default(),
            random: Random(seed),
            noise: 0.0,
            off: 0,
            on: 0,
            waiting: Vec::new(),
            hours: vec![Step::default(); 24],
            said: Vec::new(),
        }
    }

    /// The times of the calls in five minutes from a second on.
    fn called(&mut self, from: i64) -> Vec<i64> {
        if from % 3_600 == 0 {
            self.noise = 0.7 * self.noise + 0.06 * self.random.normal();
        }
        match self.calls {
            Calls::Irregular if from >= self.on => {
                self.on = from + (3_600.0 * (1.0 + 60.0 * self.random.uniform().powi(3))) as i64;
                self.off = from + 1_800;
            }
            // About once in three days, for two to eight minutes.
            Calls::Flaky if self.random.uniform() < 1.0 / 864.0 => {
                self.off = from + 120 + (360.0 * self.random.uniform()) as i64;
            }
            _ => {}
        }
        let mean = match self.calls {
            Calls::Irregular if from < self.off => 5.0,
            Calls::Irregular => 0.0,
            _ => self.calls.an_hour(from / 3_600) / 12.0 * self.noise.exp(),
        };
        let (mut times, mut next) = (Vec::new(), 0.0);
        if mean <= 0.0 {
            return times;
        }
        loop {
            next -= (1.0 - self.random.uniform()).ln() / mean * SLICE as f64;
            if next >= SLICE as f64 {
                break;
            }
            let at = (next * 1e6) as i64 + from * SECOND;
            if self.calls != Calls::Flaky || at >= self.off * SECOND {
                times.push(at);
            }
        }
        times
    }

    /// Five minutes from a second on.
    fn slice(&mut self, from: i64, on: bool) {
        let times = if on { self.called(from) } else { Vec::new() };
        let told: Vec<(i64, i64)> = match self.calls {
            Calls::Collected => {
                self.waiting.extend(&times);
                // Twenty minutes after two, half an hour more or less.
                let due = on && from % DAY >= 7_200 && self.random.uniform() < 0.2;
                match due && self.waiting.first().is_some_and(|first| *first < from / DAY * DAY * SECOND) {
                    true => self.waiting.drain(..).map(|time| (time, (from + SLICE) * SECOND)).collect(),
                    false => Vec::new(),
                }
            }
            _ => times.iter().map(|time| (*time, time + SECOND / 10)).collect(),
        };
        self.take(from, &told, times.len());
    }

    /// What is told within five minutes from a second on, and how many calls there were.
    fn take(&mut self, from: i64, told: &[(i64, i64)], calls: usize) {
        self.hours[(from % DAY / 3_600) as usize].records += calls as u64;
        let usual = usual(&self.operation);
        self.silence.note(told, usual);
        let now = from_micros((from + SLICE) * SECOND);
        self.silence.look(now, self.setting.settle, usual);
        let said = self.silence.say(&name(), now, &self.setting, usual, 0);
        self.said.extend(said.map(|said| (from + SLICE, said)));
        if (from + SLICE) % DAY == 0 {
            let steps = std::mem::replace(&mut self.hours, vec![Step::default(); 24]);
            if steps.iter().any(|step| step.records > 0) {
                let window = Window::holding(from_micros(from * SECOND), Period::from_days(1));
                let load = Load::of_steps(window, steps);
                self.operation.observe(
                    &name(),
                    &self.setting,
                    &load,
                    &Default::default(),
                    &Arrivals::default(),
                );
            }
        }
    }

    fn live(&mut self, seconds: std::ops::Range<i64>, on: bool) {
        seconds.step_by(SLICE as usize).for_each(|from| self.slice(from, on));
    }

    fn stopped(&self) -> Vec<(i64, &str)> {
        let of = |(at, said): &(i64, Said)| match said {
            Said::Stopped(measurement, _) => Some((*at, measurement.explanation.clone())),
            Said::Back(_) => None,
        };
        self.said.iter().filter_map(of).map(|(at, words)| (at, &*words.leak())).collect()
    }
}

#[test]
fn a_stop_is_found_within_minutes_where_traffic_is_steady() {
    // The stop is at eleven on a working day; found within so many minutes.
    let mut late = Vec::new();
    for (calls, within) in
        [(Calls::Steady, 40), (Calls::Flaky, 90), (Calls::Office, 7 * 60), (Calls::Sparse, 2 * 1_440)]
    {
        for seed in 0..4 {
            let mut life = Life::new(calls, seed);
            let stop = 42 * DAY + 11 * 3_600;
            life.live(0..stop, true);
            assert_eq!(life.stopped(), [], "{calls:?} {seed}");
            life.live(stop..stop + 2 * DAY, false);
            let stopped = life.stopped();
            println!("{calls:?} {seed}: {stopped:?}");
            if !matches!(stopped.as_slice(), [(at, _)] if *at - stop <= within * 60) {
                late.push((calls, seed));
            }
        }
    }
    assert_eq!(late, []);
}

#[test]
fn what_is_quiet_as_ever_is_no_news() {
    // A third of the share of traffic, which is a sixty-fourth of one in thirty days: one in sixteen years. This is six
    // calls, three years each.
    let mut stopped = 0;
    for calls in
        [Calls::Steady, Calls::Office, Calls::Collected, Calls::Irregular, Calls::Sparse, Calls::Flaky]
    {
        for seed in 0..3 {
            let mut life = Life::new(calls, 100 + seed);
            life.live(0..365 * DAY, true);
            println!("{calls:?} {seed}: {:?}", life.stopped());
            stopped += life.stopped().len();
        }
    }
    assert!(stopped <= 3, "{stopped}");
}

/// Real traffic with nights and seasons: the bundled flights.
#[test]
fn nights_of_real_flights_are_no_news_and_a_day_without_any_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/data/demo_flights_nyc.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let time =
        |line: &str| format!("{}Z", line.split(',').nth(1).unwrap()).parse::<jiff::Timestamp>().unwrap();
    let times: Vec<i64> = text.lines().skip(1).map(|line| micros(time(line))).collect();
    let first = times[0] / SECOND / DAY * DAY;
    let year = |until: i64| {
        let mut life = Life::new(Calls::Steady, 0);
        for from in (first..first + 360 * DAY).step_by(SLICE as usize) {
            let of = |second: i64| times.partition_point(|time| *time < second * SECOND);
            let called = if from < until { &times[of(from)..of(from + SLICE)] } else { &[] };
            let told: Vec<(i64, i64)> = called.iter().map(|time| (*time, *time)).collect();
            life.take(from, &told, called.len());
        }
        let stopped = life.stopped();
        println!("{stopped:?}");
        stopped.into_iter().map(|(at, _)| (at - until) / 60).collect::<Vec<_>>()
    };
    assert!(year(first + 360 * DAY).is_empty());
    // From the hundredth day at noon on there are none.
    let stopped = year(first + 100 * DAY + DAY / 2);
    assert!(matches!(stopped.as_slice(), [minutes] if (0..10 * 60).contains(minutes)), "{stopped:?}");
}

#[test]
fn an_upload_that_does_not_come_is_missed_when_it_is_overdue() {
    let mut life = Life::new(Calls::Collected, 3);
    let stop = 40 * DAY;
    life.live(0..stop, true);
    life.live(stop..stop + 4 * DAY, false);
    let stopped = life.stopped();
    println!("{stopped:?}");
    // The next one is due at twenty past two.
    assert!(
        matches!(stopped.as_slice(), [(at, _)] if (3..24).contains(&((*at - stop) / 3_600))),
        "{stopped:?}"
    );
}

#[test]
fn traffic_that_is_back_ends_the_signal_and_late_records_are_counted() {
    let mut life = Life::new(Calls::Steady, 9);
    let stop = 30 * DAY + 11 * 3_600;
    life.live(0..stop, true);
    life.live(stop..stop + 4 * 3_600, false);
    assert_eq!(life.stopped().len(), 1);
    // One stray record is not traffic.
    let at = (stop + 4 * 3_600) * SECOND;
    life.silence.note(&[(at, at)], usual(&life.operation));
    life.live(stop + 4 * 3_600..stop + 5 * 3_600, false);
    assert_eq!(life.said.len(), 1, "{:?}", life.said.last());
    // What was called meanwhile comes with what is called now.
    let back = (stop + 5 * 3_600) * SECOND;
    let late: Vec<(i64, i64)> = (0..200).map(|k| (stop * SECOND + k * 60 * SECOND, back)).collect();
    life.silence.note(&late, usual(&life.operation));
    life.live(stop + 5 * 3_600..stop + 6 * 3_600, true);
    let Some((when, Said::Back(Fact::SignalCleared { explanation, .. }))) = life.said.get(1) else {
        panic!("{:?}", life.said.last());
    };
    println!("{explanation}");
    assert!(
        explanation.starts_with("traffic is back since 1970-01-31 16:00, after 5 h 0 min without a record; ")
    );
    assert!(
        *when <= stop + 5 * 3_600 + 1_800
            && explanation.ends_with("200 records of the time between came late")
    );
    assert_eq!(life.said.len(), 2);
}

#[test]
fn what_nobody_saw_is_no_silence() {
    let stop = 30 * DAY + 11 * 3_600;
    let mut before = Life::new(Calls::Steady, 9);
    before.live(0..stop, true);
    let stored = serde_json::to_string(&before.silence).unwrap();
    let looked = |silence: &mut Silence, from: i64, seconds: i64, step: i64| -> Option<i64> {
        let usual = usual(&before.operation);
        (from..from + seconds).step_by(step as usize).find(|second| {
            let now = from_micros(second * SECOND);
            silence.look(now, before.setting.settle, usual);
            silence.say(&name(), now, &before.setting, usual, 0).is_some()
        })
    };
    let restarted = || serde_json::from_str::<Silence>(&stored).unwrap();
    // It was off for eight hours: only what comes after counts.
    let found = looked(&mut restarted(), stop + 8 * 3_600, 7_200, 60).unwrap() - stop - 8 * 3_600;
    assert!((300..3_600).contains(&found), "{found}");
    // It was off for twelve years, or for longer than a new normal takes.
    assert_eq!(looked(&mut restarted(), stop + 12 * 365 * DAY, 7 * DAY, 300), None);
    // A replay looks every four hours of its own time.
    assert_eq!(looked(&mut restarted(), stop + 4 * 3_600, 30 * DAY, 4 * 3_600), None);
    // History from a file is no sign of traffic, and its end none of silence.
    let mut silence = restarted();
    let usual = usual(&before.operation);
    let old: Vec<(i64, i64)> =
        (0..1_000).map(|k| (k * 60 * SECOND, (stop + 10 * DAY + k) * SECOND)).collect();
    let now = from_micros((stop + 10 * DAY) * SECOND);
    silence.look(now, before.setting.settle, usual);
    silence.note(&old, usual);
    assert_eq!(looked(&mut silence, stop + 10 * DAY + 1_000, 7 * DAY, 300), None);
}

#[test]
fn a_reference_with_times_of_day_makes_two_days_enough() {
    let stretches: Vec<_> = (0..20 * 24)
        .map(|hour| (from_micros((hour * 3_600 - 90) * SECOND), from_micros(hour * 3_600 * SECOND)))
        .collect();
    for (reference, found) in [(stretches.as_slice(), true), (&[], false)] {
        let mut life = Life::new(Calls::Steady, 4);
        let stop = 25 * DAY + 11 * 3_600;
        // Levels are known from the reference; the silence is new.
        life.live(0..21 * DAY, true);
        life.silence = Silence::default();
        life.said.clear();
        let mut said = Vec::new();
        for from in (21 * DAY..stop + DAY).step_by(SLICE as usize) {
            let usual = Usual { reference, ..usual(&life.operation) };
            life.silence.look(from_micros(from * SECOND), life.setting.settle, usual);
            life.slice(from, from < stop);
            said.append(&mut life.said);
        }
        assert_eq!(!said.is_empty(), found, "{said:?}");
        assert!(said.iter().all(|(at, _)| *at >= stop && *at < stop + 4 * 3_600), "{said:?}");
    }
}

/// Days of a record every eight minutes, so that the platform's own watcher knows what is usual.
#[tokio::test]
async fn the_watcher_says_it_once_in_spite_of_restarts_and_takes_late_records_in() {
    let mut history = "ts,x,score,y\n".to_owned();
    for minute in (0..40 * 1_440i64).step_by(8) {
        let x = minute * 37 % 100;
        history.push_str(&format!("{},{x},{},{}\n", at(0, minute * 60), x as f64 / 100.0, u8::from(x > 50)));
    }
    let world = World::of(&history);
    let mut open = world.open().await;
    let send = |open: &crate::Open, from: i64, to: i64, at_once: Option<i64>| {
        let record = |minute: i64| steersman_domain::Record {
            id: format!("{minute}").parse().unwrap(),
            time: from_micros(minute * 60 * SECOND),
            version: None,
            arm: None,
            weight: None,
            unit: None,
            features: [("x".to_owned(), ((minute * 37 % 100) as f64).into())].into(),
            outputs: [("score".to_owned(), ((minute * 37 % 100) as f64 / 100.0).into())].into(),
            latency_ms: None,
            status: None,
        };
        for minute in (from..to).step_by(8) {
            let arrived = from_micros(at_once.unwrap_or(minute) * 60 * SECOND);
            open.log.append_records(&name(), vec![record(minute)], arrived).unwrap();
        }
        open.note();
    };
    for day in 41..50 {
        send(&open, day * 1_440, (day + 1) * 1_440, None);
        open.tick(at(day + 1, 0)).await;
    }
    // The last record is of ten o'clock.
    send(&open, 50 * 1_440, 50 * 1_440 + 600, None);
    let mut facts = Vec::new();
    for minute in 600..720 {
        facts.extend(open.tick(at(50, minute * 60)).await);
        if minute % 15 == 0 {
            open.store.close().await;
            drop(open);
            open = world.open().await;
        }
    }
    assert_eq!(facts, ["signal.raised"]);
    let signal = open.state.models[&name()].signals[0].clone();
    println!("{}", signal.explanation);
    assert!(signal.explanation.starts_with("no record since 1970-02-20 09:52: "), "{}", signal.explanation);
    assert_eq!((signal.measurement.monitor, signal.measurement.rows), (MonitorKind::Volume, 75));
    // What was called between ten and twelve comes at twelve, and calls go on.
    send(&open, 50 * 1_440 + 600, 50 * 1_440 + 720, Some(50 * 1_440 + 720));
    for minute in (720..760).step_by(8) {
        send(&open, 50 * 1_440 + minute, 50 * 1_440 + minute + 1, None);
        facts.extend(open.tick(at(50, (minute + 1) * 60)).await);
    }
    assert_eq!(facts, ["signal.raised", "signal.cleared"]);
    let (_, words) = open.state.models[&name()].signals[0].cleared.clone().unwrap();
    println!("{words}");
    assert!(words.ends_with("15 records of the time between came late"), "{words}");
    send(&open, 50 * 1_440 + 760, 51 * 1_440 + 120, None);
    open.tick(at(51, 7_200)).await;
    let volume = open.measured(MonitorKind::Volume).await;
    let day = volume.iter().find(|found| found.window.start == at(50, 0)).unwrap();
    assert_eq!((day.rows, day.alarming, day.revision), (180, false, 0));
    assert!(micros(day.window.end) == micros(at(51, 0)));
}
