//! CloudEvents 1.0 in, binary, structured and batched, as KServe's inference logger and Knative send them. A 202 means
//! that the event is in memory: there is a record, on disk, once its other half has come.

use super::ApiProblem;
use super::telemetry::{announced, body, text};
use crate::Platform;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use steersman_domain::ModelName;
use steersman_records::calls::{read_binary, read_structured};

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
        "application/cloudevents+json" => read_structured(named.as_ref(), false, &bytes)?,
        "application/cloudevents-batch+json" => read_structured(named.as_ref(), true, &bytes)?,
        _ => vec![read_binary(named, &|name| attribute(&headers, name), bytes)?],
    };
    for event in events {
        platform.take_event(event)?;
    }
    Ok(StatusCode::ACCEPTED)
}

fn attribute<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    Some(text(headers, HeaderName::from_static(name))).filter(|value| !value.is_empty())
}
