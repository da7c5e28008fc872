//! Records of calls that the gateway or others saw: Open Inference Protocol V2, and V1 (`instances`, `predictions`);
//! `events` reads the halves of calls that others send.

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
    /// The body of the request.
    pub request: bytes::Bytes,
    /// The body of the answer; none where there was no good one.
    pub response: Option<bytes::Bytes>,
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
        let instances = parse::<V1Request>(body, what)?.instances;
        let rows =
            instances.into_iter().map(|instance| v1_row(instance, schema)).collect::<Result<_, _>>()?;
        return Ok(Request { id: None, time: None, rows });
    }
    let request: InferRequest = parse(body, what)?;
    let time = request.parameters.get("time").and_then(|time| time.as_str()).map(parse_time).transpose();
    let time = time.map_err(|problem| problem.field("parameters.time"))?;
    Ok(Request { id: request.id.clone(), time, rows: request.rows()? })
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
fn outputs(body: &[u8], schema: &Schema) -> Result<(Vec<Option<f64>>, Option<String>), Problem> {
    let what = "answer is not an inference answer";
    let name = &schema.prediction.name;
    if parse::<Spoken>(body, what)?.predictions.is_some() {
        let predictions = parse::<V1Response>(body, what)?.predictions;
        let number = |prediction: &Json| match prediction {
            Json::Object(outputs) => outputs.get(name)?.as_f64(),
            Json::Array(values) => values.first().filter(|_| values.len() == 1)?.as_f64(),
            value => value.as_f64(),
        };
        return Ok((predictions.iter().map(number).collect(), None));
    }
    let response: InferResponse = parse(body, what)?;
    let rows = response.rows()?;
    Ok((rows.iter().map(|row| row.get(name)?.as_f64()).collect(), response.model_version))
}

/// The records of one call: one for each row of it.
pub fn records_of(call: &Call, schema: &Schema) -> Result<CallRows, Problem> {
    let request = request(&call.request, schema)?;
    let (outputs, named) = match &call.response {
        Some(response) => outputs(response, schema)?,
        None => (Vec::new(), None),
    };
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
