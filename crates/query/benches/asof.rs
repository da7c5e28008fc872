//! Point-in-time join of 1,000,000 rows with three tables, in memory: keys as numbers and as texts.
//! `benches/peers/asof.py` measures DuckDB on the same rows.

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use steersman_query::asof::{History, Keys, Known};

const ROWS: u64 = 1_000_000;
const ENTITIES: u64 = 50_000;

/// Numbers that look random and are always the same.
fn random(seed: u64, place: u64, below: u64) -> u64 {
    let mixed = (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) % below
}

fn keys(seed: u64, texts: bool) -> ArrayRef {
    let keys = (0..ROWS).map(|row| random(seed, row, ENTITIES));
    match texts {
        true => Arc::new(keys.map(|key| Some(format!("customer-{key:06}"))).collect::<StringArray>()),
        false => Arc::new(keys.map(|key| Some(key as f64)).collect::<Float64Array>()),
    }
}

fn times(seed: u64) -> TimestampMicrosecondArray {
    (0..ROWS).map(|row| Some(random(seed + 100, row, 30 * 86_400_000_000) as i64)).collect()
}

fn asof(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("asof_1000000x3");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    for (name, texts) in [("numbers", false), ("texts", true)] {
        let (left, at) = (keys(0, texts), times(0));
        let tables: Vec<_> = (1..=3).map(|seed| (keys(seed, texts), times(seed), times(seed + 10))).collect();
        for known in [Known::EventTime, Known::AsKnown] {
            group.bench_function(format!("{name}/{known:?}"), |bencher| {
                bencher.iter(|| {
                    let join = |(right, times, created): &(ArrayRef, _, _)| {
                        let keys = Keys::new(std::slice::from_ref(&left), std::slice::from_ref(right))
                            .expect("keys");
                        let history = History::new(&keys, times, Some(created), known);
                        history.join(&keys, &at, Some(7 * 86_400_000_000))
                    };
                    tables.iter().map(join).collect::<Vec<_>>()
                });
            });
        }
    }
}

criterion_group!(benches, asof);
criterion_main!(benches);
