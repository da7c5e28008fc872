//! Watching a series: points per second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::series::{SeriesConfig, SeriesMonitor};

fn series(criterion: &mut Criterion) {
    let values: Vec<f64> = (0..10_000u64)
        .map(|row| {
            let daily = (row as f64 / 288.0 * std::f64::consts::TAU).sin();
            100.0 + 20.0 * daily + ((row * 7_919) % 10_007) as f64 / 2_000.0
        })
        .collect();
    let mut group = criterion.benchmark_group("series");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("update", |bencher| {
        bencher.iter(|| {
            let mut monitor = SeriesMonitor::new(SeriesConfig::new(300)).expect("a valid configuration");
            for (row, value) in values.iter().enumerate() {
                black_box(monitor.update(row as i64 * 300, Some(*value)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, series);
criterion_main!(benches);
