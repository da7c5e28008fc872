//! Distances of two columns of 100,000 numbers: sorting them, each distance of the sorted ones, and all at once.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::distance::binning::{Convention, numeric_cells};
use steersman_stats::distance::{Sorted, chi_square_pooled, compare_sorted, sorted};

const ROWS: u64 = 100_000;

fn column(factor: u64, shift: f64) -> Vec<f64> {
    (0..ROWS).map(|row| ((row * factor) % 1_000_003) as f64 / 1_000.0 + shift).collect()
}

fn distances(criterion: &mut Criterion) {
    let (first, second) = (column(7_919, 0.0), column(104_729, 1.0));
    let sort = |values: &[f64]| Sorted::new(values.to_vec()).expect("the values are finite");
    let (a, b) = (sort(&first), sort(&second));
    let mut group = criterion.benchmark_group("distance_100k");
    group.sample_size(20);
    group.bench_function("sort_one", |bencher| bencher.iter(|| sort(black_box(&first))));
    group.bench_function("kolmogorov_smirnov", |bencher| {
        bencher.iter(|| sorted::kolmogorov_smirnov(black_box(&a), &b))
    });
    group.bench_function("wasserstein", |bencher| bencher.iter(|| sorted::wasserstein(black_box(&a), &b)));
    group.bench_function("wasserstein_robust", |bencher| {
        bencher.iter(|| sorted::wasserstein_robust(black_box(&a), &b))
    });
    group.bench_function("energy", |bencher| bencher.iter(|| sorted::energy(black_box(&a), &b)));
    group.bench_function("cramer_von_mises", |bencher| {
        bencher.iter(|| sorted::cramer_von_mises(black_box(&a), &b))
    });
    group.bench_function("anderson_darling", |bencher| {
        bencher.iter(|| sorted::anderson_darling(black_box(&a), &b))
    });
    group.bench_function("mann_whitney", |bencher| bencher.iter(|| sorted::mann_whitney(black_box(&a), &b)));
    group.bench_function("epps_singleton", |bencher| {
        bencher.iter(|| sorted::epps_singleton(black_box(&a), &b))
    });
    for convention in [Convention::Steersman, Convention::Nannyml, Convention::Evidently] {
        group.bench_function(format!("cells_{convention:?}").to_lowercase(), |bencher| {
            bencher.iter(|| numeric_cells(black_box(&a), &b, convention))
        });
        group.bench_function(format!("all_{convention:?}").to_lowercase(), |bencher| {
            bencher.iter(|| compare_sorted(black_box(&a), &b, convention))
        });
    }
    group.finish();
    let (p, q): (Vec<u64>, Vec<u64>) = (0..400).map(|cell| (cell % 7, cell % 5)).unzip();
    criterion.bench_function("chi_square_rare_400", |bencher| {
        bencher.iter(|| chi_square_pooled(black_box(&p), &q, 1))
    });
}

criterion_group!(benches, distances);
criterion_main!(benches);
