//! The search for weak segments in 100,000 rows of ten columns, and sharing out harm.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::harm::{ShapleyOptions, shapley};
use steersman_stats::profile::Bins;
use steersman_stats::segment::{Column, ColumnData, SearchOptions, weak_segments};

const ROWS: u64 = 100_000;

fn number(row: u64, column: u64) -> f64 {
    ((row * 7_919 + (row / 10) * column * 104_729) % 10_007) as f64
}

fn search(criterion: &mut Criterion) {
    let numbers: Vec<Vec<Option<f64>>> =
        (0..7).map(|column| (0..ROWS).map(|row| Some(number(row, column))).collect()).collect();
    let names: Vec<String> = (0..40).map(|name| format!("category {name}")).collect();
    let categories: Vec<Vec<Option<&str>>> = (7..10)
        .map(|column| (0..ROWS).map(|row| Some(names[number(row, column) as usize % 40].as_str())).collect())
        .collect();
    let losses: Vec<Option<f64>> = (0..ROWS).map(|row| Some(number(row, 11) / 10_007.0)).collect();
    let bins = Bins::quantiles(&(0..10_007).map(f64::from).collect::<Vec<_>>(), 5).expect("there are values");
    let numbers = numbers.iter().map(|values| ColumnData::Numbers(values, &bins));
    let categories = categories.iter().map(|values| ColumnData::Categories(values));
    let columns: Vec<Column<'_>> =
        numbers.chain(categories).map(|data| Column { name: "column", data }).collect();
    let mut group = criterion.benchmark_group("segments");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ROWS * columns.len() as u64));
    group.bench_function("weak_segments_100k_x_10", |bencher| {
        bencher.iter(|| weak_segments(black_box(&columns), &losses, &SearchOptions::default()))
    });
    group.finish();
}

fn harm(criterion: &mut Criterion) {
    let side = |shift: u64| -> Vec<Vec<f64>> {
        (0..10).map(|column| (0..2_000).map(|row| number(row, column + shift)).collect()).collect()
    };
    let (reference, current) = (side(0), side(3));
    let (reference, current): (Vec<&[f64]>, Vec<&[f64]>) =
        (reference.iter().map(Vec::as_slice).collect(), current.iter().map(Vec::as_slice).collect());
    let groups: Vec<Vec<usize>> = (0..10).map(|column| vec![column]).collect();
    let loss =
        |columns: &[&[f64]]| columns[0].iter().zip(columns[1]).map(|(a, b)| a * b).collect::<Vec<f64>>();
    criterion.bench_function("shapley_exact_2k_x_10", |bencher| {
        bencher.iter(|| shapley(&reference, &current, &groups, black_box(&loss), &ShapleyOptions::default()))
    });
}

criterion_group!(benches, search, harm);
criterion_main!(benches);
