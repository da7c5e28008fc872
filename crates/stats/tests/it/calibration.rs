//! Calibration against statsmodels and SciPy, its properties, and the rates of alarms that it promises.

use crate::flights::{Encoded, Flights, Layout, Random, Watch, day};
use proptest::prelude::*;
use serde_json::Value;
use statrs::distribution::{Beta, ContinuousCDF as _, Normal};
use steersman_stats::StatsError;
use steersman_stats::calibration::{
    Aspect, AspectEvidence, ColumnEvidence, ColumnOrdinary, ColumnTest, ColumnWindow, CompareOptions, Floors,
    JointDetector, NullBand, OnlineFdr, OnlineRule, Ordinary, Sizes, TestEvidence, Why, WindowValue,
    benjamini_hochberg, benjamini_yekutieli, decide_columns, e_bh, holm, jensen_shannon_limit, psi_limit,
    shares_p_value,
};
use steersman_stats::distance::jensen_shannon;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/calibration.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn close(own: &[f64], other: &Value, within: f64) {
    let other = numbers(other);
    assert_eq!(own.len(), other.len());
    for (own, other) in own.iter().zip(other) {
        assert!((own - other).abs() <= within * other.abs().max(1e-300), "{own} {other}");
    }
}

/// The exact 95 % upper limit of a rate.
fn upper_limit(alarms: usize, checks: usize) -> f64 {
    Beta::new((alarms + 1) as f64, (checks - alarms) as f64).unwrap().inverse_cdf(0.95)
}

impl Random {
    fn normal(&mut self) -> f64 {
        Normal::standard().inverse_cdf(self.uniform().clamp(1e-16, 1.0 - 1e-16))
    }
}

#[test]
fn adjusted_p_values_are_those_of_statsmodels() {
    for case in fixture()["adjusted"].as_array().unwrap() {
        let p = numbers(&case["p"]);
        close(&holm(&p).unwrap(), &case["holm"], 1e-12);
        close(&benjamini_hochberg(&p).unwrap(), &case["bh"], 1e-12);
        close(&benjamini_yekutieli(&p).unwrap(), &case["by"], 1e-12);
    }
    assert!(holm(&[]).unwrap().is_empty());
    assert!(holm(&[0.5, f64::NAN]).is_err() && e_bh(&[f64::NAN], 0.1).is_err());
}

#[test]
fn online_levels_are_those_of_the_papers() {
    let online = &fixture()["online"];
    let rules = [OnlineRule::LordPlusPlus, OnlineRule::Saffron, OnlineRule::Addis];
    for (rule, name) in rules.into_iter().zip(["lord_plus_plus", "saffron", "addis"]) {
        let mut stream = OnlineFdr::new(rule, online["alpha"].as_f64().unwrap()).unwrap();
        let levels: Vec<f64> = numbers(&online["p"])
            .into_iter()
            .map(|p| {
                let level = stream.level();
                stream.observe(p).unwrap();
                level
            })
            .collect();
        close(&levels, &online[name], 1e-12);
    }
}

#[test]
fn limits_and_exact_shares_are_those_of_scipy() {
    let fixture = fixture();
    for case in fixture["limits"].as_array().unwrap() {
        let size = |name: &str| case[name].as_u64().unwrap();
        let sizes = Sizes { reference: size("n"), current: size("m") };
        let (cells, alpha) = (size("cells") as usize, case["alpha"].as_f64().unwrap());
        let limits =
            [psi_limit(sizes, cells, alpha).unwrap(), jensen_shannon_limit(sizes, cells, alpha).unwrap()];
        assert!((limits[0] / case["psi"].as_f64().unwrap() - 1.0).abs() < 1e-9);
        assert!((limits[1] / case["js"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    }
    for case in fixture["shares"].as_array().unwrap() {
        let pair = |name: &str| (case[name][0].as_u64().unwrap(), case[name][1].as_u64().unwrap());
        let p = shares_p_value(pair("before"), pair("now")).unwrap();
        assert!((p / case["p"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{p} {case}");
    }
}

#[test]
fn the_forecast_of_exchangeable_windows_is_student_s() {
    let case = &fixture()["forecast"];
    let window = |value: f64| WindowValue { value, variance: 0.0, season: 0 };
    let windows: Vec<WindowValue> = numbers(&case["values"]).into_iter().map(window).collect();
    let ordinary = Ordinary::learn(&windows, Aspect::Location).unwrap();
    assert_eq!(ordinary.gain(), 0.0);
    let judged = ordinary.judge(&window(case["judged"].as_f64().unwrap())).unwrap();
    assert!((judged.z - case["z"].as_f64().unwrap()).abs() < 1e-9);
    assert!((judged.p_value / case["p"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert!(judged.extrapolated && judged.outside(14.0, Aspect::Location));
}

#[test]
fn bad_input_is_refused() {
    let window = |value: f64| WindowValue { value, variance: 0.1, season: 0 };
    assert!(matches!(Ordinary::learn(&[window(1.0); 3], Aspect::Location), Err(StatsError::TooFew { .. })));
    assert!(Ordinary::learn(&[window(f64::NAN); 9], Aspect::Location).is_err());
    let ordinary = Ordinary::learn(&[window(1.0); 9], Aspect::Location).unwrap();
    assert!(ordinary.judge(&window(f64::INFINITY)).is_err());
    assert!(ordinary.judge(&window(1.0).in_season(4)).is_err());
    assert!(Ordinary::learn(&[window(1.0).in_season(usize::MAX); 9], Aspect::Location).is_err());
    assert!(NullBand::from_windows(&[]).is_err() && NullBand::from_windows(&[f64::NAN]).is_err());
    assert!(NullBand::from_resamples(&[0, 0], 10, 10, 1, jensen_shannon).is_err());
    assert!(NullBand::from_blocks(&[vec![1, 2], vec![1]], 1, 10, 1, jensen_shannon).is_err());
    assert!(JointDetector::new(0.1, 0).is_err() && JointDetector::new(1.5, 2).is_err());
    let empty = ColumnWindow { cells: vec![0; 3], ..ColumnWindow::default() };
    assert!(ColumnOrdinary::learn(&[], Floors::default()).is_err());
    // A column that was never there: only that it is missing can be said.
    let gone = ColumnWindow { missing: 100, ..empty };
    let learnt = ColumnOrdinary::learn(&vec![gone.clone(); 20], Floors::default()).unwrap();
    assert_eq!(learnt.judge(&gone).unwrap().aspects.len(), 1);
}

#[test]
fn what_never_varied_is_judged_by_sampling_alone() {
    let window =
        |missing: u64| ColumnWindow { cells: vec![50, 150 - missing], missing, ..ColumnWindow::default() };
    let learnt = ColumnOrdinary::learn(&vec![window(0); 30], Floors::default()).unwrap();
    let judged = learnt.judge(&window(20)).unwrap();
    let missing = judged.aspects.iter().find(|(aspect, ..)| *aspect == Aspect::Missing).unwrap();
    assert!(missing.1.p_value < 1e-6 && missing.2, "{missing:?}");

    // A column that was constant for 30 windows of 48 rows, and now takes other values; one odd row is no proof.
    let window = |other: u64| ColumnWindow { cells: vec![0, 48 - other, other], ..ColumnWindow::default() };
    let learnt = ColumnOrdinary::learn(&vec![window(0); 30], Floors::default()).unwrap();
    let p_value = |other: u64| learnt.judge(&window(other)).unwrap().aspects[0].1.p_value;
    assert!(p_value(24) < 1e-6 && p_value(1) > 1e-3, "{} {}", p_value(24), p_value(1));
}

proptest! {
    #[test]
    fn e_bh_names_the_largest_and_agrees_with_its_definition(
        logs in proptest::collection::vec(-3.0f64..9.0, 0..30), alpha in 0.01f64..0.9,
    ) {
        let named = e_bh(&logs, alpha).unwrap();
        let qualifies = |k: usize| {
            let needed = logs.len() as f64 / (alpha * k as f64);
            logs.iter().filter(|log| log.exp() >= needed * (1.0 - 1e-12)).count() >= k
        };
        let most = (1..=logs.len()).filter(|&k| qualifies(k)).max().unwrap_or(0);
        prop_assert_eq!(named.len(), most);
        let least = named.iter().map(|&at| logs[at]).fold(f64::INFINITY, f64::min);
        prop_assert!((0..logs.len()).filter(|at| !named.contains(at)).all(|at| logs[at] <= least));
    }

    #[test]
    fn adjusted_p_values_are_bounded_and_ordered(p in proptest::collection::vec(0.0f64..=1.0, 1..30)) {
        let (holm, bh) = (holm(&p).unwrap(), benjamini_hochberg(&p).unwrap());
        let by = benjamini_yekutieli(&p).unwrap();
        for at in 0..p.len() {
            prop_assert!(p[at] <= bh[at] && bh[at] <= by[at] && bh[at] <= holm[at] && holm[at] <= 1.0);
        }
    }

    #[test]
    fn a_larger_change_is_never_less_unusual(
        values in proptest::collection::vec(-5.0f64..5.0, 8..40), at in -20.0f64..20.0, more in 0.0f64..20.0,
    ) {
        let window = |value: f64| WindowValue { value, variance: 0.3, season: 0 };
        let windows: Vec<WindowValue> = values.iter().copied().map(window).collect();
        let ordinary = Ordinary::learn(&windows, Aspect::Distance).unwrap();
        let p = |value: f64| ordinary.judge(&window(value)).unwrap().p_value;
        prop_assert!(p(at + more) <= p(at) && p(at) > 0.0 && p(at) <= 1.0);
    }

    #[test]
    fn what_the_customary_rule_finds_is_found(
        p in proptest::collection::vec((1e-9f64..0.01, 0.0f64..=1.0, 0.0f64..=1.0), 1..20),
    ) {
        let test = |test: ColumnTest, p_value: f64| TestEvidence { test, p_value, matters: true };
        let columns: Vec<ColumnEvidence> = p
            .iter()
            .map(|own| ColumnEvidence {
                tests: vec![
                    test(ColumnTest::Distribution, own.0),
                    test(ColumnTest::Cells, own.1),
                    test(ColumnTest::Missing, own.2),
                ],
                ..ColumnEvidence::default()
            })
            .collect();
        let options = CompareOptions::default();
        for (own, decided) in p.iter().zip(decide_columns(&columns, &options).unwrap()) {
            prop_assert!(decided.drifted || own.0 > 0.001 / p.len() as f64);
            prop_assert_eq!(decided.drifted, decided.p_value <= options.family_level);
            prop_assert_eq!(decided.drifted, matches!(decided.why, Why::Changed(_)));
        }
    }
}

#[test]
fn resampled_bands_follow_the_law_of_independent_rows() {
    let reference: Vec<u64> = (1..=20).map(|cell| 100 * cell).collect();
    for rows in [200, 2_000] {
        let band = NullBand::from_resamples(&reference, rows, 2_000, 5, jensen_shannon).unwrap();
        let law = jensen_shannon_limit(Sizes { reference: 21_000, current: rows }, 20, 0.05).unwrap();
        // With one row expected in the rarest cell the law is a little too small.
        assert!((band.range().1 / law - 1.0).abs() < 0.08, "{} {law}", band.range().1);
    }
    // Blocks that are more alike than independent rows make them: so are the windows made of them.
    let mut random = Random(3);
    let block = |random: &mut Random| (0..5).map(|_| 20 + random.below(5) as u64).collect::<Vec<u64>>();
    let blocks: Vec<Vec<u64>> = (0..200).map(|_| block(&mut random)).collect();
    let band = NullBand::from_blocks(&blocks, 500, 300, 9, jensen_shannon).unwrap();
    let law = jensen_shannon_limit(Sizes { reference: 22_000, current: 500 }, 5, 0.05).unwrap();
    assert!(band.range().1 < 0.5 * law, "{} {law}", band.range().1);
}

#[test]
fn randomised_conformal_p_values_are_uniform_with_ties() {
    let mut random = Random(1);
    let (runs, mut below) = (20_000, 0);
    for _ in 0..runs {
        let windows: Vec<f64> = (0..20).map(|_| random.below(4) as f64).collect();
        let band = NullBand::from_windows(&windows).unwrap();
        let p = band.p_value_randomised(random.below(4) as f64, 1.0 - random.uniform());
        below += usize::from(p <= 0.1);
    }
    let share = f64::from(below as u32) / f64::from(runs);
    assert!((share - 0.1).abs() < 0.01, "{share}");
}

#[test]
fn the_pareto_tail_is_about_right_a_level_beyond_its_band() {
    // Distances like those of 10 cells: the root of a chi-square with 9 degrees of freedom.
    let mut random = Random(2);
    let mut draw = || (0..9).map(|_| random.normal().powi(2)).sum::<f64>().sqrt();
    let (bands, each, mut beyond) = (60, 1_000, 0);
    for _ in 0..bands {
        let windows: Vec<f64> = (0..200).map(|_| draw()).collect();
        let band = NullBand::from_windows(&windows).unwrap();
        beyond += (0..each).filter(|_| band.tail_p_value(draw()).p_value <= 0.001).count();
    }
    let share = beyond as f64 / f64::from(bands * each);
    assert!(share < 0.002, "{share}");
}

/// How often p-values of windows are at most each level, for windows made by `next`.
fn levels(mut next: impl FnMut(&mut Random, f64) -> f64, levels: [f64; 2]) -> [f64; 2] {
    let (runs, length) = (300, 40);
    let mut below = [0usize; 2];
    for run in 0..runs {
        let mut random = Random(run * 104_729);
        let mut last = 0.0;
        let mut window = |random: &mut Random| {
            last = next(random, last);
            let rows = 100.0 + random.below(400) as f64;
            let variance = 9.0 / rows;
            WindowValue { value: last + variance.sqrt() * random.normal(), variance, season: 0 }
        };
        let reference: Vec<WindowValue> = (0..30).map(|_| window(&mut random)).collect();
        let mut ordinary = Ordinary::learn(&reference, Aspect::Location).unwrap();
        for _ in 0..length {
            let window = window(&mut random);
            let p = ordinary.judge(&window).unwrap().p_value;
            (0..2).for_each(|at| below[at] += usize::from(p <= levels[at]));
            ordinary.follow(&window).unwrap();
        }
    }
    below.map(|count| count as f64 / (runs as f64 * f64::from(length)))
}

#[test]
fn forecasts_hold_their_level_whatever_the_order_of_windows() {
    type Next = fn(&mut Random, f64) -> f64;
    let orders: [(&str, Next); 4] = [
        ("all alike", |_, _| 0.0),
        ("each its own", |random, _| random.normal()),
        ("like the one before", |random, last| 0.7 * last + random.normal()),
        ("wandering", |random, last| last + 0.5 * random.normal()),
    ];
    for (name, next) in orders {
        let [often, seldom] = levels(next, [0.05, 0.001]);
        assert!(often <= 0.065 && seldom <= 0.003, "{name}: {often} {seldom}");
        assert!(often >= 0.015, "{name} is not so timid that nothing is found: {often}");
    }
}

#[test]
fn windows_are_compared_with_their_own_season() {
    let mut random = Random(8);
    let mut window = |number: usize, shift: f64| {
        let season = number % 7;
        let value = 10.0 * season as f64 + random.normal() + shift;
        WindowValue { value, variance: 0.01, season }
    };
    let reference: Vec<WindowValue> = (0..56).map(|number| window(number, 0.0)).collect();
    let ordinary = Ordinary::learn(&reference, Aspect::Location).unwrap();
    assert!(ordinary.judge(&window(56, 0.0)).unwrap().p_value > 0.01);
    assert!(ordinary.judge(&window(57, 8.0)).unwrap().p_value < 1e-6);
    assert!(ordinary.judge(&window(57, 8.0).in_season(5)).unwrap().p_value < 1e-6);
}

#[test]
fn the_joint_detector_keeps_its_budget_under_dependence_and_finds_what_lasts() {
    let (columns, budget) = (10, 30.0);
    let run = |seed: u64, dependent: bool, changed: f64| {
        let mut random = Random(seed);
        let mut detector = JointDetector::new(1.0 / budget, columns).unwrap();
        for window in 1..2_000 {
            let common = random.uniform();
            let evidence: Vec<Vec<AspectEvidence>> = (0..columns)
                .map(|column| {
                    let u = if dependent { common } else { random.uniform() };
                    let p_value = if column == 4 { u.powf(changed) } else { u }.clamp(1e-12, 1.0);
                    vec![AspectEvidence::of_window(p_value, true)]
                })
                .collect();
            let verdict = detector.observe(&evidence).unwrap();
            if verdict.alarms {
                return (window, verdict.columns);
            }
        }
        (2_000, Vec::new())
    };
    for dependent in [false, true] {
        let mean = (0..150).map(|seed| run(seed, dependent, 1.0).0 as f64).sum::<f64>() / 150.0;
        assert!(mean >= budget, "{dependent}: {mean}");
    }
    let found: Vec<(i32, Vec<usize>)> = (0..50).map(|seed| run(seed, false, 4.0)).collect();
    let mean = found.iter().map(|(window, _)| f64::from(*window)).sum::<f64>() / 50.0;
    let named = found.iter().filter(|(_, columns)| columns.contains(&4)).count();
    assert!(mean <= 8.0 && named >= 48, "{mean} {named}");
}

fn encode(flights: &Flights, rows: &[usize]) -> (Vec<Layout>, Vec<Encoded>) {
    let learn = |column| Layout::learn(column, rows.iter().copied(), 10);
    let layouts: Vec<Layout> = flights.columns.iter().map(learn).collect();
    let encoded =
        layouts.iter().zip(&flights.columns).map(|(layout, column)| layout.encode(column)).collect();
    (layouts, encoded)
}

#[test]
fn a_stationary_stream_of_flights_keeps_its_budget() {
    let flights = Flights::read();
    let (_, encoded) = encode(&flights, &(0..flights.rows()).collect::<Vec<usize>>());
    for (rows, runs) in [(50, 16), (200, 8)] {
        let (length, mut alarms) = (60, 0);
        for run in 0..runs {
            let mut random = Random(run as u64 * 1_000_003);
            let mut draw = || -> Vec<usize> { (0..rows).map(|_| random.below(flights.rows())).collect() };
            let windows: Vec<Vec<usize>> = (0..30).map(|_| draw()).collect();
            let mut watch = Watch::learn(&encoded, &windows, 1.0 / 30.0);
            alarms += (0..length).filter(|_| watch.observe(&encoded, &draw()).alarms).count();
        }
        assert!(upper_limit(alarms, runs * length) <= 1.0 / 30.0, "{rows}: {alarms}");
    }
}

#[test]
fn the_steady_season_of_the_flights_keeps_its_budget_and_gross_changes_are_found_at_once() {
    let flights = Flights::read();
    let (from, to) = (day("2013-09-09"), day("2013-11-19"));
    for reference in [0, day("2013-07-11")] {
        let windows = flights.daily(reference, from);
        let (layouts, mut encoded) = encode(&flights, &windows.concat());
        let days = flights.daily(from, to);
        let mut watch = Watch::learn(&encoded, &windows, 1.0 / 30.0);
        let alarms = days.iter().filter(|rows| watch.observe(&encoded, rows).alarms).count();
        assert!(alarms as f64 <= days.len() as f64 / 30.0, "{alarms} alarms");

        // From one day to the next temperatures come in degrees Celsius.
        let mut watch = Watch::learn(&encoded, &windows, 1.0 / 30.0);
        days.iter().take(20).for_each(|rows| drop(watch.observe(&encoded, rows)));
        let at = flights.columns.iter().position(|column| column.name == "temp").unwrap();
        let celsius = flights.columns[at].changed(|_, value| value.map(|value| (value - 32.0) / 1.8));
        encoded[at] = layouts[at].encode(&celsius);
        let found = days.iter().skip(20).take(2).find_map(|rows| {
            let verdict = watch.observe(&encoded, rows);
            verdict.alarms.then_some(verdict.columns)
        });
        assert!(found.is_some_and(|columns| columns.contains(&at)));
    }
}
