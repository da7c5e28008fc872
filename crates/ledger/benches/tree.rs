//! Appending leaves and computing the root.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use steersman_ledger::Tree;
use steersman_ledger::tree::leaf_hash;

fn tree(criterion: &mut Criterion) {
    let leaves: Vec<Vec<u8>> = (0..10_000u32).map(|index| vec![(index % 251) as u8; 600]).collect();
    let mut group = criterion.benchmark_group("tree");
    group.throughput(Throughput::Elements(leaves.len() as u64));
    group.bench_function("append_10000_and_root", |bencher| {
        bencher.iter(|| {
            let mut tree = Tree::default();
            for leaf in &leaves {
                black_box(tree.append(leaf_hash(leaf)));
            }
            tree.root()
        });
    });
    group.finish();
}

criterion_group!(benches, tree);
criterion_main!(benches);
