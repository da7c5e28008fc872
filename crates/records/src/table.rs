//! Tables: records of a time range joined with the labels known at a time, column by column.

use crate::codec::{Columns, value};
use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema as ArrowSchema, TimestampMicrosecondType, UInt16Type,
};
use jiff::Timestamp;
use std::sync::Arc;
use steersman_domain::oip::Row;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{ErrorKind, Problem, Schema};

/// Which arms' records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arms {
    /// What users got: all but shadow answers.
    #[default]
    Served,
    /// Shadow answers alone.
    Shadow,
}

/// Which records, as known when.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// Records of this time or later.
    pub from: Option<Timestamp>,
    /// Records before this time.
    pub to: Option<Timestamp>,
    /// Only what was taken in by this time, records and labels alike.
    pub as_of: Option<Timestamp>,
    /// Of which arms.
    pub arms: Arms,
}

impl Scan {
    /// Whether a segment with records of this span can hold any.
    pub(crate) fn touches(&self, span: Option<(i64, i64)>) -> bool {
        span.is_some_and(|(first, last)| {
            self.from.is_none_or(|from| last >= micros(from)) && self.to.is_none_or(|to| first < micros(to))
        })
    }

    /// The rows of a batch of records that are asked for.
    pub(crate) fn select(&self, batch: &RecordBatch) -> Result<RecordBatch, Problem> {
        let columns = Columns(batch);
        let (times, received, arms) =
            (columns.times("time")?, columns.times("received_at")?, columns.arms()?);
        let wanted = |row: usize| {
            let time = times.value(row);
            let shadow = !arms.is_null(row) && arms.value(row) == "shadow";
            self.from.is_none_or(|from| time >= micros(from))
                && self.to.is_none_or(|to| time < micros(to))
                && self.as_of.is_none_or(|as_of| received.value(row) <= micros(as_of))
                && shadow == (self.arms == Arms::Shadow)
        };
        let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(wanted(row))).collect();
        filter_record_batch(batch, &mask).map_err(|error| Problem::internal(error.to_string()))
    }
}

/// Rows in columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    batch: RecordBatch,
}

impl Table {
    /// Wraps a batch.
    pub(crate) fn new(batch: RecordBatch) -> Self {
        Self { batch }
    }

    /// Puts batches of the same columns together, in order of time and id.
    pub(crate) fn sorted(fields: &Arc<ArrowSchema>, batches: &[RecordBatch]) -> Result<Self, Problem> {
        let wrong = |error: arrow::error::ArrowError| Problem::internal(error.to_string());
        let batch = concat_batches(fields, batches).map_err(wrong)?;
        let sort = |name: &str| -> Result<SortColumn, Problem> {
            let values = batch.column_by_name(name).cloned();
            let values = values.ok_or_else(|| Problem::internal(format!("a table without `{name}`")))?;
            Ok(SortColumn { values, options: None })
        };
        let order = lexsort_to_indices(&[sort("time")?, sort("id")?], None).map_err(wrong)?;
        Ok(Self { batch: take_record_batch(&batch, &order).map_err(wrong)? })
    }

    /// The same rows with further columns.
    pub(crate) fn with(self, added: Vec<(&str, ArrayRef)>) -> Result<Self, Problem> {
        let mut fields: Vec<Field> =
            self.batch.schema().fields().iter().map(|field| (**field).clone()).collect();
        let mut columns = self.batch.columns().to_vec();
        for (name, column) in added {
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(column);
        }
        let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns);
        Ok(Self { batch: batch.map_err(|error| Problem::internal(error.to_string()))? })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns, as Arrow has them.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// A column of numbers or flags (0 and 1); all missing if there is no such column.
    pub fn numbers(&self, name: &str) -> Vec<Option<f64>> {
        let Some(column) = self.batch.column_by_name(name) else { return vec![None; self.len()] };
        match column.data_type() {
            DataType::Float64 => column.as_primitive::<Float64Type>().iter().collect(),
            DataType::UInt16 => {
                column.as_primitive::<UInt16Type>().iter().map(|value| value.map(f64::from)).collect()
            }
            DataType::Boolean => {
                column.as_boolean().iter().map(|value| value.map(|flag| f64::from(u8::from(flag)))).collect()
            }
            _ => vec![None; self.len()],
        }
    }

    /// A column of categories; numbers and flags as text. All missing if there is no such column.
    pub fn texts(&self, name: &str) -> Vec<Option<String>> {
        let Some(column) = self.batch.column_by_name(name) else { return vec![None; self.len()] };
        (0..self.len()).map(|row| value(column, row).category()).collect()
    }

    /// A column of times.
    pub fn times(&self, name: &str) -> Vec<Option<Timestamp>> {
        let column = self
            .batch
            .column_by_name(name)
            .filter(|column| matches!(column.data_type(), DataType::Timestamp(..)));
        let Some(column) = column else { return vec![None; self.len()] };
        column.as_primitive::<TimestampMicrosecondType>().iter().map(|value| value.map(from_micros)).collect()
    }

    /// The features of each row.
    pub fn rows(&self, schema: &Schema) -> Vec<Row> {
        let columns: Vec<_> = schema
            .features
            .iter()
            .filter_map(|column| Some((&column.name, self.batch.column_by_name(&column.name)?)))
            .collect();
        let row =
            |row: usize| columns.iter().map(|(name, column)| ((*name).clone(), value(column, row))).collect();
        (0..self.len()).map(row).collect()
    }

    /// The rows for which `keep` is true.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Result<Self, Problem> {
        let mask: BooleanArray = (0..self.len()).map(|row| Some(keep(row))).collect();
        let batch = filter_record_batch(&self.batch, &mask);
        Ok(Self { batch: batch.map_err(|error| Problem::new(ErrorKind::Internal, error.to_string()))? })
    }
}
