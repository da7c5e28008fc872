//! CSV and JSON as columns of text.

use super::source::Part;
use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::io::Cursor;
use std::sync::Arc;
use steersman_domain::Problem;

/// Cells that are read at a time: the reader sets room aside for each, also where the file has few rows.
const CELLS: usize = 1 << 21;
/// Rows that are read at a time, at most.
const BATCH: usize = 65_536;

/// The text of a file; bytes that are not UTF-8 are replaced, and a note says where the first is.
fn utf8(bytes: Vec<u8>) -> (String, Option<String>) {
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let replaced = text.matches('\u{fffd}').count();
            let note = format!(
                "the file is not UTF-8: {replaced} characters were replaced, the first in line {line}; convert it with `iconv -t UTF-8` to keep them"
            );
            (text, Some(note))
        }
    };
    if text.0.starts_with('\u{feff}') {
        text.0.drain(..'\u{feff}'.len_utf8());
    }
    text
}

/// The character between cells: the one of comma, semicolon, tab and bar that the header has most of.
fn delimiter(header: &str) -> u8 {
    let count = |wanted: char| {
        let mut quoted = false;
        header
            .chars()
            .filter(|&c| {
                quoted ^= c == '"';
                c == wanted && !quoted
            })
            .count()
    };
    let best = [',', ';', '\t', '|'].into_iter().rev().max_by_key(|&c| count(c)).unwrap_or(',');
    u8::try_from(best).unwrap_or(b',')
}

/// The columns of a CSV file with a header line; empty cells are missing.
pub(super) fn csv_columns(bytes: Vec<u8>) -> Result<Part, Problem> {
    let (text, note) = utf8(bytes);
    let delimiter = delimiter(text.lines().next().unwrap_or_default());
    let mut header = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let names: Vec<String> = header
        .headers()
        .map_err(|error| Problem::invalid(error.to_string()).field("line 1"))?
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    drop(header);
    // The reader's schema needs names that are all different; the real ones come back below.
    let fields: Vec<Field> =
        (0..names.len()).map(|place| Field::new(place.to_string(), DataType::Utf8, true)).collect();
    let schema = Arc::new(ArrowSchema::new(fields));
    let reader = ReaderBuilder::new(schema.clone())
        .with_header(true)
        .with_delimiter(delimiter)
        .with_batch_size((CELLS / names.len().max(1)).clamp(1, BATCH))
        .build(Cursor::new(text))
        .map_err(|error| csv_problem(&error))?;
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>().map_err(|error| csv_problem(&error))?;
    let whole = concat_batches(&schema, &batches).map_err(|error| Problem::invalid(error.to_string()))?;
    drop(batches);
    Ok(Part {
        columns: names.into_iter().zip(whole.columns().iter().cloned()).collect(),
        rows: whole.num_rows(),
        notes: note.into_iter().collect(),
        first_line: Some(2),
    })
}

/// Arrow says `incorrect number of fields for line 3, expected 4 got 5`: the line becomes the place.
fn csv_problem(error: &arrow::error::ArrowError) -> Problem {
    let text = error.to_string();
    let numbers: Vec<&str> =
        text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    match (text.contains("incorrect number of fields"), numbers.as_slice()) {
        (true, [line, expected, got, ..]) => {
            Problem::invalid(format!("{got} cells where the header has {expected}"))
                .field(format!("line {line}"))
                .hint("quote cells that hold the separator or a line break")
        }
        _ => Problem::invalid(text),
    }
}

/// A JSON object with its keys in the order of the file.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The columns of JSON objects, one a line or in one list; objects within become `outer.inner`.
pub(super) fn json_columns(bytes: Vec<u8>) -> Result<Part, Problem> {
    let (text, note) = utf8(bytes);
    let mut table = Growing::default();
    let lines = !text.trim_start().starts_with('[');
    if lines {
        // Objects may also span lines: each begins where the last one ended.
        let mut objects = serde_json::Deserializer::from_str(&text).into_iter::<Object>();
        loop {
            let at = objects.byte_offset();
            let Some(object) = objects.next() else { break };
            let object = object.map_err(|error| {
                let line = text[..at.min(text.len())].matches('\n').count() + 1;
                json_problem(&error).field(format!("line {}", error.line().max(line)))
            })?;
            table.push(object);
        }
    } else {
        let objects: Vec<Object> = serde_json::from_str(&text)
            .map_err(|error| json_problem(&error).field(format!("line {}", error.line())))?;
        objects.into_iter().for_each(|object| table.push(object));
    }
    let mut notes: Vec<String> = note.into_iter().collect();
    let lists = std::mem::take(&mut table.lists);
    notes.extend(lists.into_iter().map(|name| format!("`{name}` was left out: it holds lists")));
    let rows = table.rows;
    Ok(Part { columns: table.finish(), rows, notes, first_line: lines.then_some(1) })
}

fn json_problem(error: &serde_json::Error) -> Problem {
    Problem::invalid(format!("not a JSON object: {error}")).hint("one object a line, or one list of objects")
}

/// Columns that grow row by row.
#[derive(Default)]
struct Growing {
    places: HashMap<String, usize>,
    columns: Vec<(String, StringBuilder, usize)>,
    lists: Vec<String>,
    rows: usize,
}

impl Growing {
    fn push(&mut self, object: Object) {
        for (key, value) in object.0 {
            self.cell(key, value);
        }
        self.rows += 1;
    }

    fn cell(&mut self, key: String, value: Value) {
        let text = match value {
            Value::Null => return self.mention(key),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            Value::Array(_) => {
                if !self.lists.contains(&key) {
                    self.lists.push(key);
                }
                return;
            }
            Value::Object(inner) => {
                for (name, value) in inner {
                    self.cell(format!("{key}.{name}"), value);
                }
                return;
            }
        };
        let place = self.place(key);
        let Some((_, builder, filled)) = self.columns.get_mut(place) else { return };
        // A key that occurs twice in one object counts once.
        if *filled <= self.rows {
            (*filled..self.rows).for_each(|_| builder.append_null());
            builder.append_value(text);
            *filled = self.rows + 1;
        }
    }

    /// A column exists also where its value is null.
    fn mention(&mut self, key: String) {
        self.place(key);
    }

    fn place(&mut self, key: String) -> usize {
        if let Some(&place) = self.places.get(&key) {
            return place;
        }
        self.places.insert(key.clone(), self.columns.len());
        self.columns.push((key, StringBuilder::new(), 0));
        self.columns.len() - 1
    }

    fn finish(self) -> Vec<(String, ArrayRef)> {
        let rows = self.rows;
        let finish = |(name, mut builder, filled): (String, StringBuilder, usize)| {
            (filled..rows).for_each(|_| builder.append_null());
            (name, Arc::new(builder.finish()) as ArrayRef)
        };
        self.columns.into_iter().map(finish).collect()
    }
}
