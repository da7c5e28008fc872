//! `steersman learn-serve`: a model behind the Open Inference Protocol V2.

use super::Learned;
use anyhow::{Context as _, Result};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use steersman_domain::oip::{InferRequest, InferResponse, Tensor};

/// Serves a model that `learn-train` left.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The folder with the model.
    #[arg(long)]
    model: PathBuf,
    /// The port to listen on, on this machine alone.
    #[arg(long)]
    port: u16,
    /// Name of the model in routes.
    #[arg(long)]
    name: String,
    /// The version that answers name.
    #[arg(long)]
    version: String,
    /// Name of the output.
    #[arg(long, default_value = "score")]
    output: String,
}

struct Serving {
    learned: Learned,
    name: String,
    version: String,
    output: String,
}

pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let learned = Learned::load(&args.model)?;
    let serving = Arc::new(Serving { learned, name: args.name, version: args.version, output: args.output });
    let routes = Router::new()
        .route("/v2/health/live", get(async || Json(json!({"live": true}))))
        .route("/v2/health/ready", get(async || Json(json!({"ready": true}))))
        .route("/v2/models/{name}", get(describe))
        .route("/v2/models/{name}/ready", get(describe))
        .route("/v2/models/{name}/infer", post(infer))
        .with_state(serving);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .await
        .with_context(|| format!("cannot listen on port {}", args.port))?;
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            ended.recv().await;
        })
        .await
        .context("serving ended")
}

type Refusal = (StatusCode, Json<Value>);

fn refusal(status: StatusCode, error: impl ToString) -> Refusal {
    (status, Json(json!({"error": error.to_string()})))
}

fn known(serving: &Serving, name: &str) -> Result<(), Refusal> {
    if name == serving.name {
        return Ok(());
    }
    Err(refusal(StatusCode::NOT_FOUND, format!("there is no model `{name}` here")))
}

async fn describe(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    known(&serving, &name)?;
    let inputs: Vec<Value> = serving
        .learned
        .features
        .iter()
        .map(|feature| json!({"name": feature.name(), "shape": [-1], "datatype": "BYTES"}))
        .collect();
    let outputs = json!([{"name": serving.output, "shape": [-1], "datatype": "FP64"}]);
    Ok(Json(
        json!({"name": name, "versions": [serving.version], "platform": "steersman-learner", "inputs": inputs, "outputs": outputs}),
    ))
}

async fn infer(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
    Json(request): Json<InferRequest>,
) -> Result<Json<InferResponse>, Refusal> {
    known(&serving, &name)?;
    let rows = request.rows().map_err(|problem| refusal(StatusCode::BAD_REQUEST, problem))?;
    let mut columns = Vec::with_capacity(rows.len() * serving.learned.features.len());
    for feature in &serving.learned.features {
        columns.extend(rows.iter().map(|row| {
            let cell = match row.get(feature.name()) {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(other) => Some(other.to_string()),
            };
            feature.encode(cell.as_deref())
        }));
    }
    let probabilities = serving.learned.probabilities(&columns, rows.len());
    let output = Tensor {
        name: serving.output.clone(),
        shape: vec![i64::try_from(rows.len()).unwrap_or(i64::MAX)],
        datatype: "FP64".to_owned(),
        data: probabilities.into_iter().map(Value::from).collect(),
    };
    Ok(Json(InferResponse {
        model_name: serving.name.clone(),
        model_version: Some(serving.version.clone()),
        id: request.id,
        outputs: vec![output],
    }))
}
