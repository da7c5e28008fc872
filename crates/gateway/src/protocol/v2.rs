//! The Open Inference Protocol V2 over REST. With the binary tensor extension a body is JSON, then the raw tensors in the
//! order of the JSON: those with `binary_data_size` among their parameters.

use super::{Told, tensor};
use crate::capture::Payload;
use serde::Deserialize;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use steersman_domain::Problem;
use steersman_domain::oip::{InferRequest, InferResponse, Tensor};

#[derive(Deserialize)]
struct WithId<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// The only part of a request that is read on its way.
pub(super) fn told(json: &[u8]) -> Told<'_> {
    // Most requests without an id are told apart sooner.
    let id =
        memchr::memmem::find(json, b"\"id\"").and_then(|_| serde_json::from_slice::<WithId<'_>>(json).ok());
    Told { id: id.and_then(|body| body.id), model: None }
}

#[derive(Deserialize)]
struct Wire {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: BTreeMap<String, Json>,
    #[serde(default)]
    data: Vec<Json>,
}

#[derive(Deserialize)]
struct WireRequest {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Json>,
    inputs: Vec<Wire>,
}

#[derive(Deserialize)]
struct WireResponse {
    #[serde(default)]
    model_name: String,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(default)]
    id: Option<String>,
    outputs: Vec<Wire>,
}

pub(super) fn request(payload: &Payload) -> Result<InferRequest, Problem> {
    let (json, raw) = split(payload, "request")?;
    let WireRequest { id, parameters, inputs } = serde_json::from_slice(json)
        .map_err(|error| Problem::invalid(format!("the request is not an inference request: {error}")))?;
    Ok(InferRequest { id, parameters, inputs: tensors(inputs, raw)? })
}

pub(super) fn response(payload: &Payload) -> Result<InferResponse, Problem> {
    let (json, raw) = split(payload, "answer")?;
    let WireResponse { model_name, model_version, id, outputs } = serde_json::from_slice(json)
        .map_err(|error| Problem::invalid(format!("the answer is not an inference answer: {error}")))?;
    Ok(InferResponse { model_name, model_version, id, outputs: tensors(outputs, raw)? })
}

/// The JSON, and what comes after it.
fn split<'a>(payload: &'a Payload, what: &str) -> Result<(&'a [u8], &'a [u8]), Problem> {
    let length = payload.json_length.unwrap_or(payload.bytes.len());
    payload.bytes.split_at_checked(length).ok_or_else(|| {
        let message = format!("the {what} has {} bytes and says that {length} are JSON", payload.bytes.len());
        Problem::invalid(message).field("Inference-Header-Content-Length")
    })
}

fn tensors(wire: Vec<Wire>, mut raw: &[u8]) -> Result<Vec<Tensor>, Problem> {
    let mut tensors = Vec::with_capacity(wire.len());
    for Wire { name, shape, datatype, parameters, data } in wire {
        let data = match parameters.get("binary_data_size") {
            None => data,
            Some(size) => {
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                let (own, rest) = size.and_then(|size| raw.split_at_checked(size)).ok_or_else(|| {
                    let message = format!("it should have more bytes than the {} that are left", raw.len());
                    Problem::invalid(message).field(format!("{name}.parameters.binary_data_size"))
                })?;
                raw = rest;
                tensor::elements(&name, &datatype, &shape, own)?
            }
        };
        tensors.push(Tensor { name, shape, datatype, data });
    }
    match raw.len() {
        0 => Ok(tensors),
        surplus => Err(Problem::invalid(format!("{surplus} bytes are left after the last tensor"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn binary_and_plain_tensors_stand_beside_each_other() {
        let head = json!({"id": "r1", "inputs": [
            {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
            {"name": "b", "shape": [2], "datatype": "BYTES", "data": ["x", null]},
            {"name": "c", "shape": [2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}}]})
        .to_string();
        let mut body = head.clone().into_bytes();
        body.extend([0, 0, 128, 63, 0, 0, 0, 192, 7, 9]);
        let payload = |body: &[u8], length: usize| Payload {
            bytes: body.to_vec().into(),
            json_length: Some(length),
            ..Payload::default()
        };
        let rows = request(&payload(&body, head.len())).unwrap().rows().unwrap();
        assert_eq!(json!(rows), json!([{"a": 1.0, "b": "x", "c": 7}, {"a": -2.0, "b": null, "c": 9}]));
        assert_eq!(told(head.as_bytes()).id.as_deref(), Some("r1"));
        let refusal = |body: &[u8], length| request(&payload(body, length)).unwrap_err().to_string();
        assert!(refusal(&body[..head.len() + 9], head.len()).starts_with("c.parameters.binary_data_size"));
        assert!(refusal(&body, body.len() + 1).starts_with("Inference-Header-Content-Length"));
        body.push(0);
        assert!(refusal(&body, head.len()).starts_with("1 bytes are left"));
    }
}
