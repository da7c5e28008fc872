//! Joint drift against NannyML and numpy, and its properties; `tests/fixtures/make_multivariate.py` makes the fixture.

use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::multivariate::{
    CoMoments, Column, Frequencies, KEPT_VARIANCE, Reconstruction, compare_errors,
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
