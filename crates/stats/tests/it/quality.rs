//! Data quality: exactness, and alarms on data in which nothing is wrong. `tests/fixtures/make_quality.py` makes the
//! fixture.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::quality::{
    Fences, Floor, Repeats, constant, missing, out_of_range, schema_changes, stale, unseen,
};

#[test]
fn out_of_range_is_beta_binomial() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/quality.json")).unwrap();
    for case in fixture["out_of_range"].as_array().unwrap() {
        let (count, number) =
            (|at: usize| case[at].as_u64().unwrap(), |at: usize| case[at].as_f64().unwrap());
        let check = out_of_range(count(0), (count(1), count(2)), Floor::default()).unwrap();
        // Relative, down to the smallest tails.
        assert!((check.p_value / number(3) - 1.0).abs() < 1e-9, "{case} {}", check.p_value);
        assert!((check.usual.low - number(4)).abs() < 1e-9, "{case} {}", check.usual.low);
        assert!((check.usual.high - number(5)).abs() < 1e-9, "{case} {}", check.usual.high);
    }
    assert!(out_of_range(1, (0, 10), Floor::default()).is_err());
    assert!(out_of_range(100, (11, 10), Floor::default()).is_err());
}

#[test]
fn out_of_range_holds_its_level_whatever_the_law() {
    // A heavy tail, a small reference and a large window: a third of the windows have values outside.
    let runs = 2_000;
    let alarms = (0..runs)
        .filter(|seed| {
            let mut random = Random(seed * 982_451_653);
            let mut draw = |count: usize| (0..count).map(|_| random.uniform().powi(-3)).collect::<Vec<f64>>();
            let (reference, current) = (draw(60), draw(200));
            let (min, max) = (
                reference.iter().copied().fold(f64::INFINITY, f64::min),
                reference.iter().copied().fold(0.0, f64::max),
            );
            let outside = current.iter().filter(|&&value| value < min || value > max).count() as u64;
            out_of_range(60, (outside, 200), Floor::default()).unwrap().p_value <= 0.05
        })
        .count();
    println!("out of range: {alarms} of {runs} at 5 %");
    assert!((70..=130).contains(&alarms), "{alarms}");
}

#[test]
fn new_customers_are_expected_where_customers_are_new() {
    // Values with a long tail: the number of categories has no end.
    let draw = |random: &mut Random, count: usize| -> Vec<u64> {
        (0..count).map(|_| (1.0 / (random.uniform() + 1e-4)) as u64).collect()
    };
    let runs = 1_000;
    let alarms = (0..runs)
        .filter(|seed| {
            let mut random = Random(seed * 179_424_673);
            let reference = draw(&mut random, 2_000);
            let mut counts = std::collections::BTreeMap::new();
            reference.iter().for_each(|value| *counts.entry(*value).or_insert(0) += 1);
            let once = counts.values().filter(|&&count| count == 1).count() as u64;
            let new =
                draw(&mut random, 500).iter().filter(|value| !counts.contains_key(value)).count() as u64;
            assert!(once > 0);
            let check = unseen((once, 2_000), (new, 500), Floor::default()).unwrap();
            check.p_value <= 0.01 && check.matters
        })
        .count();
    println!("unseen: {alarms} of {runs} at 1 %");
    assert!(alarms <= 20, "{alarms}");
}

/// A series that stays where it is with probability `stays` once it has repeated, and `starts` otherwise.
fn series(random: &mut Random, count: usize, starts: f64, stays: f64) -> Vec<Option<f64>> {
    let (mut value, mut repeated) = (0.0, false);
    (0..count)
        .map(|_| {
            repeated = random.chance(if repeated { stays } else { starts });
            if !repeated {
                value = random.uniform();
            }
            Some(value)
        })
        .collect()
}

#[test]
fn bursts_of_repeats_are_no_alarm_where_they_are_usual() {
    for (starts, stays) in [(0.0, 0.0), (0.2, 0.2), (0.05, 0.9), (0.3, 0.95)] {
        let runs = 500;
        let alarms = (0..runs)
            .filter(|seed| {
                let mut random = Random(seed * 433_494_437 + 5);
                let reference = Repeats::of(series(&mut random, 5_000, starts, stays));
                let current = Repeats::of(series(&mut random, 500, starts, stays));
                stale(&reference, &current, Floor::default()).unwrap().p_value <= 0.05
            })
            .count();
        println!("stale {starts} {stays}: {alarms} of {runs} at 5 %");
        // Three standard errors of 500 runs.
        assert!(alarms <= 40, "{starts} {stays}: {alarms}");
    }
}

#[test]
fn a_value_that_whole_windows_have_is_not_stale_because_windows_are_longer() {
    let mut reference = Repeats::default();
    (0..40).for_each(|day| reference.merge(&Repeats::of([Some(day); 80])));
    let check = stale(&reference, &Repeats::of([Some(7); 400]), Floor::default()).unwrap();
    assert!(!check.matters && check.p_value == 1.0, "{check:?}");
    // Where a value never lasts so long, it is.
    let mut reference = Repeats::default();
    (0..40).for_each(|day| reference.merge(&Repeats::of((0..80).map(|row| Some(80 * day + row / 8)))));
    let check = stale(&reference, &Repeats::of([Some(7); 400]), Floor::default()).unwrap();
    assert!(check.matters && check.p_value < 1e-9, "{check:?}");
}

#[test]
fn a_frozen_sensor_is_found() {
    let mut random = Random(3);
    let reference = Repeats::of(series(&mut random, 5_000, 0.05, 0.9));
    let mut values = series(&mut random, 500, 0.05, 0.9);
    values[350..].fill(Some(0.25));
    let check = stale(&reference, &Repeats::of(values), Floor::default()).unwrap();
    assert!(check.matters && check.p_value < 1e-3 && check.longest >= 149, "{check:?}");
    // NaN is not the same as NaN, and a single value is no pair.
    assert_eq!(Repeats::of([Some(f64::NAN), Some(f64::NAN)]).repeats, 0);
    assert!(stale(&reference, &Repeats::of([Some(1.0)]), Floor::default()).is_err());
    let broken = Repeats { pairs: 3, repeats: 4, runs: 1, longest: 1, cut: 0 };
    assert!(stale(&broken, &reference, Floor::default()).is_err());
}

#[test]
fn certainty_and_consequence_are_apart() {
    let floor = Floor::default();
    // Sure, but half a point.
    let small = missing((5_000, 1_000_000), (10_000, 1_000_000), floor).unwrap();
    assert!(small.p_value < 1e-100 && !small.matters);
    // Large, but of five rows.
    let unsure = missing((50, 1_000), (1, 5), floor).unwrap();
    assert!(unsure.matters && unsure.p_value > 0.2);
    // Falling is no harm.
    assert!(!missing((500, 1_000), (0, 1_000), floor).unwrap().matters);
    // A single value is not constant, nor is a column that always was.
    assert!(!constant((500, 1_000), (1, 1)).unwrap().matters);
    assert!(!constant((1_000, 1_000), (50, 50)).unwrap().matters);
    assert!(missing((0, 0), (1, 5), floor).is_err());
    assert!(Fences::new(2.0, 2.0).is_err() && Fences::new(f64::NAN, 1.0).is_err());
    let fences = Fences::new(0.0, 1.0).unwrap();
    assert!(fences.hold(4.0) && !fences.hold(4.1) && !fences.hold(f64::NAN));
    assert!(schema_changes(&[("x", 1), ("x", 2)], &[]).is_err());
}

proptest! {
    #[test]
    fn checks_are_bounded(
        n in 2..3_000u64, m in 1..3_000u64, a in 0.0..=1.0f64, b in 0.0..=1.0f64
    ) {
        let hits = |share: f64, count: u64| (share * count as f64) as u64;
        let current = (hits(b, m), m);
        let floor = Floor::default();
        for check in [
            missing((hits(a, n), n), current, floor).unwrap(),
            constant((hits(a, n), n), current).unwrap(),
            out_of_range(n, current, floor).unwrap(),
        ] {
            prop_assert!((0.0..=1.0).contains(&check.p_value), "{:?}", check);
            for interval in [check.share, check.usual, check.effect] {
                prop_assert!(interval.low <= interval.value + 1e-12 && interval.value <= interval.high + 1e-12);
            }
            prop_assert!(!check.matters || check.effect.value >= 0.0);
        }
    }

    #[test]
    fn repeats_merge_and_are_counted_right(
        first in prop::collection::vec(prop::option::of(0..3u8), 0..60),
        second in prop::collection::vec(prop::option::of(0..3u8), 0..60)
    ) {
        let (left, right) = (Repeats::of(first.clone()), Repeats::of(second));
        let (mut there, mut back) = (left, right);
        there.merge(&right);
        back.merge(&left);
        prop_assert_eq!(there, back);
        let known: Vec<u8> = first.into_iter().flatten().collect();
        let same = known.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
        prop_assert_eq!((left.repeats, left.pairs), (same, known.len().saturating_sub(1) as u64));
        prop_assert!(left.longest <= left.repeats && left.runs <= left.repeats);
        if left.pairs > 0 && right.pairs > 0 {
            let check = stale(&left, &right, Floor::default()).unwrap();
            prop_assert!((0.0..=1.0).contains(&check.p_value) && check.repeats.share.low >= 0.0);
        }
    }
}
