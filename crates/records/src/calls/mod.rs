//! Records of calls that the gateway or others saw: Open Inference Protocol V2, and V1 (`instances`, `predictions`);
//! of conversations, what the schema has columns for. `events` reads the halves of calls that others send.

mod events;

pub use events::{Attributes, Event, EventKind, numbered, read_binary, read_structured};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use steersman_domain::oip::{InferRequest, InferResponse};
use steersman_domain::record::Arm;
use steersman_domain::time::parse_time;
use steersman_domain::{Problem, Record, RecordId, Schema};

/// One call to a model, however it was seen.
#[derive(Debug, Clone)]
pub struct Call {
    /// The caller's id, or the gateway's.
    pub id: String,
    /// When it was asked, unless the request says otherwise.
    pub time: Timestamp,
    /// What was asked and answered.
    pub content: Content,
    /// The version, unless the answer names one.
    pub version: Option<String>,
    /// Which arm of a split answered.
    pub arm: Option<Arm>,
    /// The probability with which it was chosen.
    pub weight: Option<f64>,
    /// What the split was sticky on, hashed.
    pub unit: Option<u64>,
    /// How long the caller waited.
    pub latency_ms: Option<f64>,
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
}

/// What was asked and answered; no answer where there was no good one.
#[derive(Debug, Clone)]
pub enum Content {
    /// Bodies of JSON, of either protocol.
    Json {
        /// Of the request.
        request: bytes::Bytes,
        /// Of the answer.
        response: Option<bytes::Bytes>,
    },
    /// Tensors in and out.
    Tensors(InferRequest, Option<InferResponse>),
    /// Instances in and predictions out.
    Instances(Vec<Json>, Option<Vec<Json>>),
    /// What is known of it by name, of which the schema says what is kept: a conversation.
    Named(Map<String, Json>),
    /// Nothing that is looked into. Who answered, how fast and how well is known all the same.
    Opaque,
}

/// The rows of a call.
#[derive(Debug, Clone)]
pub struct CallRows {
    /// A record for each row.
    pub records: Vec<Record>,
    /// Columns that the schema does not have, with how many values came.
    pub unknown: BTreeMap<String, u64>,
}

type Row = Map<String, Json>;

/// What a request holds, whichever protocol it speaks.
struct Request {
    id: Option<String>,
    time: Option<Timestamp>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct V1Request {
    instances: Vec<Json>,
}

#[derive(Deserialize)]
struct V1Response {
    predictions: Vec<Json>,
}

/// Whether a body speaks V1, told by the first key that only one of the protocols has.
#[derive(Deserialize)]
struct Spoken {
    #[serde(default)]
    instances: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    predictions: Option<serde::de::IgnoredAny>,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the {what}: {}", place(&error))))
}

/// What is wrong with JSON, and where, without the values in it: they may be about a person, and this is kept.
fn place(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            format!(
                "a key is missing or a value is of a wrong type at line {} column {}",
                error.line(),
                error.column()
            )
        }
        _ => error.to_string(),
    }
}

fn request(body: &[u8], schema: &Schema) -> Result<Request, Problem> {
    let what = "request is not an inference request";
    if parse::<Spoken>(body, what)?.instances.is_some() {
        return v1_request(parse::<V1Request>(body, what)?.instances, schema);
    }
    v2_request(&parse(body, what)?, schema)
}

fn v1_request(instances: Vec<Json>, schema: &Schema) -> Result<Request, Problem> {
    let rows = instances.into_iter().map(|instance| v1_row(instance, schema)).collect::<Result<_, _>>()?;
    Ok(Request { id: None, time: None, rows })
}

fn v2_request(request: &InferRequest, schema: &Schema) -> Result<Request, Problem> {
    let time = request.parameters.get("time").and_then(|time| time.as_str()).map(parse_time).transpose();
    let time = time.map_err(|problem| problem.field("parameters.time"))?;
    Ok(Request { id: request.id.clone(), time, rows: request.rows_for(schema)? })
}

/// A row by name, or its features in the order of the schema.
fn v1_row(instance: Json, schema: &Schema) -> Result<Row, Problem> {
    let names = || schema.features.iter().map(|column| column.name.clone());
    match instance {
        Json::Object(row) => Ok(row),
        Json::Array(values) if values.len() == schema.features.len() => Ok(names().zip(values).collect()),
        Json::Array(values) => {
            let message =
                format!("{} values where the model has {} features", values.len(), schema.features.len());
            let hint = "send objects, or all features in order; a feature that is dropped as personal has no place in it";
            Err(Problem::invalid(message).field("instances").hint(hint))
        }
        value if schema.features.len() == 1 => Ok(names().zip([value]).collect()),
        _ => Err(Problem::invalid("neither an object nor a list").field("instances")),
    }
}

/// The outputs of an answer, and the version that it names.
type Outputs = (Vec<Option<f64>>, Option<String>);

fn outputs(body: &[u8], schema: &Schema) -> Result<Outputs, Problem> {
    let what = "answer is not an inference answer";
    if parse::<Spoken>(body, what)?.predictions.is_some() {
        return Ok((v1_outputs(&parse::<V1Response>(body, what)?.predictions, schema), None));
    }
    v2_outputs(&parse(body, what)?, schema)
}

fn v1_outputs(predictions: &[Json], schema: &Schema) -> Vec<Option<f64>> {
    let number = |prediction: &Json| match prediction {
        Json::Object(outputs) => outputs.get(&schema.prediction.name)?.as_f64(),
        Json::Array(values) => values.first().filter(|_| values.len() == 1)?.as_f64(),
        value => value.as_f64(),
    };
    predictions.iter().map(number).collect()
}

fn v2_outputs(response: &InferResponse, schema: &Schema) -> Result<Outputs, Problem> {
    let rows = response.rows()?;
    let outputs = rows.iter().map(|row| row.get(&schema.prediction.name)?.as_f64()).collect();
    Ok((outputs, response.model_version.clone()))
}

/// What was asked and what was answered, as the schema has it.
fn read(content: &Content, schema: &Schema) -> Result<(Request, Outputs), Problem> {
    let nothing = (Vec::new(), None);
    Ok(match content {
        Content::Json { request: asked, response } => {
            let outputs = response.as_ref().map(|response| outputs(response, schema)).transpose()?;
            (request(asked, schema)?, outputs.unwrap_or(nothing))
        }
        Content::Tensors(asked, answered) => {
            let outputs = answered.as_ref().map(|answered| v2_outputs(answered, schema)).transpose()?;
            (v2_request(asked, schema)?, outputs.unwrap_or(nothing))
        }
        Content::Instances(asked, answered) => {
            let outputs = answered.as_ref().map(|answered| v1_outputs(answered, schema)).unwrap_or_default();
            (v1_request(asked.clone(), schema)?, (outputs, None))
        }
        Content::Named(row) => {
            let output = row.get(&schema.prediction.name).and_then(Json::as_f64);
            let mut row = row.clone();
            row.retain(|name, _| schema.feature(name).is_some());
            (Request { id: None, time: None, rows: vec![row] }, (vec![output], None))
        }
        Content::Opaque => (Request { id: None, time: None, rows: vec![Row::new()] }, nothing),
    })
}

/// The records of one call: one for each row of it.
pub fn records_of(call: &Call, schema: &Schema) -> Result<CallRows, Problem> {
    let (request, (outputs, named)) = read(&call.content, schema)?;
    let id = match (&request.id, call.arm) {
        // The gateway has made the caller's id its own already.
        (Some(id), None) => id,
        _ => &call.id,
    };
    let many = request.rows.len() > 1;
    let mut rows = CallRows { records: Vec::with_capacity(request.rows.len()), unknown: BTreeMap::new() };
    for (index, features) in request.rows.iter().enumerate() {
        let id = if many { format!("{id}/{index}") } else { id.clone() };
        // A candidate that could not be reached was answered for by the champion: its failed attempt is a record of
        // its own, beside the champion's answer of the same id.
        let unanswered = call.arm == Some(Arm::Candidate) && call.status == 0;
        let id: RecordId = if unanswered { format!("{id}#candidate") } else { id }.parse()?;
        let output = outputs.get(index).copied().flatten().filter(|output| output.is_finite());
        for name in features.keys().filter(|name| schema.feature(name).is_none()) {
            *rows.unknown.entry(name.clone()).or_default() += 1;
        }
        rows.records.push(Record {
            id,
            time: request.time.unwrap_or(call.time),
            version: named.clone().or_else(|| call.version.clone()),
            arm: call.arm,
            weight: call.weight,
            unit: call.unit,
            features: schema.feature_values(features)?,
            outputs: output
                .map(|output| (schema.prediction.name.clone(), output.into()))
                .into_iter()
                .collect(),
            latency_ms: call.latency_ms,
            status: Some(call.status),
        });
    }
    Ok(rows)
}
