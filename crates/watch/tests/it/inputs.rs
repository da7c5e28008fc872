//! All columns together: the budget, gross changes, restarts.

use crate::{Open, World, at, name};
use std::collections::BTreeMap;
use steersman_domain::{Fact, MonitorKind, Value};

/// A number between 0 and 1, the same for the same arguments (SplitMix64).
fn uniform(day: i64, row: i64, column: u64) -> f64 {
    let mut x = (day as u64 * 1_000_003 + row as u64 * 31 + column).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB_u64] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Two numbers and a category of which a tenth is missing; days differ a little among themselves.
fn features(day: i64, row: i64) -> (f64, f64, Option<&'static str>) {
    let weather = uniform(day, 0, 9);
    let kind = ["a", "b", "c", "d"][(uniform(day, row, 3) * 4.0) as usize];
    let kind = (uniform(day, row, 4) > 0.1).then_some(kind);
    (uniform(day, row, 1) + 0.5 * weather, uniform(day, row, 2), kind)
}

fn world() -> World {
    let mut text = "ts,x,z,kind,score,y\n".to_owned();
    for (day, row) in (0..40).flat_map(|day| (0..80).map(move |row| (day, row))) {
        let (x, z, kind) = features(day, row);
        let kind = kind.unwrap_or_default();
        text.push_str(&format!("{},{x},{z},{kind},{z},{}\n", at(day, row * 600), u8::from(z > 0.5)));
    }
    World::of(&text)
}

fn send(open: &Open, day: i64, change: impl Fn(&mut BTreeMap<String, Value>)) {
    open.send(day, 0..80, |row| {
        let (x, z, kind) = features(day, row);
        let mut features: BTreeMap<String, Value> =
            [("x".to_owned(), x.into()), ("z".to_owned(), z.into())].into();
        features.insert("kind".to_owned(), kind.map_or(Value::Null, Value::from));
        change(&mut features);
        (features, z)
    });
}

#[tokio::test]
async fn on_stationary_windows_the_budget_is_kept() {
    let world = world();
    let mut open = world.open().await;
    let mut raised = 0;
    for day in 41..341 {
        send(&open, day, |_| {});
        raised += open.tick(at(day + 1, 7_200)).await.iter().filter(|kind| **kind == "signal.raised").count();
    }
    // Three eighths of one alarm in 30 days.
    assert!(raised <= 3, "{raised} signals in 300 days");
}

#[tokio::test]
async fn gross_changes_are_found_at_once_as_one_signal_that_names_the_columns() {
    type Change = fn(&mut BTreeMap<String, Value>);
    let changes: [(&str, MonitorKind, Change); 3] = [
        ("x", MonitorKind::Drift, |row| drop(row.insert("x".to_owned(), 40.0.into()))),
        ("kind", MonitorKind::Unseen, |row| drop(row.insert("kind".to_owned(), "e".into()))),
        ("z", MonitorKind::Missing, |row| row.retain(|name, z| name != "z" || z.number() < Some(0.4))),
    ];
    for (column, monitor, change) in changes {
        let world = world();
        let mut open = world.open().await;
        let mut facts = Vec::new();
        for day in 41..47 {
            send(&open, day, |row| {
                if day >= 45 {
                    change(row)
                }
            });
            facts.extend(open.tick(at(day + 1, 7_200)).await);
        }
        let signals = &open.state.models[&name()].signals;
        let own: Vec<_> = signals.iter().filter(|signal| signal.measurement.monitor == monitor).collect();
        assert_eq!(own.len(), 1, "{column}: {facts:?}");
        assert_eq!(own[0].measurement.column, column);
        assert!(own[0].measurement.window.start <= at(46, 0));
        assert!(own[0].measurement.details["evidence"] >= own[0].measurement.details["conclusive"]);
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let mut stories = Vec::new();
    for restart in [false, true] {
        let world = world();
        let mut open = world.open().await;
        for day in 41..60 {
            send(&open, day, |row| {
                if day >= 55 {
                    drop(row.insert("z".to_owned(), 0.9.into()))
                }
            });
            open.tick(at(day + 1, 7_200)).await;
            if restart && day % 4 == 0 {
                open.store.close().await;
                drop(open);
                open = world.open().await;
            }
        }
        let states = open.store.monitor_states(&name()).await.unwrap();
        assert!(states.iter().any(|state| state.name == "inputs" && state.state.contains("levels")));
        let entries = open.store.entries(0, 1_000).await.unwrap();
        let raised = |fact: &Fact| matches!(fact, Fact::SignalRaised { .. });
        assert!(entries.iter().any(|entry| raised(&entry.fact)));
        let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
        stories.push((states, facts, open.measured(MonitorKind::Drift).await));
    }
    assert!(stories[0] == stories[1]);
}
