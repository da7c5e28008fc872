//! Reading bodies of 1,000 records with 20 features into columns.

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::from_micros;
use steersman_domain::{Schema, Task};
use steersman_records::Kind;
use steersman_records::intake::{Format, Wanted, read};

const ROWS: usize = 1_000;
const FEATURES: usize = 20;
const TIME: i64 = 1_790_000_000_000_000;

fn kind(feature: usize) -> ColumnKind {
    if feature < 16 { ColumnKind::Numeric } else { ColumnKind::Categorical }
}

fn lines() -> String {
    let row = |row: usize| {
        let cell = |feature: usize| match kind(feature) {
            ColumnKind::Numeric => format!("\"f{feature}\":{:.4}", (row * 7_919 + feature) as f64 / 1_000.0),
            _ => format!("\"f{feature}\":\"c{}\"", (row + feature) % 40),
        };
        let cells: Vec<String> = (0..FEATURES).map(cell).collect();
        let features = cells.join(",");
        format!(
            "{{\"id\":\"bench-{row}\",\"time\":\"{}\",\"features\":{{{features}}},\"score\":0.25}}",
            from_micros(TIME)
        )
    };
    (0..ROWS).map(row).collect::<Vec<_>>().join("\n")
}

fn stream() -> Vec<u8> {
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (
            "id".to_owned(),
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("bench-{row}")))),
        ),
        ("time".to_owned(), Arc::new(TimestampMicrosecondArray::from_value(TIME, ROWS).with_timezone("UTC"))),
        ("score".to_owned(), Arc::new(Float64Array::from_value(0.25, ROWS))),
    ];
    for feature in 0..FEATURES {
        let column: ArrayRef = match kind(feature) {
            ColumnKind::Numeric => Arc::new(Float64Array::from_iter_values(
                (0..ROWS).map(|row| (row * 7_919 + feature) as f64 / 1_000.0),
            )),
            _ => Arc::new(StringArray::from_iter_values(
                (0..ROWS).map(|row| format!("c{}", (row + feature) % 40)),
            )),
        };
        columns.push((format!("f{feature}"), column));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).expect("a batch");
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).expect("a writer");
    writer.write(&batch).expect("a stream");
    writer.into_inner().expect("a stream")
}

fn intake(criterion: &mut Criterion) {
    let column = |name: String, kind| Column { name, kind };
    let schema = Schema {
        features: (0..FEATURES).map(|feature| column(format!("f{feature}"), kind(feature))).collect(),
        prediction: column("score".to_owned(), ColumnKind::Numeric),
        label: column("late".to_owned(), ColumnKind::Numeric),
    };
    let wanted = Wanted { kind: Kind::Records, schema: &schema, task: Task::Binary, now: from_micros(TIME) };
    let lines = lines();
    let array = format!("[{}]", lines.replace('\n', ","));
    let bodies = [
        ("ndjson", Format::Lines, Bytes::from(lines)),
        ("json_array", Format::Array, Bytes::from(array)),
        ("arrow", Format::Arrow, Bytes::from(stream())),
    ];
    let mut group = criterion.benchmark_group("intake");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, format, body) in bodies {
        let rows = read(&wanted, format, &body).expect("a good body").rows.len();
        assert_eq!(rows, ROWS);
        group.bench_function(name, |bencher| bencher.iter(|| read(&wanted, format, &body)));
    }
    group.finish();
}

criterion_group!(benches, intake);
criterion_main!(benches);
