//! The same numbers as SciPy, scikit-learn and statsmodels; `tests/fixtures/make.py` makes the fixture.

use serde_json::Value;
use steersman_stats::{distance, interval, metric};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/scipy.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

fn same(ours: f64, theirs: &Value, tolerance: f64, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= tolerance, "{what}: {ours} against {theirs}");
}

#[test]
fn sample_distances() {
    for case in fixture()["samples"].as_array().unwrap() {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let ks = distance::kolmogorov_smirnov(&a, &b).unwrap();
        same(ks.statistic, &case["ks"], 1e-12, "ks");
        // The p-value is asymptotic, SciPy's is exact here.
        same(ks.p_value, &case["ks_p_exact"], 0.03, "ks p");
        same(distance::wasserstein(&a, &b).unwrap(), &case["wasserstein"], 1e-12, "wasserstein");
        same(distance::wasserstein_normed(&a, &b).unwrap(), &case["wasserstein_normed"], 1e-12, "normed");
    }
}

#[test]
fn table_distances() {
    for case in fixture()["tables"].as_array().unwrap() {
        let (p, q) = (counts(&case["p"]), counts(&case["q"]));
        let test = distance::chi_square(&p, &q).unwrap();
        same(test.statistic, &case["chi2"], 1e-9, "chi2");
        same(test.p_value, &case["chi2_p"], 1e-9, "chi2 p");
        same(distance::jensen_shannon(&p, &q).unwrap(), &case["js"], 1e-12, "js");
        same(distance::hellinger(&p, &q).unwrap(), &case["hellinger"], 1e-12, "hellinger");
        // The bias correction only ever lowers it.
        assert!(distance::cramers_v(&p, &q).unwrap() <= case["cramers_v_uncorrected"].as_f64().unwrap());
    }
}

#[test]
fn performance_metrics() {
    for case in fixture()["predictions"].as_array().unwrap() {
        let outputs = numbers(&case["p"]);
        let truths: Vec<bool> =
            case["y"].as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect();
        let auc = metric::roc_auc(&outputs, &truths).unwrap();
        same(auc.value, &case["auc"], 1e-12, "auc");
        same(auc.low, &case["auc_low"], 1e-9, "auc low");
        same(auc.high.min(1.0), &case["auc_high"], 1e-9, "auc high");
        let brier = metric::brier(&outputs, &truths).unwrap();
        same(brier.value, &case["brier"], 1e-12, "brier");
        same(brier.low, &case["brier_low"], 1e-9, "brier low");
        same(brier.high, &case["brier_high"], 1e-9, "brier high");
        same(metric::log_loss(&outputs, &truths).unwrap().value, &case["log_loss"], 1e-12, "log loss");
        same(metric::accuracy(&outputs, &truths, 0.5).unwrap().value, &case["accuracy"], 1e-12, "accuracy");
    }
}

#[test]
fn shares() {
    let fixture = fixture();
    for case in fixture["wilson"].as_array().unwrap() {
        let ours = interval::wilson(case[0].as_u64().unwrap(), case[1].as_u64().unwrap()).unwrap();
        same(ours.low, &case[2], 1e-9, "wilson low");
        same(ours.high, &case[3], 1e-9, "wilson high");
    }
    for case in fixture["newcombe"].as_array().unwrap() {
        let number = |index: usize| case[index].as_u64().unwrap();
        let ours = interval::newcombe((number(0), number(1)), (number(2), number(3))).unwrap();
        same(ours.low, &case[4], 1e-9, "newcombe low");
        same(ours.high, &case[5], 1e-9, "newcombe high");
    }
    for case in fixture["two_proportions"].as_array().unwrap() {
        let number = |index: usize| case[index].as_u64().unwrap();
        let ours = distance::two_proportions((number(0), number(1)), (number(2), number(3))).unwrap();
        same(ours.statistic, &case[4], 1e-9, "z");
        same(ours.p_value, &case[5], 1e-9, "p");
    }
    for case in fixture["fisher"].as_array().unwrap() {
        let number = |index: usize| case[index].as_u64().unwrap();
        let ours = distance::two_proportions((number(0), number(1)), (number(2), number(3))).unwrap();
        same(ours.p_value, &case[4], 1e-9, "fisher");
    }
}
