//! What the gateway itself adds to choosing an arm.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_gateway::hash64;

fn split(criterion: &mut Criterion) {
    criterion.bench_function("hash64_of_a_uuid", |bencher| {
        bencher.iter(|| {
            hash64(black_box("rol-0123456789ab"), black_box("6f1c1c9e-7a0e-4c59-9a47-2c6f0a3f6a11"))
        });
    });
}

criterion_group!(benches, split);
criterion_main!(benches);
