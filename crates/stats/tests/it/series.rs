//! Operational series: the benchmark's score against its formula in `tests/fixtures/make_series.py`, what the monitor
//! promises about false alarms, changes, gaps and patterns, and its state.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use std::f64::consts::TAU;
use steersman_stats::series::{
    Scale, Scored, Season, SeriesConfig, SeriesMonitor, SeriesPoint, SeriesState, Window, best_threshold,
    window_score,
};

const STEP: i64 = 300;
const DAY: i64 = 288;

fn normal(random: &mut Random) -> f64 {
    (-2.0 * (1.0 - random.uniform()).ln()).sqrt() * (TAU * random.uniform()).cos()
}

fn monitor() -> SeriesMonitor {
    SeriesMonitor::new(SeriesConfig::new(STEP as u32)).unwrap()
}

/// Puts `points` through, from point `from` on.
fn run(monitor: &mut SeriesMonitor, from: i64, points: impl IntoIterator<Item = f64>) -> Vec<SeriesPoint> {
    (from..).zip(points).map(|(point, value)| monitor.update(point * STEP, Some(value))).collect()
}

#[test]
fn scores_are_those_of_the_formula() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/series.json")).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let series: Vec<(Vec<f64>, Vec<Window>)> =
            case["series"].as_array().unwrap().iter().map(read).collect();
        let scored: Vec<_> =
            series.iter().map(|(scores, windows)| Scored { scores, windows: windows.as_slice() }).collect();
        for pair in case["at"].as_array().unwrap() {
            let (threshold, theirs) = (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap());
            let ours = window_score(&scored, threshold).unwrap();
            assert!((ours - theirs).abs() < 1e-9, "at {threshold}: {ours} against {theirs}");
        }
        let (threshold, best) = best_threshold(&scored).unwrap();
        assert!((best - case["best"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!(window_score(&scored, threshold).unwrap(), best);
    }
}

fn read(series: &Value) -> (Vec<f64>, Vec<Window>) {
    let scores = series["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
    let row = |value: &Value| value.as_u64().unwrap() as usize;
    let windows = series["windows"].as_array().unwrap().iter();
    (scores, windows.map(|window| Window { first: row(&window[0]), last: row(&window[1]) }).collect())
}

#[test]
fn bad_windows_and_scores_are_refused() {
    let refused = |scores: &[f64], windows: &[(usize, usize)]| {
        let windows: Vec<_> = windows.iter().map(|&(first, last)| Window { first, last }).collect();
        window_score(&[Scored { scores, windows: &windows }], 0.5).unwrap_err().to_string()
    };
    let scores = [0.0; 100];
    assert!(refused(&scores, &[(30, 40), (40, 50)]).contains("apart"));
    assert!(refused(&scores, &[(50, 40)]).contains("time order"));
    assert!(refused(&scores, &[(90, 100)]).contains("inside"));
    assert!(refused(&scores, &[(3, 9)]).contains("before the rows that count"));
    assert!(refused(&scores, &[]).contains("at least 1"));
    assert!(refused(&[f64::NAN], &[]).contains("row 0"));
}

/// Alarms among 100,000 points of the same process, 20 series of 5,000, and the points to the alarm after a shift.
fn alarms(mut next: impl FnMut(&mut Random, i64, &mut f64) -> f64, shift: f64) -> (usize, Vec<usize>) {
    let (mut false_alarms, mut delays) = (0, Vec::new());
    for seed in 0..20 {
        let (mut random, mut memory, mut monitor) = (Random(seed * 1_000_003), 0.0, monitor());
        let values: Vec<f64> = (0..5_100).map(|point| next(&mut random, point, &mut memory)).collect();
        let before = run(&mut monitor, 0, values[..5_000].iter().copied());
        let changed = |point: &SeriesPoint| point.state == SeriesState::Changed;
        let starts = before.windows(2).filter(|pair| !changed(&pair[0]) && changed(&pair[1]));
        false_alarms += starts.count();
        let after = run(&mut monitor, 5_000, values[5_000..].iter().map(|value| value + shift));
        delays.push(after.iter().position(changed).unwrap_or(usize::MAX));
    }
    delays.sort_unstable();
    (false_alarms, delays)
}

// Four alarms in 100,000 points have an exact 95 % upper limit of 0.92 in 10,000: within the budget of one.
const MOST_ALARMS: usize = 4;

#[test]
fn white_noise_keeps_the_budget_and_a_shift_is_found_within_a_few_points() {
    let (false_alarms, delays) = alarms(|random, _, _| normal(random), 5.0);
    assert!(false_alarms <= MOST_ALARMS, "{false_alarms}");
    assert!(delays[18] <= 4, "{delays:?}");
}

#[test]
fn autocorrelated_noise_keeps_the_budget() {
    let next = |random: &mut Random, _, last: &mut f64| {
        *last = 0.8 * *last + 0.6 * normal(random);
        *last
    };
    let (false_alarms, delays) = alarms(next, 5.0);
    assert!(false_alarms <= MOST_ALARMS, "{false_alarms}");
    // Four fifths of a shift look like what carries over anyway.
    assert!(delays[10] <= 20, "{delays:?}");
}

#[test]
fn seasonal_noise_keeps_the_budget() {
    let next = |random: &mut Random, point: i64, _: &mut f64| {
        10.0 * (TAU * point as f64 / DAY as f64).sin() + normal(random)
    };
    let (false_alarms, delays) = alarms(next, 5.0);
    assert!(false_alarms <= MOST_ALARMS, "{false_alarms}");
    assert!(delays[18] <= 5, "{delays:?}");
}

#[test]
fn heavy_tails_keep_the_budget() {
    let next = |random: &mut Random, _, _: &mut f64| {
        let chi_square: f64 = (0..3).map(|_| normal(random).powi(2)).sum();
        normal(random) / (chi_square / 3.0).sqrt()
    };
    let (false_alarms, delays) = alarms(next, 5.0 * 3f64.sqrt());
    assert!(false_alarms <= MOST_ALARMS, "{false_alarms}");
    assert!(delays[10] <= 4 && delays[18] <= 10, "{delays:?}");
}

#[test]
fn bursts_of_noise_keep_the_budget() {
    let mut last = 0.0;
    let next = |random: &mut Random, _, variance: &mut f64| {
        *variance = 0.05 + 0.85 * *variance + 0.1 * last * last;
        last = variance.sqrt() * normal(random);
        last
    };
    let (false_alarms, _) = alarms(next, 5.0);
    assert!(false_alarms <= MOST_ALARMS, "{false_alarms}");
}

#[test]
fn a_new_normal_stops_alarming_after_the_settling_time() {
    let (mut random, mut monitor) = (Random(5), monitor());
    let mut noise =
        |level: f64, points: i64| -> Vec<f64> { (0..points).map(|_| level + normal(&mut random)).collect() };
    run(&mut monitor, 0, noise(50.0, 2_000));
    let after = run(&mut monitor, 2_000, noise(58.0, 2 * DAY));
    let changed = |point: &SeriesPoint| point.state == SeriesState::Changed;
    let start = after.iter().position(changed).unwrap();
    let end = start + after[start..].iter().position(|point| !changed(point)).unwrap();
    assert!(start <= 4 && (DAY - 1..=DAY + 2).contains(&((end - start) as i64)), "{start} {end}");
    assert!(!after[end..].iter().any(changed));
    assert!((after.last().unwrap().expected.unwrap() - 58.0).abs() < 1.0);
}

#[test]
fn a_change_that_goes_back_ends_the_alarm() {
    let (mut random, mut monitor) = (Random(6), monitor());
    let values = |level: f64, points: usize, random: &mut Random| -> Vec<f64> {
        (0..points).map(|_| level + normal(random)).collect()
    };
    run(&mut monitor, 0, values(50.0, 2_000, &mut random));
    let during = run(&mut monitor, 2_000, values(60.0, 30, &mut random));
    let after = run(&mut monitor, 2_030, values(50.0, 60, &mut random));
    assert_eq!(during.last().unwrap().state, SeriesState::Changed);
    let end = after.iter().position(|point| point.state == SeriesState::Normal).unwrap();
    assert!(end <= 20, "{end}");
    // The level is still that of before.
    assert!((after.last().unwrap().expected.unwrap() - 50.0).abs() < 1.0);
}

#[test]
fn gaps_are_unknown_and_long_ones_are_no_data() {
    let (mut random, mut monitor) = (Random(7), monitor());
    run(&mut monitor, 0, (0..1_000).map(|_| 20.0 + normal(&mut random)));
    let before = monitor.clone();
    let gap: Vec<_> = (1_000..1_020).map(|point| monitor.update(point * STEP, None)).collect();
    assert_eq!(monitor, before);
    let states: Vec<_> = gap.iter().map(|point| point.state).collect();
    assert_eq!(states[..10], [SeriesState::Missing; 10]);
    assert_eq!(states[10..], [SeriesState::NoData; 10]);
    assert!(gap.iter().all(|point| point.log_e == 0.0 && point.score == 0.0 && point.expected.is_some()));
    let after = monitor.update(1_020 * STEP, Some(20.0));
    assert_eq!(after.state, SeriesState::Normal);
    assert!(after.log_e < 1.0 && after.score < 0.8);
    // A gap before the first value is one, too.
    let mut empty = self::monitor();
    assert_eq!(empty.update(0, Some(f64::NAN)).state, SeriesState::Missing);
    assert_eq!(empty.update(11 * STEP, None).state, SeriesState::NoData);
}

#[test]
fn a_missing_peak_is_a_surprise_where_days_look_alike() {
    let (mut random, mut monitor) = (Random(8), monitor());
    let mut peak = |point: i64, height: f64| {
        let busy = (100..200).contains(&(point % DAY));
        20.0 + if busy { height } else { 0.0 } + normal(&mut random)
    };
    let usual: Vec<f64> = (0..8 * DAY).map(|point| peak(point, 60.0)).collect();
    let before = run(&mut monitor, 0, usual);
    assert_eq!(monitor.season(), Season::Day);
    let last_day = &before[(7 * DAY) as usize..];
    assert!((last_day[150].expected.unwrap() - 80.0).abs() < 3.0);
    assert!((last_day[50].expected.unwrap() - 20.0).abs() < 3.0);
    let flat: Vec<f64> = (8 * DAY..9 * DAY).map(|point| peak(point, 0.0)).collect();
    let today = run(&mut monitor, 8 * DAY, flat);
    let found = today.iter().position(|point| point.state == SeriesState::Changed).unwrap();
    assert!((100..=106).contains(&found), "{found}");
    assert!(today[100..110].iter().any(|point| point.score > 0.8));
}

#[test]
fn weekends_are_found_and_the_offset_moves_the_day() {
    let week = |offset_seconds: i32| {
        let mut random = Random(9);
        let config = SeriesConfig { offset_seconds, ..SeriesConfig::new(3_600) };
        let mut monitor = SeriesMonitor::new(config).unwrap();
        for hour in 0..24 * 7 * 6i64 {
            let (day, hour_of_day) = (hour / 24 % 7, hour % 24);
            let busy = day < 5 && (8..18).contains(&hour_of_day);
            monitor.update(hour * 3_600, Some(if busy { 300.0 } else { 100.0 } + 5.0 * normal(&mut random)));
        }
        (monitor.season(), monitor.update(24 * 7 * 6 * 3_600 + 12 * 3_600, None).expected.unwrap())
    };
    for offset in [0, 7_200, -18_000] {
        let (season, noon) = week(offset);
        assert_eq!(season, Season::Week);
        assert!((noon - 300.0).abs() < 15.0, "{noon}");
    }
}

/// Mondays to Fridays from eight to six it is three times as much; from the seventh week on, all of it twice.
#[test]
fn a_weekly_pattern_goes_on_at_a_new_level() {
    let mut random = Random(11);
    let config = SeriesConfig {
        scale: Scale::Started { start: 10.0 },
        settle_seconds: 3 * 86_400,
        ..SeriesConfig::new(3_600)
    };
    let mut monitor = SeriesMonitor::new(config).unwrap();
    let usual = |hour: i64| if hour / 24 % 7 < 5 && (8..18).contains(&(hour % 24)) { 300.0 } else { 100.0 };
    let (change, settled) = (24 * 7 * 6, 24 * (7 * 6 + 4));
    for hour in 0..24 * 7 * 10i64 {
        let level = if hour < change { 1.0 } else { 2.0 };
        let point =
            monitor.update(hour * 3_600, Some(level * usual(hour) * (0.05 * normal(&mut random)).exp()));
        if hour >= settled {
            // The first weekend, and the first Monday, are expected as they come.
            let ratio = point.level.unwrap() / (2.0 * usual(hour));
            let edge = usual(hour - 1) != usual(hour) || usual(hour + 1) != usual(hour);
            assert!(edge || (0.85..1.18).contains(&ratio), "{hour}: {ratio} {point:?}");
            assert_eq!(monitor.season(), Season::Week, "{hour}");
        }
        assert!(
            (change..settled).contains(&hour) || point.state != SeriesState::Changed,
            "{hour}: {point:?}"
        );
    }
}

#[test]
fn rates_are_compared_by_their_ratio() {
    let mut random = Random(10);
    let config = SeriesConfig { scale: Scale::Log { floor: 0.01 }, ..SeriesConfig::new(300) };
    let mut monitor = SeriesMonitor::new(config).unwrap();
    let points = run(&mut monitor, 0, (0..1_000).map(|_| (0.3 * normal(&mut random)).exp()));
    let last = points.last().unwrap();
    let (expected, low, high) = (last.expected.unwrap(), last.low.unwrap(), last.high.unwrap());
    assert!(low > 0.0 && (0.8..1.25).contains(&expected) && high > 1.7 && high < 3.5, "{last:?}");
    assert!(monitor.update(1_000 * STEP, Some(0.0)).log_e > 2.0);
}

#[test]
fn a_bad_configuration_is_refused() {
    let good = SeriesConfig::new(60);
    let bad = [
        SeriesConfig::new(0),
        SeriesConfig { points_per_false_alarm: 1.0, ..good.clone() },
        SeriesConfig { points_per_false_alarm: f64::INFINITY, ..good.clone() },
        SeriesConfig { scale: Scale::Log { floor: 0.0 }, ..good },
    ];
    assert!(bad.into_iter().all(|config| SeriesMonitor::new(config).is_err()));
}

/// Ordinary values, constant stretches, absurd ones and gaps.
fn anything() -> impl Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![
        4 => (-10.0..10.0f64).prop_map(Some),
        4 => Just(Some(0.0)),
        1 => any::<f64>().prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec(value, 0..700)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_comes_the_numbers_are_numbers(values in anything(), log: bool, step in 1..86_400u32) {
        let scale = if log { Scale::Log { floor: 1e-6 } } else { Scale::Linear };
        let mut monitor = SeriesMonitor::new(SeriesConfig { scale, ..SeriesConfig::new(step) }).unwrap();
        for (row, value) in values.iter().enumerate() {
            let point = monitor.update(row as i64 * i64::from(step), *value);
            prop_assert!((0.0..=1.0).contains(&point.score) && point.log_e.is_finite());
            let numbers = [point.low, point.expected, point.high].into_iter().flatten();
            prop_assert!(numbers.clone().all(f64::is_finite));
            if let (Some(low), Some(high)) = (point.low, point.high) {
                prop_assert!(low <= high);
            }
        }
    }

    #[test]
    fn a_stored_monitor_goes_on_as_if_nothing_had_happened(values in anything(), cut in 0.0..1.0f64) {
        let middle = (values.len() as f64 * cut) as usize;
        let mut whole = monitor();
        for (row, value) in values.iter().enumerate().take(middle) {
            whole.update(row as i64 * STEP, *value);
        }
        let mut restored: SeriesMonitor =
            serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        prop_assert_eq!(&restored, &whole);
        for (row, value) in values.iter().enumerate().skip(middle) {
            prop_assert_eq!(restored.update(row as i64 * STEP, *value), whole.update(row as i64 * STEP, *value));
        }
    }

    #[test]
    fn no_threshold_beats_the_best_and_ranks_are_all_that_counts(
        scores in prop::collection::vec(0.0..1.0f64, 60..200), first in 30..40usize, threshold in 0.0..1.0f64
    ) {
        let windows = [Window { first, last: first + 9 }];
        let squares: Vec<f64> = scores.iter().map(|score| score * score).collect();
        let best = best_threshold(&[Scored { scores: &scores, windows: &windows }]).unwrap();
        let other = window_score(&[Scored { scores: &scores, windows: &windows }], threshold).unwrap();
        prop_assert!(other <= best.1);
        prop_assert!((0.0..=100.0).contains(&best.1));
        let squared = best_threshold(&[Scored { scores: &squares, windows: &windows }]).unwrap();
        prop_assert!((squared.1 - best.1).abs() < 1e-9);
    }
}
