//! Arrow IPC streams: columns are found by name, brought to the types of the schema, and checked as columns.
//!
//! Features stand at the top beside `id` and `time`, or in a struct `features`. At the top an unknown column is taken for
//! a new feature and counted; beside a struct it is a mistake, as in JSON, and the stream is refused. A column of a type
//! that can never fit also refuses the stream; values that do not fit refuse their rows.

use super::{Believed, Intake, Wanted, check_label};
use crate::codec::{built, data_type, label_fields, own_fields, record_fields};
use crate::foreign::{CONTRADICTION, guarded};
use crate::rows::{Kind, Refusal, Refusals, Rows};
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array, make_array, new_null_array,
};
use arrow::buffer::Buffer;
use arrow::compute::{
    CastOptions, cast_with_options, concat_batches, filter_record_batch, take_record_batch,
};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use steersman_domain::schema::{ColumnKind, LONGEST_TEXT};
use steersman_domain::time::{from_micros, micros, parse_time};
use steersman_domain::{Problem, RecordId};

const NOTHING_TAKEN: &str = "nothing of this batch was taken in";
const RECORD_COLUMNS: [&str; 6] = ["id", "time", "version", "latency_ms", "status", "features"];

pub(super) fn stream(wanted: &Wanted<'_>, body: &Bytes) -> Result<Intake, Problem> {
    let batch = guarded(|| broken(CONTRADICTION), || decode(body))?;
    let mut checked = Checked::new(wanted, batch.num_rows());
    let columns = match wanted.kind {
        Kind::Records => checked.records(wanted, &batch)?,
        Kind::Labels => checked.labels(wanted, &batch)?,
    };
    let fields = match wanted.kind {
        Kind::Records => record_fields(wanted.schema),
        Kind::Labels => label_fields(),
    };
    let rows = built(own_fields(&fields), columns)?;
    checked.finish(rows, body.len())
}

fn broken(what: impl std::fmt::Display) -> Problem {
    Problem::invalid(format!("the body is not a whole Arrow IPC stream: {what}")).hint(NOTHING_TAKEN)
}

/// The rows of the stream. Lengths are those of the body, never those that the stream claims: nothing is set aside for
/// bytes that have not come.
fn decode(body: &Bytes) -> Result<RecordBatch, Problem> {
    let mut buffer = Buffer::from(body.clone());
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        let before = buffer.len();
        match decoder.decode(&mut buffer).map_err(broken)? {
            // An id takes bytes: more rows than bytes are a claim, and believing it would fill the memory.
            Some(batch) if batch.num_rows() > body.len() => {
                return Err(broken("it claims more rows than it has bytes"));
            }
            Some(batch) => batches.push(batch),
            None if buffer.len() == before => return Err(broken("bytes follow its end")),
            None => {}
        }
    }
    decoder.finish().map_err(|_| broken("it is cut short"))?;
    let schema = decoder.schema().ok_or_else(|| broken("it has no schema"))?;
    let mut names = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        return Err(Problem::invalid("the column comes twice")
            .field(twice.name().clone())
            .hint(NOTHING_TAKEN));
    }
    match batches.as_slice() {
        [batch] => Ok(batch.clone()),
        batches => concat_batches(&schema, batches).map_err(broken),
    }
}

/// Which rows are refused.
struct Checked {
    rows: usize,
    bad: BTreeMap<usize, Problem>,
    believed: Believed,
    refusals: Refusals,
}

impl Checked {
    fn new(wanted: &Wanted<'_>, rows: usize) -> Self {
        Self {
            rows,
            bad: BTreeMap::new(),
            believed: Believed::new(wanted.now),
            refusals: Refusals::new(wanted.kind),
        }
    }

    fn refuse(&mut self, row: usize, problem: impl FnOnce() -> Problem) {
        self.bad.entry(row).or_insert_with(problem);
    }

    fn records(&mut self, wanted: &Wanted<'_>, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Problem> {
        let schema = wanted.schema;
        let inner = batch.column_by_name("features");
        let inner = match inner.map(|column| (column, column.as_struct_opt())) {
            None => None,
            Some((column, Some(inner))) if column.null_count() == 0 => Some(inner),
            Some(_) => {
                return Err(Problem::invalid("not a struct without nulls")
                    .field("features")
                    .hint(NOTHING_TAKEN));
            }
        };
        let mut columns = vec![
            self.ids(batch)?,
            self.times(batch)?,
            self.texts(batch.column_by_name("version"), "version")?,
            new_null_array(&DataType::Utf8, self.rows),
            new_null_array(&DataType::Float64, self.rows),
            new_null_array(&DataType::UInt64, self.rows),
            self.latencies(batch)?,
            self.statuses(batch)?,
        ];
        for column in &schema.features {
            let (found, shown) = match inner {
                Some(inner) => (inner.column_by_name(&column.name), format!("features.{}", column.name)),
                None => (batch.column_by_name(&column.name), column.name.clone()),
            };
            columns.push(self.values(found, column.kind, &shown)?);
        }
        let output = &schema.prediction;
        columns.push(self.values(batch.column_by_name(&output.name), output.kind, &output.name)?);
        let own = |name: &str| RECORD_COLUMNS.contains(&name) || name == output.name;
        let top: Vec<_> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        let unknown: Vec<(&str, usize)> = match inner {
            Some(inner) => {
                if let Some(name) = top.iter().find(|name| !own(name)) {
                    let known = format!("known are {}, and `{}`", RECORD_COLUMNS.join(", "), output.name);
                    return Err(Problem::invalid("unknown column").field(*name).hint(known));
                }
                let names = inner.column_names().into_iter().zip(inner.columns());
                names.filter(|(name, _)| schema.feature(name).is_none()).map(counted).collect()
            }
            None => {
                let names = top.into_iter().zip(batch.columns());
                names.filter(|(name, _)| !own(name) && schema.feature(name).is_none()).map(counted).collect()
            }
        };
        for (name, values) in unknown {
            self.refusals.note_unknown(name, values as u64);
        }
        Ok(columns)
    }

    fn labels(&mut self, wanted: &Wanted<'_>, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Problem> {
        let names = batch.schema_ref().fields().iter();
        if let Some(unknown) =
            names.map(|field| field.name()).find(|name| !["id", "label", "time"].contains(&name.as_str()))
        {
            let problem = Problem::invalid("unknown column").field(unknown.clone());
            return Err(problem.hint("known are id, label, time"));
        }
        let found = batch.column_by_name("label");
        let labels = self.values(found, ColumnKind::Numeric, "label")?;
        let values = labels.as_primitive::<Float64Type>();
        for row in 0..self.rows {
            if values.is_null(row) {
                self.refuse(row, || missing("label").hint("send a label only when the truth is known"));
            } else if let Err(problem) = check_label(wanted.task, values.value(row)) {
                self.refuse(row, || problem);
            }
        }
        Ok(vec![self.ids(batch)?, labels, self.times(batch)?])
    }

    fn ids(&mut self, batch: &RecordBatch) -> Result<ArrayRef, Problem> {
        let column = batch.column_by_name("id").ok_or_else(|| missing("id").hint("a column of that name"))?;
        let column = brought(column, &DataType::Utf8, text_like, "id", "text")?;
        let ids = column.as_string::<i32>();
        for row in 0..self.rows {
            if ids.is_null(row) {
                self.refuse(row, || missing("id"));
            } else if let Err(problem) = RecordId::check(ids.value(row)) {
                self.refuse(row, || problem);
            }
        }
        Ok(column)
    }

    fn times(&mut self, batch: &RecordBatch) -> Result<ArrayRef, Problem> {
        let column =
            batch.column_by_name("time").ok_or_else(|| missing("time").hint("a column of that name"))?;
        let column: ArrayRef = match column.data_type() {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                // Instants are the same numbers in every zone, and those without one are UTC, as everywhere.
                let plain = match column.data_type() {
                    DataType::Timestamp(unit, Some(_)) => {
                        let data =
                            column.to_data().into_builder().data_type(DataType::Timestamp(*unit, None));
                        make_array(data.build().map_err(broken)?)
                    }
                    _ => column.clone(),
                };
                let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
                let plain = brought(&plain, &wanted, |_| true, "time", "instants")?;
                Arc::new(plain.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC"))
            }
            kind if text_like(kind) => {
                let texts = brought(column, &DataType::Utf8, text_like, "time", "instants")?;
                self.parsed(texts.as_string::<i32>())
            }
            other => return Err(wrong_type("time", other, "instants, or text such as 2026-01-31T12:00:00Z")),
        };
        let times = column.as_primitive::<TimestampMicrosecondType>();
        for row in 0..self.rows {
            if times.is_null(row) {
                self.refuse(row, || missing("time"));
            } else if !self.believed.holds(times.value(row)) {
                let problem = self.believed.check(times.value(row)).err();
                self.refuse(row, || problem.unwrap_or_else(|| missing("time")));
            }
        }
        Ok(column)
    }

    fn parsed(&mut self, texts: &StringArray) -> ArrayRef {
        let mut times = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            times.push(match text.map(parse_time) {
                Some(Ok(time)) => Some(micros(time)),
                Some(Err(problem)) => {
                    self.refuse(row, || problem.field("time"));
                    None
                }
                None => None,
            });
        }
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    }

    fn texts(&mut self, found: Option<&ArrayRef>, shown: &str) -> Result<ArrayRef, Problem> {
        let Some(column) = found else { return Ok(new_null_array(&DataType::Utf8, self.rows)) };
        let fits = |kind: &DataType| text_like(kind) || kind.is_integer() || *kind == DataType::Boolean;
        let column = brought(column, &DataType::Utf8, fits, shown, "text")?;
        let texts = column.as_string::<i32>();
        let long = |row: &usize| !texts.is_null(*row) && texts.value(*row).len() > LONGEST_TEXT;
        // The sum of all is looked at first: mostly no single one can be too long.
        if texts.values().len() > LONGEST_TEXT {
            for row in (0..self.rows).filter(long) {
                let message = format!("text of {} bytes is too long", texts.value(row).len());
                self.refuse(row, || Problem::invalid(message).field(shown));
            }
        }
        Ok(column)
    }

    fn latencies(&mut self, batch: &RecordBatch) -> Result<ArrayRef, Problem> {
        let column = self.values(batch.column_by_name("latency_ms"), ColumnKind::Numeric, "latency_ms")?;
        for (row, value) in column.as_primitive::<Float64Type>().iter().enumerate() {
            if value.is_some_and(|value| value < 0.0) {
                self.refuse(row, || Problem::invalid("not a number >= 0").field("latency_ms"));
            }
        }
        Ok(column)
    }

    fn statuses(&mut self, batch: &RecordBatch) -> Result<ArrayRef, Problem> {
        let Some(column) = batch.column_by_name("status") else {
            return Ok(new_null_array(&DataType::UInt16, self.rows));
        };
        let statuses = brought(column, &DataType::UInt16, DataType::is_integer, "status", "whole numbers")?;
        for row in (0..self.rows).filter(|row| statuses.is_null(*row) && !column.is_null(*row)) {
            self.refuse(row, || Problem::invalid("not an HTTP status code").field("status"));
        }
        Ok(statuses)
    }

    /// A feature or output; missing altogether where the stream does not have it.
    fn values(
        &mut self,
        found: Option<&ArrayRef>,
        kind: ColumnKind,
        shown: &str,
    ) -> Result<ArrayRef, Problem> {
        let wanted = data_type(kind);
        let Some(column) = found else { return Ok(new_null_array(&wanted, self.rows)) };
        match kind {
            ColumnKind::Numeric => {
                let numbers = brought(column, &wanted, number_like, shown, "numbers")?;
                let values = numbers.as_primitive::<Float64Type>();
                // Slots of missing values may hold anything: they are looked at only when something is not finite.
                if !values.values().iter().all(|value| value.is_finite()) {
                    for (row, value) in values.iter().enumerate() {
                        if let Some(value) = value.filter(|value| !value.is_finite()) {
                            let message =
                                format!("`{value}` is not a finite number; send null for a missing value");
                            self.refuse(row, || Problem::invalid(message).field(shown));
                        }
                    }
                }
                Ok(numbers)
            }
            ColumnKind::Categorical => self.texts(Some(column), shown),
            ColumnKind::Boolean if *column.data_type() == DataType::Boolean => Ok(column.clone()),
            ColumnKind::Boolean => {
                let numbers = brought(column, &DataType::Float64, number_like, shown, "true or false")?;
                let values = numbers.as_primitive::<Float64Type>();
                for (row, value) in values.iter().enumerate() {
                    if value.is_some_and(|value| value != 0.0 && value != 1.0) {
                        self.refuse(row, || Problem::invalid("not true or false").field(shown));
                    }
                }
                Ok(Arc::new(
                    values.iter().map(|value| value.map(|value| value != 0.0)).collect::<BooleanArray>(),
                ))
            }
        }
    }

    /// Leaves the refused rows out.
    fn finish(mut self, rows: RecordBatch, body: usize) -> Result<Intake, Problem> {
        let internal = |error: ArrowError| Problem::internal(error.to_string());
        let ids = rows.column_by_name("id").map(|column| column.as_string::<i32>().clone());
        let id = |row: usize| {
            let id = ids.as_ref().filter(|ids| !ids.is_null(row))?.value(row);
            RecordId::check(id).is_ok().then(|| id.to_owned())
        };
        let times = rows
            .column_by_name("time")
            .map(|column| column.as_primitive::<TimestampMicrosecondType>().clone());
        let at = |row: usize| {
            let times = times.as_ref().filter(|times| !times.is_null(row))?;
            Some(from_micros(times.value(row)))
        };
        let mut batch = rows;
        if !self.bad.is_empty() {
            let keep: BooleanArray = (0..self.rows).map(|row| Some(!self.bad.contains_key(&row))).collect();
            batch = filter_record_batch(&batch, &keep).map_err(internal)?;
        } else if kept_bytes(&batch) < body / 2 {
            // Columns share the body: what is kept must not hold on to much that is not.
            let all: UInt64Array = (0..self.rows as u64).collect();
            batch = take_record_batch(&batch, &all).map_err(internal)?;
        }
        for (row, problem) in std::mem::take(&mut self.bad) {
            self.refusals.add(Refusal { index: row as u64, line: None, id: id(row), at: at(row), problem });
        }
        Ok(Intake { rows: Rows { kind: self.refusals.kind, batch }, refusals: self.refusals })
    }
}

fn kept_bytes(batch: &RecordBatch) -> usize {
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default();
    batch.columns().iter().map(bytes).sum()
}

fn counted<'a>((name, column): (&'a str, &ArrayRef)) -> (&'a str, usize) {
    (name, column.len() - column.null_count())
}

fn missing(field: &str) -> Problem {
    Problem::invalid("missing").field(field)
}

fn text_like(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => text_like(values),
        _ => false,
    }
}

fn number_like(kind: &DataType) -> bool {
    kind.is_numeric() || *kind == DataType::Boolean
}

fn wrong_type(field: &str, found: &DataType, expected: &str) -> Problem {
    Problem::invalid(format!("a column of {found} where {expected} belong")).field(field).hint(NOTHING_TAKEN)
}

/// The column in another type; values that have none become missing.
fn brought(
    column: &ArrayRef,
    wanted: &DataType,
    fits: impl Fn(&DataType) -> bool,
    field: &str,
    expected: &str,
) -> Result<ArrayRef, Problem> {
    if column.data_type() == wanted {
        return Ok(column.clone());
    }
    if *column.data_type() == DataType::Null {
        return Ok(new_null_array(wanted, column.len()));
    }
    if !fits(column.data_type()) {
        return Err(wrong_type(field, column.data_type(), expected));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(column, wanted, &options).map_err(|error| {
        Problem::invalid(format!("cannot be read: {error}")).field(field).hint(NOTHING_TAKEN)
    })
}
