//! Reads reference files: the schema is learnt from them, windows are compared with them.
//!
//! Everything that [`Frame::read`] understands. A cell or column that does not fit is named with its line and what to do.

use crate::codec::{RESERVED, times};
use crate::frame::{Frame, FrameColumn, Selection};
use crate::table::Table;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use jiff::Timestamp;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use steersman_domain::schema::{Column, ColumnKind, DataKind};
use steersman_domain::spec::Personal;
use steersman_domain::time::{from_micros, parse_time};
use steersman_domain::{Digest, ModelSpec, Problem, Schema, Task};

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

/// Reads the reference of a spec. Columns that are not the id, time, label, output or ignored are features.
pub fn read_reference(path: &Path, spec: &ModelSpec) -> Result<Reference, Problem> {
    let file = path.display().to_string();
    let frame = Frame::read(&file, &Selection::default())?;
    if frame.rows == 0 {
        return Err(Problem::invalid("holds no rows").field(file).hint("the reference needs some history"));
    }
    if let Some(note) = frame.notes.iter().find(|note| note.contains("occurs twice")) {
        return Err(Problem::invalid(note.clone()).field(file).hint("every feature needs a name of its own"));
    }
    let find = |name: &str, key: &str| {
        frame.require(name).map_err(|problem| problem.field(key))?;
        frame
            .columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| Problem::internal(format!("column `{name}` went missing")))
    };
    let time_index = find(&spec.data.time, "data.time")?;
    let label_name = &spec.model.label.column;
    let label_index = find(label_name, "model.label.column")?;
    let id_index = spec.data.id.as_ref().map(|id| find(id, "data.id")).transpose()?;
    let output_index = frame.columns.iter().position(|column| column.name == spec.model.prediction);
    for (key, names) in [("data.ignore", &spec.data.ignore), ("data.categorical", &spec.data.categorical)] {
        names.iter().try_for_each(|name| find(name, key).map(|_| ()))?;
    }
    let label_time = spec.model.label.time.as_ref().map(|name| find(name, "model.label.time")).transpose()?;
    let own: HashSet<usize> = [Some(time_index), Some(label_index), id_index, output_index, label_time]
        .into_iter()
        .flatten()
        .collect();
    let moments = moments(&frame, &frame.columns[time_index])?;
    let labels = labels(&frame, &frame.columns[label_index], spec.model.task)?;
    let ids = ids(&frame, id_index.map(|index| &frame.columns[index]))?;
    let mut features = Vec::new();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".to_owned(), Arc::new(ids.into_iter().map(Some).collect::<StringArray>())),
        ("time".to_owned(), times(moments.iter().copied().map(Some))),
    ];
    for (index, found) in frame.columns.iter().enumerate() {
        let name = &found.name;
        let personal = spec.data.personal.get(name);
        if own.contains(&index) || spec.data.ignore.contains(name) || personal == Some(&Personal::Drop) {
            continue;
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with('_') {
            return Err(Problem::invalid(format!("a feature cannot be called `{name}`"))
                .field(file)
                .hint("rename the column, or name it under `data.ignore`"));
        }
        // What stands for a personal value is a category.
        let kind = match spec.data.categorical.contains(name) || personal.is_some() {
            true => ColumnKind::Categorical,
            false => found.kind.column_kind(),
        };
        columns.push((name.clone(), feature(found, kind)));
        features.push(Column { name: name.clone(), kind });
    }
    if features.is_empty() {
        return Err(Problem::invalid("has no column that could be a feature").field(file));
    }
    let output = Column { name: spec.model.prediction.clone(), kind: ColumnKind::Numeric };
    if let Some(index) = output_index {
        let found = &frame.columns[index];
        if found.kind.column_kind() == ColumnKind::Categorical {
            return Err(Problem::invalid(format!("column `{}` of `{file}` is not numeric", output.name))
                .field("model.prediction"));
        }
        columns.push((output.name.clone(), feature(found, ColumnKind::Numeric)));
    }
    let labelled = labels.iter().flatten().count() as u64;
    let label_kind = match frame.columns[label_index].kind {
        DataKind::Boolean => ColumnKind::Boolean,
        _ => ColumnKind::Numeric,
    };
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
        digest: frame.digest,
        rows: frame.rows as u64,
        labelled,
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
    })
}

/// A feature's values; numbers that are not finite are missing, as records cannot have them.
pub(crate) fn feature(column: &FrameColumn, kind: ColumnKind) -> ArrayRef {
    match kind {
        ColumnKind::Numeric => {
            let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
            Arc::new(column.numbers().into_iter().map(finite).collect::<Float64Array>())
        }
        ColumnKind::Boolean => column.values.clone(),
        ColumnKind::Categorical => match column.kind {
            DataKind::Categorical | DataKind::Text => column.values.clone(),
            _ => Arc::new((0..column.len()).map(|row| column.category(row)).collect::<StringArray>()),
        },
    }
}

pub(crate) fn moments(frame: &Frame, column: &FrameColumn) -> Result<Vec<Timestamp>, Problem> {
    let name = &column.name;
    let wrong = |row: usize, what: &str| {
        Problem::invalid(format!("{what} in column `{name}`"))
            .field(frame.place(row))
            .hint("every row needs a time such as 2026-01-31T12:00:00Z")
    };
    if let Some(texts) = column.texts() {
        // Not all are times, or the column would be one of times.
        for (row, text) in texts.enumerate() {
            let text = text.ok_or_else(|| wrong(row, "no time"))?;
            parse_time(text).map_err(|problem| wrong(row, &problem.message))?;
        }
    }
    if column.kind != DataKind::Datetime {
        return Err(wrong(0, "a number, not a time,"));
    }
    let times = column.times().into_iter().enumerate();
    times.map(|(row, at)| at.map(from_micros).ok_or_else(|| wrong(row, "no time"))).collect()
}

pub(crate) fn labels(frame: &Frame, column: &FrameColumn, task: Task) -> Result<Vec<Option<f64>>, Problem> {
    let name = &column.name;
    if column.kind.column_kind() == ColumnKind::Categorical {
        let text = |row: &usize| column.category(*row).is_some_and(|text| text.parse::<f64>().is_err());
        let row = (0..column.len()).find(text).unwrap_or(0);
        let shown = column.category(row).unwrap_or_default();
        return Err(Problem::invalid(format!("label `{shown}` in column `{name}` is not a number"))
            .field(frame.place(row))
            .hint("labels are numbers, or 0/1 or true/false for a binary model"));
    }
    let labels = column.numbers();
    let unfit = |label: &Option<f64>| match (label, task) {
        (Some(label), Task::Binary) => *label != 0.0 && *label != 1.0,
        (Some(label), Task::Regression) => !label.is_finite(),
        (None, _) => false,
    };
    if let Some(row) = labels.iter().position(unfit) {
        let shown = labels[row].unwrap_or(0.0);
        let (what, hint) = match task {
            Task::Binary => ("0 or 1", "a binary model needs 0 and 1; for numbers use task = \"regression\""),
            Task::Regression => ("finite", "leave the cell empty where the truth is not known"),
        };
        return Err(Problem::invalid(format!("label {shown} in column `{name}` is not {what}"))
            .field(frame.place(row))
            .hint(hint));
    }
    Ok(labels)
}

pub(crate) fn ids(frame: &Frame, column: Option<&FrameColumn>) -> Result<Vec<String>, Problem> {
    let Some(column) = column else {
        return Ok((0..frame.rows).map(|row| format!("reference-{row}")).collect());
    };
    let mut seen = HashSet::with_capacity(frame.rows);
    (0..frame.rows)
        .map(|row| {
            let wrong = |what: String| Problem::invalid(what).field(frame.place(row)).hint("ids are unique");
            let id =
                column.category(row).ok_or_else(|| wrong(format!("no id in column `{}`", column.name)))?;
            if seen.insert(id.clone()) { Ok(id) } else { Err(wrong(format!("id `{id}` occurs twice"))) }
        })
        .collect()
}
