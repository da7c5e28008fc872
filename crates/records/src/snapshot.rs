//! Snapshots: labelled rows as known at a time, in a file that a training program reads.
//!
//! The digest is over the rows alone, in order of time and id: the same whatever the file's format, however the log was
//! cut into segments, and whatever arrived later.

use crate::codec::{times, value, values};
use crate::log::RecordLog;
use crate::segment::write_parquet;
use crate::table::{Arms, Scan, Table};
use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use steersman_domain::fact::SnapshotRequest;
use steersman_domain::schema::ColumnKind;
use steersman_domain::spec::SnapshotFormat;
use steersman_domain::time::micros;
use steersman_domain::{Digest, ModelName, Problem, Schema, Value};

/// A snapshot that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Digest of its rows.
    pub digest: Digest,
    /// Rows, all labelled.
    pub rows: u64,
}

impl RecordLog {
    /// Writes the labelled rows that `request` names to `path`: those of the `reference` and those of the log. A row of
    /// the reference stands before a record of the same id.
    pub fn snapshot(
        &self,
        name: &ModelName,
        request: &SnapshotRequest,
        reference: Option<&Table>,
        path: &Path,
        format: SnapshotFormat,
    ) -> Result<Snapshot, Problem> {
        let schema = self.schema(name)?;
        let scan =
            Scan { from: request.from, to: Some(request.to), as_of: Some(request.as_of), arms: Arms::Served };
        let recorded = self.table(name, &scan)?;
        let labels = recorded.numbers("label");
        let recorded = recorded.filter(|row| labels[row].is_some())?;
        let known = reference.map(|reference| within(reference, request, &schema)).transpose()?;
        let known_ids: HashSet<String> = known.iter().flat_map(|table| table.texts("id")).flatten().collect();
        let ids = recorded.texts("id");
        let fresh = recorded.filter(|row| ids[row].as_ref().is_none_or(|id| !known_ids.contains(id)))?;
        let mut parts = vec![shape(&schema, &fresh, "label")?];
        if let Some(known) = known {
            parts.push(shape(&schema, &known, &schema.label.name)?);
        }
        let table = Table::sorted(&parts[0].schema(), &parts)?;
        match format {
            SnapshotFormat::Parquet => {
                write_parquet(path, table.batch().schema_ref(), std::slice::from_ref(table.batch()))?
            }
            SnapshotFormat::Csv => write_csv(path, table.batch())?,
        }
        Ok(Snapshot { digest: digest(table.batch()), rows: table.len() as u64 })
    }
}

/// The labelled rows of the reference in the time that is asked for.
fn within(reference: &Table, request: &SnapshotRequest, schema: &Schema) -> Result<Table, Problem> {
    let (times, labels) = (reference.times("time"), reference.numbers(&schema.label.name));
    reference.filter(|row| {
        let inside = |at: jiff::Timestamp| request.from.is_none_or(|from| at >= from) && at < request.to;
        labels[row].is_some() && times[row].is_some_and(inside)
    })
}

/// The columns of a snapshot: id, time, features, label under its own name.
fn shape(schema: &Schema, table: &Table, label: &str) -> Result<RecordBatch, Problem> {
    let ids: StringArray = table.texts("id").into_iter().collect();
    let mut columns: Vec<(String, ArrayRef)> =
        vec![("id".to_owned(), Arc::new(ids)), ("time".to_owned(), times(table.times("time").into_iter()))];
    for column in &schema.features {
        let cells: Vec<Value> = match table.batch().column_by_name(&column.name) {
            Some(array) => (0..table.len()).map(|row| value(array, row)).collect(),
            None => vec![Value::Null; table.len()],
        };
        columns.push((column.name.clone(), values(column, cells.iter().map(Some))));
    }
    let labels = table.numbers(label);
    let labels: ArrayRef = match schema.label.kind {
        ColumnKind::Boolean => {
            let flags: Vec<Value> = labels
                .into_iter()
                .map(|label| label.map_or(Value::Null, |l| Value::Bool(l != 0.0)))
                .collect();
            values(&schema.label, flags.iter().map(Some))
        }
        _ => Arc::new(labels.into_iter().collect::<Float64Array>()),
    };
    columns.push((schema.label.name.clone(), labels));
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(
        Arc::new(ArrowSchema::new(fields)),
        columns.into_iter().map(|(_, column)| column).collect(),
    )
    .map_err(|error| Problem::internal(error.to_string()))
}

/// SHA-256 over the names of the columns and then every cell, each with its kind and length.
fn digest(batch: &RecordBatch) -> Digest {
    let mut hasher = Sha256::new();
    let text = |hasher: &mut Sha256, kind: u8, bytes: &[u8]| {
        hasher.update([kind]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for field in batch.schema().fields() {
        text(&mut hasher, b'c', field.name().as_bytes());
    }
    let moments = Table::new(batch.clone()).times("time");
    for (row, moment) in moments.iter().enumerate() {
        for (index, column) in batch.columns().iter().enumerate() {
            if index == 1 {
                text(&mut hasher, b't', &moment.map_or(i64::MIN, micros).to_be_bytes());
                continue;
            }
            match value(column, row) {
                Value::Null => text(&mut hasher, b'0', &[]),
                Value::Bool(flag) => text(&mut hasher, b'b', &[u8::from(flag)]),
                // -0 and 0 are the same number.
                Value::Number(number) => text(&mut hasher, b'n', &(number + 0.0).to_bits().to_be_bytes()),
                Value::Text(words) => text(&mut hasher, b's', words.as_bytes()),
            }
        }
    }
    Digest::from_bytes(&hasher.finalize().into())
}

fn write_csv(path: &Path, batch: &RecordBatch) -> Result<(), Problem> {
    let partial = path.with_added_extension("partial");
    let moments = Table::new(batch.clone()).times("time");
    let write = || -> Result<(), csv::Error> {
        let mut writer = csv::Writer::from_path(&partial)?;
        writer.write_record(batch.schema().fields().iter().map(|field| field.name().as_str()))?;
        for (row, moment) in moments.iter().enumerate() {
            let cell = |(index, column): (usize, &ArrayRef)| match index {
                1 => moment.map(|at| at.to_string()).unwrap_or_default(),
                _ => value(column, row).category().unwrap_or_default(),
            };
            writer.write_record(batch.columns().iter().enumerate().map(cell))?;
        }
        let file = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        file.sync_all()?;
        Ok(())
    };
    write().map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Problem::io("write", &partial, &error),
        other => Problem::internal(format!("cannot write `{}`: {other:?}", partial.display())),
    })?;
    std::fs::rename(&partial, path).map_err(|error| Problem::io("rename", &partial, &error))
}
