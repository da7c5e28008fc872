//! Performance before the labels, and its correction by those that came.

use crate::{Open, World, at, name};
use std::collections::BTreeMap;
use steersman_domain::{Label, MonitorKind};

/// A score that is a true probability, and the truth.
fn row(day: i64, row: i64) -> (f64, bool) {
    let number = |salt: i64| ((day * 7_919 + row * 104_729 + salt * 1_299_709) % 9_973) as f64 / 9_973.0;
    let score = 0.1 + 0.8 * number(1);
    (score, number(2) < score)
}

fn send(open: &Open, day: i64) {
    open.send(day, 0..100, |number| (BTreeMap::from([("x".to_owned(), 1.0.into())]), row(day, number).0));
}

fn label(open: &Open, day: i64, rows: std::ops::Range<i64>, now: jiff::Timestamp) {
    let label = |number: i64| {
        let truth = f64::from(u8::from(row(day, number).1));
        Label { id: format!("{day}-{number}").parse().unwrap(), label: truth.into(), time: now }
    };
    let appended = open.log.append_labels(&name(), rows.map(label).collect(), now).unwrap();
    open.note(appended.first);
}

#[tokio::test]
async fn an_estimate_is_there_before_the_labels_and_the_labels_replace_it() {
    let world = World::new();
    let mut open = world.open().await;
    for day in 41..56 {
        send(&open, day);
        if day < 54 {
            label(&open, day, 0..100, at(day, 80_000));
        }
        open.tick(at(day + 1, 7_200)).await;
    }
    let estimates = open.measured(MonitorKind::Estimate).await;
    let newest = &estimates[0];
    assert_eq!(newest.window.start, at(55, 0));
    let value = newest.reading.value().unwrap();
    let realised = |day| {
        let losses =
            (0..100).map(|number| (row(day, number).0 - f64::from(u8::from(row(day, number).1))).powi(2));
        losses.sum::<f64>() / 100.0
    };
    assert!((value - realised(55)).abs() < 0.06, "{value} against {}", realised(55));
    assert!(newest.details["past_windows"] >= 7.0 && newest.explanation.starts_with("estimated before"));
    // Too little was known at first, and that is said.
    assert!(estimates.last().unwrap().reading.value().is_none());
    let performance = open.measured(MonitorKind::Performance).await;
    assert!(performance.iter().all(|measured| measured.window.start != at(55, 0)));

    // Of this day only a third of the labels come, those of its first rows: the estimates of the others stand beside them.
    label(&open, 55, 0..33, at(56, 10_000));
    open.tick(at(57, 7_300)).await;
    let performance = open.measured(MonitorKind::Performance).await;
    let partly = performance.iter().find(|measured| measured.window.start == at(55, 0)).unwrap();
    assert_eq!((partly.rows, partly.maturity), (33, Some(0.33)));
    assert!(
        partly.details.contains_key("on_labels_so_far") && partly.explanation.contains("33 % of the labels")
    );
    assert!((partly.reading.value().unwrap() - realised(55)).abs() < 0.08);
    // With all of them it is what was realised.
    label(&open, 55, 33..100, at(57, 10_000));
    open.tick(at(58, 7_400)).await;
    let performance = open.measured(MonitorKind::Performance).await;
    let last = performance.iter().filter(|measured| measured.window.start == at(55, 0));
    let last = last.max_by_key(|measured| measured.revision).unwrap();
    assert!((last.reading.value().unwrap() - realised(55)).abs() < 1e-9 && last.maturity == Some(1.0));
}

#[tokio::test]
async fn where_the_delay_depends_on_the_outcome_performance_waits_until_the_labels_are_final() {
    let world = World::new();
    let mut open = world.open().await;
    let end = 60;
    for day in 41..end {
        send(&open, day);
        // What is true is known after an hour, what is false after three days.
        for (age, truth) in [(0, true), (3, false)] {
            let of = day - age;
            let now = at(day, 82_800);
            let rows = (0..100).filter(|&number| of >= 41 && row(of, number).1 == truth);
            let labels = rows.map(|number| Label {
                id: format!("{of}-{number}").parse().unwrap(),
                label: f64::from(u8::from(truth)).into(),
                time: now,
            });
            let appended = open.log.append_labels(&name(), labels.collect(), now).unwrap();
            open.note(appended.first);
        }
        open.tick(at(day + 1, 7_200)).await;
    }
    let performance = open.measured(MonitorKind::Performance).await;
    let newest = performance.iter().map(|measured| measured.window.start).max().unwrap();
    // The labels of this window are all there three days later; labels so far would say that everything is true.
    assert!((at(end - 5, 0)..=at(end - 4, 0)).contains(&newest), "{newest}");
    let late = performance.iter().find(|measured| measured.window.start == newest).unwrap();
    assert_eq!(late.maturity, Some(1.0));
    assert!(late.details.contains_key("delay_depends_on_outcome"));
}

#[tokio::test]
async fn a_drift_signal_says_what_it_is_expected_to_do_to_the_loss() {
    let world = World::new();
    let mut open = world.open().await;
    for day in 41..53 {
        // Scores are a hundredth of `x` and nothing is ever true: the higher `x`, the larger the loss.
        let x = |number: i64| if day < 52 { (number * 37 % 100) as f64 } else { 95.0 };
        open.send(day, 0..100, |number| {
            (BTreeMap::from([("x".to_owned(), x(number).into())]), x(number) / 100.0)
        });
        let now = at(day, 80_000);
        let labels = (0..100).map(|number| Label {
            id: format!("{day}-{number}").parse().unwrap(),
            label: 0.0.into(),
            time: now,
        });
        let appended = open.log.append_labels(&name(), labels.collect(), now).unwrap();
        open.note(appended.first);
        open.tick(at(day + 1, 7_200)).await;
    }
    let signals = &open.state.models[&name()].signals;
    let drift = signals.iter().find(|signal| signal.measurement.monitor == MonitorKind::Drift).unwrap();
    // From a mean of 0.328 to the mean of the last cell, 0.893.
    let change = drift.measurement.details["expected_loss_change"];
    assert!((change - 0.565).abs() < 0.01, "{change}");
    assert!(drift.explanation.contains("expected to raise the mean loss by 0.5"), "{}", drift.explanation);
}
