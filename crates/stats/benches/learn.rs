//! Boosting on 100,000 rows of 20 columns.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::learn::{Boosted, Boosting, Loss, Matrix};

fn boosting(criterion: &mut Criterion) {
    let rows = 100_000u64;
    let number = |row: u64, column: u64| {
        let mixed = (row * 20 + column + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64
    };
    let columns: Vec<Vec<f64>> =
        (0..20).map(|column| (0..rows).map(|row| number(row, column)).collect()).collect();
    let targets: Vec<f64> = (0..rows)
        .map(|row| {
            let chance = 0.2 + 0.5 * number(row, 0) * number(row, 1);
            f64::from(u8::from(number(row, 20_000_000) < chance))
        })
        .collect();
    let features = Matrix::new(columns).expect("columns of one length");
    let mut group = criterion.benchmark_group("learn");
    group.sample_size(10);
    let settings = Boosting::new(Loss::Log);
    group.bench_function("boost_100k_x_20", |bencher| {
        bencher.iter(|| Boosted::fit(&settings, black_box(&features), &targets, None))
    });
    let model = Boosted::fit(&settings, &features, &targets, None).expect("sound columns");
    group.bench_function("predict_100k_x_20", |bencher| bencher.iter(|| model.predict(black_box(&features))));
    group.finish();
}

criterion_group!(benches, boosting);
criterion_main!(benches);
