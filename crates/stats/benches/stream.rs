//! Updates per second of each stream detector; `benches/peers/peers.py` measures River on the same streams.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_stats::stream::{StreamDetector, StreamDetectorKind};

const UPDATES: u64 = 100_000;

/// A stream like uniform numbers in `[0, 1)`, by the golden ratio.
fn spread(row: u64) -> f64 {
    (row as f64 * 0.618_033_988_749_894_9).fract()
}

fn stream(criterion: &mut Criterion) {
    let values: Vec<f64> = (0..UPDATES).map(spread).collect();
    let errors: Vec<f64> = values.iter().map(|value| f64::from(u8::from(*value < 0.2))).collect();
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(UPDATES));
    for kind in StreamDetectorKind::ALL {
        let (column, updates) = match kind {
            StreamDetectorKind::Adwin | StreamDetectorKind::PageHinkley | StreamDetectorKind::Cusum => {
                (&values, values.len())
            }
            StreamDetectorKind::Kswin => (&values, 1_000),
            _ => (&errors, errors.len()),
        };
        group.throughput(Throughput::Elements(updates as u64));
        group.bench_function(kind.name(), |bencher| {
            bencher.iter(|| {
                let mut detector = kind.build(0);
                for value in &column[..updates] {
                    black_box(detector.update(black_box(*value)).expect("the values fit"));
                }
                detector
            })
        });
    }
    group.finish();
}

criterion_group!(benches, stream);
criterion_main!(benches);
