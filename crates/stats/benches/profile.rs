//! Profiling a column and the distance of two profiles.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::distance::jensen_shannon;
use steersman_stats::profile::{Bins, CategoricalProfile, NumericProfile, TimeProfile};

/// A column of flags is profiled as one of two categories.
fn flags() -> Vec<String> {
    (0..100_000u64).map(|row| (row % 3 == 0).to_string()).collect()
}

fn profile(criterion: &mut Criterion) {
    let values: Vec<f64> = (0..100_000u64).map(|row| ((row * 7_919) % 10_007) as f64).collect();
    let bins = Bins::quantiles(&values, 10).expect("there are values");
    let mut group = criterion.benchmark_group("profile");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("numeric_update", |bencher| {
        bencher.iter(|| {
            let mut profile = NumericProfile::new(bins.clone()).expect("valid sizes");
            profile.update(values.iter().copied().map(Some));
            black_box(profile.count)
        });
    });
    let names: Vec<String> = (0..100_000u64).map(|row| format!("category {}", (row * 7_919) % 97)).collect();
    group.bench_function("categorical_update", |bencher| {
        bencher.iter(|| {
            let mut profile = CategoricalProfile::new().expect("valid sizes");
            profile.update(names.iter().map(|name| Some(name.as_str())));
            black_box(profile.count)
        });
    });
    let sentences: Vec<String> =
        (0..100_000u64).map(|row| format!("sentence number {row} of many")).collect();
    for (kind, values) in [("text_update", &sentences), ("boolean_update", &flags())] {
        group.bench_function(kind, |bencher| {
            bencher.iter(|| {
                let mut profile = CategoricalProfile::new().expect("valid sizes");
                profile.update(values.iter().map(|value| Some(value.as_str())));
                black_box(profile.count)
            });
        });
    }
    group.bench_function("datetime_update", |bencher| {
        bencher.iter(|| {
            let mut profile = TimeProfile::default();
            profile.update((0..100_000i64).map(|row| Some(black_box(row * 7_919 % 100_003))));
            black_box(profile)
        });
    });
    group.finish();
    let (p, q): (Vec<u64>, Vec<u64>) = (0..10).map(|cell| (1_000 + cell, 1_100 - cell)).unzip();
    criterion.bench_function("jensen_shannon_10", |bencher| {
        bencher.iter(|| jensen_shannon(black_box(&p), black_box(&q)))
    });
}

criterion_group!(benches, profile);
criterion_main!(benches);
