//! CloudEvents 1.0, binary, structured and batched, as KServe's inference logger and Knative send them: each is one half of
//! a call.

use super::place;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use steersman_domain::time::parse_time;
use steersman_domain::{ModelName, Problem};

/// Which half of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// What was asked.
    Request,
    /// What was answered.
    Response,
}

/// One half of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The model.
    pub model: ModelName,
    /// The same for both halves.
    pub id: String,
    /// Which half.
    pub kind: EventKind,
    /// When it happened, if the event says so.
    pub time: Option<Timestamp>,
    /// The payload.
    pub body: Bytes,
}

/// The attributes of an event in the binary form, which are headers: `ce-id` and so on; none where there is none.
pub type Attributes<'a> = &'a dyn Fn(&'static str) -> Option<&'a str>;

/// An event whose attributes are headers and whose payload is the body. The model is the one that is given, else the one
/// that `ce-inferenceservicename` says.
pub fn read_binary(
    model: Option<ModelName>,
    attributes: Attributes<'_>,
    body: Bytes,
) -> Result<Event, Problem> {
    let required = |name: &'static str| {
        attributes(name).ok_or_else(|| {
            Problem::invalid("missing").field(name).hint(
                "a CloudEvent has its attributes as headers, or is sent as application/cloudevents+json",
            )
        })
    };
    version(required("ce-specversion")?)?;
    let model = match (model, attributes("ce-inferenceservicename")) {
        (None, Some(name)) => Some(name.parse()?),
        (model, _) => model,
    };
    event(model, required("ce-id")?.to_owned(), required("ce-type")?, attributes("ce-time"), body)
}

/// Events that are JSON objects, one or a `batch` of them. Nothing is taken of a batch in which one is wrong.
pub fn read_structured(model: Option<&ModelName>, batch: bool, body: &[u8]) -> Result<Vec<Event>, Problem> {
    let events = match batch {
        true => parse::<Vec<Structured<'_>>>(body)?,
        false => vec![parse::<Structured<'_>>(body)?],
    };
    let read = |(place, event): (usize, Structured<'_>)| {
        let event = event.event(model.cloned());
        event.map_err(|problem| if batch { numbered(place, problem) } else { problem })
    };
    events.into_iter().enumerate().map(read).collect()
}

/// A problem of one event of a batch, which says of which.
pub fn numbered(place: usize, problem: Problem) -> Problem {
    let field = match &problem.field {
        Some(field) => format!("event {place}, {field}"),
        None => format!("event {place}"),
    };
    problem.field(field)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::invalid(format!("the body is no CloudEvent: {}", place(&error))))
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
        other => {
            let shown: String = other.chars().take(60).collect();
            Err(Problem::invalid(format!("`{shown}` is not 1.0")).field("specversion"))
        }
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
            let shown: String = kind.chars().take(60).collect();
            let problem =
                Problem::invalid(format!("events of type `{shown}` are not taken in")).field("type");
            return Err(problem.hint("org.kubeflow.serving.inference.request and .response are"));
        }
    };
    let time: Option<Timestamp> =
        time.map(parse_time).transpose().map_err(|problem| problem.field("time"))?;
    Ok(Event { model, id, kind, time, body })
}
