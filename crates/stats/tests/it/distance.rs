//! Distances against SciPy, NannyML and Evidently (`tests/fixtures/make_distance.py` makes the fixture), and what must
//! hold of them whatever the data.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use steersman_stats::StatsError;
use steersman_stats::calibration::{self, Sizes};
use steersman_stats::distance::{
    self, Convention, Distances, Method, Sorted, binning, compare_categorical, compare_numeric, sorted,
};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/distance.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

fn categories(value: &Value) -> BTreeMap<String, u64> {
    value.as_object().unwrap().iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap())).collect()
}

fn same(ours: f64, theirs: &Value, tolerance: f64, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{what}: {ours} against {theirs}");
}

fn same_test(ours: distance::Test, theirs: &Value, what: &str) {
    same(ours.statistic, &theirs[0], 1e-9, what);
    same(ours.p_value, &theirs[1], 1e-9, &format!("p of {what}"));
}

/// Ragged values, as in the script.
fn large() -> (Vec<f64>, Vec<f64>) {
    let a = (0..12_000u64).map(|i| ((i * 7_919) % 100_003) as f64 / 100_003.0);
    let b = (0..3_000u64).map(|j| ((j * 104_729 + 17) % 100_003) as f64 / 100_003.0 * 1.1 - 0.02);
    (a.map(|x| x * x).collect(), b.map(|x| x * x).collect())
}

/// Every sample with its name, the large one too.
fn all_samples(fixture: &Value) -> Vec<(String, Vec<f64>, Vec<f64>)> {
    let named = fixture["samples"].as_object().unwrap().iter();
    let mut samples: Vec<(String, Vec<f64>, Vec<f64>)> = named
        .map(|(name, case)| (name.clone(), numbers(&case["reference"]), numbers(&case["current"])))
        .collect();
    let (a, b) = large();
    samples.push(("large".to_owned(), a, b));
    samples
}

fn answers<'a>(fixture: &'a Value, tool: &str, name: &str) -> &'a Value {
    if name == "large" { &fixture[tool]["large"] } else { &fixture[tool]["samples"][name] }
}

#[test]
fn sample_tests_are_scipys() {
    let fixture = fixture();
    for (name, a, b) in all_samples(&fixture) {
        let theirs = answers(&fixture, "scipy", &name);
        let found = compare_numeric(&a, &b, Convention::Scipy).unwrap();
        for test in ["kolmogorov_smirnov", "cramer_von_mises", "anderson_darling", "mann_whitney", "t_test"] {
            let ours = distance::Test { statistic: found.distances[test], p_value: found.p_values[test] };
            // SciPy's series for the far tail of this law is right to 1e-7 only.
            let far = test == "cramer_von_mises" && ours.p_value < 1e-9;
            match far {
                true => assert!((ours.p_value - theirs[test][1].as_f64().unwrap()).abs() < 1e-7),
                false => same_test(ours, &theirs[test], &format!("{test} of {name}")),
            }
        }
        for distance in ["wasserstein", "energy"] {
            same(found.distances[distance], &theirs[distance], 1e-9, &format!("{distance} of {name}"));
        }
        match theirs.get("epps_singleton") {
            Some(theirs) => same_test(distance::epps_singleton(&a, &b).unwrap(), theirs, &name),
            None => assert!(found.refused.contains_key("epps_singleton"), "{name}"),
        }
        same_test(distance::student(&a, &b).unwrap(), &theirs["student"], &name);
        let robust = distance::wasserstein_robust(&a, &b).unwrap();
        same(robust.distance, &theirs["robust"][0], 1e-9, &format!("robust distance of {name}"));
        same(robust.below, &theirs["robust"][1], 1e-12, "tail below");
        same(robust.above, &theirs["robust"][2], 1e-12, "tail above");
    }
}

#[test]
fn kolmogorov_p_values_are_scipys_in_every_region() {
    for case in fixture()["scipy"]["grids"].as_array().unwrap() {
        let (n, m, shift) = (case[0].as_u64().unwrap(), case[1].as_u64().unwrap(), case[2].as_f64().unwrap());
        let a: Vec<f64> = (0..n).map(|i| i as f64 / n as f64).collect();
        let b: Vec<f64> = (0..m).map(|j| j as f64 / m as f64 * (1.0 - shift) + shift).collect();
        let test = distance::kolmogorov_smirnov(&a, &b).unwrap();
        same(test.statistic, &case[3], 1e-12, "statistic");
        let theirs = case[4].as_f64().unwrap();
        let what = format!("{n} {m} {shift}: {} against {theirs}", test.p_value);
        assert!((test.p_value - theirs).abs() < 1e-9, "{what}");
        // Small p-values are evidence, so they agree in their digits too, down to 1e-22.
        assert!((test.p_value / theirs - 1.0).abs() < 1e-5 || theirs > 0.99, "{what}");
    }
}

#[test]
fn tables_are_scipys() {
    let fixture = fixture();
    for case in fixture["scipy"]["tables"].as_array().unwrap() {
        let (p, q) = (counts(&case["reference"]), counts(&case["current"]));
        same_test(distance::chi_square(&p, &q).unwrap(), &case["chi_square"], "chi-square");
        same_test(distance::chi_square_corrected(&p, &q).unwrap(), &case["chi_square_corrected"], "Yates");
        same_test(distance::g_test(&p, &q).unwrap(), &case["g_test"], "G");
        same_test(distance::g_test_corrected(&p, &q).unwrap(), &case["g_test_corrected"], "G with Yates");
        for (name, ours) in [
            ("cramers_v_uncorrected", distance::cramers_v_uncorrected(&p, &q)),
            ("jensen_shannon", distance::jensen_shannon(&p, &q)),
            ("jensen_shannon_nats", distance::jensen_shannon_nats(&p, &q)),
            ("total_variation", distance::total_variation(&p, &q)),
            ("l_infinity", distance::l_infinity(&p, &q)),
        ] {
            same(ours.unwrap(), &case[name], 1e-9, name);
        }
    }
    for case in fixture["scipy"]["fisher"].as_array().unwrap() {
        let number = |index: usize| case[index].as_u64().unwrap();
        let ours = distance::fisher((number(0), number(1)), (number(2), number(3))).unwrap();
        same(ours, &case[4], 1e-9, "Fisher");
    }
}

/// Compares what we found with what a tool says; `p:` marks its p-values.
fn like(found: &Distances, theirs: &Value, what: &str) {
    for (name, value) in theirs.as_object().unwrap() {
        let (ours, name) = match name.strip_prefix("p:") {
            Some(name) => (found.p_values[name], name),
            None if name == "chi2" => (found.distances["chi_square"], "chi_square"),
            None => (found.distances[name.as_str()], name.as_str()),
        };
        // Evidently's exact Cramér-von Mises p-value is a single-precision number, its far tail right to 1e-7 only.
        let tolerance = if name == "cramer_von_mises" { 1e-7 } else { 1e-9 };
        same(ours, value, tolerance, &format!("{name} of {what}"));
    }
}

#[test]
fn nannyml_and_evidently_are_reproduced() {
    let fixture = fixture();
    for (tool, convention) in [("nannyml", Convention::Nannyml), ("evidently", Convention::Evidently)] {
        for (name, a, b) in all_samples(&fixture) {
            let found = compare_numeric(&a, &b, convention).unwrap();
            like(&found, answers(&fixture, tool, &name), &format!("{name} in {tool}"));
        }
        for (name, case) in fixture["categories"].as_object().unwrap() {
            let (p, q) = (categories(&case["reference"]), categories(&case["current"]));
            let found = compare_categorical(&p, &q, convention).unwrap();
            like(&found, &fixture[tool]["categories"][name], &format!("{name} in {tool}"));
        }
    }
}

#[test]
fn where_a_peer_is_wrong_the_right_number_stands() {
    let up: Vec<f64> = (0..200).map(|row| f64::from(row % 50)).collect();
    let down: Vec<f64> = up.iter().map(|value| value - 8.0).collect();
    let p =
        |a: &[f64], b: &[f64]| compare_numeric(a, b, Convention::Evidently).unwrap().p_values["mann_whitney"];
    assert!(p(&up, &down) < 1e-3 && (p(&up, &down) - p(&down, &up)).abs() < 1e-12, "both sides are tested");
    // One outlier in the reference hides a shift of two deviations from equal-width bins, not from quantile bins.
    let mut reference: Vec<f64> = (0..500).map(|row| ((row * 37) % 500) as f64 / 100.0).collect();
    let current: Vec<f64> = reference.iter().map(|value| value + 3.0).collect();
    reference[3] = 1e6;
    let js =
        |convention| compare_numeric(&reference, &current, convention).unwrap().distances["jensen_shannon"];
    assert!(js(Convention::Nannyml) < 0.05 && js(Convention::Evidently) < 0.05);
    assert!(js(Convention::Steersman) > 0.5);
}

#[test]
fn heavy_values_have_cells_of_their_own() {
    let mostly_zero: Vec<f64> = (0..400).map(|row| if row % 3 == 0 { f64::from(row) } else { 0.0 }).collect();
    let reference = Sorted::new(mostly_zero).unwrap();
    let edges = binning::quantile_edges(&reference, 20);
    assert_eq!(edges[..2], [0f64.next_down(), 0.0]);
    let cells = binning::numeric_cells(&reference, &reference, Convention::Steersman).unwrap();
    assert_eq!((cells.reference[0], cells.reference[1]), (0, 267));
    assert!(cells.reference[2..].iter().all(|&count| (10..=30).contains(&count)), "{:?}", cells.reference);
    // A constant column shows what leaves it, on either side.
    let constant = Sorted::new(vec![7.0; 50]).unwrap();
    let moved = Sorted::new(vec![6.0, 7.0, 8.0, 9.0]).unwrap();
    let cells = binning::numeric_cells(&constant, &moved, Convention::Steersman).unwrap();
    assert_eq!((cells.reference, cells.current), (vec![0, 50, 0], vec![1, 1, 2]));
}

#[test]
fn what_cannot_be_computed_says_why() {
    let constant = vec![0.1; 30];
    let found = compare_numeric(&constant, &constant, Convention::Steersman).unwrap();
    assert_eq!(found.distances["jensen_shannon"], 0.0);
    assert_eq!(found.p_values["chi_square"], 1.0);
    for name in ["wasserstein_normed", "anderson_darling", "mann_whitney", "epps_singleton", "t_test"] {
        assert!(found.refused.contains_key(name), "{name}");
    }
    let bad = compare_numeric(&[1.0, f64::NAN], &constant, Convention::Steersman);
    assert_eq!(bad, Err(StatsError::NotFinite { row: 1 }));
    assert!(compare_numeric(&[], &constant, Convention::Steersman).is_err());
    assert!(compare_categorical(&BTreeMap::new(), &BTreeMap::new(), Convention::Steersman).is_err());
    assert!(compare_numeric(&[-1e308, 1e308], &constant, Convention::Nannyml).is_err());
    // Nothing hangs or overflows on counts that no memory could hold as rows.
    let huge = u64::MAX / 4;
    assert!(distance::fisher((3, huge), (5, 1_000_000)).unwrap() > 0.0);
    let pooled = distance::chi_square_pooled(&[huge, huge, 3], &[huge, huge, 0], 1).unwrap();
    assert_eq!((pooled.method, pooled.cells), (Method::Pooled, 2));
}

fn uniform_sample(random: &mut Random, rows: usize) -> Sorted {
    Sorted::new((0..rows).map(|_| random.uniform()).collect()).unwrap()
}

#[test]
fn null_laws_hold_their_level() {
    let (runs, reference_rows, current_rows) = (1_500, 2_000, 200);
    let mut alarms: BTreeMap<&str, u32> = BTreeMap::new();
    let mut random = Random(5);
    for _ in 0..runs {
        let (a, b) = (uniform_sample(&mut random, reference_rows), uniform_sample(&mut random, current_rows));
        let cells = binning::numeric_cells(&a, &b, Convention::Steersman).unwrap();
        let (p, q) = (&cells.reference, &cells.current);
        for (name, p_value) in [
            ("psi", distance::psi_test(p, q).unwrap().p_value),
            ("jensen_shannon", distance::jensen_shannon_test(p, q).unwrap().p_value),
            ("chi_square", distance::chi_square(p, q).unwrap().p_value),
            ("g_test", distance::g_test(p, q).unwrap().p_value),
            ("kolmogorov_smirnov", sorted::kolmogorov_smirnov(&a, &b).p_value),
            ("cramer_von_mises", sorted::cramer_von_mises(&a, &b).unwrap().p_value),
            ("mann_whitney", sorted::mann_whitney(&a, &b).unwrap().p_value),
            ("anderson_darling", sorted::anderson_darling(&a, &b).unwrap().p_value),
        ] {
            *alarms.entry(name).or_default() += u32::from(p_value <= 0.05);
        }
    }
    // Three standard errors around 5 %; the laws of divergences are limits, and a little too short at this size.
    let error = (0.05f64 * 0.95 / f64::from(runs)).sqrt();
    for (name, count) in alarms {
        let share = f64::from(count) / f64::from(runs);
        let divergence = ["psi", "jensen_shannon", "g_test"].contains(&name);
        let most = if divergence { 0.085 } else { 0.05 + 3.0 * error };
        assert!((0.05 - 4.0 * error..most).contains(&share), "{name}: {share}");
    }
}

#[test]
fn rare_categories_hold_their_level_and_are_reproducible() {
    let (runs, mut alarms, mut methods) = (300, 0, BTreeMap::new());
    let mut random = Random(9);
    let mut draw = |rows: u64| {
        let mut counts = vec![0u64; 120];
        // A long tail: the smaller of two draws is the category.
        (0..rows).for_each(|_| counts[(120.0 * random.uniform().min(random.uniform())) as usize] += 1);
        counts
    };
    for _ in 0..runs {
        let (p, q) = (draw(900), draw(150));
        let test = distance::chi_square_pooled(&p, &q, 3).unwrap();
        assert_eq!(test, distance::chi_square_pooled(&p, &q, 3).unwrap());
        alarms += u32::from(test.p_value <= 0.05);
        *methods.entry(format!("{:?}", test.method)).or_insert(0) += 1;
    }
    let share = f64::from(alarms) / f64::from(runs);
    assert!((0.015..=0.09).contains(&share), "{share}");
    assert_eq!(methods.keys().collect::<Vec<_>>(), ["MonteCarlo"]);
    // And a change is found.
    let (p, mut q) = (draw(900), draw(150));
    q[119] += 12;
    assert_eq!(distance::chi_square_pooled(&p, &q, 3).unwrap().p_value, 0.001);
}

#[test]
fn limits_and_p_values_are_one_law() {
    const SIZES: Sizes = Sizes { reference: 1_000, current: 200 };
    let (p, q) = ([300u64, 200, 250, 250], [60u64, 50, 50, 40]);
    let psi = distance::psi_test(&p, &q).unwrap();
    let limit = calibration::psi_limit(SIZES, 4, psi.p_value).unwrap();
    assert!((limit - psi.statistic).abs() < 1e-6, "{limit}");
    let js = distance::jensen_shannon_test(&p, &q).unwrap();
    let limit = calibration::jensen_shannon_limit(SIZES, 4, js.p_value).unwrap();
    assert!((limit - js.statistic).abs() < 1e-6, "{limit}");
}

fn sample() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![1 => (-5i32..5).prop_map(f64::from), 2 => -50.0..50.0f64];
    prop::collection::vec(value, 2..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sample_distances_are_symmetric_and_invariant(a in sample(), b in sample(), by in -20.0..20.0f64, times in 0.1..10.0f64) {
        let moved = |values: &[f64]| values.iter().map(|value| value * times + by).collect::<Vec<f64>>();
        let here = compare_numeric(&a, &b, Convention::Scipy).unwrap();
        let back = compare_numeric(&b, &a, Convention::Scipy).unwrap();
        for (name, value) in &here.distances {
            let sign = if *name == "t_test" { -1.0 } else { 1.0 };
            let mirrored = if *name == "mann_whitney" { (a.len() * b.len()) as f64 - value } else { sign * value };
            prop_assert!((back.distances[name] - mirrored).abs() < 1e-6 * (1.0 + value.abs()), "{}", name);
        }
        for (name, p_value) in &here.p_values {
            prop_assert!((0.0..=1.0).contains(p_value), "{} {}", name, p_value);
            prop_assert!((back.p_values[name] - p_value).abs() < 1e-6, "{}", name);
        }
        // Distances in the unit of the values scale with it, its root likewise.
        let (c, d) = (moved(&a), moved(&b));
        let near = |x: f64, y: f64| (x - y).abs() <= 1e-7 * (1.0 + x.abs());
        prop_assert!(near(distance::wasserstein(&c, &d).unwrap(), times * here.distances["wasserstein"]));
        prop_assert!(near(distance::energy(&c, &d).unwrap(), times.sqrt() * here.distances["energy"]));
        if let (Ok(one), Ok(two)) = (distance::wasserstein_robust(&a, &b), distance::wasserstein_robust(&c, &d)) {
            prop_assert!(near(one.distance, two.distance));
        }
    }

    #[test]
    fn ranks_alone_decide_rank_tests(a in sample(), b in sample()) {
        let cubed = |values: &[f64]| values.iter().map(|value| value.powi(3)).collect::<Vec<f64>>();
        let (c, d) = (cubed(&a), cubed(&b));
        prop_assert_eq!(distance::kolmogorov_smirnov(&a, &b), distance::kolmogorov_smirnov(&c, &d));
        prop_assert_eq!(distance::cramer_von_mises(&a, &b), distance::cramer_von_mises(&c, &d));
        prop_assert_eq!(distance::anderson_darling(&a, &b), distance::anderson_darling(&c, &d));
        prop_assert_eq!(distance::mann_whitney(&a, &b), distance::mann_whitney(&c, &d));
    }

    #[test]
    fn a_sample_is_at_no_distance_from_itself(a in sample()) {
        for convention in [Convention::Steersman, Convention::Evidently, Convention::Nannyml, Convention::Scipy] {
            let found = compare_numeric(&a, &a, convention).unwrap();
            for (name, value) in &found.distances {
                let none = ["cramer_von_mises", "anderson_darling", "mann_whitney", "tail_below", "tail_above"];
                prop_assert!(none.contains(name) || value.abs() < 1e-6, "{} {}", name, value);
            }
            prop_assert!(found.p_values.values().all(|p_value| *p_value >= 0.25 - 1e-12));
        }
        let other: Vec<f64> = a.iter().map(|value| value + 1.0).collect();
        prop_assert!(distance::energy(&a, &other).unwrap() > 0.0);
    }

    #[test]
    fn share_distances_keep_their_bounds(pairs in prop::collection::vec((0u64..300, 0u64..300), 2..30)) {
        let (mut p, mut q): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        p[0] += 1;
        q[1] += 1;
        let tv = distance::total_variation(&p, &q).unwrap();
        let hellinger = distance::hellinger(&p, &q).unwrap();
        let js = distance::jensen_shannon(&p, &q).unwrap();
        let largest = distance::l_infinity(&p, &q).unwrap();
        // Le Cam's and Lin's inequalities.
        prop_assert!(hellinger.powi(2) <= tv + 1e-12 && tv <= hellinger * 2f64.sqrt() + 1e-12);
        prop_assert!(js.powi(2) <= tv + 1e-12 && largest <= tv + 1e-12);
        let both = distance::kl_divergence(&p, &q).unwrap() + distance::kl_divergence(&q, &p).unwrap();
        let psi = distance::psi(&p, &q).unwrap();
        prop_assert!((psi - both).abs() < 1e-9 && (psi - distance::psi(&q, &p).unwrap()).abs() < 1e-12);
        // Cells that are empty on both sides tell nothing.
        let with_empty = |counts: &[u64]| [counts, &[0, 0]].concat();
        prop_assert_eq!(psi, distance::psi(&with_empty(&p), &with_empty(&q)).unwrap());
        let pooled = distance::chi_square_pooled(&p, &q, 1).unwrap();
        prop_assert!((0.0..=1.0).contains(&pooled.p_value) && pooled.statistic >= 0.0);
        prop_assert!((0.0..=1.0).contains(&distance::cramers_v(&p, &q).unwrap()));
    }

    #[test]
    fn one_wild_value_moves_the_robust_distance_little(a in prop::collection::vec(-50.0..50.0f64, 40..60), wild in 1e3..1e12f64) {
        let mut b = a.clone();
        b[0] = wild;
        let before = distance::wasserstein_robust(&a, &a).unwrap();
        let after = distance::wasserstein_robust(&a, &b).unwrap();
        // It can cross the whole range once: range / (n x spread).
        prop_assert!(before.distance == 0.0 && after.distance < 1.0, "{}", after.distance);
        prop_assert!((after.above - before.above - 1.0 / a.len() as f64).abs() < 1e-12 || after.above == before.above);
    }
}
