//! Where checked rows gather: one builder a column.

use crate::codec::{built, label_fields, own_fields, record_fields};
use crate::rows::{Kind, Rows};
use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt16Builder,
    new_null_array,
};
use arrow::datatypes::DataType;
use std::sync::Arc;
use steersman_domain::schema::ColumnKind;
use steersman_domain::{Problem, Schema};

/// A checked value of a column, or none; text is a range of the row's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Slot {
    /// The key did not come.
    Missing,
    /// It came as null; a second one would still be twice.
    Null,
    Number(f64),
    Flag(bool),
    Text(usize, usize),
}

#[derive(Debug)]
enum Values {
    Numbers(Float64Builder),
    Flags(BooleanBuilder),
    Texts(StringBuilder),
}

impl Values {
    fn of(kind: ColumnKind, rows: usize) -> Self {
        match kind {
            ColumnKind::Numeric => Self::Numbers(Float64Builder::with_capacity(rows)),
            ColumnKind::Boolean => Self::Flags(BooleanBuilder::with_capacity(rows)),
            ColumnKind::Categorical => Self::Texts(StringBuilder::with_capacity(rows, rows * 8)),
        }
    }

    fn append(&mut self, slot: Slot, text: &str) {
        match (self, slot) {
            (Self::Numbers(values), Slot::Number(number)) => values.append_value(number),
            (Self::Flags(values), Slot::Flag(flag)) => values.append_value(flag),
            (Self::Texts(values), Slot::Text(from, to)) => {
                values.append_value(text.get(from..to).unwrap_or_default());
            }
            (Self::Numbers(values), _) => values.append_null(),
            (Self::Flags(values), _) => values.append_null(),
            (Self::Texts(values), _) => values.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Numbers(values) => Arc::new(values.finish()),
            Self::Flags(values) => Arc::new(values.finish()),
            Self::Texts(values) => Arc::new(values.finish()),
        }
    }
}

/// The parts of a row that every row has, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) id: &'a str,
    pub(super) time: i64,
    pub(super) version: Option<&'a str>,
    pub(super) latency_ms: Option<f64>,
    pub(super) status: Option<u16>,
    /// Of labels.
    pub(super) label: f64,
}

/// Builders of the columns of records or labels.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    kind: Kind,
    schema: &'a Schema,
    rows: usize,
    ids: StringBuilder,
    times: TimestampMicrosecondBuilder,
    versions: StringBuilder,
    latencies: Float64Builder,
    statuses: UInt16Builder,
    labels: Float64Builder,
    features: Vec<Values>,
    output: Values,
}

impl<'a> Columns<'a> {
    /// Builders for about so many rows.
    pub(super) fn new(kind: Kind, schema: &'a Schema, rows: usize) -> Self {
        let (records, labels) = match kind {
            Kind::Records => (rows, 0),
            Kind::Labels => (0, rows),
        };
        Self {
            kind,
            schema,
            rows: 0,
            ids: StringBuilder::with_capacity(rows, rows * 16),
            times: TimestampMicrosecondBuilder::with_capacity(rows),
            versions: StringBuilder::with_capacity(records, 0),
            latencies: Float64Builder::with_capacity(records),
            statuses: UInt16Builder::with_capacity(records),
            labels: Float64Builder::with_capacity(labels),
            features: schema.features.iter().map(|column| Values::of(column.kind, records)).collect(),
            output: Values::of(schema.prediction.kind, records),
        }
    }

    /// Adds a row. `text` holds what text slots point into.
    pub(super) fn push(&mut self, head: Head<'_>, features: &[Slot], output: Slot, text: &str) {
        self.rows += 1;
        self.ids.append_value(head.id);
        self.times.append_value(head.time);
        if self.kind == Kind::Labels {
            self.labels.append_value(head.label);
            return;
        }
        self.versions.append_option(head.version);
        self.latencies.append_option(head.latency_ms);
        self.statuses.append_option(head.status);
        for (values, slot) in self.features.iter_mut().zip(features) {
            values.append(*slot, text);
        }
        self.output.append(output, text);
    }

    /// The rows.
    pub(super) fn finish(mut self) -> Result<Rows, Problem> {
        let (ids, times): (ArrayRef, ArrayRef) =
            (Arc::new(self.ids.finish()), Arc::new(self.times.finish().with_timezone("UTC")));
        let (fields, columns) = match self.kind {
            Kind::Labels => (own_fields(&label_fields()), vec![ids, Arc::new(self.labels.finish()), times]),
            Kind::Records => {
                let nothing = |kind: DataType| new_null_array(&kind, self.rows);
                let mut columns: Vec<ArrayRef> = vec![
                    ids,
                    times,
                    Arc::new(self.versions.finish()),
                    nothing(DataType::Utf8),
                    nothing(DataType::Float64),
                    nothing(DataType::UInt64),
                    Arc::new(self.latencies.finish()),
                    Arc::new(self.statuses.finish()),
                ];
                columns.extend(self.features.iter_mut().map(Values::finish));
                columns.push(self.output.finish());
                (own_fields(&record_fields(self.schema)), columns)
            }
        };
        Ok(Rows { kind: self.kind, batch: built(fields, columns)? })
    }
}
