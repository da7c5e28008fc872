//! The HTTP API: thin handlers over [`Platform`].
//!
//! Everything a page shows is here as JSON. Errors are RFC 9457 problem details. Nobody signs in yet, so the API listens
//! on loopback alone, and requests that a browser sends for another site are refused.

mod events;
mod guard;
mod ledger;
mod metrics;
mod models;
mod problem;
mod telemetry;

pub use problem::ApiProblem;

use crate::Platform;
use crate::pages;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Json, extract::State};
use serde_json::json;

/// The largest body that is no telemetry, in bytes.
const LARGEST_BODY: usize = 8 << 20;

/// All routes: API, pages, health and metrics.
pub fn router(platform: Platform) -> Router {
    let api = Router::new()
        .route("/state", get(models::state))
        .route("/models", get(models::list).post(models::apply))
        .route("/models/{model}", get(models::show))
        .route("/models/{model}/measurements", get(models::measurements))
        .route("/models/{model}/incidents", get(models::incidents))
        .route("/models/{model}/versions", post(models::register))
        .route("/models/{model}/rollouts", get(models::rollouts).post(models::request_rollout))
        .route("/models/{model}/records", post(telemetry::records))
        .route("/models/{model}/labels", post(telemetry::labels))
        .route("/models/{model}/quarantine", get(telemetry::quarantine))
        .route("/models/{model}/events", post(events::of_model))
        .route("/events", post(events::of_any))
        .route("/rollouts/{rollout}/approve", post(models::approve))
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
        .with_state(platform)
}

async fn ready(State(platform): State<Platform>) -> Json<serde_json::Value> {
    Json(json!({"ready": true, "entries": platform.state().size}))
}
