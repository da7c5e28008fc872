//! Reads reference files: the schema is learnt from them, windows are compared with them.
//!
//! CSV (also gzip) and Parquet. A cell or column that does not fit is named with its line and what to do.

use crate::codec::{RESERVED, data_type, times, values};
use crate::segment::read_parquet;
use crate::table::Table;
use arrow::array::{Array, ArrayRef, AsArray as _, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::{from_micros, parse_time};
use steersman_domain::{Digest, ErrorKind, ModelSpec, Problem, Schema, Task, Value};

/// A reference file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The columns of the model's records, as the file has them.
    pub schema: Schema,
    /// The rows: `id`, `time`, features, the output where the file has it, and the label under its own name.
    pub table: Table,
    /// Digest of the file.
    pub digest: Digest,
    /// Rows.
    pub rows: u64,
    /// Rows with a label.
    pub labelled: u64,
    /// Time of the first row.
    pub from: Timestamp,
    /// Time of the last row.
    pub to: Timestamp,
}

/// A column of a data file, as far as it can be told without a spec.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether all its values are times.
    pub time: bool,
    /// Whether all its values are 0 and 1, or true and false.
    pub binary: bool,
    /// Whether no value occurs twice.
    pub unique: bool,
    /// Missing values.
    pub missing: usize,
    /// Distinct values.
    pub distinct: usize,
}

/// A column as the file has it.
enum Raw {
    Text(Vec<Option<String>>),
    Number(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Time(Vec<Option<Timestamp>>),
}

struct RawTable {
    names: Vec<String>,
    columns: Vec<Raw>,
    rows: usize,
    /// What a row is called in messages: the header of a CSV file is line 1.
    first_line: usize,
}

/// Reads the reference of a spec. Columns that are not the id, time, label, output or ignored are features.
pub fn read_reference(path: &Path, spec: &ModelSpec) -> Result<Reference, Problem> {
    let (raw, digest) = read(path)?;
    let file = path.display().to_string();
    if raw.rows == 0 {
        return Err(Problem::invalid("holds no rows").field(file).hint("the reference needs some history"));
    }
    let find = |name: &str, key: &str| {
        let position = raw.names.iter().position(|column| column == name);
        position.ok_or_else(|| {
            Problem::invalid(format!("`{file}` has no column `{name}`"))
                .field(key)
                .hint(format!("its columns are {}", raw.names.join(", ")))
        })
    };
    let time_index = find(&spec.data.time, "data.time")?;
    let label_name = &spec.model.label.column;
    let label_index = find(label_name, "model.label.column")?;
    let id_index = spec.data.id.as_ref().map(|id| find(id, "data.id")).transpose()?;
    let output_index = raw.names.iter().position(|name| *name == spec.model.prediction);
    for (key, names) in [("data.ignore", &spec.data.ignore), ("data.categorical", &spec.data.categorical)] {
        names.iter().try_for_each(|name| find(name, key).map(|_| ()))?;
    }
    let label_time = spec.model.label.time.as_ref().map(|name| find(name, "model.label.time")).transpose()?;
    let own: HashSet<usize> = [Some(time_index), Some(label_index), id_index, output_index, label_time]
        .into_iter()
        .flatten()
        .collect();
    let moments = raw.times(time_index)?;
    let labels = raw.labels(label_index, spec.model.task)?;
    let ids = raw.ids(id_index)?;
    let mut features = Vec::new();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".to_owned(), Arc::new(ids.into_iter().map(Some).collect::<StringArray>())),
        ("time".to_owned(), times(moments.iter().copied().map(Some))),
    ];
    for (index, name) in raw.names.iter().enumerate() {
        if own.contains(&index) || spec.data.ignore.contains(name) {
            continue;
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with('_') {
            return Err(Problem::invalid(format!("a feature cannot be called `{name}`"))
                .field(file)
                .hint("rename the column, or name it under `data.ignore`"));
        }
        let kind =
            if spec.data.categorical.contains(name) { ColumnKind::Categorical } else { raw.kind(index) };
        let column = Column { name: name.clone(), kind };
        let cells = raw.values(index, kind);
        columns.push((name.clone(), values(&column, cells.iter().map(Some))));
        features.push(column);
    }
    if features.is_empty() {
        return Err(Problem::invalid("has no column that could be a feature").field(file));
    }
    let output = Column { name: spec.model.prediction.clone(), kind: ColumnKind::Numeric };
    if let Some(index) = output_index {
        if raw.kind(index) == ColumnKind::Categorical {
            return Err(Problem::invalid(format!("column `{}` of `{file}` is not numeric", output.name))
                .field("model.prediction"));
        }
        let cells = raw.values(index, ColumnKind::Numeric);
        columns.push((output.name.clone(), values(&output, cells.iter().map(Some))));
    }
    let labelled = labels.iter().flatten().count() as u64;
    let label_kind = if raw.is_flag(label_index) { ColumnKind::Boolean } else { ColumnKind::Numeric };
    let label = Column { name: label_name.clone(), kind: label_kind };
    let label_values: ArrayRef = Arc::new(labels.into_iter().collect::<Float64Array>());
    columns.push((label_name.clone(), label_values));
    let (from, to) = (moments.iter().min().copied(), moments.iter().max().copied());
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let fields = Arc::new(ArrowSchema::new(fields));
    let batch = RecordBatch::try_new(fields.clone(), columns.into_iter().map(|(_, column)| column).collect())
        .map_err(|error| Problem::internal(error.to_string()))?;
    Ok(Reference {
        schema: Schema { features, prediction: output, label },
        table: Table::sorted(&fields, &[batch])?,
        digest,
        rows: raw.rows as u64,
        labelled,
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
    })
}

/// What the columns of a data file hold.
pub fn infer_columns(path: &Path) -> Result<Vec<InferredColumn>, Problem> {
    let (raw, _) = read(path)?;
    let column = |(index, name): (usize, &String)| {
        let kind = raw.kind(index);
        let cells = raw.values(index, ColumnKind::Categorical);
        let known: Vec<String> = cells.iter().filter_map(Value::category).collect();
        let distinct: BTreeSet<&String> = known.iter().collect();
        let numbers = raw.values(index, kind);
        let binary = kind == ColumnKind::Boolean
            || numbers
                .iter()
                .all(|value| value.missing() || value.number().is_some_and(|n| n == 0.0 || n == 1.0));
        InferredColumn {
            name: name.clone(),
            kind,
            time: kind == ColumnKind::Categorical && !known.is_empty() && raw.times(index).is_ok(),
            binary: binary && !known.is_empty(),
            unique: distinct.len() == raw.rows,
            missing: raw.rows - known.len(),
            distinct: distinct.len(),
        }
    };
    Ok(raw.names.iter().enumerate().map(column).collect())
}

impl RawTable {
    fn line(&self, row: usize) -> String {
        if self.first_line == 2 { format!("line {}", row + 2) } else { format!("row {row}") }
    }

    fn is_flag(&self, index: usize) -> bool {
        self.kind(index) == ColumnKind::Boolean
    }

    /// What the column holds: numbers if all values are numbers, flags if all are true or false, categories otherwise.
    fn kind(&self, index: usize) -> ColumnKind {
        match &self.columns[index] {
            Raw::Number(_) => ColumnKind::Numeric,
            Raw::Flag(_) => ColumnKind::Boolean,
            Raw::Time(_) => ColumnKind::Categorical,
            Raw::Text(cells) => {
                let mut known = cells.iter().flatten().peekable();
                if known.peek().is_some() && known.clone().all(|cell| flag(cell).is_some()) {
                    ColumnKind::Boolean
                } else if known.all(|cell| number(cell).is_some()) {
                    ColumnKind::Numeric
                } else {
                    ColumnKind::Categorical
                }
            }
        }
    }

    fn values(&self, index: usize, kind: ColumnKind) -> Vec<Value> {
        let missing = Value::Null;
        match &self.columns[index] {
            Raw::Number(cells) => cells
                .iter()
                .map(|cell| match (cell.filter(|number| number.is_finite()), kind) {
                    (Some(number), ColumnKind::Categorical) => Value::Text(number.to_string()),
                    (Some(number), _) => Value::Number(number),
                    (None, _) => missing.clone(),
                })
                .collect(),
            Raw::Flag(cells) => cells
                .iter()
                .map(|cell| match (cell, kind) {
                    (Some(flag), ColumnKind::Categorical) => Value::Text(flag.to_string()),
                    (Some(flag), _) => Value::Bool(*flag),
                    (None, _) => missing.clone(),
                })
                .collect(),
            Raw::Time(cells) => {
                cells.iter().map(|cell| cell.map_or(Value::Null, |at| Value::Text(at.to_string()))).collect()
            }
            Raw::Text(cells) => cells
                .iter()
                .map(|cell| match (cell, kind) {
                    (None, _) => Value::Null,
                    (Some(text), ColumnKind::Numeric) => number(text).map_or(Value::Null, Value::Number),
                    (Some(text), ColumnKind::Boolean) => flag(text).map_or(Value::Null, Value::Bool),
                    (Some(text), ColumnKind::Categorical) => Value::Text(text.clone()),
                })
                .collect(),
        }
    }

    fn times(&self, index: usize) -> Result<Vec<Timestamp>, Problem> {
        let name = &self.names[index];
        let wrong = |row: usize, what: &str| {
            Problem::invalid(format!("{what} in column `{name}`"))
                .field(self.line(row))
                .hint("every row needs a time such as 2026-01-31T12:00:00Z")
        };
        let collect =
            |cells: &mut dyn Iterator<Item = Option<Timestamp>>| -> Result<Vec<Timestamp>, Problem> {
                cells.enumerate().map(|(row, cell)| cell.ok_or_else(|| wrong(row, "no time"))).collect()
            };
        match &self.columns[index] {
            Raw::Time(cells) => collect(&mut cells.iter().copied()),
            Raw::Text(cells) => cells
                .iter()
                .enumerate()
                .map(|(row, cell)| {
                    let text = cell.as_ref().ok_or_else(|| wrong(row, "no time"))?;
                    parse_time(text).map_err(|problem| wrong(row, &problem.message))
                })
                .collect(),
            Raw::Number(_) | Raw::Flag(_) => Err(wrong(0, "a number, not a time,")),
        }
    }

    fn labels(&self, index: usize, task: Task) -> Result<Vec<Option<f64>>, Problem> {
        let name = &self.names[index];
        let kind = self.kind(index);
        if kind == ColumnKind::Categorical {
            let cells = self.values(index, kind);
            let text = |value: &Value| value.category().filter(|text| number(text).is_none());
            let row = cells.iter().position(|cell| text(cell).is_some()).unwrap_or(0);
            let shown = cells.get(row).and_then(Value::category).unwrap_or_default();
            return Err(Problem::invalid(format!("label `{shown}` in column `{name}` is not a number"))
                .field(self.line(row))
                .hint("labels are numbers, or 0/1 or true/false for a binary model"));
        }
        let labels: Vec<Option<f64>> = self.values(index, kind).iter().map(Value::number).collect();
        if task == Task::Binary
            && let Some(row) =
                labels.iter().position(|label| label.is_some_and(|label| label != 0.0 && label != 1.0))
        {
            return Err(Problem::invalid(format!(
                "label {} in column `{name}` is not 0 or 1",
                labels[row].unwrap_or(0.0)
            ))
            .field(self.line(row))
            .hint("a binary model needs 0 and 1; for numbers use task = \"regression\""));
        }
        Ok(labels)
    }

    fn ids(&self, index: Option<usize>) -> Result<Vec<String>, Problem> {
        let Some(index) = index else {
            return Ok((0..self.rows).map(|row| format!("reference-{row}")).collect());
        };
        let mut seen = HashSet::new();
        let cells = self.values(index, ColumnKind::Categorical);
        cells
            .into_iter()
            .enumerate()
            .map(|(row, cell)| {
                let wrong =
                    |what: String| Problem::invalid(what).field(self.line(row)).hint("ids are unique");
                let id = cell
                    .category()
                    .ok_or_else(|| wrong(format!("no id in column `{}`", self.names[index])))?;
                if seen.insert(id.clone()) { Ok(id) } else { Err(wrong(format!("id `{id}` occurs twice"))) }
            })
            .collect()
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

fn flag(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn read(path: &Path) -> Result<(RawTable, Digest), Problem> {
    let hint = "a CSV file (also .gz) or a Parquet file is needed";
    let bytes = std::fs::read(path).map_err(|error| Problem::io("read", path, &error).hint(hint))?;
    let digest = Digest::of(&bytes);
    let table =
        if bytes.starts_with(b"PAR1") || path.extension().is_some_and(|extension| extension == "parquet") {
            from_parquet(&read_parquet(path, None).map_err(|problem| problem.hint(hint))?)
        } else if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut text = Vec::new();
            MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).map_err(|error| {
                Problem::new(ErrorKind::Invalid, format!("cannot unpack `{}`: {error}", path.display()))
                    .hint(hint)
            })?;
            from_csv(&text)
        } else {
            from_csv(&bytes)
        };
    Ok((table.map_err(|problem| in_file(problem, path))?, digest))
}

fn in_file(problem: Problem, path: &Path) -> Problem {
    let place = problem.field.clone().map(|field| format!(", {field}")).unwrap_or_default();
    problem.field(format!("{}{place}", path.display()))
}

fn from_csv(bytes: &[u8]) -> Result<RawTable, Problem> {
    let mut reader = csv::Reader::from_reader(bytes);
    let wrong = |error: &csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let what = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} fields where the header has {expected_len}")
            }
            csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
            _ => error.to_string(),
        };
        Problem::invalid(what).field(format!("line {line}"))
    };
    let names: Vec<String> =
        reader.headers().map_err(|error| wrong(&error))?.iter().map(str::to_owned).collect();
    check_names(&names)?;
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); names.len()];
    for record in reader.records() {
        let record = record.map_err(|error| wrong(&error))?;
        for (column, cell) in columns.iter_mut().zip(record.iter()) {
            let missing = matches!(cell.trim(), "" | "NA" | "NaN" | "nan" | "null" | "NULL");
            column.push((!missing).then(|| cell.to_owned()));
        }
    }
    let rows = columns.first().map_or(0, Vec::len);
    Ok(RawTable { names, columns: columns.into_iter().map(Raw::Text).collect(), rows, first_line: 2 })
}

fn check_names(names: &[String]) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for name in names {
        if name.trim().is_empty() || !seen.insert(name) {
            return Err(Problem::invalid(format!("the column name `{name}` is empty or occurs twice"))
                .field("line 1"));
        }
    }
    Ok(())
}

fn from_parquet(batch: &RecordBatch) -> Result<RawTable, Problem> {
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    check_names(&names)?;
    let columns = names.iter().zip(batch.columns()).map(|(name, column)| raw_column(name, column));
    Ok(RawTable { columns: columns.collect::<Result<_, _>>()?, names, rows: batch.num_rows(), first_line: 0 })
}

fn raw_column(name: &str, column: &ArrayRef) -> Result<Raw, Problem> {
    let to = |kind: &DataType| {
        cast(column, kind)
            .map_err(|error| Problem::invalid(format!("cannot read the column: {error}")).field(name))
    };
    let kind = column.data_type();
    Ok(match kind {
        DataType::Boolean => Raw::Flag(column.as_boolean().iter().collect()),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            let micros = to(&DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None))?;
            let micros = micros.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            Raw::Time(micros.iter().map(|value| value.map(from_micros)).collect())
        }
        kind if kind.is_numeric() => {
            let numbers = to(&data_type(ColumnKind::Numeric))?;
            Raw::Number(numbers.as_primitive::<arrow::datatypes::Float64Type>().iter().collect())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let texts = to(&DataType::Utf8)?;
            Raw::Text(texts.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect())
        }
        other => {
            return Err(Problem::invalid(format!("columns of type {other} are not read"))
                .field(name)
                .hint("numbers, text, flags and times are; leave the column out of the file"));
        }
    })
}
