//! Telemetry in: records and labels as NDJSON, JSON array or Arrow IPC stream, also packed. A 2xx means durable.

use super::ApiProblem;
use crate::Platform;
use crate::platform::{Body, Ingested, Ticket};
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use std::time::Duration;
use steersman_domain::{ErrorKind, ModelName, Problem};
use steersman_records::intake::{Format, Packing};
use steersman_records::{Kind, Quarantined};

type Reply = Result<(StatusCode, Json<Ingested>), ApiProblem>;

/// A sender who is silent for so long in the middle of a body is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Takes records in.
pub(super) async fn records(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    request: Request,
) -> Reply {
    ingest(&platform, &model, Kind::Records, request).await
}

/// Takes labels in.
pub(super) async fn labels(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    request: Request,
) -> Reply {
    ingest(&platform, &model, Kind::Labels, request).await
}

async fn ingest(platform: &Platform, model: &ModelName, kind: Kind, request: Request) -> Reply {
    let headers = request.headers();
    let format = Format::of(text(headers, header::CONTENT_TYPE))?;
    let packing = Packing::of(text(headers, header::CONTENT_ENCODING))?;
    let mut ticket = platform.admit(model, announced(headers))?;
    let bytes = body(request, &mut ticket).await?;
    let ingested = platform.ingest(model, kind, Body { format, packing, bytes, ticket }).await?;
    // 200 where all rows are in; 207 where some were refused; 400 where all were.
    let status = match (ingested.rejected, ingested.accepted + ingested.duplicates) {
        (0, _) => StatusCode::OK,
        (_, 0) => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    Ok((status, Json(ingested)))
}

/// A header as text; empty if it is not there.
pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// How long the body is, as far as that was said before.
pub(super) fn announced(headers: &HeaderMap) -> u64 {
    text(headers, header::CONTENT_LENGTH).parse().unwrap_or(0)
}

/// Reads a body, taking room as it comes.
pub(super) async fn body(request: Request, ticket: &mut Ticket) -> Result<Bytes, Problem> {
    let mut body = request.into_body();
    let mut whole = BytesMut::new();
    let mut only: Option<Bytes> = None;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| cut_short("the sender fell silent"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| cut_short(&error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = only.as_ref().map_or(whole.len(), Bytes::len) as u64;
        ticket.read(so_far, data.len() as u64)?;
        match only.take() {
            None if whole.is_empty() => only = Some(data),
            first => {
                whole.extend_from_slice(&first.unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(only.unwrap_or_else(|| whole.freeze()))
}

fn cut_short(why: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, format!("the body did not come to its end: {why}"))
        .hint("nothing of this batch was taken in")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default = "usual")]
    limit: usize,
}

fn usual() -> usize {
    100
}

/// The rows that were refused last.
pub(super) async fn quarantine(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<Quarantined>>, ApiProblem> {
    platform.state().model(&model)?;
    let mut latest = platform.log().quarantine(&model)?;
    latest.truncate(wanted.limit);
    Ok(Json(latest))
}
