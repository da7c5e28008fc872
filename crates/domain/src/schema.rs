//! The schema of a model's records, and the checks that turn JSON into records and labels.
//!
//! A row that does not fit is a [`Problem`] that names the field; the rest of the batch goes on. Unknown columns and
//! values of a wrong type are refused rather than dropped, because a monitor that silently loses a column shows green.

use crate::id::RecordId;
use crate::problem::Problem;
use crate::record::{Label, Record, Value};
use crate::time::parse_time;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

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

const RECORD_KEYS: [&str; 6] = ["id", "time", "version", "features", "latency_ms", "status"];

impl Schema {
    /// The feature of this name.
    pub fn feature(&self, name: &str) -> Option<&Column> {
        self.features.iter().find(|column| column.name == name)
    }

    /// Reads one record in the wire form `{"id", "time", "version"?, "features": {..}, OUTPUT, "latency_ms"?,
    /// "status"?}`.
    pub fn record(&self, json: &Json) -> Result<Record, Problem> {
        let object = json.as_object().ok_or_else(|| Problem::invalid("a record is a JSON object"))?;
        for key in object.keys() {
            if !RECORD_KEYS.contains(&key.as_str()) && *key != self.prediction.name {
                let known = format!("known are {}, and `{}`", RECORD_KEYS.join(", "), self.prediction.name);
                return Err(Problem::invalid("unknown key").field(key.clone()).hint(known));
            }
        }
        let features = match object.get("features") {
            Some(Json::Object(features)) => self.feature_values(features)?,
            Some(_) => return Err(Problem::invalid("not an object").field("features")),
            None => return Err(missing("features")),
        };
        let mut outputs = BTreeMap::new();
        if let Some(output) = object.get(&self.prediction.name) {
            outputs.insert(self.prediction.name.clone(), value(output, &self.prediction)?);
        }
        Ok(Record {
            id: text(object, "id")?.parse()?,
            time: time(object, "time")?,
            version: optional(object, "version", |json| json.as_str().map(str::to_owned), "a string")?,
            arm: None,
            weight: None,
            unit: None,
            features,
            outputs,
            latency_ms: optional(
                object,
                "latency_ms",
                |json| json.as_f64().filter(|ms| *ms >= 0.0),
                "a number >= 0",
            )?,
            status: optional(
                object,
                "status",
                |json| json.as_u64().and_then(|status| u16::try_from(status).ok()),
                "an HTTP status code",
            )?,
        })
    }

    /// Reads one label in the wire form `{"id", "label", "time"}`.
    pub fn label(&self, json: &Json) -> Result<Label, Problem> {
        let object = json.as_object().ok_or_else(|| Problem::invalid("a label is a JSON object"))?;
        if let Some(key) = object.keys().find(|key| !["id", "label", "time"].contains(&key.as_str())) {
            return Err(Problem::invalid("unknown key").field(key.clone()).hint("known are id, label, time"));
        }
        let raw = object.get("label").ok_or_else(|| missing("label"))?;
        let column = Column { name: "label".to_owned(), kind: self.label.kind };
        let label = value(raw, &column)?;
        if label.missing() {
            return Err(missing("label").hint("send a label only when the truth is known"));
        }
        let id: RecordId = text(object, "id")?.parse()?;
        Ok(Label { id, label, time: time(object, "time")? })
    }

    /// Checks feature values against the schema. Features that are absent are missing values; unknown ones are an
    /// error.
    pub fn feature_values(&self, features: &Map<String, Json>) -> Result<BTreeMap<String, Value>, Problem> {
        let mut values = BTreeMap::new();
        for (name, json) in features {
            let Some(column) = self.feature(name) else {
                return Err(Problem::invalid("unknown column")
                    .field(format!("features.{name}"))
                    .hint("add it to the reference file and apply the spec again, or do not send it"));
            };
            let value = value(json, column).map_err(|problem| problem.field(format!("features.{name}")))?;
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

/// Reads one JSON value as `column` wants it.
fn value(json: &Json, column: &Column) -> Result<Value, Problem> {
    let wrong = |expected: &str| {
        let shown = shorten(&json.to_string());
        Err(Problem::invalid(format!("{shown} is not {expected}")).field(column.name.clone()))
    };
    match (column.kind, json) {
        (_, Json::Null) => Ok(Value::Null),
        (ColumnKind::Numeric, Json::Number(number)) => match number.as_f64() {
            Some(number) if number.is_finite() => Ok(Value::Number(number)),
            _ => wrong("a finite number"),
        },
        (ColumnKind::Numeric, Json::Bool(flag)) => Ok(Value::Number(f64::from(u8::from(*flag)))),
        (ColumnKind::Numeric, Json::String(text))
            if ["NaN", "nan", "Infinity", "-Infinity"].contains(&text.as_str()) =>
        {
            wrong("a finite number; send null for a missing value")
        }
        (ColumnKind::Numeric, _) => wrong("a number"),
        (ColumnKind::Categorical, Json::String(text)) => Ok(Value::Text(text.clone())),
        (ColumnKind::Categorical, Json::Number(number)) => Ok(Value::Text(number.to_string())),
        (ColumnKind::Categorical, Json::Bool(flag)) => Ok(Value::Text(flag.to_string())),
        (ColumnKind::Categorical, _) => wrong("a category"),
        (ColumnKind::Boolean, Json::Bool(flag)) => Ok(Value::Bool(*flag)),
        (ColumnKind::Boolean, Json::Number(number)) if number.as_f64() == Some(0.0) => Ok(Value::Bool(false)),
        (ColumnKind::Boolean, Json::Number(number)) if number.as_f64() == Some(1.0) => Ok(Value::Bool(true)),
        (ColumnKind::Boolean, _) => wrong("true or false"),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

fn missing(field: &str) -> Problem {
    Problem::invalid("missing").field(field)
}

fn text<'a>(object: &'a Map<String, Json>, field: &str) -> Result<&'a str, Problem> {
    let json = object.get(field).ok_or_else(|| missing(field))?;
    json.as_str().ok_or_else(|| Problem::invalid("not a string").field(field))
}

fn time(object: &Map<String, Json>, field: &str) -> Result<Timestamp, Problem> {
    parse_time(text(object, field)?).map_err(|problem| problem.field(field))
}

fn optional<T>(
    object: &Map<String, Json>,
    field: &str,
    read: impl Fn(&Json) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Problem> {
    match object.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => match read(json) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::invalid(format!("not {expected}")).field(field)),
        },
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
            schema()
                .record(&json!({"id": "1", "time": "2026-01-01T00:00:00Z", "features": features}))
                .map(|_| ())
                .map_err(|problem| problem.to_string())
        };
        assert_eq!(send(json!({"age": 3, "town": null})), Ok(()));
        assert_eq!(send(json!({"age": "old"})), Err("features.age: `\"old\"` is not a number".to_owned()));
        assert!(send(json!({"age": "NaN"})).unwrap_err().contains("send null for a missing value"));
        assert!(send(json!({"height": 3})).unwrap_err().starts_with("features.height: unknown column"));
    }

    #[test]
    fn keys_that_would_be_lost_are_refused() {
        let record = json!({"id": "1", "time": "2026-01-01T00:00:00Z", "features": {}, "scoer": 0.5});
        assert!(schema().record(&record).unwrap_err().to_string().starts_with("scoer: unknown key"));
    }
}
