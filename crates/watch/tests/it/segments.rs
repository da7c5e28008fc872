//! Declared segments and weak ones: found sooner, named, within the budget, never falsely quiet.

use crate::{Open, World, at, name};
use std::collections::BTreeMap;
use steersman_domain::{Fact, Label, Measurement, MonitorKind, Reading, Value};
use steersman_store::MeasurementQuery;

/// A number between 0 and 1, the same for the same arguments (SplitMix64).
fn uniform(day: i64, row: i64, column: u64) -> f64 {
    let mut x = (day as u64 * 1_000_003 + row as u64 * 31 + column).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB_u64] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// One record: a place (the first has half of them, `j` a tenth), a number, the score, and the truth that fits it.
struct Row {
    place: &'static str,
    x: f64,
    score: f64,
    truth: bool,
}

fn row(day: i64, row: i64) -> Row {
    let places = ["a", "a", "a", "a", "a", "b", "b", "c", "c", "j"];
    let score = uniform(day, row, 2);
    Row {
        place: places[(uniform(day, row, 3) * 10.0) as usize],
        x: uniform(day, row, 1) + 0.3 * uniform(day, 0, 9),
        score,
        truth: uniform(day, row, 4) < score,
    }
}

const ROWS: i64 = 300;

/// Forty days of history in which nothing changes.
fn world(declared: bool) -> World {
    let mut text = "ts,x,place,score,y\n".to_owned();
    for (day, number) in (0..40).flat_map(|day| (0..ROWS).map(move |number| (day, number))) {
        let Row { place, x, score, truth } = row(day, number);
        let at = at(day, number % 100 * 600);
        text.push_str(&format!("{at},{x},{place},{score},{}\n", u8::from(truth)));
    }
    World::declared(&text, if declared { "segments=['place']" } else { "" })
}

/// A day of predictions and their labels, as a change makes them.
fn day(open: &Open, day: i64, rows: i64, change: impl Fn(&mut Row)) {
    let changed = |number: i64| {
        let mut row = row(day, number);
        change(&mut row);
        row
    };
    open.send(day, 0..rows, |number| {
        let Row { place, x, score, .. } = changed(number);
        let features: BTreeMap<String, Value> =
            [("x".to_owned(), x.into()), ("place".to_owned(), Value::from(place))].into();
        (features, score)
    });
    let now = at(day, 86_300);
    let label = |number: i64| Label {
        id: format!("{day}-{number}").parse().unwrap(),
        label: f64::from(u8::from(changed(number).truth)).into(),
        time: now,
    };
    open.log.append_labels(&name(), (0..rows).map(label).collect(), now).unwrap();
    open.note();
}

/// The day and the segment of the first signal of a monitor, if there is one within these days.
async fn first(
    declared: bool,
    days: std::ops::Range<i64>,
    monitor: MonitorKind,
    change: impl Fn(&mut Row) + Copy,
) -> Option<(i64, Option<String>)> {
    let world = world(declared);
    let mut open = world.open().await;
    for now in days {
        day(&open, now, ROWS, change);
        open.tick(at(now + 1, 7_200)).await;
        // A restart in between changes nothing.
        if now % 5 == 0 {
            open.store.close().await;
            drop(open);
            open = world.open().await;
        }
        let own = |fact: &&steersman_ledger::state::SignalState| fact.measurement.monitor == monitor;
        if let Some(signal) = open.state.models[&name()].signals.iter().find(own) {
            let words = signal.measurement.segment.iter().all(|segment| signal.explanation.contains(segment));
            assert!(words, "{}", signal.explanation);
            return Some((now, signal.measurement.segment.clone()));
        }
    }
    None
}

async fn of_segment(open: &Open, monitor: MonitorKind, segment: &str) -> Vec<Measurement> {
    let query = MeasurementQuery { monitor: Some(monitor), since: None, limit: 1_000 };
    open.store.segment_measurements(&name(), Some(segment), &query).await.unwrap()
}

#[tokio::test]
async fn a_change_of_a_tenth_of_the_records_is_found_sooner_and_named_with_its_segment() {
    // One standard deviation in a tenth of the records is a tenth of one in all of them.
    let moved = |row: &mut Row| row.x += if row.place == "j" { 0.3 } else { 0.0 };
    let (found, segment) = first(true, 41..71, MonitorKind::Drift, moved).await.unwrap();
    assert_eq!(segment.as_deref(), Some("place = j"));
    let without = first(false, 41..found + 6, MonitorKind::Drift, moved).await;
    assert!(found <= 49 && without.is_none(), "with {found}, without {without:?}");

    let turned = |row: &mut Row| row.truth ^= row.place == "j";
    let (found, segment) = first(true, 41..71, MonitorKind::Performance, turned).await.unwrap();
    assert_eq!(segment.as_deref(), Some("place = j"));
    let without = first(false, 41..found + 4, MonitorKind::Performance, turned).await;
    assert!(found <= 44 && without.is_none(), "with {found}, without {without:?}");
}

#[tokio::test]
async fn on_stationary_windows_all_segments_together_keep_the_budget() {
    let world = world(true);
    let mut open = world.open().await;
    let mut raised = 0;
    for now in 41..141 {
        day(&open, now, ROWS, |_| {});
        raised += open.tick(at(now + 1, 7_200)).await.iter().filter(|kind| **kind == "signal.raised").count();
    }
    // One alarm in 30 days is allowed to the model as a whole.
    assert!(raised <= 2, "{raised} signals in 100 days");
    let shown = of_segment(&open, MonitorKind::Volume, "place = j").await;
    assert_eq!(shown.len(), 100);
    assert!(shown.iter().all(|share| (0.03..0.2).contains(&share.reading.value().unwrap())));
}

#[tokio::test]
async fn too_few_records_of_a_segment_are_not_computable_and_clear_nothing() {
    let world = world(true);
    let mut open = world.open().await;
    let gross = |row: &mut Row| row.x += if row.place == "j" { 5.0 } else { 0.0 };
    for now in 41..48 {
        // From the 44th day on there are a few records of the segment only.
        day(&open, now, if now < 44 { ROWS } else { 50 }, gross);
        open.tick(at(now + 1, 7_200)).await;
    }
    // Still open, though its last windows say nothing.
    let mut signals = open.state.models[&name()].open_signals();
    assert!(signals.any(|signal| signal.measurement.segment.as_deref() == Some("place = j")));
    for monitor in [MonitorKind::Drift, MonitorKind::Performance] {
        let newest = &of_segment(&open, monitor, "place = j").await[0];
        assert!(
            matches!(&newest.reading, Reading::NotComputable { reason } if reason.starts_with("only ")),
            "{newest:?}"
        );
    }
}

#[tokio::test]
async fn where_the_model_is_worst_is_found_without_being_declared() {
    let world = world(false);
    let mut open = world.open().await;
    let spoilt = |row: &mut Row| row.truth ^= row.place == "b";
    for now in 41..52 {
        day(&open, now, ROWS, spoilt);
        let batch =
            open.watcher.tick(&name(), open.state.model(&name()).unwrap(), at(now + 1, 7_200)).await.unwrap();
        let words = batch.drafts.iter().find_map(|draft| match &draft.fact {
            Fact::SignalRaised { measurement, explanation, .. }
                if measurement.monitor == MonitorKind::Performance =>
            {
                Some(explanation.clone())
            }
            _ => None,
        });
        if let Some(words) = words.filter(|_| now > 43) {
            assert!(words.contains("worst where "), "{words}");
        }
        let entries = open.store.commit(at(now + 1, 7_200), batch).await.unwrap();
        open.watcher.committed(&name());
        entries.iter().for_each(|entry| open.state.apply(entry).unwrap());
    }
    let newest = &open.measured(MonitorKind::Weak).await[0];
    assert!(newest.explanation.contains("worst where place = b: brier 0."), "{}", newest.explanation);
    let query = MeasurementQuery { monitor: Some(MonitorKind::Weak), since: None, limit: 1 };
    let found = &open.store.segment_measurements(&name(), None, &query).await.unwrap()[0];
    assert!(found.segment.as_deref() == Some("place = b"), "{found:?}");
    assert!(found.details["excess_low"] > 0.0 && !found.alarming);
}
