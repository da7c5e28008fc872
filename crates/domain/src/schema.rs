//! The schema of a model's records, and the check that turns a value of any format into one that a column holds.
//!
//! A value that does not fit is a [`Problem`] that names the column. It is refused rather than dropped, because a monitor
//! that silently loses a column shows green.

use crate::problem::Problem;
use crate::record::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The longest category, in bytes: longer text is no category, and would make profiles and pages unusable.
pub const LONGEST_TEXT: usize = 65_536;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Finite numbers.
    Numeric,
    /// Text with few distinct values.
    Categorical,
    /// True or false.
    Boolean,
}

/// What a column of a data file holds: wider than [`ColumnKind`], as files also have times and sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    /// Numbers; they may be infinite.
    Numeric,
    /// Text with values that come back.
    Categorical,
    /// True or false.
    Boolean,
    /// Instants.
    Datetime,
    /// Sentences.
    Text,
}

impl DataKind {
    /// The word in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::Boolean => "boolean",
            Self::Datetime => "datetime",
            Self::Text => "text",
        }
    }

    /// What a feature of this kind is in a model's records: times and sentences are taken as categories.
    pub fn column_kind(self) -> ColumnKind {
        match self {
            Self::Numeric => ColumnKind::Numeric,
            Self::Boolean => ColumnKind::Boolean,
            Self::Categorical | Self::Datetime | Self::Text => ColumnKind::Categorical,
        }
    }
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// The columns of a model's records, learnt from the reference file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Features in the order of the reference file.
    pub features: Vec<Column>,
    /// Name and kind of the model's output.
    pub prediction: Column,
    /// Name and kind of the truth.
    pub label: Column,
}

impl Schema {
    /// The feature of this name.
    pub fn feature(&self, name: &str) -> Option<&Column> {
        self.features.iter().find(|column| column.name == name)
    }

    /// Reads feature values as the schema wants them. Features that are absent are missing values; those that the schema
    /// does not have are left out.
    pub fn feature_values(&self, features: &Map<String, Json>) -> Result<BTreeMap<String, Value>, Problem> {
        let mut values = BTreeMap::new();
        for (name, json) in features {
            let Some(column) = self.feature(name) else { continue };
            let cell = column.cell(Raw::from(json));
            let value = cell.map_err(|problem| problem.field(format!("features.{name}")))?.into();
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

/// A value as it came, whatever the format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    /// Missing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number that is larger.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// A list, which no column holds.
    List,
    /// An object, which no column holds.
    Object,
}

impl<'a> From<&'a Json> for Raw<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Integer(number),
                (None, Some(number)) => Self::Unsigned(number),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(_) => Self::List,
            Json::Object(_) => Self::Object,
        }
    }
}

impl Raw<'_> {
    /// The number, if it is one.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(number as f64),
            Self::Unsigned(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            _ => None,
        }
    }

    /// How a message shows it.
    pub fn shown(self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(flag) => format!("`{flag}`"),
            Self::Integer(number) => format!("`{number}`"),
            Self::Unsigned(number) => format!("`{number}`"),
            Self::Float(number) => format!("`{number:?}`"),
            Self::Text(text) => match text.char_indices().nth(60) {
                Some((end, _)) => format!("`{:?}...`", &text[..end]),
                None => format!("`{text:?}`"),
            },
            Self::List => "a list".to_owned(),
            Self::Object => "an object".to_owned(),
        }
    }
}

/// A value as a column holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Missing.
    Null,
    /// A finite number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A category.
    Text(Cow<'a, str>),
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Number(number) => Self::Number(number),
            Cell::Flag(flag) => Self::Bool(flag),
            Cell::Text(text) => Self::Text(text.into_owned()),
        }
    }
}

impl Column {
    /// Reads one value as this column wants it. The problem names the column.
    pub fn cell<'a>(&self, raw: Raw<'a>) -> Result<Cell<'a>, Problem> {
        let wrong = |expected: &str| {
            Err(Problem::invalid(format!("{} is not {expected}", raw.shown())).field(self.name.clone()))
        };
        match (self.kind, raw) {
            (_, Raw::Null) => Ok(Cell::Null),
            (ColumnKind::Numeric, Raw::Bool(flag)) => Ok(Cell::Number(f64::from(u8::from(flag)))),
            (ColumnKind::Numeric, Raw::Text("NaN" | "nan" | "Infinity" | "-Infinity")) => {
                wrong("a finite number; send null for a missing value")
            }
            (ColumnKind::Numeric, _) => match raw.number() {
                Some(number) if number.is_finite() => Ok(Cell::Number(number)),
                Some(_) => wrong("a finite number; send null for a missing value"),
                None => wrong("a number"),
            },
            (ColumnKind::Categorical, Raw::Text(text)) if text.len() > LONGEST_TEXT => {
                let message = format!("text of {} bytes is not a category", text.len());
                Err(Problem::invalid(message)
                    .field(self.name.clone())
                    .hint(format!("a category has at most {LONGEST_TEXT} bytes")))
            }
            (ColumnKind::Categorical, Raw::Text(text)) => Ok(Cell::Text(Cow::Borrowed(text))),
            (ColumnKind::Categorical, Raw::Integer(number)) => Ok(Cell::Text(Cow::Owned(number.to_string()))),
            (ColumnKind::Categorical, Raw::Unsigned(number)) => {
                Ok(Cell::Text(Cow::Owned(number.to_string())))
            }
            (ColumnKind::Categorical, Raw::Float(number)) => {
                Ok(Cell::Text(Cow::Owned(format!("{number:?}"))))
            }
            (ColumnKind::Categorical, Raw::Bool(flag)) => {
                Ok(Cell::Text(Cow::Borrowed(if flag { "true" } else { "false" })))
            }
            (ColumnKind::Categorical, Raw::List | Raw::Object) => wrong("a category"),
            (ColumnKind::Boolean, Raw::Bool(flag)) => Ok(Cell::Flag(flag)),
            (ColumnKind::Boolean, _) => match raw.number() {
                Some(0.0) => Ok(Cell::Flag(false)),
                Some(1.0) => Ok(Cell::Flag(true)),
                _ => wrong("true or false"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        Schema {
            features: vec![column("age", ColumnKind::Numeric), column("town", ColumnKind::Categorical)],
            prediction: column("score", ColumnKind::Numeric),
            label: column("late", ColumnKind::Numeric),
        }
    }

    #[test]
    fn a_wrong_value_names_its_field() {
        let send = |features: Json| {
            let features = features.as_object().cloned().unwrap_or_default();
            schema().feature_values(&features).map(|_| ()).map_err(|problem| problem.to_string())
        };
        assert_eq!(send(json!({"age": 3, "town": null})), Ok(()));
        assert_eq!(send(json!({"age": "old"})), Err("features.age: `\"old\"` is not a number".to_owned()));
        assert!(send(json!({"age": "NaN"})).unwrap_err().contains("send null for a missing value"));
        assert_eq!(send(json!({"height": 3})), Ok(()));
    }

    #[test]
    fn a_category_may_come_as_a_number() {
        let town = Column { name: "town".to_owned(), kind: ColumnKind::Categorical };
        let read = |raw| Value::from(town.cell(raw).unwrap()).category();
        assert_eq!(read(Raw::Integer(3)).as_deref(), Some("3"));
        assert_eq!(read(Raw::Float(2.5)).as_deref(), Some("2.5"));
        assert_eq!(read(Raw::Bool(true)).as_deref(), Some("true"));
        assert!(town.cell(Raw::List).is_err());
    }
}
