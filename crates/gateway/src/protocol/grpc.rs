//! The Open Inference Protocol V2 over gRPC, read where a model, an id or tensors are needed; all else passes through.
//! Field numbers are those of `inference.GRPCInferenceService`.

use super::{About, Asked, Protocol, Question, Told, tensor};
use crate::headers::{MODEL, text};
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use prost::Message;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use steersman_domain::Problem;
use steersman_domain::oip::{InferRequest, InferResponse, Tensor};

/// What the gateway answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Live,
    Ready,
    Metadata,
}

/// Reads the head of a gRPC request.
pub(super) fn asked<'a>(path: &'a str, headers: &'a HeaderMap) -> Asked<'a> {
    let model = text(headers, MODEL);
    let question =
        |predicts, model| Asked::Model(Question { protocol: Protocol::Grpc, predicts, model, path: None });
    match path.strip_prefix("/inference.GRPCInferenceService/") {
        Some("ServerLive") => Asked::Gateway(About::Grpc(Method::Live)),
        Some("ServerReady") => Asked::Gateway(About::Grpc(Method::Ready)),
        Some("ServerMetadata") => Asked::Gateway(About::Grpc(Method::Metadata)),
        Some(method) => question(method == "ModelInfer", model),
        None if model.is_some() => {
            Asked::Model(Question { protocol: Protocol::Http, predicts: true, model, path: None })
        }
        None => Asked::Nothing(
            StatusCode::NOT_IMPLEMENTED,
            "only inference.GRPCInferenceService is known; name the model by the header x-steersman-model",
        ),
    }
}

/// An answer of the gateway itself: a message in its frame.
pub(crate) fn answer(method: Method, ready: bool) -> Bytes {
    let message = match method {
        Method::Live => Flag { set: true }.encode_to_vec(),
        Method::Ready => Flag { set: ready }.encode_to_vec(),
        Method::Metadata => {
            Metadata { name: "steersman".to_owned(), version: "2".to_owned(), extensions: Vec::new() }
                .encode_to_vec()
        }
    };
    frame(&message)
}

/// A message in its frame: not packed, its length, its bytes.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The first message of a stream, once all of it is here; none too where it is packed.
pub(crate) fn first_message(stream: &[u8]) -> Option<&[u8]> {
    let (head, rest) = stream.split_first_chunk::<5>()?;
    let [0, length @ ..] = *head else { return None };
    rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)
}

/// The HTTP status that says the same as a gRPC status.
pub(crate) fn http_status(headers: &HeaderMap) -> Option<u16> {
    let code: u32 = text(headers, "grpc-status")?.parse().ok()?;
    Some(match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    })
}

/// The gRPC status that says the same as an HTTP status of the gateway.
pub(crate) fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 413 => "3",
        404 => "5",
        405 | 501 => "12",
        408 | 504 => "4",
        499 => "1",
        _ => "14",
    }
}

/// Reads the model's name and the request's id from the first message, which need not be whole.
pub(super) fn told(body: &[u8]) -> Told<'_> {
    let Some(([0, ..], mut rest)) = body.split_first_chunk::<5>() else { return Told::default() };
    let mut told = Told::default();
    while let Some((tag, after)) = varint(rest) {
        let (field, kind) = (tag >> 3, tag & 7);
        let skipped = match kind {
            0 => varint(after).map(|(_, after)| (&[][..], after)),
            1 => after.split_at_checked(8),
            5 => after.split_at_checked(4),
            2 => varint(after)
                .and_then(|(length, after)| after.split_at_checked(usize::try_from(length).ok()?)),
            _ => None,
        };
        let Some((value, after)) = skipped else { break };
        let text = || std::str::from_utf8(value).ok().filter(|text| !text.is_empty()).map(Cow::Borrowed);
        match field {
            1 if kind == 2 => told.model = text(),
            3 if kind == 2 => told.id = text(),
            _ => {}
        }
        // Inputs come after both.
        if field > 3 {
            break;
        }
        rest = after;
    }
    told
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

pub(super) fn request(body: &[u8]) -> Result<InferRequest, Problem> {
    let wire = message::<ModelInferRequest>(body, "request")?;
    let parameters = wire.parameters.into_iter().map(|(name, value)| (name, value.json()));
    Ok(InferRequest {
        id: Some(wire.id).filter(|id| !id.is_empty()),
        parameters: parameters.collect::<BTreeMap<_, _>>(),
        inputs: tensors(wire.inputs, &wire.raw_input_contents)?,
    })
}

pub(super) fn response(body: &[u8]) -> Result<InferResponse, Problem> {
    let wire = message::<ModelInferResponse>(body, "answer")?;
    Ok(InferResponse {
        model_name: wire.model_name,
        model_version: Some(wire.model_version).filter(|version| !version.is_empty()),
        id: Some(wire.id).filter(|id| !id.is_empty()),
        outputs: tensors(wire.outputs, &wire.raw_output_contents)?,
    })
}

fn message<M: Message + Default>(body: &[u8], what: &str) -> Result<M, Problem> {
    let wrong = |why: &str| Problem::invalid(format!("the {what} is not an inference {what}: {why}"));
    let message = first_message(body).ok_or_else(|| wrong("its message is packed or cut off"))?;
    M::decode(message).map_err(|error| wrong(&error.to_string()))
}

fn tensors(wire: Vec<WireTensor>, raw: &[Bytes]) -> Result<Vec<Tensor>, Problem> {
    if !raw.is_empty() && raw.len() != wire.len() {
        let message = format!("{} raw contents for {} tensors", raw.len(), wire.len());
        return Err(Problem::invalid(message).hint("raw contents are used for all tensors or for none"));
    }
    let one = |(place, tensor): (usize, WireTensor)| {
        let WireTensor { name, datatype, shape, contents } = tensor;
        let data = match raw.get(place) {
            Some(raw) => tensor::elements(&name, &datatype, &shape, raw)?,
            None => contents.unwrap_or_default().elements(),
        };
        Ok(Tensor { name, shape, datatype, data })
    };
    wire.into_iter().enumerate().map(one).collect()
}

#[derive(Clone, PartialEq, Message)]
struct Flag {
    #[prost(bool, tag = "1")]
    set: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, repeated, tag = "3")]
    extensions: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ModelInferRequest {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(map = "string, message", tag = "4")]
    parameters: HashMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<WireTensor>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    raw_input_contents: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct ModelInferResponse {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<WireTensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    raw_output_contents: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct WireTensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(bool, repeated, tag = "1")]
    bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    ints: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    longs: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    uints: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    ulongs: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    floats: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    doubles: Vec<f64>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    texts: Vec<Bytes>,
}

impl Contents {
    /// Of one kind only, whatever the datatype says.
    fn elements(self) -> Vec<Json> {
        let texts = self.texts.iter().map(|text| Json::from(String::from_utf8_lossy(text).into_owned()));
        let floats = self.floats.iter().map(|value| Json::from(f64::from(*value)));
        self.bools
            .into_iter()
            .map(Json::from)
            .chain(self.ints.into_iter().map(Json::from))
            .chain(self.longs.into_iter().map(Json::from))
            .chain(self.uints.into_iter().map(Json::from))
            .chain(self.ulongs.into_iter().map(Json::from))
            .chain(floats)
            .chain(self.doubles.into_iter().map(Json::from))
            .chain(texts)
            .collect()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(oneof = "Choice", tags = "1, 2, 3, 4, 5")]
    choice: Option<Choice>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Choice {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Long(i64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(uint64, tag = "5")]
    Ulong(u64),
}

impl Parameter {
    fn json(self) -> Json {
        match self.choice {
            None => Json::Null,
            Some(Choice::Bool(value)) => value.into(),
            Some(Choice::Long(value)) => value.into(),
            Some(Choice::Text(value)) => value.into(),
            Some(Choice::Double(value)) => value.into(),
            Some(Choice::Ulong(value)) => value.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tensors_are_read_from_contents_and_from_raw_bytes() {
        let tensor = |name: &str, datatype: &str, contents| WireTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: vec![1],
            contents,
        };
        let text = Contents { texts: vec![Bytes::from_static(b"eu")], ..Contents::default() };
        let long = Parameter { choice: Some(Choice::Text("2026-01-01T00:00:00Z".to_owned())) };
        let mut asked = ModelInferRequest {
            model_name: "m".to_owned(),
            id: "r1".to_owned(),
            parameters: HashMap::from([("time".to_owned(), long)]),
            inputs: vec![tensor("region", "BYTES", Some(text))],
            raw_input_contents: Vec::new(),
        };
        let body = frame(&asked.encode_to_vec());
        let read = request(&body).unwrap();
        assert_eq!(
            (read.id.as_deref(), json!(read.rows().unwrap())),
            (Some("r1"), json!([{"region": "eu"}]))
        );
        assert_eq!(read.parameters["time"], "2026-01-01T00:00:00Z");
        let beginning = told(&body[..14]);
        assert_eq!((beginning.model.as_deref(), beginning.id.as_deref()), (Some("m"), Some("r1")));
        asked.inputs = vec![tensor("x", "FP64", None)];
        asked.raw_input_contents = vec![Bytes::copy_from_slice(&2.5f64.to_le_bytes())];
        let read = request(&frame(&asked.encode_to_vec())).unwrap();
        assert_eq!(json!(read.rows().unwrap()), json!([{"x": 2.5}]));
        asked.raw_input_contents.push(Bytes::new());
        let refusal = request(&frame(&asked.encode_to_vec())).unwrap_err().to_string();
        assert!(refusal.starts_with("2 raw contents for 1 tensors"), "{refusal}");
        assert!(request(b"\x01\0\0\0\0").unwrap_err().to_string().contains("packed or cut off"));
    }
}
