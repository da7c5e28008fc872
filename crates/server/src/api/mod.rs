//! The HTTP API: thin handlers over [`Platform`].
//!
//! Everything a page shows is here as JSON. Errors are RFC 9457 problem details. Nobody signs in yet, so the API listens
//! on loopback alone, and requests that a browser sends for another site are refused.

mod guard;
mod ledger;
mod models;
mod problem;
mod query;
mod telemetry;

pub use problem::ApiProblem;

use crate::Platform;
use crate::pages;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Json, extract::State};
use serde_json::json;

/// The largest body, in bytes, after unpacking.
pub const LARGEST_BODY: usize = 64 << 20;

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
        .route("/query", post(query::query))
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
        .route("/metrics", get(metrics))
        .merge(pages::router())
        .fallback(problem::no_route)
        .layer(axum::middleware::from_fn(guard::same_site))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(platform)
}

async fn ready(State(platform): State<Platform>) -> Json<serde_json::Value> {
    Json(json!({"ready": true, "entries": platform.state().size}))
}

/// Steersman's own numbers, in the Prometheus text format.
async fn metrics(State(platform): State<Platform>) -> String {
    use std::fmt::Write as _;
    let state = platform.state();
    let mut text = String::new();
    let mut line = |name: &str, labels: &str, value: u64| {
        let _ = writeln!(text, "steersman_{name}{labels} {value}");
    };
    line("ledger_entries", "", state.size);
    line("capture_failures_total", "", platform.capture_failures());
    for name in state.models.keys() {
        let labels = format!("{{model=\"{name}\"}}");
        let counters = platform.gateway().counters(name);
        line("champion_requests_total", &labels, counters.champion_requests);
        line("candidate_requests", &labels, counters.candidate_requests);
        line("shadow_requests", &labels, counters.shadow_requests);
        line("failed_requests_total", &labels, counters.failed_requests);
        line("fallbacks_total", &labels, counters.fallbacks);
        line("shed_mirrors_total", &labels, counters.shed_mirrors);
        line("shed_captures_total", &labels, counters.shed_captures);
        if let Ok(stats) = platform.log().stats(name) {
            line("records", &labels, stats.records);
            line("labels", &labels, stats.labels);
            line("labels_without_record", &labels, stats.labels_without_record);
            line("segments", &labels, stats.segments);
            line("wal_bytes", &labels, stats.wal_bytes);
        }
    }
    text
}
