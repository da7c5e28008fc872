//! The quality of the data: every kind of fault is found at once and named, ordinary days are quiet, the spec is heard.

use crate::{Open, World, at, name};
use std::collections::BTreeMap;
use steersman_domain::spec::{ColumnQuality, QualityCheck};
use steersman_domain::{Measurement, MonitorKind, Value};
use steersman_watch::quality::{Fault, NotTaken};

type Row = BTreeMap<String, Value>;

/// A number between 0 and 1, the same for the same arguments (SplitMix64).
fn uniform(day: i64, row: i64, column: u64) -> f64 {
    let mut x = ((day * 1_000_003 + row * 31) as u64 + column).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB_u64] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Columns that are hard to tell from faulty ones: `x` any number, `flag` nearly always 1, `rain` 0 on most days, `held` the
/// same for ten records and more, `week` the same all day, `rate` another number every day, `who` a person of whom new ones
/// come every day.
fn features(seed: i64, day: i64, row: i64) -> Row {
    let own = |column: u64| uniform(day + 1_000 * seed, row, column);
    let of_day = |column: u64| uniform(day + 1_000 * seed, 1_000, column);
    let since = (0..=row).rev().find(|&row| uniform(day + 1_000 * seed, row, 5) < 0.08).unwrap_or(2_000);
    let rain = if of_day(3) < 0.7 { 0.0 } else { (own(3) * 8.0).floor() };
    let person = (1.0 / (own(4) + 1e-4)).floor();
    [
        ("x", Value::from(own(1))),
        ("flag", Value::from(f64::from(u8::from(own(2) < 0.985)))),
        ("rain", Value::from(rain)),
        ("held", Value::from((uniform(day + 1_000 * seed, since, 6) * 20.0).floor())),
        ("rate", Value::from(of_day(8))),
        ("week", Value::from(["mo", "tu", "we", "th", "fr", "sa", "su"][(day % 7) as usize])),
        ("who", Value::from(format!("p{person}").as_str())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn world(seed: i64) -> World {
    let mut text = "ts,x,flag,rain,held,rate,week,who,score,y\n".to_owned();
    for (day, row) in (0..40).flat_map(|day| (0..80).map(move |row| (day, row))) {
        let own = features(seed, day, row);
        let cell = |name: &str| own[name].category().unwrap_or_default();
        let cells: Vec<String> = ["x", "flag", "rain", "held", "rate", "week", "who"].map(cell).into();
        let score = uniform(day + 1_000 * seed, row, 7);
        text.push_str(&format!(
            "{},{},{score},{}\n",
            at(day, row * 600),
            cells.join(","),
            u8::from(score > 0.5)
        ));
    }
    World::of(&text)
}

fn send(open: &Open, seed: i64, day: i64, rows: std::ops::Range<i64>, change: impl Fn(i64, &mut Row)) {
    open.send(day, rows, |row| {
        let mut own = features(seed, day, row);
        change(row, &mut own);
        (own, uniform(day + 1_000 * seed, row, 7))
    });
}

fn raised(open: &Open, monitor: MonitorKind) -> Vec<&Measurement> {
    let signals = open.state.models[&name()].signals.iter().map(|signal| &signal.measurement);
    signals.filter(|measurement| measurement.monitor == monitor).collect()
}

/// Refuses these rows of a day for a fault.
fn refuse(open: &Open, day: i64, rows: i64, fault: &Fault) {
    let refusal = |row: i64| NotTaken { at: Some(at(day, row * 600)), fault: fault.clone(), rows: 1 };
    let refused: Vec<NotTaken> = (0..rows).map(refusal).collect();
    open.watcher.note_refused(&name(), &refused, &[], at(day, 86_000));
}

const QUALITY: [MonitorKind; 7] = [
    MonitorKind::Unseen,
    MonitorKind::Range,
    MonitorKind::Constant,
    MonitorKind::Stale,
    MonitorKind::Duplicates,
    MonitorKind::Types,
    MonitorKind::Schema,
];

#[tokio::test]
async fn ordinary_days_are_quiet() {
    let (mut signals, mut days) = (Vec::new(), 0);
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2);
    for seed in 0..seeds {
        let world = world(seed);
        let mut open = world.open().await;
        for day in 41..191 {
            send(&open, seed, day, 0..80, |_, _| {});
            // A client that tries again, and a typing error now and then.
            if day % 7 == 0 {
                let again = [at(day, 600), at(day, 1_200), at(day, 1_800)];
                open.watcher.note_refused(&name(), &[], &again, at(day, 86_000));
                refuse(&open, day, 1, &Fault::Type("x".to_owned()));
            }
            open.tick(at(day + 1, 7_200)).await;
            days += 1;
        }
        let of_quality =
            |monitor: &MonitorKind| raised(&open, *monitor).into_iter().cloned().collect::<Vec<_>>();
        signals.extend(QUALITY.iter().flat_map(of_quality));
    }
    // An eighth of one alarm in 30 days. Their number is about a Poisson one; 2.5 standard deviations above is rare.
    let expected = f64::from(days) / 240.0;
    let words: Vec<&String> = signals.iter().map(|signal| &signal.explanation).collect();
    let count = words.len();
    assert!((count as f64) <= expected + 2.5 * expected.sqrt(), "{count} signals in {days} days: {words:#?}");
}

#[tokio::test]
async fn gross_faults_are_found_in_two_windows_and_named() {
    let number = |row: &mut Row, name: &str, value: f64| drop(row.insert(name.to_owned(), value.into()));
    type Change = Box<dyn Fn(&Open, i64)>;
    let changes: [(&str, MonitorKind, Change); 9] = [
        (
            "x",
            MonitorKind::Constant,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |_, row| number(row, "x", 0.5));
            }),
        ),
        (
            "x",
            MonitorKind::Stale,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |place, row| {
                    if place > 40 {
                        number(row, "x", 0.7)
                    }
                });
            }),
        ),
        (
            "held",
            MonitorKind::Constant,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |_, row| number(row, "held", 3.0));
            }),
        ),
        (
            "x",
            MonitorKind::Range,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |place, row| {
                    if place % 4 == 0 {
                        number(row, "x", -999.0)
                    }
                });
            }),
        ),
        (
            "x",
            MonitorKind::Schema,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |_, row| drop(row.remove("x")));
            }),
        ),
        (
            "x",
            MonitorKind::Types,
            Box::new(move |open, day| {
                send(open, 0, day, 0..60, |_, _| {});
                refuse(open, day, 20, &Fault::Type("x".to_owned()));
            }),
        ),
        (
            "",
            MonitorKind::Schema,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |_, _| {});
                refuse(open, day, 80, &Fault::Unknown("y1".to_owned()));
            }),
        ),
        // Nothing at all gets in.
        (
            "",
            MonitorKind::Types,
            Box::new(move |open, day| {
                refuse(open, day, 80, &Fault::Form);
            }),
        ),
        (
            "",
            MonitorKind::Duplicates,
            Box::new(move |open, day| {
                send(open, 0, day, 0..80, |_, _| {});
                let again: Vec<_> = (0..60).map(|row| at(day, row * 600)).collect();
                open.watcher.note_refused(&name(), &[], &again, at(day, 86_000));
            }),
        ),
    ];
    for (column, monitor, change) in changes {
        let world = world(0);
        let mut open = world.open().await;
        for day in 41..47 {
            if day < 45 {
                send(&open, 0, day, 0..80, |_, _| {});
            } else {
                change(&open, day);
            }
            open.tick(at(day + 1, 7_200)).await;
        }
        let own = raised(&open, monitor);
        let signals = &open.state.models[&name()].signals;
        assert_eq!(own.len(), 1, "{column} {monitor}: {signals:?}");
        assert_eq!(own[0].column, column);
        assert!((at(45, 0)..=at(46, 0)).contains(&own[0].window.start), "{column} {monitor}");
        // One fault, one signal about the quality of the data.
        let all = QUALITY.iter().map(|monitor| raised(&open, *monitor).len()).sum::<usize>();
        assert_eq!(all, 1, "{column} {monitor}: {signals:?}");
        if monitor == MonitorKind::Schema {
            assert!(raised(&open, MonitorKind::Missing).is_empty(), "said once");
        }
    }
}

#[tokio::test]
async fn a_column_that_is_gone_is_said_once_and_until_it_is_back() {
    let world = world(0);
    let mut open = world.open().await;
    for day in 41..60 {
        send(&open, 0, day, 0..80, |_, row| {
            if (45..55).contains(&day) {
                drop(row.remove("x"));
            }
        });
        open.tick(at(day + 1, 7_200)).await;
        if day == 54 {
            assert!(open.state.models[&name()].signals.iter().all(|signal| signal.cleared.is_none()));
        }
    }
    let signals = &open.state.models[&name()].signals;
    let [only] = signals.as_slice() else { panic!("{signals:?}") };
    assert_eq!((only.measurement.monitor, only.measurement.window.start), (MonitorKind::Schema, at(45, 0)));
    assert_eq!(only.explanation, "none of 80 records carries `x` any more");
    assert!(only.cleared.is_some());
}

#[tokio::test]
async fn a_rate_of_the_day_that_is_not_renewed_is_found_within_a_week_though_every_day_looks_ordinary() {
    let world = world(0);
    let mut open = world.open().await;
    for day in 41..60 {
        send(&open, 0, day, 0..80, |_, row| {
            if (45..55).contains(&day) {
                drop(row.insert("rate".to_owned(), 0.4.into()));
            }
        });
        open.tick(at(day + 1, 7_200)).await;
        if day == 48 {
            open.store.close().await;
            drop(open);
            open = world.open().await;
        }
    }
    let [only] = open.state.models[&name()].signals.as_slice() else {
        panic!("{:#?}", open.state.models[&name()].signals)
    };
    assert_eq!((only.measurement.monitor, only.measurement.column.as_str()), (MonitorKind::Stale, "rate"));
    let words = "`rate` has been 0.4 for 6 windows in a row, in the reference the same value for 1 at most";
    assert_eq!((only.measurement.window.start, only.explanation.as_str()), (at(50, 0), words));
    assert!(only.cleared.is_some());
}

#[tokio::test]
async fn columns_that_are_the_same_all_day_by_nature_are_not_stale_because_days_have_more_records() {
    let world = world(0);
    let mut open = world.open().await;
    for day in 41..65 {
        send(&open, 0, day, 0..if day < 45 { 80 } else { 400 }, |_, _| {});
        open.tick(at(day + 1, 7_200)).await;
    }
    for monitor in [MonitorKind::Constant, MonitorKind::Stale] {
        let own = raised(&open, monitor);
        assert!(own.is_empty(), "{own:#?}");
    }
}

#[tokio::test]
async fn what_was_refused_survives_a_restart() {
    let world = world(0);
    let mut open = world.open().await;
    for day in 41..45 {
        send(&open, 0, day, 0..80, |_, _| {});
        open.tick(at(day + 1, 7_200)).await;
    }
    refuse(&open, 45, 80, &Fault::Type("x".to_owned()));
    open.tick(at(45, 80_000)).await;
    open.store.close().await;
    drop(open);
    let mut open = world.open().await;
    open.tick(at(46, 7_200)).await;
    let own = raised(&open, MonitorKind::Types);
    assert_eq!((own.len(), own[0].rows), (1, 80));
    let expected = "100.0 % of 80 records were refused because `x` had a value of a wrong type";
    assert!(own[0].explanation.starts_with(expected), "{}", own[0].explanation);
}

#[tokio::test]
async fn the_spec_says_what_is_known_better() {
    let declared = |own: ColumnQuality, ignore: Vec<&str>| {
        let mut world = world(0);
        world.spec.watch.quality.columns.insert("x".to_owned(), own);
        world.spec.watch.quality.ignore = ignore.into_iter().map(str::to_owned).collect();
        world
    };
    let range = || ColumnQuality { range: Some([0.0, 1.0]), ..ColumnQuality::default() };
    let missing = || ColumnQuality { missing: "60%".parse().ok(), ..ColumnQuality::default() };
    let unchecked = || ColumnQuality { ignore: vec![QualityCheck::Range], ..ColumnQuality::default() };
    let (beyond, half): (f64, i64) = (1.2, 2);
    for (world, monitor, value, signals) in [
        // 1.2 is not far outside what the reference has, but outside what the spec has.
        (declared(ColumnQuality::default(), vec![]), MonitorKind::Range, Value::from(beyond), 0),
        (declared(range(), vec![]), MonitorKind::Range, Value::from(beyond), 1),
        (declared(range(), vec!["x"]), MonitorKind::Range, Value::from(beyond), 0),
        (declared(unchecked(), vec![]), MonitorKind::Range, Value::from(99.0), 0),
        (declared(ColumnQuality::default(), vec![]), MonitorKind::Missing, Value::Null, 1),
        (declared(missing(), vec![]), MonitorKind::Missing, Value::Null, 0),
    ] {
        let mut open = world.open().await;
        for day in 41..47 {
            send(&open, 0, day, 0..80, |place, row| {
                if day >= 45 && place % half == 0 {
                    drop(row.insert("x".to_owned(), value.clone()));
                }
            });
            open.tick(at(day + 1, 7_200)).await;
        }
        assert_eq!(raised(&open, monitor).len(), signals, "{monitor} {value:?}");
    }
}

#[test]
fn a_refusal_is_about_a_column_or_about_the_form() {
    let schema = world(0).reference.schema;
    let of = |field: &str| Fault::of(Some(field), &schema);
    assert_eq!(of("features.x"), Fault::Type("x".to_owned()));
    assert_eq!(of("score"), Fault::Type("score".to_owned()));
    assert_eq!(of("features.nobody"), Fault::Unknown("nobody".to_owned()));
    assert_eq!(of("scoer"), Fault::Form);
    assert_eq!(of("time"), Fault::Form);
}
