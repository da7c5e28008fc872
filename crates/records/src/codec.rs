//! Arrivals as Arrow batches and back: the same form in the write-ahead log and in segments.

use crate::{Arrival, Item};
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt16Array, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema as ArrowSchema, TimeUnit, TimestampMicrosecondType,
    UInt16Type, UInt64Type,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::record::Arm;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{ErrorKind, Label, Problem, Record, Schema, Value};

/// Names that a feature cannot have, because every table has these columns.
pub(crate) const RESERVED: [&str; 8] =
    ["id", "time", "version", "latency_ms", "status", "received_at", "label", "label_time"];

pub(crate) const SEQ: &str = "_seq";
pub(crate) const ARM: &str = "_arm";
const WEIGHT: &str = "_weight";
const UNIT: &str = "_unit";

/// The type of times.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type of a column's values.
pub(crate) fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Numeric => DataType::Float64,
        ColumnKind::Categorical => DataType::Utf8,
        ColumnKind::Boolean => DataType::Boolean,
    }
}

/// Times as a column.
pub(crate) fn times(values: impl Iterator<Item = Option<Timestamp>>) -> ArrayRef {
    let values: TimestampMicrosecondArray = values.map(|at| at.map(micros)).collect();
    Arc::new(values.with_timezone("UTC"))
}

/// The values of one column.
pub(crate) fn values<'a>(column: &Column, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    match column.kind {
        ColumnKind::Numeric => Arc::new(values.map(|value| value?.number()).collect::<Float64Array>()),
        ColumnKind::Categorical => {
            let text = |value: Option<&Value>| value?.category();
            Arc::new(values.map(text).collect::<StringArray>())
        }
        ColumnKind::Boolean => {
            let flag = |value: Option<&Value>| value?.number().map(|number| number != 0.0);
            Arc::new(values.map(flag).collect::<BooleanArray>())
        }
    }
}

/// The value of one cell.
pub(crate) fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Float64 => Value::Number(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        _ => Value::Null,
    }
}

/// The columns of records: their own, the features, the output.
pub(crate) fn record_fields(schema: &Schema) -> Arc<ArrowSchema> {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    let mut fields = vec![
        field(SEQ, DataType::Int64),
        field("received_at", time_type()),
        field("id", DataType::Utf8),
        field("time", time_type()),
        field("version", DataType::Utf8),
        field(ARM, DataType::Utf8),
        field(WEIGHT, DataType::Float64),
        field(UNIT, DataType::UInt64),
        field("latency_ms", DataType::Float64),
        field("status", DataType::UInt16),
    ];
    let columns = schema.features.iter().chain(std::iter::once(&schema.prediction));
    fields.extend(columns.map(|column| field(&column.name, data_type(column.kind))));
    Arc::new(ArrowSchema::new(fields))
}

fn label_fields() -> Arc<ArrowSchema> {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(ArrowSchema::new(vec![
        field(SEQ, DataType::Int64),
        field("received_at", time_type()),
        field("id", DataType::Utf8),
        field("label", DataType::Float64),
        field("time", time_type()),
    ]))
}

fn built(fields: Arc<ArrowSchema>, columns: Vec<ArrayRef>) -> Result<RecordBatch, Problem> {
    RecordBatch::try_new(fields, columns)
        .map_err(|error| Problem::internal(format!("columns do not fit: {error}")))
}

/// The records among `arrivals`, as a batch.
pub(crate) fn records_to_batch(schema: &Schema, arrivals: &[Arrival]) -> Result<RecordBatch, Problem> {
    let rows: Vec<(&Arrival, &Record)> = arrivals
        .iter()
        .filter_map(|arrival| match &arrival.item {
            Item::Record(record) => Some((arrival, record)),
            Item::Label(_) => None,
        })
        .collect();
    let records = || rows.iter().map(|(_, record)| *record);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(arrival, _)| Some(arrival.seq.cast_signed())).collect::<Int64Array>()),
        times(rows.iter().map(|(arrival, _)| Some(arrival.received_at))),
        Arc::new(records().map(|record| Some(record.id.as_str())).collect::<StringArray>()),
        times(records().map(|record| Some(record.time))),
        Arc::new(records().map(|record| record.version.as_deref()).collect::<StringArray>()),
        Arc::new(records().map(|record| record.arm.map(Arm::as_str)).collect::<StringArray>()),
        Arc::new(records().map(|record| record.weight).collect::<Float64Array>()),
        Arc::new(records().map(|record| record.unit).collect::<UInt64Array>()),
        Arc::new(records().map(|record| record.latency_ms).collect::<Float64Array>()),
        Arc::new(records().map(|record| record.status).collect::<UInt16Array>()),
    ];
    for column in &schema.features {
        columns.push(values(column, records().map(|record| record.features.get(&column.name))));
    }
    let output = &schema.prediction;
    columns.push(values(output, records().map(|record| record.outputs.get(&output.name))));
    built(record_fields(schema), columns)
}

/// The labels among `arrivals`, as a batch.
pub(crate) fn labels_to_batch(arrivals: &[Arrival]) -> Result<RecordBatch, Problem> {
    let rows: Vec<(&Arrival, &Label)> = arrivals
        .iter()
        .filter_map(|arrival| match &arrival.item {
            Item::Label(label) => Some((arrival, label)),
            Item::Record(_) => None,
        })
        .collect();
    let labels = || rows.iter().map(|(_, label)| *label);
    built(
        label_fields(),
        vec![
            Arc::new(rows.iter().map(|(arrival, _)| Some(arrival.seq.cast_signed())).collect::<Int64Array>()),
            times(rows.iter().map(|(arrival, _)| Some(arrival.received_at))),
            Arc::new(labels().map(|label| Some(label.id.as_str())).collect::<StringArray>()),
            Arc::new(labels().map(|label| label.label.number()).collect::<Float64Array>()),
            times(labels().map(|label| Some(label.time))),
        ],
    )
}

/// The columns of a batch by name.
pub(crate) struct Columns<'a>(pub(crate) &'a RecordBatch);

impl<'a> Columns<'a> {
    fn get(&self, name: &str, kind: &DataType) -> Result<&'a ArrayRef, Problem> {
        let column = self.0.column_by_name(name).filter(|column| column.data_type() == kind);
        column.ok_or_else(|| {
            Problem::new(ErrorKind::Corrupt, format!("a segment has no column `{name}` of {kind}"))
        })
    }

    pub(crate) fn texts(&self, name: &str) -> Result<&'a StringArray, Problem> {
        self.get(name, &DataType::Utf8).map(|column| column.as_string::<i32>())
    }

    pub(crate) fn times(&self, name: &str) -> Result<&'a TimestampMicrosecondArray, Problem> {
        self.get(name, &time_type()).map(|column| column.as_primitive::<TimestampMicrosecondType>())
    }

    pub(crate) fn numbers(&self, name: &str) -> Result<&'a Float64Array, Problem> {
        self.get(name, &DataType::Float64).map(|column| column.as_primitive::<Float64Type>())
    }

    pub(crate) fn seqs(&self) -> Result<&'a Int64Array, Problem> {
        self.get(SEQ, &DataType::Int64).map(|column| column.as_primitive::<Int64Type>())
    }

    pub(crate) fn arms(&self) -> Result<&'a StringArray, Problem> {
        self.texts(ARM)
    }
}

fn at<T: arrow::array::ArrayAccessor>(array: T, row: usize) -> Option<T::Item> {
    (!array.is_null(row)).then(|| array.value(row))
}

/// The arrivals of a batch of records.
pub(crate) fn records_from_batch(schema: &Schema, batch: &RecordBatch) -> Result<Vec<Arrival>, Problem> {
    let columns = Columns(batch);
    let (seqs, received, ids, times) =
        (columns.seqs()?, columns.times("received_at")?, columns.texts("id")?, columns.times("time")?);
    let (versions, arms, weights) = (columns.texts("version")?, columns.arms()?, columns.numbers(WEIGHT)?);
    let units = columns.get(UNIT, &DataType::UInt64)?.as_primitive::<UInt64Type>();
    let latencies = columns.numbers("latency_ms")?;
    let statuses = columns.get("status", &DataType::UInt16)?.as_primitive::<UInt16Type>();
    let mut arrivals = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let cell = |column: &Column| match batch.column_by_name(&column.name).map(|array| value(array, row)) {
            None | Some(Value::Null) => None,
            Some(value) => Some((column.name.clone(), value)),
        };
        let record = Record {
            id: ids.value(row).parse()?,
            time: from_micros(times.value(row)),
            version: at(versions, row).map(str::to_owned),
            arm: at(arms, row).and_then(Arm::from_word),
            weight: at(weights, row),
            unit: at(units, row),
            features: schema.features.iter().filter_map(cell).collect::<BTreeMap<_, _>>(),
            outputs: cell(&schema.prediction).into_iter().collect(),
            latency_ms: at(latencies, row),
            status: at(statuses, row),
        };
        arrivals.push(Arrival {
            seq: seqs.value(row).cast_unsigned(),
            received_at: from_micros(received.value(row)),
            item: Item::Record(record),
        });
    }
    Ok(arrivals)
}

/// The arrivals of a batch of labels.
pub(crate) fn labels_from_batch(batch: &RecordBatch) -> Result<Vec<Arrival>, Problem> {
    let columns = Columns(batch);
    let (seqs, received, ids) = (columns.seqs()?, columns.times("received_at")?, columns.texts("id")?);
    let (labels, times) = (columns.numbers("label")?, columns.times("time")?);
    let mut arrivals = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let label = Label {
            id: ids.value(row).parse()?,
            label: at(labels, row).map_or(Value::Null, Value::Number),
            time: from_micros(times.value(row)),
        };
        arrivals.push(Arrival {
            seq: seqs.value(row).cast_unsigned(),
            received_at: from_micros(received.value(row)),
            item: Item::Label(label),
        });
    }
    Ok(arrivals)
}
