//! Joint drift: co-moments, reconstruction error, domain classifier, kernel test.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::multivariate::{CoMoments, Column, DomainReference, KEPT_VARIANCE, Reconstruction, mmd};

/// Columns of numbers that hang together, the same on every run.
fn table(columns: u64, rows: u64) -> Vec<Vec<f64>> {
    let noise = |seed: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1u64 << 24) as f64;
    (0..columns)
        .map(|column| (0..rows).map(|row| noise(row) + noise(row * columns + column)).collect())
        .collect()
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

fn multivariate(criterion: &mut Criterion) {
    let reference = table(20, 100_000);
    let columns: Vec<Column<'_>> = reference.iter().map(|column| Column::Numeric(column)).collect();
    let window: Vec<Column<'_>> = reference.iter().map(|column| Column::Numeric(&column[..1_000])).collect();

    let mut group = criterion.benchmark_group("multivariate");
    group.sample_size(10);
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("co_moments_20_columns", |bencher| {
        let slices = slices(&reference);
        bencher.iter(|| {
            let mut moments = CoMoments::new(20);
            moments.update(&slices).expect("columns of one length");
            black_box(moments.rows())
        });
    });
    let fitted = Reconstruction::fit(&columns, KEPT_VARIANCE).expect("columns that vary");
    group.bench_function("reconstruction_errors_20_columns", |bencher| {
        bencher.iter(|| black_box(fitted.errors(&columns).expect("the same columns")));
    });
    group.throughput(Throughput::Elements(1_000));
    let classifier = DomainReference::learn(&columns, 1).expect("enough rows");
    group.bench_function("domain_classifier_20_columns", |bencher| {
        bencher.iter(|| black_box(classifier.compare(&window, 1).expect("enough rows").p_value));
    });
    let (left, right) = (table(20, 500), table(20, 500));
    group.bench_function("mmd_20_columns_999_permutations", |bencher| {
        bencher.iter(|| black_box(mmd(&slices(&left), &slices(&right), 999, 1).expect("finite").p_value));
    });
    group.finish();
}

criterion_group!(benches, multivariate);
criterion_main!(benches);
