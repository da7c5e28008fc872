//! Merge order, bounds, symmetry.

use proptest::prelude::*;
use steersman_stats::distance::{
    hellinger, jensen_shannon, kolmogorov_smirnov, l_infinity, psi, wasserstein,
};
use steersman_stats::metric::roc_auc;
use steersman_stats::profile::{Bins, CategoricalProfile, ColumnProfile, NumericProfile};

fn numeric(bins: &Bins, values: &[Option<f64>]) -> NumericProfile {
    let mut profile = NumericProfile::new(bins.clone()).unwrap();
    profile.update(values.iter().copied());
    profile
}

fn values() -> impl Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![1 => Just(None), 1 => Just(Some(0.0)), 8 => (-100.0..100.0f64).prop_map(Some)];
    prop::collection::vec(value, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_merges_to_the_whole(rows in values(), cut in 0.0..1.0f64, reversed: bool) {
        let bins = Bins::quantiles(&[-50.0, -10.0, 0.0, 0.0, 20.0, 60.0], 4).unwrap();
        let whole = numeric(&bins, &rows);
        let middle = (rows.len() as f64 * cut) as usize;
        let (left, right) = (numeric(&bins, &rows[..middle]), numeric(&bins, &rows[middle..]));
        let (mut merged, other) = if reversed { (right, left) } else { (left, right) };
        merged.merge(&other).unwrap();
        prop_assert_eq!((merged.count, merged.missing, merged.zeros), (whole.count, whole.missing, whole.zeros));
        prop_assert_eq!(merged.cells(), whole.cells());
        prop_assert_eq!((merged.min, merged.max), (whole.min, whole.max));
        prop_assert!((merged.mean - whole.mean).abs() < 1e-9);
        prop_assert!((merged.deviation().unwrap_or(0.0) - whole.deviation().unwrap_or(0.0)).abs() < 1e-9);
        prop_assert!((merged.distinct() - whole.distinct()).abs() <= 0.05 * whole.distinct());
        // The median of the merged sketch has a rank within the sketch's bound.
        if let Some(median) = merged.quantile(0.5) {
            let known: Vec<f64> = rows.iter().flatten().copied().collect();
            let below = known.iter().filter(|&&value| value < median).count() as f64 / known.len() as f64;
            let at_or_below = known.iter().filter(|&&value| value <= median).count() as f64 / known.len() as f64;
            prop_assert!(below <= 0.5 + 0.027 && at_or_below >= 0.5 - 0.027, "{} {}", below, at_or_below);
        }
    }

    #[test]
    fn a_profile_reads_back_what_it_wrote(rows in values()) {
        let profile = ColumnProfile::Numeric(numeric(&Bins::quantiles(&[1.0, 2.0, 3.0], 3).unwrap(), &rows));
        let text = serde_json::to_string(&profile).unwrap();
        prop_assert_eq!(serde_json::from_str::<ColumnProfile>(&text).unwrap(), profile);
    }

    #[test]
    fn categories_merge_to_the_whole(rows in prop::collection::vec(prop::option::of("[a-e]{1,2}"), 0..200), cut in 0.0..1.0f64) {
        let of = |rows: &[Option<String>]| {
            let mut profile = CategoricalProfile::new().unwrap();
            profile.update(rows.iter().map(Option::as_deref));
            profile
        };
        let middle = (rows.len() as f64 * cut) as usize;
        let mut merged = of(&rows[..middle]);
        merged.merge(&of(&rows[middle..])).unwrap();
        let whole = of(&rows);
        prop_assert_eq!(merged.cells(&whole), whole.cells(&whole));
        prop_assert_eq!(merged, whole);
    }

    #[test]
    fn distances_are_bounded_symmetric_and_zero_on_the_same(
        pair in prop::collection::vec((0u64..1_000, 0u64..1_000), 2..12)
    ) {
        let (mut p, mut q): (Vec<u64>, Vec<u64>) = pair.into_iter().unzip();
        p[0] += 1;
        q[0] += 1;
        for distance in [jensen_shannon, hellinger, l_infinity] {
            let there = distance(&p, &q).unwrap();
            prop_assert!((0.0..=1.0).contains(&there));
            prop_assert!((there - distance(&q, &p).unwrap()).abs() < 1e-9);
            prop_assert!(distance(&p, &p).unwrap() < 1e-7);
        }
        prop_assert!(psi(&p, &q).unwrap() >= 0.0);
    }

    #[test]
    fn moving_a_sample_moves_it_that_far(sample in prop::collection::vec(-50.0..50.0f64, 1..50), by in 0.0..30.0f64) {
        let moved: Vec<f64> = sample.iter().map(|value| value + by).collect();
        prop_assert!((wasserstein(&sample, &moved).unwrap() - by).abs() < 1e-9);
        prop_assert_eq!(kolmogorov_smirnov(&sample, &sample).unwrap().statistic, 0.0);
    }

    #[test]
    fn auc_of_negated_scores_is_the_complement(rows in prop::collection::vec((0u8..20, any::<bool>()), 2..80)) {
        let scores: Vec<f64> = rows.iter().map(|(score, _)| f64::from(*score)).collect();
        let truths: Vec<bool> = rows.iter().map(|(_, truth)| *truth).collect();
        prop_assume!(truths.iter().any(|&truth| truth) && truths.iter().any(|&truth| !truth));
        let negated: Vec<f64> = scores.iter().map(|score| -score).collect();
        let sum = roc_auc(&scores, &truths).unwrap().value + roc_auc(&negated, &truths).unwrap().value;
        prop_assert!((sum - 1.0).abs() < 1e-9);
    }
}
