//! Declared segments and weak ones: found sooner, named, within the budget, never falsely quiet.

use crate::{Open, World, at, name};
use std::collections::BTreeMap;
use steersman_domain::{Fact, Label, Measurement, MonitorKind, Reading, Record, Value};
use steersman_store::MeasurementQuery;

/// A number between 0 and 1, the same for the same arguments (SplitMix64).
fn uniform(day: i64, row: i64, column: u64) -> f64 {
    let mut x = (day as u64 * 1_000_003 + row as u64 * 31 + column).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB_u64] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// One record: a place (the first has half of them, `j` a tenth), a kind, of which only the first place has the last, a number,
/// the score, the truth that fits it, and how its call went.
struct Row {
    place: &'static str,
    kind: &'static str,
    x: f64,
    score: f64,
    truth: bool,
    latency: f64,
    failed: bool,
}

fn row(day: i64, row: i64) -> Row {
    let places = ["a", "a", "a", "a", "a", "b", "b", "c", "c", "j"];
    let score = uniform(day, row, 2);
    let place = places[(uniform(day, row, 3) * 10.0) as usize];
    let kinds = if place == "a" { ["p", "q", "r", "s"] } else { ["p", "q", "r", "r"] };
    // Two uniform numbers make a normal one (Box and Muller).
    let normal = (-2.0 * (1.0 - uniform(day, row, 6)).ln()).sqrt()
        * (std::f64::consts::TAU * uniform(day, row, 7)).cos();
    let slow = if place == "c" { 1.5 } else { 1.0 };
    Row {
        place,
        kind: kinds[(uniform(day, row, 5) * 4.0) as usize],
        x: uniform(day, row, 1) + 0.3 * uniform(day, 0, 9),
        score,
        truth: uniform(day, row, 4) < score,
        latency: 20.0 * slow * (0.4 * normal + 0.2 * uniform(day, 0, 10)).exp(),
        failed: uniform(day, row, 8) < 0.005,
    }
}

const ROWS: i64 = 300;

/// Forty days of history in which nothing changes.
fn world(declared: bool) -> World {
    let mut text = "ts,x,place,kind,score,y\n".to_owned();
    for (day, number) in (0..40).flat_map(|day| (0..ROWS).map(move |number| (day, number))) {
        let Row { place, kind, x, score, truth, .. } = row(day, number);
        let at = at(day, number % 100 * 600);
        text.push_str(&format!("{at},{x},{place},{kind},{score},{}\n", u8::from(truth)));
    }
    World::declared(&text, if declared { "segments=['place']" } else { "" })
}

/// A day of predictions and their labels, as a change makes them; none of a record whose place it takes away.
fn day(open: &Open, day: i64, rows: i64, change: impl Fn(&mut Row)) {
    let changed = |number: i64| {
        let mut row = row(day, number);
        change(&mut row);
        row
    };
    let sent = |number: &i64| !changed(*number).place.is_empty();
    let record = |number: i64| {
        let Row { place, kind, x, score, latency, failed, .. } = changed(number);
        let features: BTreeMap<String, Value> =
            [("x", x.into()), ("place", Value::from(place)), ("kind", Value::from(kind))]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        Record {
            id: format!("{day}-{number}").parse().unwrap(),
            time: at(day, number % 100 * 600),
            version: None,
            arm: None,
            weight: None,
            unit: None,
            features,
            outputs: [("score".to_owned(), score.into())].into(),
            latency_ms: Some(latency),
            status: Some(if failed { 503 } else { 200 }),
        }
    };
    let records = (0..rows).filter(sent).map(record).collect();
    open.log.append_records(&name(), records, at(day, 86_000)).unwrap();
    let now = at(day, 86_300);
    let label = |number: i64| Label {
        id: format!("{day}-{number}").parse().unwrap(),
        label: f64::from(u8::from(changed(number).truth)).into(),
        time: now,
    };
    open.log.append_labels(&name(), (0..rows).filter(sent).map(label).collect(), now).unwrap();
    open.note();
}

/// The days and the segments of the first signals of these monitors within these days, as far as there are any. The change
/// begins on the day `from`.
async fn first(
    declared: bool,
    days: std::ops::Range<i64>,
    monitors: &[MonitorKind],
    from: i64,
    change: impl Fn(&mut Row) + Copy,
) -> BTreeMap<MonitorKind, (i64, Option<String>)> {
    let world = world(declared);
    let mut open = world.open().await;
    let mut found = BTreeMap::new();
    for now in days {
        day(&open, now, ROWS, |row| {
            if now >= from {
                change(row)
            }
        });
        open.tick(at(now + 1, 7_200)).await;
        // A restart in between changes nothing.
        if now % 5 == 0 {
            open.store.close().await;
            drop(open);
            open = world.open().await;
        }
        for signal in &open.state.models[&name()].signals {
            let measurement = &signal.measurement;
            if monitors.contains(&measurement.monitor) {
                found.entry(measurement.monitor).or_insert((now, measurement.segment.clone()));
            }
        }
        if found.len() == monitors.len() {
            break;
        }
    }
    found
}

async fn of_segment(open: &Open, monitor: MonitorKind, segment: &str) -> Vec<Measurement> {
    let query = MeasurementQuery { monitor: Some(monitor), since: None, limit: 100_000 };
    open.store.segment_measurements(&name(), Some(segment), &query).await.unwrap()
}

#[tokio::test]
async fn a_change_of_a_tenth_of_the_records_is_found_sooner_and_named_with_its_segment() {
    type Change = fn(&mut Row);
    let changes: [(MonitorKind, i64, i64, Change); 2] = [
        // One standard deviation in a tenth of the records is a tenth of one in all of them.
        (MonitorKind::Drift, 49, 6, |row| row.x += if row.place == "j" { 0.3 } else { 0.0 }),
        (MonitorKind::Performance, 44, 4, |row| row.truth ^= row.place == "j"),
    ];
    for (monitor, until, later, change) in changes {
        let found = first(true, 41..until + 1, &[monitor], 41, change).await;
        let (day, segment) = found[&monitor].clone();
        assert_eq!(segment.as_deref(), Some("place = j"));
        let without = first(false, 41..day + later, &[monitor], 41, change).await;
        assert!(without.is_empty(), "with {day}, without {without:?}");
    }
}

#[tokio::test]
async fn every_kind_of_change_in_a_segment_is_found_there_and_not_in_all_records() {
    type Change = fn(&mut Row);
    let together = [MonitorKind::Unseen, MonitorKind::Errors, MonitorKind::Latency];
    let changes: [(&[MonitorKind], i64, Change); 3] = [
        (&together, 12, |row| {
            // A kind that all records have, but not these.
            if row.kind == "p" {
                row.kind = "s"
            }
            row.failed |= row.x * 1_000.0 % 1.0 < 0.1;
            row.latency *= 2.5;
        }),
        (&[MonitorKind::Volume], 12, |row| row.place = ""),
        // Answers that say nothing; their labels are no better and no worse than they say. Estimates are as wide as their past
        // errors on so few records, so they take longer.
        (&[MonitorKind::Estimate], 18, |row| row.score = 0.5),
    ];
    for (monitors, days, change) in changes {
        let within = move |row: &mut Row| {
            if row.place == "j" {
                change(row)
            }
        };
        let found = first(true, 41..65 + days, monitors, 65, within).await;
        assert_eq!(found.len(), monitors.len(), "{found:?}");
        assert!(
            found.values().all(|(day, place)| *day >= 65 && place.as_deref() == Some("place = j")),
            "{found:?}"
        );
        let last = found.values().map(|(day, _)| *day).max().unwrap();
        let without = first(false, 41..last + 4, monitors, 65, within).await;
        assert!(without.is_empty(), "{found:?} {without:?}");
    }
}

#[tokio::test]
async fn what_happens_to_all_records_is_no_news_of_segments() {
    let world = world(true);
    let mut open = world.open().await;
    for now in 41..75 {
        day(&open, now, if now < 65 { ROWS } else { ROWS / 3 }, |row| {
            if now >= 65 {
                row.latency *= 3.0;
                row.failed |= row.x * 1_000.0 % 1.0 < 0.1;
            }
        });
        open.tick(at(now + 1, 7_200)).await;
    }
    let operation = [MonitorKind::Volume, MonitorKind::Errors, MonitorKind::Latency];
    let signals = open.state.models[&name()].signals.iter().map(|signal| &signal.measurement);
    let (of_segments, of_all): (Vec<_>, Vec<_>) =
        signals.filter(|one| operation.contains(&one.monitor)).partition(|one| one.segment.is_some());
    assert!(of_all.len() >= 2 && of_segments.is_empty(), "{of_all:#?} {of_segments:#?}");
}

#[tokio::test]
async fn on_stationary_windows_all_segments_together_keep_the_budget() {
    let world = world(true);
    let mut open = world.open().await;
    let days = std::env::var("DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(240);
    let mut raised = 0.0;
    for now in 41..41 + days {
        day(&open, now, ROWS, |_| {});
        raised += open.tick(at(now + 1, 7_200)).await.iter().filter(|kind| **kind == "signal.raised").count()
            as f64;
    }
    let signals = &open.state.models[&name()].signals;
    signals.iter().for_each(|signal| println!("{}", signal.explanation));
    println!("{raised} signals in {days} days");
    // One alarm in 30 days is allowed to the model as a whole: the upper end of the exact 95 % interval of so many, half the
    // quantile of a chi-square law with `2 n + 2` degrees of freedom (Wilson and Hilferty), must be below it.
    let freedom = 2.0 * raised + 2.0;
    let spread = 2.0 / (9.0 * freedom);
    let upper = 0.5 * freedom * (1.0 - spread + 1.645 * f64::sqrt(spread)).powi(3);
    assert!(upper <= days as f64 / 30.0, "{raised} signals in {days} days, at most {upper}");
    let shown = of_segment(&open, MonitorKind::Volume, "place = j").await;
    assert_eq!(shown.len() as i64, days);
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
    for monitor in [MonitorKind::Drift, MonitorKind::Estimate, MonitorKind::Performance, MonitorKind::Latency]
    {
        let newest = &of_segment(&open, monitor, "place = j").await[0];
        assert!(
            matches!(&newest.reading, Reading::NotComputable { reason } if reason.starts_with("only ")),
            "{newest:?}"
        );
    }
}

#[tokio::test]
async fn values_with_too_few_rows_in_the_reference_are_named_as_not_watched() {
    let rare = |number: i64| if number % 100 == 0 { "k" } else { "a" };
    let mut text = "ts,place,score,y\n".to_owned();
    for (day, number) in (0..20).flat_map(|day| (0..100).map(move |number| (day, number))) {
        text.push_str(&format!("{},{},0.5,{}\n", at(day, number * 600), rare(number), number % 2));
    }
    let world = World::declared(&text, "segments=['place']");
    let mut open = world.open().await;
    open.send(41, 0..100, |number| ([("place".to_owned(), Value::from(rare(number)))].into(), 0.5));
    open.tick(at(42, 7_200)).await;
    let why = "`k` has 20 rows in the reference, 240 are needed to know what is ordinary";
    let drift = &of_segment(&open, MonitorKind::Drift, "place = (others)").await[0];
    assert_eq!((drift.rows, &drift.reading), (1, &Reading::NotComputable { reason: why.to_owned() }));
    let volume = &of_segment(&open, MonitorKind::Volume, "place = (others)").await[0];
    assert_eq!(
        (volume.reading.value(), volume.explanation.as_str()),
        (Some(0.01), &*format!("not watched: {why}"))
    );
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
