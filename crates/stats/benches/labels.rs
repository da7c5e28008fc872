//! Counting records and labels, and correcting a window of thirty days in two years of days.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::labels::DelayModel;
use steersman_stats::labels::powered::augmented_mean;

const DAY: i64 = 86_400;
const ROWS: i64 = 100_000;

fn labels(criterion: &mut Criterion) {
    let recorded: Vec<i64> = (0..ROWS).map(|row| 720 * DAY * row / ROWS).collect();
    let outcomes: Vec<bool> = (0..ROWS).map(|row| row * 7_919 % 10 < 3).collect();
    let delay = |(row, outcome): (i64, &bool)| row * 104_729 % if *outcome { 30 * DAY } else { 90 * DAY };
    let arrived: Vec<i64> =
        recorded.iter().zip((0..).zip(&outcomes)).map(|(time, row)| time + delay(row)).collect();
    let count = || {
        let mut model = DelayModel::new(DAY).expect("a day is long enough");
        model.add_records("all", &recorded);
        model.add_labels("all", &recorded, &arrived, &outcomes).expect("columns of one length");
        model
    };
    let model = count();
    let (start, now) = (690 * DAY, 720 * DAY);
    let mut group = criterion.benchmark_group("labels");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("count", |bencher| bencher.iter(count));
    let losses: Vec<Option<f64>> = outcomes.iter().map(|outcome| outcome.then_some(1.0)).collect();
    let (estimates, arrivals) = (vec![0.3; losses.len()], vec![0.5; losses.len()]);
    group.bench_function("augmented_mean", |bencher| {
        bencher.iter(|| augmented_mean(black_box(&estimates), &losses, &arrivals));
    });
    group.finish();
    criterion.bench_function("labels/curve", |bencher| bencher.iter(|| model.curve(None, black_box(now))));
    criterion.bench_function("labels/corrected", |bencher| {
        bencher.iter(|| model.corrected(start..now, black_box(now), (60 * DAY) as f64, 1));
    });
}

criterion_group!(benches, labels);
criterion_main!(benches);
