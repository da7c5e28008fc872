//! The watcher on a real record log and store: watermark, late data, late labels, restart.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod estimates;
mod inputs;
mod operation;
mod quality;
mod random;
mod restarts;
mod segments;
mod silence;
mod together;

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use steersman_domain::time::from_micros;
use steersman_domain::{
    Actor, Digest, Fact, Label, Measurement, ModelName, ModelSpec, MonitorKind, Record, Value,
};
use steersman_ledger::State;
use steersman_records::reference::{Reference, read_reference};
use steersman_records::{Cursor, Detail, RecordLog};
use steersman_store::{Batch, Draft, MeasurementQuery, Store};
use steersman_watch::{ReferenceProfile, Watcher};

const DAY: i64 = 86_400;

fn name() -> ModelName {
    "m".parse().unwrap()
}

/// So many seconds after the first day.
fn at(day: i64, second: i64) -> Timestamp {
    from_micros((day * DAY + second) * 1_000_000)
}

struct World {
    dir: tempfile::TempDir,
    spec: ModelSpec,
    reference: Reference,
}

struct Open {
    log: RecordLog,
    store: Store,
    watcher: Watcher,
    state: State,
    /// How far the watcher was shown what arrived.
    read: std::cell::RefCell<Cursor>,
}

impl World {
    /// Forty days of history in which `x` is 0 to 99 and the label follows it.
    fn new() -> Self {
        let mut text = "ts,x,score,y\n".to_owned();
        for row in 0..4_000i64 {
            let x = (row * 37) % 100;
            text.push_str(&format!(
                "{},{x},{},{}\n",
                at(row / 100, row % 100 * 600),
                x as f64 / 100.0,
                u8::from(x > 50)
            ));
        }
        Self::of(&text)
    }

    /// This history, of which `y` is the label.
    fn of(history: &str) -> Self {
        Self::declared(history, "")
    }

    /// This history, and further keys of `[data]`.
    fn declared(history: &str, data: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.csv"), history).unwrap();
        let spec = ModelSpec::parse(&format!(
            "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={{column='y', expected_delay='1d'}}\n\
             [data]\nreference='r.csv'\ntime='ts'\n{data}\n[watch]\nperformance={{drop=0.02}}\n",
        ))
        .unwrap();
        let reference = read_reference(&dir.path().join("r.csv"), &spec).unwrap();
        Self { dir, spec, reference }
    }

    async fn open(&self) -> Open {
        let dir: &Path = self.dir.path();
        let log = RecordLog::open(&dir.join("records")).unwrap();
        log.declare(&name(), &self.reference.schema).unwrap();
        let store = Store::open(&dir.join("store")).await.unwrap();
        let mut state = State::default();
        let entries = match store.entries(0, 1_000).await.unwrap() {
            entries if entries.is_empty() => {
                let spec = Box::new(self.spec.clone());
                let facts = [
                    Fact::ModelDeclared { model: name(), spec, folder: "/".to_owned() },
                    Fact::ReferenceLearnt {
                        model: name(),
                        digest: Digest::of(b""),
                        rows: 4_000,
                        labelled: 4_000,
                        from: self.reference.from,
                        to: self.reference.to,
                        schema: self.reference.schema.clone(),
                    },
                ];
                let actor = Actor::Person("ada".to_owned());
                let drafts =
                    facts.map(|fact| Draft { actor: actor.clone(), because: Vec::new(), fact }).to_vec();
                store.commit(at(40, 0), Batch { drafts, ..Batch::default() }).await.unwrap()
            }
            entries => entries,
        };
        entries.iter().for_each(|entry| state.apply(entry).unwrap());
        let watcher = Watcher::new(log.clone(), store.clone());
        let profile = ReferenceProfile::learn(&self.spec, &self.reference);
        watcher.load(&name(), state.model(&name()).unwrap(), profile).await.unwrap();
        let open = Open { log, store, watcher, state, read: Default::default() };
        open.note();
        open
    }
}

impl Open {
    /// Shows the watcher what arrived since the last time.
    fn note(&self) {
        let mut read = self.read.borrow_mut();
        while let Some(fresh) = self.log.fresh(&name(), &read, Detail::Times).unwrap() {
            self.watcher.note(&name(), &fresh).unwrap();
            *read = fresh.until;
        }
    }

    /// A day of predictions whose `x` lies `shift` higher, with labels if they are right with this chance.
    fn day(&self, day: i64, rows: std::ops::Range<i64>, shift: f64) {
        self.send(day, rows, |row| {
            let features = [("x".to_owned(), ((row * 37 % 100) as f64 + shift).into())].into();
            (features, (row * 37 % 100) as f64 / 100.0)
        });
    }

    /// A day of predictions with these features and scores.
    fn send(&self, day: i64, rows: std::ops::Range<i64>, of: impl Fn(i64) -> (BTreeMap<String, Value>, f64)) {
        let record = |row: i64| Record {
            id: format!("{day}-{row}").parse().unwrap(),
            time: at(day, row % 100 * 600),
            version: None,
            arm: None,
            weight: None,
            unit: None,
            features: of(row).0,
            outputs: [("score".to_owned(), of(row).1.into())].into(),
            latency_ms: Some(1.0),
            status: Some(200),
        };
        self.log.append_records(&name(), rows.map(record).collect(), at(day, 86_000)).unwrap();
        self.note();
    }

    fn labels(&self, day: i64, rows: std::ops::Range<i64>, right: bool, now: Timestamp) {
        let label = |row: i64| {
            let truth = (row * 37 % 100 > 50) == right;
            let id = format!("{day}-{row}").parse().unwrap();
            Label { id, label: f64::from(u8::from(truth)).into(), time: now }
        };
        self.log.append_labels(&name(), rows.map(label).collect(), now).unwrap();
        self.note();
    }

    /// One turn; returns the kinds of the facts that were written.
    async fn tick(&mut self, now: Timestamp) -> Vec<&'static str> {
        let batch = self.watcher.tick(&name(), self.state.model(&name()).unwrap(), now).await.unwrap();
        let entries = self.store.commit(now, batch).await.unwrap();
        self.watcher.committed(&name());
        entries.iter().for_each(|entry| self.state.apply(entry).unwrap());
        entries.iter().map(|entry| entry.fact.kind()).collect()
    }

    async fn measured(&self, monitor: MonitorKind) -> Vec<Measurement> {
        let query = MeasurementQuery { monitor: Some(monitor), since: None, limit: 1_000 };
        self.store.measurements(&name(), &query).await.unwrap()
    }
}

#[tokio::test]
async fn windows_close_at_the_watermark_and_late_records_are_a_revision() {
    let world = World::new();
    let mut open = world.open().await;
    open.day(41, 0..90, 0.0);
    // The window ends at midnight and waits an hour for late records.
    open.day(42, 0..1, 0.0);
    open.tick(at(42, 1_800)).await;
    assert!(open.measured(MonitorKind::Volume).await.is_empty());
    open.day(42, 1..20, 0.0);
    open.tick(at(42, 12_000)).await;
    let first = open.measured(MonitorKind::Volume).await;
    assert_eq!((first.len(), first[0].rows, first[0].revision), (1, 90, 0));
    open.day(41, 90..100, 0.0);
    open.tick(at(42, 12_100)).await;
    let again = open.measured(MonitorKind::Volume).await;
    assert_eq!((again.len(), again[0].rows, again[0].revision), (1, 100, 1));
    // Nothing new: nothing to do.
    assert!(open.tick(at(42, 12_200)).await.is_empty());
}

#[tokio::test]
async fn a_moved_column_raises_a_signal_that_says_so_and_calm_days_clear_it() {
    let world = World::new();
    let mut open = world.open().await;
    let mut facts = Vec::new();
    for day in 41..70 {
        open.day(day, 0..100, if (45..50).contains(&day) { 60.0 } else { 0.0 });
        facts.extend(open.tick(at(day + 1, 7_200)).await);
    }
    assert_eq!(facts, ["signal.raised", "signal.cleared"]);
    let signal = &open.state.models[&name()].signals[0];
    assert_eq!((signal.measurement.monitor, signal.measurement.column.as_str()), (MonitorKind::Drift, "x"));
    assert!(signal.explanation.contains("its mean went from 49.500 to 109.500"), "{}", signal.explanation);
    assert!((at(46, 0)..at(51, 0)).contains(&signal.raised_at));
}

#[tokio::test]
async fn performance_waits_for_labels_is_revised_by_late_ones_and_survives_a_restart() {
    let world = World::new();
    let mut open = world.open().await;
    let mut facts = Vec::new();
    for day in 41..48 {
        open.day(day, 0..100, 0.0);
        // From the 44th day on the truth is the opposite of what is predicted; half of the labels come in time.
        open.labels(day, 0..50, day < 44, at(day, 80_000));
        facts.extend(open.tick(at(day + 1, 7_200)).await);
        if day == 45 {
            open.store.close().await;
            drop(open);
            open = world.open().await;
        }
    }
    let measured = open.measured(MonitorKind::Performance).await;
    let newest = &measured[0];
    assert_eq!((newest.window.start, newest.rows, newest.maturity), (at(46, 0), 50, Some(0.5)));
    assert!(newest.alarming && !measured.last().unwrap().alarming);
    assert_eq!(facts, ["signal.raised"]);
    assert!(measured.iter().all(|measurement| measurement.revision == 0), "a restart measures nothing twice");
    open.labels(46, 50..100, false, at(48, 8_000));
    open.tick(at(49, 7_300)).await;
    let revised = open.measured(MonitorKind::Performance).await;
    let revised = revised.iter().find(|measurement| measurement.window.start == at(46, 0)).unwrap();
    assert_eq!((revised.rows, revised.maturity, revised.revision), (100, Some(1.0), 1));
}
