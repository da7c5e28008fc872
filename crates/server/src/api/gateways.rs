//! Gateways that are processes of their own: orders out, captured calls in. A 200 to captured calls means durable.

use super::ApiProblem;
use super::telemetry::{announced, body};
use crate::Platform;
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Value, json};
use steersman_gateway::remote::{Orders, Report};

/// The gateways that report.
pub(super) async fn list(State(platform): State<Platform>) -> Json<Value> {
    let gateways = platform.gateways().into_iter().map(|(name, seen, counters)| {
        json!({"gateway": name, "reported_ms_ago": seen.as_millis() as u64, "counters": counters})
    });
    Json(gateways.collect())
}

/// Tells a gateway how to split; waits a few seconds for news.
pub(super) async fn orders(
    State(platform): State<Platform>,
    Path(gateway): Path<String>,
    Json(report): Json<Report>,
) -> Result<Json<Orders>, ApiProblem> {
    Ok(Json(platform.direct_gateway(&gateway, report).await?))
}

/// Takes captured calls in.
pub(super) async fn captures(
    State(platform): State<Platform>,
    Path(gateway): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiProblem> {
    let mut ticket = platform.admit_any(announced(request.headers()))?;
    let bytes = body(request, &mut ticket).await?;
    let accepted = platform.take_captures(&gateway, bytes).await?;
    Ok(Json(json!({"accepted": accepted})))
}
