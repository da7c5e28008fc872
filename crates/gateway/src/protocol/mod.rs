//! The protocols that callers speak: what a request asks for, told by its head and the beginning of its body; and what a
//! captured call says, told off the way of requests.
//!
//! - `v2`: the Open Inference Protocol over REST, with binary tensors; `v1`: its predecessor.
//! - `grpc`: the Open Inference Protocol over gRPC.
//! - `openai`: chat, completions, embeddings, with streams of events.
//! - anything else is passed on below `/models/MODEL/`, or by the header `x-steersman-model`, and not looked into.

pub(crate) mod grpc;
mod openai;
mod tensor;
mod v1;
mod v2;

pub use openai::Exchange;

use crate::capture::{Capture, Payload};
use crate::headers::{MODEL, text};
use crate::route::SegmentBudget;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::BTreeSet;
use steersman_domain::Problem;
use steersman_domain::oip::{InferRequest, InferResponse};

/// How a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// The Open Inference Protocol V2 over REST.
    V2,
    /// V1: `instances` and `predictions`.
    V1,
    /// The Open Inference Protocol V2 over gRPC.
    Grpc,
    /// As OpenAI has it.
    OpenAi,
    /// Anything else over HTTP.
    Http,
}

impl Protocol {
    /// Whether a request changes nothing at the server, by what the protocol is for.
    pub(crate) fn predicts(self) -> bool {
        matches!(self, Self::V2 | Self::V1 | Self::Grpc)
    }
}

/// What a captured call says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Tensors in and, if there was a good answer, out.
    Tensors(InferRequest, Option<InferResponse>),
    /// Instances in and predictions out, as JSON.
    Instances(Vec<Json>, Option<Vec<Json>>),
    /// A conversation.
    Exchange(Exchange),
    /// Nothing that is looked into.
    Opaque,
}

/// Reads a captured call; its bodies must be unpacked.
pub fn read(capture: &Capture) -> Result<Said, Problem> {
    let whole = |payload: &Payload, what: &str| match payload.whole() {
        true => Ok(()),
        false => {
            let kind = steersman_domain::ErrorKind::TooLarge;
            let message = format!("the {what} has {} bytes, more than are captured", payload.length);
            Err(Problem::new(kind, message).hint(format!("the call `{}`", capture.request_id)))
        }
    };
    let answered = capture.status == 200;
    if capture.protocol.predicts() {
        whole(&capture.request, "request")?;
        whole(&capture.response, "answer")?;
    }
    let response = answered.then_some(&capture.response);
    Ok(match capture.protocol {
        Protocol::V2 => {
            Said::Tensors(v2::request(&capture.request)?, response.map(v2::response).transpose()?)
        }
        Protocol::V1 => {
            let predictions = response.map(|response| v1::predictions(&response.bytes)).transpose()?;
            Said::Instances(v1::instances(&capture.request.bytes)?, predictions)
        }
        Protocol::Grpc => {
            let response = response.map(|response| grpc::response(&response.bytes)).transpose()?;
            Said::Tensors(grpc::request(&capture.request.bytes)?, response)
        }
        Protocol::OpenAi => {
            Said::Exchange(openai::exchange(&capture.request, response.unwrap_or(&Payload::default())))
        }
        Protocol::Http => Said::Opaque,
    })
}

/// What a request's head asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    /// The gateway about itself.
    Gateway(About),
    /// A model.
    Model(Question<'a>),
    /// Something that is not there.
    Nothing(StatusCode, &'static str),
}

/// What the gateway says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// `GET /v2`
    Metadata,
    /// Whether it is there.
    Live,
    /// Whether it takes requests.
    Ready,
    /// `GET /v1/models`
    Models,
    /// The same over gRPC, by the name of the method.
    Grpc(grpc::Method),
}

/// A question to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    pub(crate) protocol: Protocol,
    /// Whether it is a prediction, which is split and recorded; else the champion answers.
    pub(crate) predicts: bool,
    /// None where only the body says it.
    pub(crate) model: Option<&'a str>,
    /// The path that the server is asked for, without the query, where it is not the caller's.
    pub(crate) path: Option<&'a str>,
}

/// Reads a request's head.
pub(crate) fn asked(parts: &Parts) -> Asked<'_> {
    let (path, get) = (parts.uri.path(), parts.method == Method::GET || parts.method == Method::HEAD);
    if text(&parts.headers, CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/grpc")) {
        return grpc::asked(path, &parts.headers);
    }
    let model = |protocol, predicts, model, path| Asked::Model(Question { protocol, predicts, model, path });
    if let Some(named) = text(&parts.headers, MODEL) {
        let (protocol, predicts) =
            if openai::speaks(path) { (Protocol::OpenAi, true) } else { (Protocol::Http, true) };
        return model(protocol, predicts && !(protocol == Protocol::OpenAi && get), Some(named), None);
    }
    let mut segments = path.trim_start_matches('/').splitn(4, '/');
    let four = [segments.next(), segments.next(), segments.next(), segments.next()];
    let post_only = Asked::Nothing(StatusCode::METHOD_NOT_ALLOWED, "send a POST");
    match four.map(Option::unwrap_or_default) {
        ["v2", "", "", ""] => Asked::Gateway(About::Metadata),
        ["v2", "health", "live", ""] => Asked::Gateway(About::Live),
        ["v2", "health", "ready", ""] => Asked::Gateway(About::Ready),
        ["v2", "models", _, rest] if rest == "versions" || rest.starts_with("versions/") => Asked::Nothing(
            StatusCode::NOT_FOUND,
            "the gateway chooses the version: leave `/versions/...` out of the path",
        ),
        ["v2", "models", name, "infer"] if !name.is_empty() => match get {
            true => post_only,
            false => model(Protocol::V2, true, Some(name), None),
        },
        ["v2", "models", name, ""] | ["v2", "models", name, "ready"] if get && !name.is_empty() => {
            model(Protocol::V2, false, Some(name), None)
        }
        ["v1", "models", "", ""] if get => Asked::Gateway(About::Models),
        ["v1", "models", named, ""] => match named.split_once(':') {
            Some((name, "predict")) if !get => model(Protocol::V1, true, Some(name), None),
            Some((_, "predict")) => post_only,
            Some((name, _)) => model(Protocol::V1, false, Some(name), None),
            None if get => model(Protocol::V1, false, Some(named), None),
            None => post_only,
        },
        ["models", name, ..] if !name.is_empty() => {
            let rest = path.strip_prefix("/models/").and_then(|rest| rest.strip_prefix(name));
            model(Protocol::Http, true, Some(name), rest)
        }
        _ if openai::speaks(path) && get => post_only,
        _ if openai::speaks(path) => model(Protocol::OpenAi, true, None, None),
        _ => Asked::Nothing(
            StatusCode::NOT_FOUND,
            "requests go to /v2/models/MODEL/infer, /v1/models/MODEL:predict, /v1/chat/completions or /models/MODEL/...",
        ),
    }
}

/// What the beginning of a body says of the request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told<'a> {
    pub(crate) model: Option<Cow<'a, str>>,
    pub(crate) id: Option<Cow<'a, str>>,
}

/// Looks for the model and the id in a body, or its beginning. What is not understood says nothing.
pub(crate) fn told<'a>(protocol: Protocol, body: &'a [u8], headers: &HeaderMap) -> Told<'a> {
    match protocol {
        Protocol::V2 => {
            let length = text(headers, crate::headers::JSON_LENGTH).and_then(|text| text.trim().parse().ok());
            v2::told(body.get(..length.unwrap_or(body.len())).unwrap_or(body))
        }
        Protocol::OpenAi => openai::told(body),
        Protocol::Grpc => grpc::told(body),
        Protocol::V1 | Protocol::Http => Told::default(),
    }
}

/// Which segments a request is of, of the columns that have a budget: by its inputs, else by a header.
pub(crate) fn segments(
    limits: &[SegmentBudget],
    protocol: Protocol,
    body: &[u8],
    headers: &HeaderMap,
) -> Vec<(String, String)> {
    let rows = match protocol {
        Protocol::V2 | Protocol::Grpc => {
            let request = match protocol {
                Protocol::Grpc => grpc::request(body),
                _ => {
                    let mut payload = Payload { bytes: body.to_vec().into(), ..Payload::default() };
                    payload.describe(headers);
                    v2::request(&payload)
                }
            };
            request.and_then(|request| request.rows()).unwrap_or_default()
        }
        Protocol::V1 => {
            let instances = v1::instances(body).unwrap_or_default().into_iter();
            let objects = instances.filter_map(|row| match row {
                Json::Object(row) => Some(row),
                _ => None,
            });
            objects.collect()
        }
        Protocol::OpenAi | Protocol::Http => Vec::new(),
    };
    let mut found = BTreeSet::new();
    for SegmentBudget { column, .. } in limits {
        let values = rows.iter().filter_map(|row| match row.get(column)? {
            Json::String(text) => Some(text.clone()),
            Json::Null => None,
            other => Some(other.to_string()),
        });
        let before = found.len();
        found.extend(values.map(|value| (column.clone(), value)));
        if found.len() == before
            && let Some(value) = text(headers, format!("x-segment-{column}"))
        {
            found.insert((column.clone(), value.to_owned()));
        }
    }
    found.into_iter().collect()
}

/// What a caller is told when something went wrong: RFC 9457, with the member `error` that the protocol has.
pub(crate) fn problem(protocol: Protocol, status: StatusCode, detail: &str) -> Json {
    let error = match protocol {
        Protocol::OpenAi => {
            let kind = if status.is_client_error() { "invalid_request_error" } else { "api_error" };
            serde_json::json!({"message": detail, "type": kind, "code": status.as_u16()})
        }
        _ => Json::String(detail.to_owned()),
    };
    serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
        "error": error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    #[test]
    fn a_path_says_the_protocol_and_the_model() {
        let ask = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            let parts = request.into_parts().0;
            match asked(&parts) {
                Asked::Model(Question { protocol, predicts, model, path }) => {
                    Some((protocol, predicts, model.map(str::to_owned), path.map(str::to_owned)))
                }
                _ => None,
            }
        };
        let some = |protocol, predicts, model: Option<&str>, path: Option<&str>| {
            Some((protocol, predicts, model.map(str::to_owned), path.map(str::to_owned)))
        };
        assert_eq!(ask("POST", "/v2/models/m/infer?x=1"), some(Protocol::V2, true, Some("m"), None));
        assert_eq!(ask("GET", "/v2/models/m/ready"), some(Protocol::V2, false, Some("m"), None));
        assert_eq!(ask("POST", "/v2/models/m/versions/2/infer"), None);
        assert_eq!(ask("POST", "/v1/models/m:predict"), some(Protocol::V1, true, Some("m"), None));
        assert_eq!(ask("GET", "/v1/models/m"), some(Protocol::V1, false, Some("m"), None));
        assert_eq!(ask("POST", "/v1/chat/completions"), some(Protocol::OpenAi, true, None, None));
        assert_eq!(ask("POST", "/openai/v1/embeddings"), some(Protocol::OpenAi, true, None, None));
        assert_eq!(ask("PUT", "/models/m/a/b"), some(Protocol::Http, true, Some("m"), Some("/a/b")));
        assert_eq!(ask("GET", "/models/m"), some(Protocol::Http, true, Some("m"), Some("")));
        assert!(
            ["/", "/v2/models//infer", "/v3", "//", "/models/"]
                .iter()
                .all(|path| ask("POST", path).is_none())
        );
    }
}
