//! The Open Inference Protocol V2 over REST: requests and answers as types, and tables of rows to and from tensors.
//!
//! One tensor a feature, one element a row. A missing value is `null` in `data`. Nested `data` is flattened row by
//! row. One tensor of all features, a row each, is read in the order of the schema. Binary tensors are read by the
//! gateway, which makes these types of them.

use crate::problem::Problem;
use crate::record::Value;
use crate::schema::{ColumnKind, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// A tensor with its elements as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// Name of the feature or output.
    pub name: String,
    /// Dimensions; the first is the number of rows.
    pub shape: Vec<i64>,
    /// `BOOL`, `INT64`, `FP64`, `BYTES`, ...
    pub datatype: String,
    /// Elements, flat in row-major order or nested.
    #[serde(default)]
    pub data: Vec<Json>,
}

/// Body of `POST /v2/models/{model}/infer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InferRequest {
    /// The caller's id; becomes the record id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Free parameters; `time` (RFC 3339) overrides the time of the record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Json>,
    /// One tensor a feature.
    pub inputs: Vec<Tensor>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InferResponse {
    /// Name of the model.
    pub model_name: String,
    /// The version that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// One tensor an output.
    pub outputs: Vec<Tensor>,
}

/// Values of one row by column name.
pub type Row = BTreeMap<String, Value>;

impl InferRequest {
    /// A request for `rows`, one tensor for each feature of `schema`.
    pub fn for_rows(id: Option<String>, schema: &Schema, rows: &[&Row]) -> Self {
        let inputs = schema.features.iter().map(|column| {
            let datatype = match column.kind {
                ColumnKind::Numeric => "FP64",
                ColumnKind::Categorical => "BYTES",
                ColumnKind::Boolean => "BOOL",
            };
            let data =
                rows.iter().map(|row| json_of(row.get(&column.name).unwrap_or(&Value::Null))).collect();
            let shape = vec![i64::try_from(rows.len()).unwrap_or(i64::MAX)];
            Tensor { name: column.name.clone(), shape, datatype: datatype.to_owned(), data }
        });
        Self { id, parameters: BTreeMap::new(), inputs: inputs.collect() }
    }

    /// The rows of the request; those of one tensor that has all features of `schema` side by side are taken apart.
    pub fn rows_for(&self, schema: &Schema) -> Result<Vec<serde_json::Map<String, Json>>, Problem> {
        let names: Vec<&String> = schema.features.iter().map(|column| &column.name).collect();
        let [Tensor { shape, data, .. }] = self.inputs.as_slice() else { return self.rows() };
        let wide = matches!(shape[..], [_, width] if width > 1 && usize::try_from(width) == Ok(names.len()));
        let mut flat = Vec::new();
        flatten(data, &mut flat);
        if !wide || !flat.len().is_multiple_of(names.len()) {
            return self.rows();
        }
        let row = |values: &[&Json]| {
            names.iter().zip(values).map(|(&name, &value)| (name.clone(), value.clone())).collect()
        };
        Ok(flat.chunks(names.len()).map(row).collect())
    }

    /// The rows of the request, as JSON values by feature name.
    pub fn rows(&self) -> Result<Vec<serde_json::Map<String, Json>>, Problem> {
        rows_of(&self.inputs)
    }
}

impl InferResponse {
    /// The rows of the answer, as JSON values by output name.
    pub fn rows(&self) -> Result<Vec<serde_json::Map<String, Json>>, Problem> {
        rows_of(&self.outputs)
    }
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::String(text.clone()),
    }
}

fn rows_of(tensors: &[Tensor]) -> Result<Vec<serde_json::Map<String, Json>>, Problem> {
    let mut rows: Vec<serde_json::Map<String, Json>> = Vec::new();
    for (position, tensor) in tensors.iter().enumerate() {
        let mut flat = Vec::new();
        flatten(&tensor.data, &mut flat);
        let count = usize::try_from(tensor.shape.first().copied().unwrap_or(0)).unwrap_or(0);
        if flat.len() != count {
            let message =
                format!("shape {:?} does not fit {} elements of one value a row", tensor.shape, flat.len());
            return Err(Problem::invalid(message)
                .field(tensor.name.clone())
                .hint("send one tensor a column"));
        }
        if position == 0 {
            rows.resize_with(count, serde_json::Map::new);
        }
        if rows.len() != count {
            let message = format!("{count} rows where the first tensor has {}", rows.len());
            return Err(Problem::invalid(message).field(tensor.name.clone()));
        }
        for (row, element) in rows.iter_mut().zip(flat) {
            row.insert(tensor.name.clone(), element.clone());
        }
    }
    Ok(rows)
}

fn flatten<'a>(data: &'a [Json], flat: &mut Vec<&'a Json>) {
    for element in data {
        match element {
            Json::Array(inner) => flatten(inner, flat),
            other => flat.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_data_give_the_same_rows() {
        let flat = r#"{"inputs":[{"name":"a","shape":[2],"datatype":"FP64","data":[1,null]}]}"#;
        let nested = r#"{"inputs":[{"name":"a","shape":[2,1],"datatype":"FP64","data":[[1],[null]]}]}"#;
        let rows = |body| serde_json::from_str::<InferRequest>(body).unwrap().rows().unwrap();
        assert_eq!(rows(flat), rows(nested));
        assert_eq!(rows(flat).len(), 2);
    }

    #[test]
    fn tensors_of_different_length_are_refused() {
        let body = r#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]},
                                 {"name":"b","shape":[2],"datatype":"FP64","data":[1,2]}]}"#;
        let problem = serde_json::from_str::<InferRequest>(body).unwrap().rows().unwrap_err();
        assert_eq!(problem.to_string(), "b: 2 rows where the first tensor has 1");
    }
}
