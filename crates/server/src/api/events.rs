//! CloudEvents 1.0 in, binary, structured and batched, as KServe's inference logger and Knative send them. A 202 means
//! that the event is in memory: there is a record, on disk, once its other half has come.

use super::ApiProblem;
use super::telemetry::{announced, body, text};
use crate::Platform;
use crate::platform::{Event, EventKind};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use steersman_domain::time::parse_time;
use steersman_domain::{ModelName, Problem};

type Reply = Result<StatusCode, ApiProblem>;

/// Events whose model is the one that `inferenceservicename` says.
pub(super) async fn of_any(State(platform): State<Platform>, request: Request) -> Reply {
    take(&platform, None, request).await
}

/// Events of one model, whatever the sender calls it.
pub(super) async fn of_model(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    request: Request,
) -> Reply {
    take(&platform, Some(model), request).await
}

async fn take(platform: &Platform, model: Option<ModelName>, request: Request) -> Reply {
    let headers = request.headers().clone();
    let kind = text(&headers, header::CONTENT_TYPE)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let named = match &model {
        Some(model) => Some(model.clone()),
        None => attribute(&headers, "ce-inferenceservicename").map(str::parse).transpose()?,
    };
    let mut ticket = match &named {
        Some(model) => platform.admit(model, announced(&headers))?,
        None => platform.admit_any(announced(&headers))?,
    };
    let bytes = body(request, &mut ticket).await?;
    let events = match kind.as_str() {
        "application/cloudevents+json" => vec![parse::<Structured>(&bytes)?.event(named)?],
        "application/cloudevents-batch+json" => {
            let events = parse::<Vec<Structured>>(&bytes)?.into_iter();
            events.map(|event| event.event(named.clone())).collect::<Result<_, _>>()?
        }
        _ => vec![binary(&headers, named, bytes)?],
    };
    for event in events {
        platform.take_event(event)?;
    }
    Ok(StatusCode::ACCEPTED)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::invalid(format!("the body is no CloudEvent: {error}")))
}

fn attribute<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    Some(text(headers, HeaderName::from_static(name))).filter(|value| !value.is_empty())
}

/// The attributes are headers, the payload is the body.
fn binary(headers: &HeaderMap, model: Option<ModelName>, body: Bytes) -> Result<Event, Problem> {
    let required = |name: &'static str| {
        attribute(headers, name).ok_or_else(|| {
            Problem::invalid("missing").field(name).hint(
                "a CloudEvent has its attributes as headers, or is sent as application/cloudevents+json",
            )
        })
    };
    version(required("ce-specversion")?)?;
    event(model, required("ce-id")?.to_owned(), required("ce-type")?, attribute(headers, "ce-time"), body)
}

/// Attributes and payload are one JSON object. Extensions that are not needed are left aside.
#[derive(Deserialize)]
struct Structured<'a> {
    specversion: String,
    id: String,
    r#type: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    inferenceservicename: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
}

impl Structured<'_> {
    fn event(self, model: Option<ModelName>) -> Result<Event, Problem> {
        version(&self.specversion)?;
        let body = match (self.data, self.data_base64) {
            (Some(data), None) => Bytes::copy_from_slice(data.get().as_bytes()),
            (None, Some(data)) => {
                let decoded = STANDARD.decode(data);
                let wrong = |error| Problem::invalid(format!("not base64: {error}")).field("data_base64");
                decoded.map_err(wrong)?.into()
            }
            _ => return Err(Problem::invalid("either `data` or `data_base64` is needed")),
        };
        let model = match (model, self.inferenceservicename) {
            (None, Some(name)) => Some(name.parse()?),
            (model, _) => model,
        };
        event(model, self.id, &self.r#type, self.time.as_deref(), body)
    }
}

fn version(specversion: &str) -> Result<(), Problem> {
    match specversion {
        "1.0" => Ok(()),
        other => Err(Problem::invalid(format!("`{other}` is not 1.0")).field("specversion")),
    }
}

fn event(
    model: Option<ModelName>,
    id: String,
    kind: &str,
    time: Option<&str>,
    body: Bytes,
) -> Result<Event, Problem> {
    let model = model.ok_or_else(|| {
        Problem::invalid("missing")
            .field("inferenceservicename")
            .hint("or send to /api/v1/models/MODEL/events")
    })?;
    if id.is_empty() || id.len() > 256 {
        return Err(Problem::invalid("an id of 1 to 256 bytes is needed").field("id"));
    }
    let kind = match kind.rsplit_once('.') {
        Some((family, "request")) if family.ends_with("inference") => EventKind::Request,
        Some((family, "response")) if family.ends_with("inference") => EventKind::Response,
        _ => {
            let problem = Problem::invalid(format!("events of type `{kind}` are not taken in")).field("type");
            return Err(problem.hint("org.kubeflow.serving.inference.request and .response are"));
        }
    };
    let time: Option<Timestamp> =
        time.map(parse_time).transpose().map_err(|problem| problem.field("time"))?;
    Ok(Event { model, id, kind, time, body })
}
