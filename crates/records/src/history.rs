//! History: files of past predictions and their truths, as batches that the record log takes in.
//!
//! Cells are turned into what the model's schema says; a column that does not fit is refused with its line before
//! anything is sent. Rows are put in order of time, so that windows close one after the other.

use crate::codec::{data_type, time_type, times};
use crate::frame::{Frame, FrameColumn, Selection};
use crate::reference::{feature, ids, labels, moments};
use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt16Array, UInt32Array,
    new_null_array,
};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::ipc::writer::StreamWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::schema::{Column, ColumnKind, DataKind};
use steersman_domain::time::micros;
use steersman_domain::{Digest, ModelSpec, Problem, Schema};

/// What the columns of a history are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryColumns {
    /// The time of the prediction.
    pub time: String,
    /// The record id; without it rows are numbered under the digest of their file, so that the same file gives the same
    /// ids again.
    pub id: Option<String>,
    /// The output.
    pub prediction: String,
    /// The truth; without it there are no labels.
    pub label: Option<String>,
    /// When the truth became known; without it the prediction's time plus the spec's expected delay.
    pub label_time: Option<String>,
    /// The version that predicted.
    pub version: Option<String>,
}

impl HistoryColumns {
    /// As the spec calls them in the reference.
    pub fn of(spec: &ModelSpec) -> Self {
        Self {
            time: spec.data.time.clone(),
            id: spec.data.id.clone(),
            prediction: spec.model.prediction.clone(),
            label: Some(spec.model.label.column.clone()),
            label_time: spec.model.label.time.clone(),
            version: None,
        }
    }
}

/// One file of a history.
#[derive(Debug, Clone)]
pub struct History {
    /// Predictions, in order of time: `id`, `time`, `version`, `latency_ms`, `status`, the output, the features.
    pub records: RecordBatch,
    /// The truths of the rows that have one: `id`, `label`, `time`.
    pub labels: RecordBatch,
    /// Digest of the file.
    pub digest: Digest,
    /// What a reader should know: columns that are not there, and such that are not used.
    pub notes: Vec<String>,
}

/// The files that a path, folder or pattern means, in order.
pub fn files(path: &str) -> Result<Vec<PathBuf>, Problem> {
    crate::frame::files(path)
}

/// Reads one file of a history.
pub fn read_history(
    file: &Path,
    spec: &ModelSpec,
    schema: &Schema,
    names: &HistoryColumns,
) -> Result<History, Problem> {
    let frame = Frame::read(&file.display().to_string(), &Selection::default())?;
    if frame.rows == 0 {
        return Err(Problem::invalid("holds no rows").field(frame.source));
    }
    let time = moments(&frame, frame.require(&names.time)?)?;
    let ids = match &names.id {
        Some(id) => ids(&frame, Some(frame.require(id)?))?,
        None => {
            let short = frame.digest.short();
            (0..frame.rows).map(|row| format!("{short}-{row}")).collect()
        }
    };
    let ids: ArrayRef = Arc::new(StringArray::from(ids));
    let mut notes = Vec::new();
    let mut columns: Vec<(String, ArrayRef)> =
        vec![("id".to_owned(), ids.clone()), ("time".to_owned(), times(time.iter().copied().map(Some)))];
    if let Some(version) = &names.version {
        let column = frame.require(version)?;
        let texts: StringArray = (0..frame.rows).map(|row| column.category(row)).collect();
        columns.push(("version".to_owned(), Arc::new(texts)));
    }
    if let Some(column) = frame.column("latency_ms") {
        columns.push(("latency_ms".to_owned(), Arc::new(Float64Array::from(column.numbers()))));
    }
    if let Some(column) = frame.column("status") {
        columns.push(("status".to_owned(), statuses(&frame, column)?));
    }
    let output = Column { name: names.prediction.clone(), kind: schema.prediction.kind };
    columns.push((schema.prediction.name.clone(), values(&frame, &output, &mut notes)?));
    for column in &schema.features {
        columns.push((column.name.clone(), values(&frame, column, &mut notes)?));
    }
    let label_time = names.label_time.as_ref().map(|name| frame.require(name)).transpose()?;
    let used = |name: &String| {
        columns.iter().any(|(column, _)| column == name)
            || [Some(&names.time), Some(&names.prediction), names.id.as_ref(), names.version.as_ref()]
                .into_iter()
                .chain([names.label.as_ref(), names.label_time.as_ref()])
                .flatten()
                .any(|own| own == name)
    };
    let spare: Vec<&str> = frame
        .columns
        .iter()
        .filter(|column| !used(&column.name))
        .map(|column| column.name.as_str())
        .collect();
    if !spare.is_empty() {
        notes.push(format!("not used: {}", spare.join(", ")));
    }
    let truths = match &names.label {
        Some(name) => labels(&frame, frame.require(name)?, spec.model.task)?,
        None => vec![None; frame.rows],
    };
    let delay = spec.model.label.expected_delay;
    let known = label_time.map(FrameColumn::times);
    let known_at = time.iter().enumerate().map(|(row, at)| match &known {
        Some(known) => known.get(row).copied().flatten().map(steersman_domain::time::from_micros),
        None => Some(delay.after(*at)),
    });
    let known_at: Vec<_> = known_at.collect();
    let with_truth: BooleanArray =
        truths.iter().zip(&known_at).map(|(truth, at)| Some(truth.is_some() && at.is_some())).collect();
    let undated = truths.iter().zip(&known_at).filter(|(truth, at)| truth.is_some() && at.is_none()).count();
    if undated > 0 {
        notes.push(format!("{undated} labels have no time at which they became known, and are left out"));
    }
    let truths: ArrayRef = Arc::new(Float64Array::from(truths));
    let all = batch(vec![
        ("id".to_owned(), ids),
        ("label".to_owned(), truths),
        ("time".to_owned(), times(known_at.into_iter())),
    ])?;
    let mut order: Vec<u32> = (0..u32::try_from(time.len()).unwrap_or(u32::MAX)).collect();
    order.sort_by_key(|&row| time.get(row as usize).map(|at| micros(*at)));
    let order = UInt32Array::from(order);
    let sorted = take_record_batch(&batch(columns)?, &order).map_err(internal)?;
    let labels = filter_record_batch(&all, &with_truth).map_err(internal)?;
    Ok(History { records: sorted, labels, digest: frame.digest, notes })
}

/// Rows of a batch as an Arrow IPC stream.
pub fn ipc_stream(batch: &RecordBatch) -> Result<Vec<u8>, Problem> {
    let write = || -> Result<Vec<u8>, arrow::error::ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        writer.into_inner()
    };
    write().map_err(internal)
}

/// The values of a column as the schema wants them.
fn values(frame: &Frame, wanted: &Column, notes: &mut Vec<String>) -> Result<ArrayRef, Problem> {
    let name = &wanted.name;
    let Some(found) = frame.column(name) else {
        notes.push(format!("there is no column `{name}`: all its values are missing"));
        return Ok(new_null_array(&data_type(wanted.kind), frame.rows));
    };
    // Whether a column is one of numbers is inferred from its cells: one that is no number makes all of them texts.
    let parsed = |row: usize| found.category(row)?.trim().parse::<f64>().ok();
    let numbers: Vec<Option<f64>> = match (wanted.kind, found.kind) {
        (ColumnKind::Categorical, _)
        | (ColumnKind::Numeric, DataKind::Numeric | DataKind::Boolean)
        | (ColumnKind::Boolean, DataKind::Boolean) => return Ok(feature(found, wanted.kind)),
        (ColumnKind::Boolean, DataKind::Numeric) => {
            found.numbers().into_iter().map(|flag| flag.filter(|flag| [0.0, 1.0].contains(flag))).collect()
        }
        (ColumnKind::Numeric, _) => (0..found.len()).map(parsed).collect(),
        (ColumnKind::Boolean, _) => vec![None; found.len()],
    };
    let unfit = numbers.iter().enumerate().find(|(row, cell)| cell.is_none() && !found.values.is_null(*row));
    if let Some((row, _)) = unfit {
        let shown: String = found.category(row).unwrap_or_default().chars().take(60).collect();
        let what = if wanted.kind == ColumnKind::Numeric { "a number" } else { "true or false" };
        return Err(Problem::invalid(format!("`{shown}` in column `{name}` is not {what}"))
            .field(format!("{}, {}", frame.source, frame.place(row)))
            .hint("the model's records have such values there; nothing of this file was taken in"));
    }
    Ok(match wanted.kind {
        ColumnKind::Boolean => {
            Arc::new(numbers.iter().map(|flag| flag.map(|flag| flag != 0.0)).collect::<BooleanArray>())
        }
        _ => Arc::new(
            numbers.into_iter().map(|number| number.filter(|n| n.is_finite())).collect::<Float64Array>(),
        ),
    })
}

fn statuses(frame: &Frame, column: &FrameColumn) -> Result<ArrayRef, Problem> {
    let mut statuses = Vec::with_capacity(frame.rows);
    for (row, number) in column.numbers().into_iter().enumerate() {
        let whole = |number: f64| number.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&number);
        match number {
            Some(number) if !whole(number) => {
                return Err(Problem::invalid(format!(
                    "`{number}` in column `status` is not an HTTP status code"
                ))
                .field(format!("{}, {}", frame.source, frame.place(row))));
            }
            number => statuses.push(number.map(|number| number as u16)),
        }
    }
    Ok(Arc::new(UInt16Array::from(statuses)))
}

fn batch(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch, Problem> {
    debug_assert!(columns.iter().all(|(name, column)| name != "time" || *column.data_type() == time_type()));
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(internal)
}

fn internal(error: arrow::error::ArrowError) -> Problem {
    Problem::internal(error.to_string())
}
