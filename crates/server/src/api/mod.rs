//! The HTTP API: thin handlers over [`Platform`].
//!
//! Everything a page shows is here as JSON. Errors are RFC 9457 problem details. Nobody signs in yet, so the API listens
//! on loopback alone, and requests that a browser sends for another site are refused.

mod events;
mod gateways;
mod guard;
mod ledger;
mod linger;
mod metrics;
mod models;
mod problem;
mod query;
mod rollouts;
mod snapshots;
mod telemetry;

pub use problem::ApiProblem;

use crate::Platform;
use crate::pages;
use crate::platform::Replica;
use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

/// The largest body that is no telemetry, in bytes.
const LARGEST_BODY: usize = 8 << 20;

/// All routes: API, pages, health and metrics.
pub fn router(platform: Platform) -> Router {
    let api = Router::new()
        .route("/state", get(models::state))
        .route("/replica", get(replica))
        .route("/models", get(models::list).post(models::apply))
        .route("/models/{model}", get(models::show))
        .route("/models/{model}/measurements", get(models::measurements))
        .route("/models/{model}/segments", get(models::segments))
        .route("/models/{model}/incidents", get(models::incidents))
        .route("/models/{model}/versions", post(models::register))
        .route("/models/{model}/snapshot", get(snapshots::take))
        .route("/models/{model}/rollouts", get(models::rollouts).post(models::request_rollout))
        .route("/models/{model}/records", post(telemetry::records))
        .route("/models/{model}/labels", post(telemetry::labels))
        .route("/models/{model}/forget", post(models::forget))
        .route("/models/{model}/quarantine", get(telemetry::quarantine))
        .route("/models/{model}/events", post(events::of_model))
        .route("/events", post(events::of_any))
        .route("/gateways", get(gateways::list))
        .route("/gateways/{gateway}/orders", post(gateways::orders))
        .route("/gateways/{gateway}/captures", post(gateways::captures))
        .route("/query", post(query::query))
        .route("/models/{model}/forecast", get(rollouts::forecast))
        .route("/models/{model}/verdict", get(rollouts::verdict))
        .route("/rollouts/{rollout}/approve", post(models::approve))
        .route("/rollouts/{rollout}/pause", post(rollouts::pause))
        .route("/rollouts/{rollout}/resume", post(rollouts::resume))
        .route("/rollouts/{rollout}/abort", post(rollouts::abort))
        .route("/rollouts/{rollout}/skip", post(rollouts::skip))
        .route("/rollouts/{rollout}/reject", post(models::reject))
        .route("/reports/{name}", post(models::report))
        .route("/ledger/entries", get(ledger::entries))
        .route("/ledger/checkpoint", get(ledger::checkpoint))
        .route("/ledger/{*path}", get(ledger::tile));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .merge(pages::router())
        .fallback(problem::no_route)
        .layer(axum::middleware::from_fn(guard::same_site))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::from_fn_with_state(platform.clone(), linger::linger))
        .with_state(platform)
}

/// Which part this replica plays, and who leads.
async fn replica(State(platform): State<Platform>) -> Json<Replica> {
    Json(platform.replica())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyFor {
    role: Option<Role>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Leader,
}

/// Ready to take telemetry in and to show pages; with `?role=leader`, ready to decide and to serve through its gateway.
async fn ready(
    State(platform): State<Platform>,
    Query(wanted): Query<ReadyFor>,
) -> (StatusCode, Json<serde_json::Value>) {
    let Replica { replica, leads, leader, .. } = platform.replica();
    let ready = leads || wanted.role.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let entries = platform.state().size;
    let role = if leads { "leader" } else { "standby" };
    let body =
        json!({"ready": ready, "entries": entries, "replica": replica, "role": role, "leader": leader});
    (status, Json(body))
}
