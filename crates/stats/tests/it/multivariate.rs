//! Joint drift against NannyML and numpy, and its properties; `tests/fixtures/make_multivariate.py` makes the fixture.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::detector::calibrate;
use steersman_stats::multivariate::{
    CoMoments, Column, CorrelationReference, DomainReference, Frequencies, KEPT_VARIANCE, Reconstruction,
    TextFeatures, compare_errors, domain_drift, mmd,
};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/multivariate.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap_or(f64::NAN)).collect()
}

/// A table of the fixture, owned.
enum Owned {
    Numeric(Vec<f64>),
    Categorical(Vec<Option<String>>),
}

fn table(value: &Value) -> Vec<Owned> {
    let column = |values: &Value| {
        let entries = values.as_array().unwrap();
        match entries.iter().any(Value::is_string) {
            true => {
                Owned::Categorical(entries.iter().map(|entry| entry.as_str().map(str::to_owned)).collect())
            }
            false => Owned::Numeric(numbers(values)),
        }
    };
    value.as_object().unwrap().values().map(column).collect()
}

/// Reads owned columns as a table.
fn read<T>(table: &[Owned], then: impl FnOnce(&[Column<'_>]) -> T) -> T {
    let categories: Vec<Vec<Option<&str>>> = table
        .iter()
        .map(|column| match column {
            Owned::Numeric(_) => Vec::new(),
            Owned::Categorical(values) => values.iter().map(Option::as_deref).collect(),
        })
        .collect();
    let columns: Vec<Column<'_>> = table
        .iter()
        .zip(&categories)
        .map(|(column, categories)| match column {
            Owned::Numeric(values) => Column::Numeric(values),
            Owned::Categorical(_) => Column::Categorical(categories),
        })
        .collect();
    then(&columns)
}

#[test]
fn reconstruction_errors_are_those_of_nannyml() {
    let case = &fixture()["reconstruction"];
    let reference = table(&case["reference"]);
    let fitted = read(&reference, |columns| Reconstruction::fit(columns, KEPT_VARIANCE)).unwrap();
    assert_eq!(fitted.kept() as u64, case["kept"].as_u64().unwrap());
    let usual = read(&reference, |columns| fitted.errors(columns)).unwrap();
    for (index, window) in case["windows"].as_array().unwrap().iter().enumerate() {
        let window = table(window);
        let errors = read(&window, |columns| fitted.errors(columns)).unwrap();
        let drift = compare_errors(&usual, &errors).unwrap();
        let theirs = |what: &str| case[what][index].as_f64().unwrap();
        assert!((drift.error.value - theirs("error")).abs() < 1e-9, "{drift:?}");
        assert!((drift.sampling_error - theirs("sampling_error")).abs() < 1e-9, "{drift:?}");
        assert_eq!(drift.p_value < 1e-3, index == 1, "{drift:?}");
        let by_column = read(&window, |columns| fitted.by_column(columns)).unwrap();
        let mean_square = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
        assert!((by_column.iter().sum::<f64>() - mean_square).abs() < 1e-9);
    }
}

#[test]
fn a_reference_may_be_seen_in_parts() {
    let reference = table(&fixture()["reconstruction"]["reference"]);
    read(&reference, |columns| {
        let part = |from: usize, to: usize| -> Vec<Column<'_>> {
            columns
                .iter()
                .map(|column| match *column {
                    Column::Numeric(values) => Column::Numeric(&values[from..to]),
                    Column::Categorical(values) => Column::Categorical(&values[from..to]),
                })
                .collect()
        };
        let parts = [part(0, 90), part(90, 91), part(91, 400)];
        let mut frequencies = Frequencies::learn(&parts[2]).unwrap();
        parts[..2].iter().for_each(|part| frequencies.merge(&Frequencies::learn(part).unwrap()).unwrap());
        assert_eq!(frequencies, Frequencies::learn(columns).unwrap());
        let mut moments = CoMoments::new(frequencies.columns());
        for part in parts.iter().rev() {
            let numbers = frequencies.encode(part).unwrap();
            let mut own = CoMoments::new(frequencies.columns());
            own.update(&numbers.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap();
            moments.merge(&own).unwrap();
        }
        let merged = Reconstruction::from_moments(frequencies, &moments, KEPT_VARIANCE).unwrap();
        let whole = Reconstruction::fit(columns, KEPT_VARIANCE).unwrap();
        let (merged, whole) = (merged.errors(columns).unwrap(), whole.errors(columns).unwrap());
        assert!(merged.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-9));
    });
}

#[test]
fn odd_tables_are_errors_or_harmless_and_never_nan() {
    let (x, gaps) = ([1.0, 2.0, 4.0, f64::INFINITY], [f64::NAN; 4]);
    let fitted = Reconstruction::fit(&[Column::Numeric(&x), Column::Numeric(&gaps)], 0.65).unwrap();
    let errors = fitted.errors(&[Column::Numeric(&gaps), Column::Numeric(&x)]).unwrap();
    assert!(errors.iter().all(|error| error.is_finite()));
    assert!(Reconstruction::fit(&[Column::Numeric(&[1.0, 1.0])], 0.65).is_err());
    assert!(Reconstruction::fit(&[Column::Numeric(&[1.0])], 0.65).is_err());
    assert!(Reconstruction::fit(&[], 0.65).is_err());
    assert!(Reconstruction::fit(&[Column::Numeric(&x)], 1.0).is_err());
    assert!(fitted.errors(&[Column::Numeric(&x)]).is_err());
    assert!(fitted.errors(&[Column::Categorical(&[None]), Column::Numeric(&[1.0])]).is_err());
    assert!(fitted.errors(&[Column::Numeric(&x), Column::Numeric(&[1.0])]).is_err());
    assert!(fitted.by_column(&[Column::Numeric(&[]), Column::Numeric(&[])]).is_err());
    assert!(compare_errors(&[], &[1.0, 2.0]).is_err() && compare_errors(&[1.0], &[1.0]).is_err());
}

#[test]
fn co_moments_are_those_of_pandas() {
    let case = &fixture()["comoments"];
    let columns: Vec<Vec<f64>> = case["columns"].as_object().unwrap().values().map(numbers).collect();
    let mut moments = CoMoments::new(columns.len());
    moments.update(&columns.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    for i in 0..columns.len() {
        for j in 0..columns.len() {
            let theirs = |what: &str| case[what][i][j].as_f64().unwrap();
            let covariance = moments.covariance(i, j).unwrap();
            assert!((covariance - theirs("covariance")).abs() < 1e-9 * theirs("covariance").abs().max(1.0));
            assert!((moments.correlation(i, j).unwrap().0 - theirs("correlation")).abs() < 1e-9);
        }
    }
}

fn columns_of(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

#[test]
fn mean_discrepancy_is_that_of_numpy() {
    let case = &fixture()["mmd"];
    let (x, y) = (columns_of(&case["x"]), columns_of(&case["y"]));
    let drift = mmd(&slices(&x), &slices(&y), 999, 1).unwrap();
    assert!((drift.bandwidth - case["bandwidth"].as_f64().unwrap()).abs() < 1e-9);
    assert!((drift.statistic - case["statistic"].as_f64().unwrap()).abs() < 1e-9);
    assert!((drift.reference_rows, drift.window_rows) == (60, 45) && drift.p_value <= 0.01, "{drift:?}");
    let back = mmd(&slices(&y), &slices(&x), 99, 1).unwrap();
    assert!((back.statistic - drift.statistic).abs() < 1e-12);
}

#[test]
fn mean_discrepancy_of_odd_samples() {
    let same = vec![1.0; 600];
    let drift = mmd(&[&same], &[&same], 99, 1).unwrap();
    assert_eq!((drift.reference_rows, drift.window_rows), (500, 500));
    assert!(drift.statistic.abs() < 1e-12 && drift.p_value == 1.0, "{drift:?}");
    assert!(mmd(&[&same], &[&[1.0, f64::NAN]], 99, 1).is_err() && mmd(&[&same], &[&[1.0]], 99, 1).is_err());
    assert!(mmd(&[&same], &[], 99, 1).is_err() && mmd(&[&same], &[&same], 0, 1).is_err());
}

/// Messages to a help desk; a share of them about something new.
fn messages(count: usize, novel: f64, random: &mut Random) -> Vec<String> {
    let pick =
        |words: &[&'static str], random: &mut Random| words[(random.uniform() * words.len() as f64) as usize];
    (0..count)
        .map(|_| {
            let opening = pick(&["hello", "hi there", "please help", "good morning", "urgent"], random);
            let about = match random.uniform() < novel {
                true => {
                    pick(&["passkey login loops", "wallet export fails", "two factor code is late"], random)
                }
                false => pick(
                    &["refund is late", "parcel is lost", "invoice is wrong", "address has changed"],
                    random,
                ),
            };
            format!("{opening}, my {about} since {} days", (random.uniform() * 30.0) as u32)
        })
        .collect()
}

#[test]
fn a_new_topic_in_texts_is_found_and_the_old_ones_are_no_alarm() {
    let features = TextFeatures::new(128).unwrap();
    let drift = |novel: f64, seed: u64| {
        let random = &mut Random(seed * 7_919);
        let columns = |texts: &[String]| features.columns(texts.iter().map(String::as_str));
        let (reference, window) =
            (columns(&messages(400, 0.0, random)), columns(&messages(150, novel, random)));
        let (reference, window) = (slices(&reference), slices(&window));
        let kernel = mmd(&reference, &window, 199, seed).unwrap().p_value;
        (kernel, domain_drift(&reference, &window, seed).unwrap().p_value)
    };
    let (kernel, classifier) = drift(0.4, 1);
    assert!(kernel <= 0.005 && classifier < 1e-3, "{kernel} {classifier}");
    let quiet: Vec<(f64, f64)> = (0..20).map(|seed| drift(0.0, seed)).collect();
    assert!(quiet.iter().filter(|(kernel, _)| *kernel < 0.05).count() <= 4, "{quiet:?}");
    assert!(quiet.iter().filter(|(_, classifier)| *classifier < 0.05).count() <= 4, "{quiet:?}");
}

#[test]
fn correlations_that_changed_are_named() {
    let random = &mut Random(5);
    let mut normal = |count: usize| -> Vec<f64> {
        (0..count).map(|_| (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0).collect()
    };
    let with = |x: &[f64], noise: Vec<f64>| -> Vec<f64> { x.iter().zip(noise).map(|(x, e)| x + e).collect() };
    let reference = [normal(3_000), normal(3_000), normal(3_000)];
    let reference = CorrelationReference::learn(&[&reference[0], &reference[1], &reference[2]]).unwrap();
    let (a, c) = (normal(300), normal(300));
    let b = with(&a, normal(300));
    let window = reference.moments(&[&a, &b, &c]).unwrap();
    let drift = reference.compare(&window).unwrap();
    let named: Vec<_> =
        drift.pairs.iter().filter(|pair| pair.adjusted < 0.05).map(|pair| pair.columns).collect();
    assert_eq!(named, [(0, 1)]);
    assert!(drift.p_value < 1e-9 && calibrate(drift.p_value).unwrap() > 10.0);
    let mut parts = reference.moments(&[&a[..100], &b[..100], &c[..100]]).unwrap();
    parts.merge(&reference.moments(&[&a[100..], &b[100..], &c[100..]]).unwrap()).unwrap();
    let merged = reference.compare(&parts).unwrap();
    assert!((merged.pairs[0].current - drift.pairs[0].current).abs() < 1e-12);
    assert!(reference.compare(&CoMoments::new(2)).is_err() && reference.compare(&CoMoments::new(3)).is_err());
    // A column without values takes part in no pair, and takes nothing away from the others.
    let gaps = vec![f64::NAN; 300];
    let empty = CorrelationReference::learn(&[&a, &gaps, &b]).unwrap();
    let pairs = empty.compare(&empty.moments(&[&a, &gaps, &b]).unwrap()).unwrap().pairs;
    assert!(pairs.len() == 1 && pairs[0].columns == (0, 2) && pairs[0].p_value == 1.0, "{pairs:?}");
    assert!(reference.moments(&[&a, &b]).is_err() && CorrelationReference::learn(&[&a]).is_err());
}

#[test]
fn a_classifier_bears_odd_tables() {
    let numbers: Vec<f64> = (0..200).map(|row| f64::from(row * 7_919 % 101)).collect();
    let gaps = vec![f64::NAN; 200];
    let names: Vec<Option<&str>> = (0..200).map(|row| (row % 3 > 0).then_some("a")).collect();
    let table = |rows: usize| {
        [
            Column::Numeric(&numbers[..rows]),
            Column::Numeric(&gaps[..rows]),
            Column::Categorical(&names[..rows]),
        ]
    };
    let reference = DomainReference::learn(&table(200), 1).unwrap();
    let same = reference.compare(&table(60), 1).unwrap();
    assert!(same.p_value > 0.001 && same.importance.len() == 3 && same.auc.value.is_finite(), "{same:?}");
    let other: Vec<Option<&str>> = vec![Some("b"); 60];
    let full = [Column::Numeric(&gaps[..60]), Column::Numeric(&numbers[..60]), Column::Categorical(&other)];
    let drift = reference.compare(&full, 1).unwrap();
    assert!(drift.auc.value > 0.99 && drift.p_value < 1e-6, "{drift:?}");
    assert!(reference.compare(&table(10), 1).is_err() && DomainReference::learn(&table(50), 1).is_err());
    assert!(reference.compare(&table(60)[..2], 1).is_err() && DomainReference::learn(&[], 1).is_err());
    let constant = vec![1.0; 100];
    let nothing = domain_drift(&[&constant], &[&constant], 1).unwrap();
    assert!(nothing.auc.value == 0.5 && nothing.p_value == 0.5, "{nothing:?}");
}

proptest! {
    #[test]
    fn co_moments_do_not_depend_on_how_rows_are_split(
        rows in proptest::collection::vec((-1e6..1e6f64, proptest::option::of(-1e3..1e3f64)), 2..60),
        at in 0usize..60,
        offset in -1e6..1e6f64,
    ) {
        let x: Vec<f64> = rows.iter().map(|row| row.0 + offset).collect();
        let y: Vec<f64> = rows.iter().map(|row| row.1.unwrap_or(f64::NAN)).collect();
        let at = at.min(rows.len());
        let of = |range: std::ops::Range<usize>| {
            let mut moments = CoMoments::new(2);
            moments.update(&[&x[range.clone()], &y[range]]).unwrap();
            moments
        };
        let whole = of(0..rows.len());
        let mut merged = of(at..rows.len());
        merged.merge(&of(0..at)).unwrap();
        prop_assert_eq!(whole.rows(), merged.rows());
        for (i, j) in [(0, 0), (0, 1), (1, 1)] {
            match (whole.covariance(i, j), merged.covariance(i, j)) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs() + 1e6)),
                (a, b) => prop_assert_eq!(a.is_some(), b.is_some()),
            }
        }
        if let Some((correlation, count)) = whole.correlation(0, 1) {
            prop_assert!(correlation.abs() <= 1.0 && count <= whole.rows());
        }
    }
}
