//! Late labels: statsmodels' and ppi_py's numbers, merge order, the past as it was, coverage.

use crate::random::Random;
use crate::simulations::share;
use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::interval::{Interval, mean_interval};
use steersman_stats::labels::DelayModel;
use steersman_stats::labels::curve::Arrived;
use steersman_stats::labels::powered::{augmented_mean, powered_mean, tuned_mean};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/labels.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn whole(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

fn same(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() < 1e-9, "{what}: {ours} against {theirs}");
}

/// A model with cells of ten seconds of records with these ages and delays in cells, at second 0. Records come at the end
/// of a cell.
fn model(ages: &[i64], delays: &[i64], outcomes: &[bool]) -> DelayModel {
    let mut model = DelayModel::new(10).unwrap();
    let recorded: Vec<i64> = ages.iter().map(|age| -10 * age - 1).collect();
    let arrived: Vec<i64> = recorded.iter().zip(delays).map(|(time, delay)| time + 10 * delay).collect();
    model.add_records("all", &recorded);
    model.add_labels("all", &recorded, &arrived, outcomes).unwrap();
    model
}

#[test]
fn curves_are_those_of_statsmodels() {
    for case in fixture()["curves"].as_array().unwrap() {
        let (ages, delays) = (whole(&case["age"]), whole(&case["delay"]));
        let curve = model(&ages, &delays, &vec![true; ages.len()]).curve(None, 0).unwrap();
        // They have a row for ages at which records only leave; there the share stays as it is.
        let at = whole(&case["at"]);
        for (index, age) in at.iter().enumerate() {
            let Some(step) = curve.steps().iter().find(|step| step.age == 10 * age) else {
                let arrived = curve.arrived_by(10 * age).unwrap();
                same(arrived.share(), &case["share"][index], "share between steps");
                continue;
            };
            assert_eq!(step.waiting as f64, case["waiting"][index].as_f64().unwrap());
            same(step.share, &case["share"][index], "share");
            same(step.error, &case["error"][index], "Greenwood's error");
        }
        let longest = ages.iter().max().unwrap();
        assert_eq!(curve.longest(), 10 * longest);
        assert!(matches!(curve.arrived_by(10 * longest).unwrap(), Arrived::Known(_)));
        // Once every label is there, nothing is left to be unknown.
        let complete = curve.age_of(1.0).is_some();
        let beyond = curve.arrived_by(10 * longest + 10).unwrap();
        assert_eq!(matches!(beyond, Arrived::AtLeast(_)), !complete);
    }
}

#[test]
fn the_log_rank_test_is_that_of_statsmodels() {
    for case in fixture()["tests"].as_array().unwrap() {
        let delays = whole(&case["delay"]);
        let outcomes: Vec<bool> =
            case["outcome"].as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect();
        let found = model(&vec![1_000; delays.len()], &delays, &outcomes).dependence(10_000, 0).unwrap();
        same(found.test.statistic, &case["chi2"], "log-rank");
        same(found.test.p_value, &case["p"], "p");
        let share = outcomes.iter().filter(|outcome| **outcome).count() as f64 / outcomes.len() as f64;
        assert!((found.matured.value - share).abs() < 1e-12);
        assert!((found.early.value - found.matured.value - found.bias.value).abs() < 1e-12);
        assert!((found.by_age.last().unwrap().1 - share).abs() < 1e-12);
    }
}

#[test]
fn powered_means_are_those_of_ppi_py() {
    for case in fixture()["powered"].as_array().unwrap() {
        let found = powered_mean(&numbers(&case["y"]), &numbers(&case["f"]), &numbers(&case["u"])).unwrap();
        same(found.lambda, &case["lambda"], "lambda");
        same(found.error, &case["error"], "error");
        interval(found.mean, case);
    }
}

#[test]
fn augmented_means_are_those_of_numpy() {
    for case in fixture()["augmented"].as_array().unwrap() {
        let losses: Vec<Option<f64>> = case["loss"].as_array().unwrap().iter().map(Value::as_f64).collect();
        let found = augmented_mean(&numbers(&case["estimate"]), &losses, &numbers(&case["arrival"])).unwrap();
        same(found.error, &case["error"], "error");
        assert_eq!(found.model_only, case["model_only"].as_u64().unwrap());
        interval(found.mean, case);
    }
}

fn interval(ours: Interval, case: &Value) {
    same(ours.value, &case["value"], "value");
    same(ours.low, &case["low"], "low");
    same(ours.high, &case["high"], "high");
}

fn rows() -> impl Strategy<Value = Vec<(bool, i64, i64, bool)>> {
    prop::collection::vec((any::<bool>(), 0i64..500, 0i64..300, any::<bool>()), 1..120)
}

/// A model of rows (stratum, time, delay, outcome) that knows labels up to `now`.
fn known(rows: &[(bool, i64, i64, bool)], now: i64) -> DelayModel {
    let mut model = DelayModel::new(7).unwrap();
    for &(side, time, delay, outcome) in rows.iter().filter(|row| row.1 < now) {
        let stratum = if side { "a" } else { "b" };
        model.add_records(stratum, &[time]);
        if time + delay <= now {
            model.add_labels(stratum, &[time], &[time + delay], &[outcome]).unwrap();
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_merges_to_the_whole_and_reads_back(rows in rows(), cut in 0.0..1.0f64, reversed: bool) {
        let middle = (rows.len() as f64 * cut) as usize;
        let (left, right) = (known(&rows[..middle], 1_000), known(&rows[middle..], 1_000));
        let (mut merged, other) = if reversed { (right, left) } else { (left, right) };
        merged.merge(&other).unwrap();
        let whole = known(&rows, 1_000);
        prop_assert_eq!(&merged, &whole);
        let text = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<DelayModel>(&text).unwrap(), whole);
    }

    #[test]
    fn the_past_is_seen_as_it_was(rows in rows(), cell in 1i64..100) {
        let then = 7 * cell;
        let (before, after) = (known(&rows, then), known(&rows, 1_000));
        prop_assert_eq!(before.counts(None, 0..then, then), after.counts(None, 0..then, then));
        match (before.curve(Some("a"), then), after.curve(Some("a"), then)) {
            (Ok(before), Ok(after)) => prop_assert_eq!(before.steps(), after.steps()),
            (before, after) => prop_assert_eq!(before.err(), after.err()),
        }
    }

    #[test]
    fn curves_rise_within_their_intervals(rows in rows(), now in 100i64..600) {
        if let Ok(curve) = known(&rows, now).curve(None, now) {
            let mut last = 0.0;
            for age in 0..800 {
                let (Arrived::Known(share) | Arrived::AtLeast(share)) = curve.arrived_by(age).unwrap();
                prop_assert!(share.value >= last && share.value <= 1.0);
                prop_assert!(share.low <= share.value + 1e-12 && share.value <= share.high + 1e-12);
                last = share.value;
            }
        }
    }

    #[test]
    fn corrections_stay_shares(rows in rows(), now in 300i64..700) {
        if let Ok(found) = known(&rows, now).corrected(now / 2..now, now, 200.0, 1) {
            prop_assert!(0.0 <= found.share.low && found.share.low <= found.share.value);
            prop_assert!(found.share.value <= found.share.high && found.share.high <= 1.0);
            let arrived = |age| found.arrived_by("a", true, age).unwrap_or(0.0);
            prop_assert!((0..50).all(|step| arrived(10 * step) <= arrived(10 * step + 10)));
        }
    }

    #[test]
    fn with_every_label_there_all_means_are_the_plain_one(losses in prop::collection::vec(0.0..1.0f64, 2..60)) {
        let plain = mean_interval(&losses).unwrap();
        let estimates: Vec<f64> = losses.iter().map(|loss| (loss * 7.3).fract()).collect();
        let (labels, arrivals): (Vec<_>, Vec<_>) = losses.iter().map(|loss| (Some(*loss), 1.0)).unzip();
        let means = [
            powered_mean(&losses, &estimates, &[]).unwrap().mean,
            augmented_mean(&estimates, &labels, &arrivals).unwrap().mean,
            tuned_mean(&estimates, &labels, &arrivals).unwrap().mean,
        ];
        for mean in means {
            let differences = [mean.value - plain.value, mean.low - plain.low, mean.high - plain.high];
            prop_assert!(differences.iter().all(|difference| difference.abs() < 1e-9), "{:?} {:?}", mean, plain);
        }
    }
}

/// Within three standard errors of 95 %.
fn covers(inside: f64, runs: u64) -> bool {
    (inside - 0.95).abs() <= 3.0 * (0.95f64 * 0.05 / runs as f64).sqrt()
}

/// A loss of 0 or 1 and an estimate of it, which is right on average if `quality` is 1 and says nothing if it is 0.
fn loss(random: &mut Random, quality: f64) -> (f64, f64) {
    let chance = random.uniform() * 0.6;
    (f64::from(u8::from(random.chance(chance))), quality * chance + (1.0 - quality) * random.uniform())
}

#[test]
fn powered_means_cover_and_gain_by_good_estimates() {
    for (quality, gain) in [(1.0, 0.97), (0.0, 1.01)] {
        let (mut errors, mut classical) = (0.0, 0.0);
        let inside = share(800, |random| {
            let (losses, estimates): (Vec<f64>, Vec<f64>) = (0..100).map(|_| loss(random, quality)).unzip();
            let unlabelled: Vec<f64> = (0..900).map(|_| loss(random, quality).1).collect();
            let found = powered_mean(&losses, &estimates, &unlabelled).unwrap();
            errors += found.error;
            classical += powered_mean(&losses, &estimates, &[]).unwrap().error;
            found.mean.low <= 0.3 && 0.3 <= found.mean.high
        });
        assert!(covers(inside, 800), "quality {quality}: {inside}");
        assert!(errors <= gain * classical, "quality {quality}: {errors} against {classical}");
    }
}

#[test]
fn weighted_means_cover_though_labels_of_one_outcome_come_first() {
    let mut naive = 0.0;
    let mut inside = [0u64; 2];
    share(600, |random| {
        // Losses of 1 are known sooner: 80 % of them are there, 30 % of the others.
        let rows: Vec<(f64, f64, bool)> = (0..500)
            .map(|_| {
                let (loss, estimate) = loss(random, 0.5);
                (loss, estimate, random.chance(if loss == 1.0 { 0.8 } else { 0.3 }))
            })
            .collect();
        let estimates: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let losses: Vec<Option<f64>> = rows.iter().map(|row| row.2.then_some(row.0)).collect();
        let arrivals: Vec<f64> =
            losses.iter().map(|loss| if *loss == Some(1.0) { 0.8 } else { 0.3 }).collect();
        let known: Vec<f64> = losses.iter().flatten().copied().collect();
        naive += mean_interval(&known).unwrap().value / 600.0;
        for (mean, count) in [augmented_mean, tuned_mean].into_iter().zip(&mut inside) {
            let mean = mean(&estimates, &losses, &arrivals).unwrap().mean;
            *count += u64::from(mean.low <= 0.3 && 0.3 <= mean.high);
        }
        true
    });
    assert!(naive > 0.5, "labels so far show {naive} where the truth is 0.3");
    for inside in inside {
        assert!(covers(inside as f64 / 600.0, 600), "{inside} of 600");
    }
}

/// Fourteen blocks of ten cells whose share of outcome 1 differs from block to block; labels of outcome 1 come sooner. At
/// the end of the last block, whose share is `truth`.
fn blocks(random: &mut Random, records: usize, truth: f64) -> DelayModel {
    let mut model = DelayModel::new(1).unwrap();
    for block in 0..14 {
        let chance = if block == 13 { truth } else { 0.15 + 0.3 * random.uniform() };
        for record in 0..records {
            let time = 10 * block + (10 * record / records) as i64;
            let outcome = random.chance(chance);
            let mean = if outcome { 3.0 } else { 8.0 };
            let delay = (-mean * (1.0 - random.uniform()).ln()) as i64;
            model.add_records("all", &[time]);
            model.add_labels("all", &[time], &[time + delay], &[outcome]).unwrap();
        }
    }
    model
}

#[test]
fn a_corrected_share_covers_the_truth_where_labels_so_far_do_not() {
    let (mut so_far, mut corrected) = (0.0, 0.0);
    let runs = 40;
    let inside = share(runs, |random| {
        let found = blocks(random, 300, 0.25).corrected(130..140, 140, 40.0, 3).unwrap();
        assert!(found.trials.len() >= 3 && found.unseen < 0.05);
        so_far += found.so_far.unwrap().value / runs as f64;
        corrected += found.share.value / runs as f64;
        found.share.low <= 0.25 && 0.25 <= found.share.high
    });
    assert!(so_far > 0.33, "labels so far show {so_far}");
    assert!((corrected - 0.25).abs() < 0.02, "corrected on average {corrected}");
    assert!(inside >= 0.9, "{inside}");
}

#[test]
fn a_young_window_waits_for_one_that_is_final() {
    let model = blocks(&mut Random::new(5), 300, 0.25);
    let maturity = model.maturity(130..140, 140).unwrap();
    assert!(!maturity.is_final() && !maturity.at_least);
    // As many labels as ought to be there, within what the mix of outcomes and chance make of it.
    assert!((maturity.arrived as f64 / maturity.expected - 1.0).abs() < 0.2, "{maturity:?}");
    let last = model.latest_final(10, 140).unwrap().unwrap();
    assert!(model.maturity(last.clone(), 140).unwrap().is_final());
    assert!(!model.maturity(last.start + 1..last.end + 1, 140).unwrap().is_final());
    let horizon = model.curve(None, 140).unwrap().age_of(0.99).unwrap();
    let found = model.dependence(horizon, 140).unwrap();
    assert!(found.matters() && found.rate_ratio > 2.0 && found.medians[1] < found.medians[0], "{found:?}");
}

#[test]
fn delays_that_do_not_depend_are_hardly_ever_said_to() {
    let said = share(400, |random| {
        let mut model = DelayModel::new(1).unwrap();
        for _ in 0..600 {
            let delay = (-5.0 * (1.0 - random.uniform()).ln()) as i64;
            let outcome = random.chance(0.3);
            model.add_records("all", &[0]);
            model.add_labels("all", &[0], &[delay], &[outcome]).unwrap();
        }
        model.dependence(100, 200).unwrap().matters()
    });
    assert!(said <= 0.01 + 3.0 * (0.01f64 * 0.99 / 400.0).sqrt(), "{said}");
}
