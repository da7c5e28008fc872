//! Estimates against NannyML and scikit-learn (`tests/fixtures/make_estimate.py` makes the fixture), their properties,
//! and simulations of how often intervals hold.

use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::StatsError;
use steersman_stats::estimate::{
    Calibration, Decided, DirectLoss, Estimate, Isotonic, Labelled, Multiclass, Past, PointLoss, Ranked,
    adapt, brier, log_loss,
};
use steersman_stats::interval::Interval;
use steersman_stats::learn::{Logistic, Matrix};
use steersman_stats::metric::{self, Cells, Rate};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/estimate.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn columns(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn flags(value: &Value) -> Vec<bool> {
    value.as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect()
}

fn classes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|class| class.as_u64().unwrap() as usize).collect()
}

fn same(ours: f64, theirs: &Value, tolerance: f64, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= tolerance, "{what}: {ours} against {theirs}");
}

const RATES: [(Rate, &str); 5] = [
    (Rate::Accuracy, "accuracy"),
    (Rate::Precision, "precision"),
    (Rate::Recall, "recall"),
    (Rate::Specificity, "specificity"),
    (Rate::F1, "f1"),
];

#[test]
fn binary_estimates_are_nannymls() {
    for case in fixture()["binary"].as_array().unwrap() {
        let (scores, p) = (numbers(&case["scores"]), numbers(&case["probabilities"]));
        let theirs = &case["nannyml"];
        let window = Decided::new(&flags(&case["decisions"]), &p).unwrap();
        for (rate, name) in RATES {
            same(window.rate(rate).unwrap().value, &theirs[name], 1e-9, name);
        }
        let worth =
            Cells { true_positive: 100.0, false_positive: -40.0, false_negative: -15.0, true_negative: 1.0 };
        same(window.business_value(worth).unwrap().value, &theirs["business_value"], 1e-6, "business value");

        let ranked = Ranked::new(&scores, &p).unwrap();
        let auc = ranked.roc_auc().unwrap().value;
        same(auc, &theirs["roc_auc"], 1e-9, "auc");
        same(auc, &theirs["roc_auc_rounded"], 1e-6, "auc of rounded sums");
        same(auc, &case["weighted"]["roc_auc"], 1e-9, "weighted auc");
        let precision = ranked.average_precision().unwrap().value;
        same(precision, &case["weighted"]["average_precision"], 1e-9, "weighted average precision");
        // Rows of one score are decided together here, and in an order of chance there.
        let tolerance = if case["untied"] == true { 1e-9 } else { 0.005 };
        same(precision, &theirs["average_precision"], tolerance, "average precision");
        same(brier(&scores, &p).unwrap().value, &case["weighted"]["brier"], 1e-9, "brier");
        same(log_loss(&scores, &p).unwrap().value, &case["weighted"]["log_loss"], 1e-9, "log loss");
    }
}

#[test]
fn realised_metrics_are_scikit_learns() {
    for case in fixture()["binary"].as_array().unwrap() {
        let (scores, truths) = (numbers(&case["scores"]), flags(&case["truths"]));
        let theirs = &case["realised"];
        let precision = metric::average_precision(&scores, &truths, 7).unwrap();
        same(precision.value, &theirs["average_precision"], 1e-9, "average precision");
        assert!(precision.low < precision.value && precision.high > precision.value);
        same(metric::f1(&scores, &truths, 0.5).unwrap().value, &theirs["f1"], 1e-9, "f1");
        same(
            metric::precision(&scores, &truths, 0.5).unwrap().value,
            &theirs["precision"],
            1e-9,
            "precision",
        );
        same(metric::recall(&scores, &truths, 0.5).unwrap().value, &theirs["recall"], 1e-9, "recall");
        let specificity = metric::specificity(&scores, &truths, 0.5).unwrap();
        same(specificity.value, &theirs["specificity"], 1e-9, "specificity");
        let error = metric::expected_calibration_error(&scores, &truths, 10).unwrap();
        // Ties are split by chance there.
        same(error.value, &theirs["ece"], if case["untied"] == true { 1e-9 } else { 0.02 }, "ece");
    }
    let case = &fixture()["regression"];
    let (outputs, truths) = (numbers(&case["outputs"]), numbers(&case["truths"]));
    same(metric::mse(&outputs, &truths).unwrap().value, &case["mse"], 1e-9, "mse");
    same(metric::rmse(&outputs, &truths).unwrap().value, &case["rmse"], 1e-9, "rmse");
    same(metric::mape(&outputs, &truths).unwrap().value, &case["mape"], 1e-9, "mape");
    same(metric::msle(&outputs, &truths).unwrap().value, &case["msle"], 1e-9, "msle");
    same(metric::rmsle(&outputs, &truths).unwrap().value, &case["rmsle"], 1e-9, "rmsle");
    same(metric::r2(&outputs, &truths, 7).unwrap().value, &case["r2"], 1e-9, "r2");
    let loss = metric::quantile_loss(&outputs, &truths, 0.9).unwrap();
    same(loss.value, &case["quantile_loss_90"], 1e-9, "quantile loss");
}

#[test]
fn multiclass_estimates_are_nannymls_and_realised_ones_scikit_learns() {
    let case = &fixture()["multiclass"];
    let (scores, p) = (columns(&case["scores"]), columns(&case["probabilities"]));
    let (decisions, truths) = (classes(&case["decisions"]), classes(&case["truths"]));
    let (theirs, realised) = (&case["nannyml"], &case["realised"]);
    let window = Multiclass::new(&p).unwrap();
    for (rate, name) in RATES {
        same(window.rate(rate, &decisions).unwrap().value, &theirs[name], 1e-9, name);
        let ours = metric::macro_rate(rate, &decisions, &truths, 4).unwrap();
        same(ours.value, &realised[name], 1e-9, name);
        assert!(ours.low < ours.value && ours.value < ours.high);
    }
    same(window.roc_auc(&scores).unwrap().value, &theirs["roc_auc"], 1e-9, "auc");
    let precision = window.average_precision(&scores).unwrap();
    same(precision.value, &theirs["average_precision"], 1e-9, "average precision");
    same(metric::macro_roc_auc(&scores, &truths).unwrap().value, &realised["roc_auc"], 1e-9, "auc");
    let precision = metric::macro_average_precision(&scores, &truths, 7).unwrap();
    same(precision.value, &realised["average_precision"], 1e-9, "average precision");
}

#[test]
fn learners_are_scikit_learns() {
    let case = &fixture()["isotonic"];
    let (x, y, at) = (numbers(&case["x"]), numbers(&case["y"]), numbers(&case["at"]));
    let plain = Isotonic::fit(&x, &y, None).unwrap().apply(&at);
    let weighted = Isotonic::fit(&x, &y, Some(&numbers(&case["weights"]))).unwrap().apply(&at);
    for (place, at) in at.iter().enumerate() {
        same(plain[place], &case["plain"][place], 1e-9, &format!("isotonic at {at}"));
        same(weighted[place], &case["weighted"][place], 1e-9, &format!("weighted isotonic at {at}"));
    }
    let case = &fixture()["logistic"];
    let features = Matrix::new(columns(&case["columns"])).unwrap();
    let model =
        Logistic::fit(&features, &numbers(&case["targets"]), None, case["ridge"].as_f64().unwrap()).unwrap();
    for (ours, theirs) in model.coefficients().iter().zip(numbers(&case["coefficients"])) {
        assert!((ours - theirs).abs() < 1e-8, "{ours} against {theirs}");
    }
    for (ours, theirs) in model.predict(&features).unwrap().iter().zip(numbers(&case["probabilities"])) {
        assert!((ours - theirs).abs() < 1e-8, "{ours} against {theirs}");
    }
}

#[test]
fn calibration_follows_the_labels_only_where_that_helps() {
    let case = &fixture()["reference"];
    let (scores, truths) = (numbers(&case["scores"]), flags(&case["truths"]));
    let (calibration, held) = Calibration::fit(&scores, &truths, 7).unwrap();
    assert_eq!(calibration.function.is_some(), calibration.gap_after < calibration.gap_before.unwrap());
    assert!(held.iter().all(|p| (0.0..=1.0).contains(p)));
    // Scores beyond 0 and 1 have no meaning by themselves.
    let beyond: Vec<f64> = scores.iter().map(|score| 10.0 * score).collect();
    let (calibration, _) = Calibration::fit(&beyond, &truths, 7).unwrap();
    assert!(calibration.function.is_some() && calibration.gap_before.is_none());
    // Scores that are right need no more noise.
    let mut draw = draws(3);
    let right: Vec<f64> = (0..2_000).map(|_| draw()).collect();
    let labels: Vec<bool> = right.iter().map(|p| draw() < *p).collect();
    assert!(Calibration::fit(&right, &labels, 7).unwrap().0.function.is_none());
}

/// Even numbers in `[0, 1)` from a seed.
fn draws(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Every binary estimate of a window whose scores are right, and the realised metric.
fn all(scores: &[f64], p: &[f64], truths: &[bool]) -> Vec<(Estimate, f64)> {
    let decisions: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
    let (decided, ranked) = (Decided::new(&decisions, p).unwrap(), Ranked::new(scores, p).unwrap());
    let ones: Vec<usize> = truths.iter().map(|&truth| usize::from(truth)).collect();
    let own: Vec<usize> = decisions.iter().map(|&decision| usize::from(decision)).collect();
    let table = metric::Confusion::count(&own, &ones, 2).unwrap().of_class(1);
    let mut pairs: Vec<(Estimate, f64)> =
        RATES.iter().map(|&(rate, _)| (decided.rate(rate).unwrap(), table.rate(rate).unwrap())).collect();
    pairs.push((ranked.roc_auc().unwrap(), metric::roc_auc(scores, truths).unwrap().value));
    pairs.push((ranked.average_precision().unwrap(), average_precision(scores, truths)));
    pairs.push((brier(scores, p).unwrap(), metric::brier(scores, truths).unwrap().value));
    pairs.push((log_loss(scores, p).unwrap(), metric::log_loss(scores, truths).unwrap().value));
    pairs
}

/// Without the bootstrap; the scores are distinct.
fn average_precision(scores: &[f64], truths: &[bool]) -> f64 {
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(truths.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut positives, mut sum) = (0.0, 0.0);
    for (place, (_, truth)) in rows.iter().enumerate() {
        if *truth {
            positives += 1.0;
            sum += positives / (place + 1) as f64;
        }
    }
    sum / positives
}

#[test]
fn intervals_hold_as_often_as_they_say_when_probabilities_are_right() {
    let mut draw = draws(11);
    let windows = 1_500;
    let mut inside = [0; 9];
    for _ in 0..windows {
        let p: Vec<f64> = (0..300).map(|_| draw()).collect();
        let truths: Vec<bool> = p.iter().map(|p| draw() < *p).collect();
        for (place, (estimate, realised)) in all(&p, &p, &truths).into_iter().enumerate() {
            let interval = estimate.interval().unwrap();
            inside[place] += u32::from((interval.low..=interval.high).contains(&realised));
        }
    }
    // 95 % of 1500 have a standard error of 0.56 points.
    for (place, inside) in inside.into_iter().enumerate() {
        let share = f64::from(inside) / f64::from(windows);
        assert!((0.93..=0.97).contains(&share), "metric {place}: {share}");
    }
}

#[test]
fn the_sampling_error_of_macro_averages_is_right() {
    let mut draw = draws(5);
    let (mut inside, windows) = ([0u32; 3], 600);
    for _ in 0..windows {
        let weights: Vec<[f64; 3]> = (0..300).map(|_| [draw(), draw(), 0.5 * draw()]).collect();
        let share = |row: &[f64; 3], class: usize| row[class] / row.iter().sum::<f64>();
        let p: Vec<Vec<f64>> = (0..3).map(|c| weights.iter().map(|row| share(row, c)).collect()).collect();
        let truths: Vec<usize> = (0..300)
            .map(|row| {
                let u = draw();
                if u < p[0][row] { 0 } else { 1 + usize::from(u >= p[0][row] + p[1][row]) }
            })
            .collect();
        let decisions: Vec<usize> =
            (0..300).map(|row| (0..3).max_by(|&a, &b| p[a][row].total_cmp(&p[b][row])).unwrap()).collect();
        let window = Multiclass::new(&p).unwrap();
        let pairs = [
            (
                window.rate(Rate::F1, &decisions).unwrap(),
                metric::macro_rate(Rate::F1, &decisions, &truths, 3),
            ),
            (
                window.rate(Rate::Accuracy, &decisions).unwrap(),
                metric::macro_rate(Rate::Accuracy, &decisions, &truths, 3),
            ),
            (window.roc_auc(&p).unwrap(), metric::macro_roc_auc(&p, &truths)),
        ];
        for (place, (estimate, realised)) in pairs.into_iter().enumerate() {
            let interval = estimate.interval().unwrap();
            inside[place] += u32::from((interval.low..=interval.high).contains(&realised.unwrap().value));
        }
    }
    for inside in inside {
        let share = f64::from(inside) / f64::from(windows);
        assert!((0.925..=0.975).contains(&share), "{share}");
    }
}

/// The estimator is wrong by a new amount in every window, twice as much as chance. Its own past widens the interval to
/// what it should be, with few windows and with many.
#[test]
fn past_errors_widen_the_interval_until_it_holds() {
    for windows in [3, 10, 19, 40, 99] {
        let (mut plain, mut honest, runs) = (0u32, 0u32, 1_500);
        let mut draw = draws(windows as u64);
        let mut normal = || (-2.0 * (1.0 - draw()).ln()).sqrt() * (std::f64::consts::TAU * draw()).cos();
        let p: Vec<f64> = (0..500).map(|row| f64::from(row) / 500.0).collect();
        let estimate = Ranked::new(&p, &p).unwrap().roc_auc().unwrap();
        for _ in 0..runs {
            let mut realised = || estimate.value + 5f64.sqrt() * estimate.deviation * normal();
            let past: Vec<Past> = (0..windows).map(|_| Past { estimate, realised: realised() }).collect();
            let next = realised();
            let holds = |interval: Interval| u32::from((interval.low..=interval.high).contains(&next));
            plain += holds(estimate.interval().unwrap());
            honest += holds(estimate.interval_after(&past).unwrap());
        }
        let share = |count: u32| f64::from(count) / f64::from(runs);
        assert!(share(plain) < 0.7, "{windows} windows: {}", share(plain));
        assert!(share(honest) > 0.935, "{windows} windows: {}", share(honest));
    }
}

/// The mix of two groups moves; the score means different things in them. Plain calibration keeps saying what held for
/// the old mix, weights follow. When labels change for the same features neither sees it.
#[test]
fn weights_follow_a_new_mix_but_nothing_sees_concept_drift() {
    let sample = |rows: usize, share: f64, seed: u64, flipped: bool| {
        let mut draw = draws(seed);
        let (mut group, mut scores, mut truths) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let own = draw() < share;
            let score = draw();
            let p = if own { 0.5 + 0.2 * (score - 0.5) } else { score };
            group.push(f64::from(u8::from(own)));
            scores.push(score);
            truths.push((draw() < p) != flipped);
        }
        (Matrix::new(vec![group]).unwrap(), scores, truths)
    };
    let (features, scores, truths) = sample(8_000, 0.1, 1, false);
    let reference = Labelled { features: &features, scores: &scores, truths: &truths };
    let (plain, _) = Calibration::fit(&scores, &truths, 7).unwrap();
    for flipped in [false, true] {
        let (features, scores, truths) = sample(4_000, 0.9, 2, flipped);
        let auc = |p: &[f64]| Ranked::new(&scores, p).unwrap().roc_auc().unwrap().value;
        let realised = metric::roc_auc(&scores, &truths).unwrap().value;
        let before = auc(&plain.apply(&scores).unwrap());
        let after = auc(&adapt(&reference, &features, &scores, 7).unwrap().probabilities);
        if flipped {
            assert!((after - realised).abs() > 0.1, "estimated {after}, realised {realised}");
        } else {
            assert!((before - realised).abs() > 0.1, "plain {before}, realised {realised}");
            assert!((after - realised).abs() < 0.03, "adapted {after}, realised {realised}");
        }
    }
}

type Metric = fn(&[f64], &[f64]) -> Result<Interval, StatsError>;

#[test]
fn direct_loss_follows_harder_rows() {
    let sample = |rows: usize, (from, width): (f64, f64), seed: u64| {
        let mut draw = draws(seed);
        let x: Vec<f64> = (0..rows).map(|_| from + width * draw()).collect();
        let truths: Vec<f64> = x.iter().map(|x| 10.0 + x * (1.0 + 0.6 * (draw() - 0.5))).collect();
        let outputs: Vec<f64> = x.iter().map(|x| 10.0 + x).collect();
        (Matrix::new(vec![x]).unwrap(), outputs, truths)
    };
    let (features, outputs, truths) = sample(2_000, (0.0, 5.0), 1);
    let cases: [(PointLoss, Metric, Option<Metric>); 4] = [
        (PointLoss::Absolute, metric::mae, None),
        (PointLoss::Squared, metric::mse, Some(metric::rmse)),
        (PointLoss::AbsolutePercentage, metric::mape, None),
        (PointLoss::SquaredLogarithmic, metric::msle, Some(metric::rmsle)),
    ];
    for (loss, mean, root) in cases {
        let (model, held) = DirectLoss::fit(loss, &features, &outputs, &truths, 7).unwrap();
        let (whole, own) = (model.estimate(&held).unwrap(), mean(&outputs, &truths).unwrap());
        assert!((whole.value / own.value - 1.0).abs() < 0.1, "{loss:?}: {} of {}", whole.value, own.value);
        let (mut draw, mut inside, mut asked) = (draws(9), 0, 0);
        for window in 0..40 {
            // From easy windows to hard ones.
            let (features, outputs, truths) = sample(200, (2.5 * draw(), 2.5), 100 + window);
            let estimate = model.estimate(&model.predict(&features, &outputs).unwrap()).unwrap();
            let mut check = |estimate: Estimate, metric: Metric| {
                let interval = estimate.interval().unwrap();
                let realised = metric(&outputs, &truths).unwrap().value;
                inside += u32::from((interval.low..=interval.high).contains(&realised));
                asked += 1;
            };
            check(estimate, mean);
            root.into_iter().for_each(|metric| check(estimate.root(), metric));
        }
        assert!(inside * 10 >= asked * 9, "{loss:?}: {inside} of {asked}");
    }
}

#[test]
fn what_cannot_be_computed_says_so() {
    assert!(Decided::new(&[true], &[1.5]).is_err());
    assert!(Decided::new(&[false, false], &[0.5, 0.5]).unwrap().rate(Rate::Precision).is_err());
    assert!(Ranked::new(&[0.1, 0.2], &[0.0, 0.0]).is_err());
    assert!(Ranked::new(&[0.1, f64::NAN], &[0.3, 0.2]).is_err());
    assert!(Multiclass::new(&[vec![0.5], vec![0.4]]).is_err());
    assert!(Multiclass::new(&[vec![0.5]]).is_err());
    assert!(Isotonic::fit(&[1.0], &[1.0], Some(&[0.0])).is_err());
    assert!(Calibration::fit(&[0.5; 100], &[true; 100], 7).is_err());
    assert!(metric::macro_rate(Rate::F1, &[0, 3], &[0, 1], 3).is_err());
    assert!(metric::mape(&[1.0, 1.0], &[0.0, 1.0]).is_err());
    assert!(metric::average_precision(&[0.1, 0.2], &[true, true], 7).is_err());
}

proptest! {
    #[test]
    fn isotonic_rises_within_its_targets(rows in prop::collection::vec((-5i32..5, 0.0f64..1.0, 0.1f64..2.0), 1..60)) {
        let x: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
        let y: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let w: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let at: Vec<f64> = (-60..60).map(|place| f64::from(place) / 10.0).collect();
        let heights = Isotonic::fit(&x, &y, Some(&w)).unwrap().apply(&at);
        prop_assert!(heights.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12));
        let (least, most) = y.iter().fold((1.0f64, 0.0f64), |(a, b), y| (a.min(*y), b.max(*y)));
        prop_assert!(heights.iter().all(|height| (least - 1e-12..=most + 1e-12).contains(height)));
        // Means are kept.
        let fitted = Isotonic::fit(&x, &y, Some(&w)).unwrap().apply(&x);
        let sum = |values: &[f64]| values.iter().zip(&w).map(|(value, w)| value * w).sum::<f64>();
        prop_assert!((sum(&fitted) - sum(&y)).abs() < 1e-9);
    }

    /// Probabilities of 0 and 1 are labels: the estimate is the realised metric, without error.
    #[test]
    fn an_estimate_from_certain_rows_is_the_metric(rows in prop::collection::vec((0u32..20, any::<bool>()), 4..80)) {
        let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0) / 20.0).collect();
        let truths: Vec<bool> = rows.iter().map(|row| row.1).collect();
        prop_assume!(truths.contains(&true) && truths.contains(&false));
        let p: Vec<f64> = truths.iter().map(|&truth| f64::from(u8::from(truth))).collect();
        let ranked = Ranked::new(&scores, &p).unwrap();
        let auc = ranked.roc_auc().unwrap();
        prop_assert!((auc.value - metric::roc_auc(&scores, &truths).unwrap().value).abs() < 1e-12 && auc.deviation == 0.0);
        let precision = ranked.average_precision().unwrap();
        let realised = metric::average_precision(&scores, &truths, 7).unwrap();
        prop_assert!((precision.value - realised.value).abs() < 1e-12);
        prop_assert!((0.0..=1.0).contains(&realised.low) && (0.0..=1.0).contains(&realised.high));
        let decisions: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
        let window = Decided::new(&decisions, &p).unwrap();
        if let Ok(f1) = metric::f1(&scores, &truths, 0.5) {
            prop_assert!((window.rate(Rate::F1).unwrap().value - f1.value).abs() < 1e-12);
            prop_assert!(f1.low <= f1.value + 1e-12 && f1.value <= f1.high + 1e-12);
        }
    }

    /// The order of rows does not matter.
    #[test]
    fn rows_may_come_in_any_order(rows in prop::collection::vec((0u32..10, 0.01f64..0.99), 2..60), turn in 0usize..60) {
        let split = |rows: &[(u32, f64)]| rows.iter().map(|row| (f64::from(row.0), row.1)).unzip::<f64, f64, Vec<_>, Vec<_>>();
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        let ((scores, p), (other_scores, other_p)) = (split(&rows), split(&turned));
        let (one, other) = (Ranked::new(&scores, &p).unwrap(), Ranked::new(&other_scores, &other_p).unwrap());
        prop_assert!((one.roc_auc().unwrap().value - other.roc_auc().unwrap().value).abs() < 1e-12);
        let (one, other) = (one.average_precision().unwrap(), other.average_precision().unwrap());
        prop_assert!((one.value - other.value).abs() < 1e-12 && (one.deviation - other.deviation).abs() < 1e-12);
    }
}
