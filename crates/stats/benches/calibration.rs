//! Null bands by resampling, and judging a window of twenty columns.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::calibration::{ColumnOrdinary, ColumnWindow, Floors, NullBand};
use steersman_stats::distance::jensen_shannon;

const COLUMNS: u64 = 20;

fn calibration(criterion: &mut Criterion) {
    let counts: Vec<u64> = (0..20).map(|cell| 200 + 20 * cell).collect();
    criterion.bench_function("resamples_200_of_20_columns_of_20_cells", |bencher| {
        bencher.iter(|| {
            for column in 0..COLUMNS {
                let band = NullBand::from_resamples(black_box(&counts), 800, 200, column, jensen_shannon);
                black_box(band.expect("there are rows").range());
            }
        });
    });
    let window = |number: u64| ColumnWindow {
        cells: (0..20).map(|cell| 30 + (number * 7 + cell * 5) % 11).collect(),
        moments: Some((10.0 + (number % 5) as f64, 3.0 + (number % 3) as f64)),
        missing: number % 4,
        season: 0,
    };
    let windows: Vec<ColumnWindow> = (0..60).map(window).collect();
    let learnt = ColumnOrdinary::learn(&windows, Floors::default()).expect("there are windows");
    criterion.bench_function("learn_a_column_from_60_windows", |bencher| {
        bencher.iter(|| ColumnOrdinary::learn(black_box(&windows), Floors::default()));
    });
    criterion.bench_function("judge_a_window_of_a_column", |bencher| {
        bencher.iter(|| learnt.judge(black_box(&windows[7])));
    });
}

criterion_group!(benches, calibration);
criterion_main!(benches);
