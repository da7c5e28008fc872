//! Frames: whatever data a person brings (CSV, JSON, Parquet or Arrow files, packed or not), in columns whose kinds
//! were inferred.
//!
//! - `source`: which files a path, folder or pattern means, and what is in them.
//! - `text`: CSV and JSON as columns of text.
//! - `batch`: frames of what is in memory already.
//! - `infer`: from what a file holds to one of the five [`DataKind`]s.
//! - `filter`: the rows for which a condition holds.
//!
//! [`Frame::read`] says what it inferred and what it had to do ([`Frame::notes`]); what cannot be read is a problem with
//! file and line. [`crate::reference::read_reference`] builds on it.

mod batch;
mod filter;
mod infer;
mod source;
mod text;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray};
use arrow::compute::filter as keep_rows;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use std::collections::HashSet;
use std::path::PathBuf;
use steersman_domain::schema::DataKind;
use steersman_domain::{Digest, Problem};

/// A table that was read from files.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The path, folder or pattern, as it was given.
    pub source: String,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// The columns.
    pub columns: Vec<FrameColumn>,
    /// Rows.
    pub rows: usize,
    /// What a reader should know: columns left out or renamed, bytes that were no UTF-8, ...
    pub notes: Vec<String>,
    /// Digest of the bytes of all files.
    pub digest: Digest,
    /// The line of the first row, where rows are lines of one file.
    first_line: Option<usize>,
}

/// One column of a frame.
#[derive(Debug, Clone)]
pub struct FrameColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: DataKind,
    /// The values: `Float64` (infinite values are kept, NaN is missing), `Boolean`, `Utf8` or `Timestamp(Microsecond)`.
    pub values: ArrayRef,
    /// What the file calls its type: `text`, `Int64`, ...
    pub stored_as: String,
}

/// Which columns to read.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these; all when empty. Names that are not there are an error.
    pub columns: Vec<String>,
    /// These too, where they are there.
    pub optional: Vec<String>,
    /// Only rows for which this SQL condition holds, such as `origin = 'JFK' and distance > 500`.
    pub condition: Option<String>,
}

/// The files that a path, folder or pattern means, in order.
pub(crate) fn files(path: &str) -> Result<Vec<PathBuf>, Problem> {
    source::expand(path)
}

impl Frame {
    /// Reads what `path` means: a file, a folder of files, or a pattern with `*`, `?` or `[..]`.
    pub fn read(path: &str, selection: &Selection) -> Result<Self, Problem> {
        let condition = selection.condition.as_deref().map(filter::Condition::parse).transpose()?;
        let mut wanted = selection.columns.clone();
        let optional = if wanted.is_empty() { &[][..] } else { &selection.optional[..] };
        if let Some(condition) = condition.as_ref().filter(|_| !wanted.is_empty()) {
            wanted.extend(condition.columns().filter(|name| !selection.columns.contains(name)));
        }
        let mut frame = infer::frame(source::read(path, &wanted, optional)?)?;
        if let Some(condition) = condition {
            let before = frame.rows;
            frame = frame.keep(&condition.mask(&frame)?)?;
            frame.notes.push(format!("{} of {before} rows fit the condition", frame.rows));
        }
        if !selection.columns.is_empty() {
            let named = |column: &FrameColumn| {
                selection.columns.contains(&column.name) || selection.optional.contains(&column.name)
            };
            frame.columns.retain(named);
        }
        Ok(frame)
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&FrameColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column of this name; what the frame has instead is in the error.
    pub fn require(&self, name: &str) -> Result<&FrameColumn, Problem> {
        self.column(name).ok_or_else(|| {
            let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Problem::invalid(format!("`{}` has no column `{name}`", self.source))
                .hint(format!("its columns are {}", names.join(", ")))
        })
    }

    fn keep(&self, mask: &BooleanArray) -> Result<Self, Problem> {
        let keep = |column: &FrameColumn| {
            let values = keep_rows(&column.values, mask)
                .map_err(|error| Problem::internal(format!("rows cannot be chosen: {error}")))?;
            Ok(FrameColumn { values, ..column.clone() })
        };
        Ok(Self {
            source: self.source.clone(),
            files: self.files.clone(),
            columns: self.columns.iter().map(keep).collect::<Result<_, Problem>>()?,
            rows: mask.true_count(),
            notes: self.notes.clone(),
            digest: self.digest.clone(),
            first_line: None,
        })
    }

    /// The rows whose value in `column` is `value`, as [`FrameColumn::category`] writes it.
    pub fn segment(&self, column: &str, value: &str) -> Result<Self, Problem> {
        let found = self.require(column)?;
        let mask: BooleanArray =
            (0..self.rows).map(|row| Some(found.category(row).as_deref() == Some(value))).collect();
        self.keep(&mask)
    }

    /// What a row is called in messages.
    pub fn place(&self, row: usize) -> String {
        match self.first_line {
            Some(first) => format!("line {}", row + first),
            None => format!("row {row}"),
        }
    }
}

impl FrameColumn {
    /// Rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Rows without a value.
    pub fn missing(&self) -> usize {
        self.values.null_count()
    }

    /// Tells of each row whether it has no value.
    pub fn absent(&self) -> impl Fn(usize) -> bool + '_ {
        |row| self.values.is_null(row)
    }

    /// Numbers, flags as 0 and 1, times as seconds since 1970; none where missing. Categories and text have none at all.
    pub fn numbers(&self) -> Vec<Option<f64>> {
        match self.kind {
            DataKind::Numeric => self.values.as_primitive::<Float64Type>().iter().collect(),
            DataKind::Boolean => self
                .values
                .as_boolean()
                .iter()
                .map(|flag| flag.map(|flag| f64::from(u8::from(flag))))
                .collect(),
            DataKind::Datetime => {
                let micros = self.values.as_primitive::<TimestampMicrosecondType>();
                micros.iter().map(|at| at.map(|at| at as f64 / 1e6)).collect()
            }
            DataKind::Categorical | DataKind::Text => vec![None; self.len()],
        }
    }

    /// Times in microseconds since 1970; none where missing, and nowhere in a column of another kind.
    pub fn times(&self) -> Vec<Option<i64>> {
        match self.kind {
            DataKind::Datetime => self.values.as_primitive::<TimestampMicrosecondType>().iter().collect(),
            _ => vec![None; self.len()],
        }
    }

    /// The value of one row as a category; none where missing.
    pub fn category(&self, row: usize) -> Option<String> {
        crate::codec::value(&self.values, row).category().or_else(|| {
            let at = (self.kind == DataKind::Datetime && self.values.is_valid(row))
                .then(|| self.values.as_primitive::<TimestampMicrosecondType>().value(row))?;
            Some(steersman_domain::time::from_micros(at).to_string())
        })
    }

    /// Distinct values.
    pub fn distinct(&self) -> usize {
        match self.texts() {
            Some(texts) => texts.flatten().collect::<HashSet<&str>>().len(),
            None => self.numbers().into_iter().flatten().map(f64::to_bits).collect::<HashSet<u64>>().len(),
        }
    }

    /// The values as text, without copying, where the column holds categories or text.
    pub fn texts(&self) -> Option<impl Iterator<Item = Option<&str>>> {
        matches!(self.kind, DataKind::Categorical | DataKind::Text)
            .then(|| self.values.as_string::<i32>().iter())
    }
}
