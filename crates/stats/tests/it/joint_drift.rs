//! Joint drift on real rows: flights from New York (`tests/fixtures/make_flights_joint.py`), where a column is shuffled
//! among the rows of a window, so that no column by itself changes.

use crate::random::Random;
use steersman_stats::multivariate::{
    Column, CorrelationReference, DomainReference, KEPT_VARIANCE, Reconstruction, compare_errors,
};

const CATEGORIES: usize = 3;
const ALPHA: f64 = 1e-3;

/// The columns of the fixture: categories first, then numbers.
struct Flights {
    names: Vec<&'static str>,
    categories: Vec<Vec<Option<&'static str>>>,
    numbers: Vec<Vec<f64>>,
}

impl Flights {
    fn read() -> Self {
        let mut lines = include_str!("../fixtures/flights_joint.csv").lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        let column = |at: usize| rows.iter().map(move |row| row[at]);
        let category = |value: &'static str| (!value.is_empty()).then_some(value);
        Self {
            categories: (0..CATEGORIES).map(|at| column(at).map(category).collect()).collect(),
            numbers: (CATEGORIES..names.len())
                .map(|at| column(at).map(|value| value.parse().unwrap_or(f64::NAN)).collect())
                .collect(),
            names,
        }
    }

    fn rows(&self, chosen: &[usize]) -> Self {
        Self {
            names: self.names.clone(),
            categories: self.categories.iter().map(|column| pick(column, chosen)).collect(),
            numbers: self.numbers.iter().map(|column| pick(column, chosen)).collect(),
        }
    }

    /// A reference of 5,000 rows and a window of `rows` others, in which one column may be shuffled.
    fn draw(&self, rows: usize, shuffled: Option<usize>, random: &mut Random) -> (Self, Self) {
        let order = permutation(self.numbers[0].len(), random);
        let mut window = self.rows(&order[5_000..5_000 + rows]);
        let shuffle = permutation(rows, random);
        match shuffled {
            Some(at) if at < CATEGORIES => window.categories[at] = pick(&window.categories[at], &shuffle),
            Some(at) => {
                let at = at - CATEGORIES;
                window.numbers[at] = pick(&window.numbers[at], &shuffle);
            }
            None => {}
        }
        (self.rows(&order[..5_000]), window)
    }

    fn columns(&self) -> Vec<Column<'_>> {
        let categories = self.categories.iter().map(|column| Column::Categorical(column));
        categories.chain(self.numbers.iter().map(|column| Column::Numeric(column))).collect()
    }

    fn numbers(&self) -> Vec<&[f64]> {
        self.numbers.iter().map(Vec::as_slice).collect()
    }
}

fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| values[row]).collect()
}

fn permutation(rows: usize, random: &mut Random) -> Vec<usize> {
    let mut keyed: Vec<(f64, usize)> = (0..rows).map(|row| (random.uniform(), row)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    keyed.into_iter().map(|(_, row)| row).collect()
}

fn classifier(reference: &Flights, window: &Flights) -> f64 {
    DomainReference::learn(&reference.columns(), 3).unwrap().compare(&window.columns(), 5).unwrap().p_value
}

fn reconstruction(reference: &Flights, window: &Flights) -> f64 {
    let fitted = Reconstruction::fit(&reference.columns(), KEPT_VARIANCE).unwrap();
    let usual = fitted.errors(&reference.columns()).unwrap();
    compare_errors(&usual, &fitted.errors(&window.columns()).unwrap()).unwrap().p_value
}

fn correlation(reference: &Flights, window: &Flights) -> f64 {
    let reference = CorrelationReference::learn(&reference.numbers()).unwrap();
    reference.compare(&reference.moments(&window.numbers()).unwrap()).unwrap().p_value
}

/// Shares of `runs` windows with a p-value below each level.
fn shares<const N: usize>(
    runs: u64,
    levels: [f64; N],
    (rows, shuffled): (usize, Option<usize>),
    test: impl Fn(&Flights, &Flights) -> f64,
) -> [f64; N] {
    let flights = Flights::read();
    let p_values: Vec<f64> = (0..runs)
        .map(|run| {
            let (reference, window) = flights.draw(rows, shuffled, &mut Random(run * 1_000_003 + 17));
            test(&reference, &window)
        })
        .collect();
    levels.map(|level| p_values.iter().filter(|p| **p < level).count() as f64 / runs as f64)
}

/// Exact binomial: of 150 at 5 %, more than 16 has probability 0.002; of 150 at 0.1 %, more than 2 has 0.0005.
fn keeps_its_level(rows: usize, test: impl Fn(&Flights, &Flights) -> f64) {
    let [often, rarely] = shares(150, [0.05, ALPHA], (rows, None), test);
    assert!(often <= 16.0 / 150.0 && rarely <= 2.0 / 150.0, "{often} {rarely}");
}

#[test]
fn the_classifier_keeps_its_level_on_rows_of_the_same_pool() {
    keeps_its_level(300, classifier);
}

#[test]
fn the_reconstruction_error_keeps_its_level_on_rows_of_the_same_pool() {
    keeps_its_level(800, reconstruction);
}

#[test]
fn correlations_keep_their_level_on_rows_of_the_same_pool() {
    keeps_its_level(300, correlation);
}

#[test]
fn a_shuffled_column_is_found_and_named() {
    let flights = Flights::read();
    for name in ["dest", "hour", "temp", "precip"] {
        let at = flights.names.iter().position(|other| *other == name).unwrap();
        let [found] = shares(8, [ALPHA], (800, Some(at)), classifier);
        assert!(found > 0.5, "{name}: {found}");
        let (reference, window) = flights.draw(800, Some(at), &mut Random(1));
        let drift =
            DomainReference::learn(&reference.columns(), 3).unwrap().compare(&window.columns(), 5).unwrap();
        let named =
            (0..flights.names.len()).max_by(|a, b| drift.importance[*a].total_cmp(&drift.importance[*b]));
        assert!(drift.auc.low > 0.5 && drift.importance.len() == flights.names.len(), "{drift:?}");
        // `dest` and `distance` are the same to a joint test: each is known from the other.
        let twin = if name == "dest" { "distance" } else { name };
        assert!([name, twin].contains(&flights.names[named.unwrap()]), "{name}: {:?}", drift.importance);
    }
}

/// The power of each test against each shuffled column: `cargo test --test it power_table -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes; prints what the documentation quotes"]
fn power_table() {
    let flights = Flights::read();
    let tests: [fn(&Flights, &Flights) -> f64; 3] = [classifier, reconstruction, correlation];
    for rows in [200, 400, 800] {
        for at in [None].into_iter().chain((0..flights.names.len()).map(Some)) {
            let runs = if at.is_none() { 2_000 } else { 40 };
            let row = tests.map(|test| shares(runs, [0.05, 0.01, ALPHA], (rows, at), test));
            println!("{rows} {:12} {row:?}", at.map_or("nothing", |at| flights.names[at]));
            // When nothing was shuffled, each test holds its level within Monte-Carlo error.
            assert!(at.is_some() || row.iter().all(|shares| shares[2] <= 0.005), "{rows} {row:?}");
        }
    }
}
