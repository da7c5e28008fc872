//! Stream detectors: the alarms of River, published tables, false alarms, stored state.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::stream::{
    Adwin, AnyStreamDetector, Conformal, Cusum, CusumConfig, Ddm, Eddm, HddmA, HddmW, Kswin, PageHinkley,
    StreamDetector, StreamDetectorKind, StreamState,
};

/// The stream that `tests/fixtures/make_stream.py` describes with the same words.
fn series(stream: &Value) -> Vec<f64> {
    let mut random = Random(stream["seed"].as_u64().unwrap());
    let mut values = Vec::new();
    for segment in stream["segments"].as_array().unwrap() {
        let number = |index: usize| segment[index].as_f64().unwrap();
        let (rows, start, end) = (number(0), number(1), number(2));
        for row in 0..rows as u64 {
            let level = start + (end - start) * (row as f64 / rows);
            values.push(match stream["law"].as_str().unwrap() {
                "constant" => level,
                "bernoulli" => f64::from(u8::from(random.uniform() < level)),
                "uniform" => level + 0.3 * random.uniform(),
                _ => level + random.normal(),
            });
        }
    }
    values
}

fn configured(kind: &str, parameters: &Value) -> Box<dyn StreamDetector> {
    let parameters = parameters.clone();
    match kind {
        "adwin" => Box::new(Adwin::new(serde_json::from_value(parameters).unwrap()).unwrap()),
        "ddm" => Box::new(Ddm::new(serde_json::from_value(parameters).unwrap()).unwrap()),
        "eddm" => Box::new(Eddm::new(serde_json::from_value(parameters).unwrap()).unwrap()),
        "hddm_a" => Box::new(HddmA::new(serde_json::from_value(parameters).unwrap()).unwrap()),
        "hddm_w" => Box::new(HddmW::new(serde_json::from_value(parameters).unwrap()).unwrap()),
        _ => Box::new(PageHinkley::new(serde_json::from_value(parameters).unwrap()).unwrap()),
    }
}

#[test]
fn alarms_and_warnings_come_where_river_has_them() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/stream.json")).unwrap();
    for stream in fixture["streams"].as_array().unwrap() {
        let values = series(stream);
        let sum = values.iter().fold(0.0, |sum, value| sum + value);
        assert_eq!(sum, stream["sum"].as_f64().unwrap(), "the stream `{}` is another one", stream["name"]);
        for answer in stream["answers"].as_array().unwrap() {
            let (kind, parameters) = (answer["detector"].as_str().unwrap(), &answer["parameters"]);
            let mut detector = configured(kind, parameters);
            let states: Vec<StreamState> =
                values.iter().map(|&value| detector.update(value).unwrap()).collect();
            let positions = |wanted: StreamState| -> Vec<u64> {
                (0u64..).zip(&states).filter(|(_, state)| **state == wanted).map(|(row, _)| row).collect()
            };
            let drifts: Vec<u64> =
                answer["drift"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap()).collect();
            let runs = answer["warning"].as_array().unwrap().iter();
            let warnings: Vec<u64> = runs
                .flat_map(|run| (0..run[1].as_u64().unwrap()).map(|row| run[0].as_u64().unwrap() + row))
                .collect();
            let what = format!("{kind} {parameters} on `{}`", stream["name"]);
            assert_eq!(positions(StreamState::Drift), drifts, "alarms of {what}");
            assert_eq!(positions(StreamState::Warning), warnings, "warnings of {what}");
        }
    }
}

/// D. C. Montgomery, *Introduction to Statistical Quality Control*, 7th ed., tables 9.1 and 9.2: twenty values about 10,
/// ten about 11; the upper and lower sums.
const MONTGOMERY: [(f64, f64, f64); 30] = [
    (9.45, 0.0, 0.05),
    (7.99, 0.0, 1.56),
    (9.29, 0.0, 1.77),
    (11.66, 1.16, 0.0),
    (12.16, 2.82, 0.0),
    (10.18, 2.50, 0.0),
    (8.04, 0.04, 1.46),
    (11.46, 1.00, 0.0),
    (9.20, 0.0, 0.30),
    (10.34, 0.0, 0.0),
    (9.03, 0.0, 0.47),
    (11.47, 0.97, 0.0),
    (10.51, 0.98, 0.0),
    (9.40, 0.0, 0.10),
    (10.08, 0.0, 0.0),
    (9.37, 0.0, 0.13),
    (10.62, 0.12, 0.0),
    (10.31, 0.0, 0.0),
    (8.52, 0.0, 0.98),
    (10.84, 0.34, 0.0),
    (10.90, 0.74, 0.0),
    (9.33, 0.0, 0.17),
    (12.29, 1.79, 0.0),
    (11.50, 2.79, 0.0),
    (10.60, 2.89, 0.0),
    (11.08, 3.47, 0.0),
    (10.38, 3.35, 0.0),
    (11.62, 4.47, 0.0),
    (11.31, 5.28, 0.0),
    (10.52, 0.02, 0.0), // The book goes on to 5.30; here the sums start again after the alarm.
];

#[test]
fn cusum_gives_the_sums_of_the_textbook() {
    let mut detector = Cusum::new(CusumConfig { target: 10.0, ..CusumConfig::default() }).unwrap();
    for (row, (value, upper, lower)) in MONTGOMERY.into_iter().enumerate() {
        let state = detector.update(value).unwrap();
        assert!((detector.upper() - upper).abs() < 1e-9, "C+ of {row}: {}", detector.upper());
        assert!((detector.lower() - lower).abs() < 1e-9, "C- of {row}: {}", detector.lower());
        assert_eq!(state == StreamState::Drift, row == 28, "{row}");
    }
}

/// Alarms among `count` values of `next`.
fn alarms(detector: &mut dyn StreamDetector, count: u64, mut next: impl FnMut() -> f64) -> usize {
    (0..count).filter(|_| detector.update(next()).unwrap() == StreamState::Drift).count()
}

#[test]
fn cusum_runs_as_long_as_the_textbook_says() {
    let mut random = Random(11);
    // Table 9.3 (k = 0.5): shift, mean run at h = 4 and at h = 5.
    for (shift, four, five) in [(0.0, 168.0, 465.0), (0.5, 26.6, 38.0), (1.0, 8.38, 10.4), (2.0, 3.34, 4.01)]
    {
        for (h, known) in [(4.0, four), (5.0, five)] {
            let mut detector = Cusum::new(CusumConfig { h, ..CusumConfig::default() }).unwrap();
            let found = 300_000.0 / alarms(&mut detector, 300_000, || shift + random.normal()) as f64;
            // 645 runs at the least: three standard errors are 12 %.
            assert!((found / known - 1.0).abs() < 0.12, "shift {shift}, h {h}: {found} against {known}");
        }
    }
}

#[test]
fn false_alarms_are_as_rare_as_the_table_says() {
    // Ten streams each, as what EDDM does hangs on how a stream begins.
    let per_million = |kind: StreamDetectorKind, updates: u64, bernoulli: bool| {
        let found: usize = (0..10)
            .map(|seed| {
                let (mut random, mut detector) = (Random(seed * 104_729), kind.build(seed));
                let next =
                    || if bernoulli { f64::from(u8::from(random.uniform() < 0.2)) } else { random.normal() };
                alarms(&mut detector, updates / 10, next)
            })
            .sum();
        found as f64 * 1e6 / updates as f64
    };
    let within = |kind, updates, bernoulli, low: f64, high: f64| {
        let found = per_million(kind, updates, bernoulli);
        assert!((low..=high).contains(&found), "{kind}: {found} false alarms per million");
    };
    within(StreamDetectorKind::Adwin, 400_000, true, 0.0, 5.0);
    within(StreamDetectorKind::Adwin, 400_000, false, 0.0, 5.0);
    within(StreamDetectorKind::Ddm, 400_000, true, 0.0, 10.0);
    within(StreamDetectorKind::HddmA, 400_000, true, 0.0, 10.0);
    within(StreamDetectorKind::HddmW, 400_000, true, 40.0, 160.0);
    within(StreamDetectorKind::Eddm, 400_000, true, 300.0, 1_500.0);
    within(StreamDetectorKind::PageHinkley, 400_000, false, 450.0, 850.0);
    within(StreamDetectorKind::Cusum, 400_000, false, 1_700.0, 2_600.0);
    within(StreamDetectorKind::Kswin, 100_000, false, 500.0, 1_800.0);
}

#[test]
fn kswin_finds_a_shift_soon_and_repeats_itself_with_its_seed() {
    let run = |seed: u64| -> Vec<usize> {
        let (mut random, mut detector) = (Random(seed), StreamDetectorKind::Kswin.build(seed));
        let values = (0..1_000).map(|row| random.normal() + if row < 500 { 0.0 } else { 2.0 });
        let states: Vec<StreamState> = values.map(|value| detector.update(value).unwrap()).collect();
        (0..).zip(states).filter(|(_, state)| *state == StreamState::Drift).map(|(row, _)| row).collect()
    };
    assert_eq!(run(1), run(1));
    // A false alarm shortly before the change hides it: the window that then begins holds new values only.
    let soon = (0..20).filter(|seed| run(*seed).iter().any(|row| (500..530).contains(row))).count();
    assert!(soon >= 16, "{soon} of 20");
}

#[test]
fn the_conformal_detector_keeps_its_budget_and_finds_a_shift() {
    let run = |seed: u64, shift: f64| {
        let mut random = Random(seed * 7_919);
        let reference: Vec<f64> = (0..1_000).map(|_| random.normal()).collect();
        let mut detector = Conformal::new(&reference, 1.0 / 200.0, seed).unwrap();
        let alarm = |_: &u32| detector.update(random.normal() + shift).unwrap() == StreamState::Drift;
        f64::from((1..50_000).find(alarm).unwrap())
    };
    let mean = |runs: u64, shift: f64| (0..runs).map(|seed| run(seed, shift)).sum::<f64>() / runs as f64;
    let steady = mean(150, 0.0);
    assert!(steady >= 200.0, "a false alarm every {steady} values");
    let shifted = mean(150, 1.0);
    assert!(shifted <= 20.0, "{shifted} values to an alarm");
}

#[test]
fn stored_detectors_go_on_as_if_nothing_happened() {
    let mut random = Random(9);
    let mut errors = || f64::from(u8::from(random.uniform() < 0.3));
    for kind in StreamDetectorKind::ALL {
        assert_eq!(kind.name().parse::<StreamDetectorKind>().unwrap(), kind);
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        let mut detector = kind.build(4);
        for _ in 0..500 {
            let text = serde_json::to_string(&detector).unwrap();
            let mut restored: AnyStreamDetector = serde_json::from_str(&text).unwrap();
            assert_eq!(restored, detector);
            let value = errors();
            assert_eq!(restored.update(value).unwrap(), detector.update(value).unwrap());
            assert_eq!(restored, detector);
        }
        detector.reset();
        assert_eq!(detector, kind.build(4));
    }
    let mut detector = Conformal::new(&[0.1, 0.5, 0.3], 0.4, 1).unwrap();
    detector.update(0.4).unwrap();
    let text = serde_json::to_string(&detector).unwrap();
    assert_eq!(serde_json::from_str::<Conformal>(&text).unwrap(), detector);
}

#[test]
fn values_that_cannot_be_watched_are_refused_and_change_nothing() {
    for kind in StreamDetectorKind::ALL {
        let mut detector = kind.build(0);
        detector.update(1.0).unwrap();
        let before = detector.clone();
        for value in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(detector.update(value).is_err(), "{kind}");
        }
        assert_eq!(detector, before);
    }
    assert!(Ddm::default().update(0.5).is_err());
    assert!(HddmW::default().update(1.5).is_err());
    assert!(Conformal::new(&[0.5; 9], 0.1, 0).is_err());
    assert!(Conformal::new(&[f64::NAN; 10], 0.1, 0).is_err());
    let refused = |parameters: &str| Adwin::new(serde_json::from_str(parameters).unwrap()).is_err();
    assert!(refused(r#"{"delta": 0.0}"#) && refused(r#"{"clock": 0}"#) && refused(r#"{"max_buckets": 1}"#));
    assert!(Kswin::new(serde_json::from_str(r#"{"stat_size": 51}"#).unwrap()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_window_of_adwin_is_the_newest_values(
        values in prop::collection::vec(prop_oneof![-3.0..3.0f64, Just(50.0), Just(0.0)], 1..600),
        clock in 1u64..40
    ) {
        let mut detector = Adwin::new(serde_json::from_value(serde_json::json!({ "clock": clock })).unwrap()).unwrap();
        for (row, &value) in values.iter().enumerate() {
            detector.update(value).unwrap();
            let width = detector.width() as usize;
            prop_assert!(width >= 1 && width <= row + 1);
            let newest = &values[row + 1 - width..=row];
            let mean = newest.iter().sum::<f64>() / width as f64;
            prop_assert!((detector.mean().unwrap() - mean).abs() < 1e-9);
        }
    }
}
