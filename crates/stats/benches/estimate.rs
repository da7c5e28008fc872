//! Estimating the performance of a window of a million rows.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::estimate::{Calibration, Decided, Ranked};
use steersman_stats::metric::Rate;

fn cbpe(criterion: &mut Criterion) {
    let number = |row: u64| {
        let mixed = (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64
    };
    let scores: Vec<f64> = (0..1_000_000).map(number).collect();
    let truths: Vec<bool> =
        scores.iter().zip(0..).map(|(score, row)| number(row + 1_000_000) < score * score).collect();
    let few = 20_000;
    let (calibration, _) = Calibration::fit(&scores[..few], &truths[..few], 7).expect("both classes occur");
    let mut group = criterion.benchmark_group("estimate");
    group.sample_size(10);
    group.bench_function("calibration_fit_1m", |bencher| {
        bencher.iter(|| Calibration::fit(black_box(&scores), &truths, 7))
    });
    group.bench_function("cbpe_1m", |bencher| {
        bencher.iter(|| {
            let probabilities = calibration.apply(black_box(&scores)).expect("finite scores");
            let decisions: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
            let ranked = Ranked::new(&scores, &probabilities).expect("columns of one length");
            let decided = Decided::new(&decisions, &probabilities).expect("columns of one length");
            (ranked.roc_auc(), ranked.average_precision(), decided.rate(Rate::F1))
        })
    });
    group.finish();
}

criterion_group!(benches, cbpe);
criterion_main!(benches);
