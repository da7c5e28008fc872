//! Labels that are turned around: the monitor of performance, with its half of the budget.

use crate::compare::shuffle;
use crate::flights::{Column, Flights, Random};
use crate::upper_limit;
use std::io::Read as _;
use steersman_stats::calibration::{CompareOptions, Floors};
use steersman_stats::concept::{Labelled, concept_shift};
use steersman_stats::detector::HarmDetector;
use steersman_stats::learn::{Logistic, Matrix};
use steersman_stats::metric::brier;

/// A budget of one false alarm in 30 windows, of which performance has one half.
const ALPHA: f64 = 1.0 / 60.0;
const TRAINED: usize = 10_000;
const REFERENCE: usize = 5_000;

/// Flipped labels in a stream of windows whose rows are drawn at random: the acceptable loss is the upper end of the
/// interval of the reference's Brier score and a tenth more, as in the platform.
pub(crate) fn flipped(flights: &Flights) {
    println!("### Labels turned around, windows until found (reference of {REFERENCE} labels, 1,000 runs)\n");
    println!(
        "| labels turned | 200 rows: within 1 | within 2 | within 5 | within 20 | 800 rows: within 1 | within 2 | within 5 | within 20 |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let labels = labels();
    let features: Vec<&Column> = flights.columns.iter().filter(|column| column.numeric).collect();
    let matrix = |rows: &[usize]| {
        let column =
            |column: &&Column| rows.iter().map(|&row| column.values[row].unwrap_or(f64::NAN)).collect();
        Matrix::new(features.iter().map(column).collect()).unwrap()
    };
    let mut random = Random(2_013);
    let mut order: Vec<usize> = (0..flights.rows()).collect();
    let rows = order.len();
    shuffle(&mut order, rows, &mut random);
    let (trained, rest) = order.split_at(TRAINED);
    let targets: Vec<f64> = trained.iter().map(|&row| f64::from(u8::from(labels[row]))).collect();
    let model = Logistic::fit(&matrix(trained), &targets, None, 1.0).unwrap();
    let outputs = model.predict(&matrix(rest)).unwrap();
    let truths: Vec<bool> = rest.iter().map(|&row| labels[row]).collect();
    let shown = brier(&outputs[..REFERENCE], &truths[..REFERENCE]).unwrap();
    let limit = shown.high + 0.1 * shown.value;
    let pool = REFERENCE..rest.len();
    for percent in [0, 5, 10, 20] {
        let mut cells = Vec::new();
        for rows in [200, 800] {
            let found: Vec<usize> = (0..1_000u64)
                .map(|run| {
                    let mut random = Random(run * 7_919 + rows * 31 + percent);
                    let mut harm = HarmDetector::new(limit).unwrap();
                    let mut window = |percent: u64| {
                        let loss = |_| {
                            let at = pool.start + random.below(pool.len());
                            let turned = random.uniform() < percent as f64 / 100.0;
                            let truth = f64::from(u8::from(truths[at] != turned));
                            (outputs[at] - truth).powi(2)
                        };
                        harm.observe(&(0..rows).map(loss).collect::<Vec<f64>>());
                        harm.alarms(ALPHA)
                    };
                    for _ in 0..10 {
                        window(0);
                    }
                    (1..=20).find(|_| window(percent)).unwrap_or(99)
                })
                .collect();
            for within in [1, 2, 5, 20] {
                let count = found.iter().filter(|&&windows| windows <= within).count();
                cells.push(match percent {
                    0 => format!("{:.3} (at most {:.3})", count as f64 / 1e3, upper_limit(count, 1_000)),
                    _ => format!("{:.2}", count as f64 / 1e3),
                });
            }
        }
        println!("| {percent} % | {} |", cells.join(" | "));
    }
    println!();
    once(&outputs, &truths);
}

/// The same for one window and one reference: whether the labels follow the scores as they did.
fn once(outputs: &[f64], truths: &[bool]) {
    println!(
        "### Labels turned around, one comparison with {REFERENCE} labels, 500 runs (2,000 without a change)\n"
    );
    println!("| labels turned | 50 rows | 200 rows | 800 rows | 2,000 rows |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let level = CompareOptions::default().family_level;
    let scores: Vec<f64> = outputs.iter().map(|chance| (chance / (1.0 - chance)).ln()).collect();
    for (percent, runs) in [(0, 2_000), (5, 500), (10, 500), (20, 500)] {
        let cells = [50, 200, 800, 2_000].map(|rows| {
            let found = (0..runs as u64).filter(|run| {
                let mut random = Random(run * 104_729 + rows as u64 * 31 + percent);
                let mut order: Vec<usize> = (0..scores.len()).collect();
                shuffle(&mut order, REFERENCE + rows, &mut random);
                let (before, now) = order[..REFERENCE + rows].split_at(REFERENCE);
                let of = |rows: &[usize]| -> Vec<f64> { rows.iter().map(|&row| scores[row]).collect() };
                let mut label =
                    |row: &usize, percent: u64| truths[*row] != (random.uniform() < percent as f64 / 100.0);
                let labels: Vec<bool> = before.iter().map(|row| label(row, 0)).collect();
                let turned: Vec<bool> = now.iter().map(|row| label(row, percent)).collect();
                let (own, other) = (of(before), of(now));
                let reference = Labelled { scores: &own, labels: &labels };
                let current = Labelled { scores: &other, labels: &turned };
                let shift = concept_shift(reference, current, None).unwrap();
                shift.p_value <= level && shift.effect >= Floors::default().share
            });
            let count = found.count();
            match percent {
                0 => format!("{:.4} (at most {:.4})", count as f64 / runs as f64, upper_limit(count, runs)),
                _ => format!("{:.2}", count as f64 / runs as f64),
            }
        });
        println!("| {percent} % | {} |", cells.join(" | "));
    }
    println!();
}

/// Whether each flight was late.
fn labels() -> Vec<bool> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/data/demo_flights_nyc.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let at = reader.headers().unwrap().iter().position(|name| name == "label").unwrap();
    reader.records().map(|row| &row.unwrap()[at] == "1").collect()
}
