//! Appending with an fsync each, and scanning a joined table.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::from_micros;
use steersman_domain::{ModelName, Record, Schema};
use steersman_records::{RecordLog, Scan};

const ROWS: i64 = 1_000;

fn record(number: i64) -> Record {
    Record {
        id: format!("r{number}").parse().expect("a valid id"),
        time: from_micros(number * 1_000_000),
        version: Some("v1".to_owned()),
        arm: None,
        weight: None,
        unit: None,
        features: (0..10).map(|column| (format!("f{column}"), (number as f64).into())).collect(),
        outputs: [("score".to_owned(), 0.5.into())].into(),
        latency_ms: Some(1.0),
        status: Some(200),
    }
}

fn log(criterion: &mut Criterion) {
    let column = |name: String| Column { name, kind: ColumnKind::Numeric };
    let schema = Schema {
        features: (0..10).map(|index| column(format!("f{index}"))).collect(),
        prediction: column("score".to_owned()),
        label: column("late".to_owned()),
    };
    let name: ModelName = "bench".parse().expect("a valid name");
    let dir = tempfile::tempdir().expect("a folder");
    let log = RecordLog::open(dir.path()).expect("a log");
    log.declare(&name, &schema).expect("a schema");
    let mut next = 0;
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(ROWS.unsigned_abs())).sample_size(20);
    group.bench_function("append_1000_records", |bencher| {
        let batch = || {
            next += ROWS;
            (next..next + ROWS).map(record).collect::<Vec<_>>()
        };
        bencher.iter_batched(
            batch,
            |rows| log.append_records(&name, rows, from_micros(0)),
            BatchSize::SmallInput,
        );
    });
    let scan = Scan { to: Some(from_micros(10_000_000_000)), ..Scan::default() };
    group.bench_function("scan_a_window", |bencher| bencher.iter(|| log.table(&name, &scan)));
    group.finish();
}

criterion_group!(benches, log);
criterion_main!(benches);
