//! CloudEvents 1.0 in, binary, structured and batched, as KServe's inference logger and Knative send them. A 200 means that
//! there is a record of the call, on disk; a 202 that the event waits in memory for its other half. Neither has a body:
//! Knative takes that for an event.

use super::ApiProblem;
use super::telemetry::{announced, body, text};
use crate::Platform;
use crate::platform::Taken;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use std::collections::BTreeSet;
use steersman_domain::ModelName;
use steersman_records::calls::{numbered, read_binary, read_structured};

const BATCH: &str = "application/cloudevents-batch+json";
/// What is said of a batch in which one is refused.
const OTHERS: &str =
    "the others of the batch are taken in as far as they can be; it may be sent again as it is";

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
        BATCH => read_structured(named.as_ref(), true, &bytes)?,
        _ => vec![read_binary(named, &|name| attribute(&headers, name), bytes)?],
    };
    let batch = kind == BATCH;
    let calls: Vec<(ModelName, String)> =
        events.iter().map(|event| (event.model.clone(), event.id.clone())).collect();
    let mut waiting = BTreeSet::new();
    for ((place, taken), call) in platform.take_events(events).await.into_iter().enumerate().zip(calls) {
        match taken {
            // Its other half may have been in the same batch.
            Ok(Taken::Recorded) => {
                waiting.remove(&call);
            }
            Ok(Taken::Waits) => {
                waiting.insert(call);
            }
            Err(problem) if batch => return Err(numbered(place, problem).hint(OTHERS).into()),
            Err(problem) => return Err(problem.into()),
        }
    }
    Ok(if waiting.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED })
}

fn attribute<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    Some(text(headers, HeaderName::from_static(name))).filter(|value| !value.is_empty())
}
