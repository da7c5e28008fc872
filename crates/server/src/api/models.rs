//! Models, their measurements, incidents and rollouts, and what people ask for.

use super::ApiProblem;
use crate::Platform;
use crate::platform::{Applied, Registration};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use steersman_domain::time::parse_time;
use steersman_domain::{Measurement, ModelName, ModelSpec, MonitorKind, Problem, RolloutId, Version};
use steersman_ledger::state::{IncidentState, ModelState, RolloutState, State as LedgerState};
use steersman_records::Erase;
use steersman_store::MeasurementQuery;

/// A JSON body whose errors are problems.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Platform> for Body<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, platform: &Platform) -> Result<Self, ApiProblem> {
        match Json::<T>::from_request(request, platform).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::invalid("the body is not application/json").field("Content-Type").into())
            }
            Err(rejection) => Err(Problem::invalid(rejection.body_text()).into()),
        }
    }
}

pub(super) async fn state(State(platform): State<Platform>) -> Json<LedgerState> {
    Json(LedgerState::clone(&platform.state()))
}

/// A model in short.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    model: ModelName,
    team: String,
    champion: Option<Version>,
    candidate: Option<Version>,
    weight: f64,
    on_course: bool,
    open_signals: usize,
    waiting_approvals: Vec<Value>,
    /// Where the champion was worst on its last labels, in words.
    weakest: Option<String>,
}

async fn summary(platform: &Platform, name: &ModelName, model: &ModelState) -> Result<Summary, Problem> {
    let query = MeasurementQuery { monitor: Some(MonitorKind::Weak), since: None, limit: 1 };
    let weak = platform.store().measurements(name, &query).await?.pop();
    let weak = weak.filter(|weak| weak.reading.value().is_some_and(|segments| segments > 0.0));
    let rollout = model.active_rollout();
    let waiting = model.open_approvals().map(|(rollout, approval)| {
        json!({"rollout": rollout.rollout, "candidate": rollout.candidate, "step": approval.step, "question": approval.question})
    });
    Ok(Summary {
        model: name.clone(),
        team: model.spec.model.team.clone(),
        champion: model.champion(),
        candidate: rollout.map(|rollout| rollout.candidate),
        weight: rollout.and_then(RolloutState::current_stage).map_or(0.0, |stage| stage.weight),
        on_course: model.open_incident().is_none(),
        open_signals: model.open_signals().count(),
        waiting_approvals: waiting.collect(),
        weakest: weak.map(|weak| weak.explanation),
    })
}

pub(super) async fn list(State(platform): State<Platform>) -> Result<Json<Vec<Summary>>, ApiProblem> {
    let mut summaries = Vec::new();
    for (name, model) in &platform.state().models {
        summaries.push(summary(&platform, name, model).await?);
    }
    Ok(Json(summaries))
}

pub(super) async fn show(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
) -> Result<Json<Value>, ApiProblem> {
    let state = platform.state();
    let shown = state.model(&model)?;
    Ok(Json(json!({
        "summary": summary(&platform, &model, shown).await?,
        "state": shown,
        "gateway": platform.gateway().counters(&model),
        "records": platform.log().stats(&model).ok(),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    monitor: Option<MonitorKind>,
    since: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn measurements(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<Measurement>>, ApiProblem> {
    platform.state().model(&model)?;
    let since =
        wanted.since.as_deref().map(parse_time).transpose().map_err(|problem| problem.field("since"))?;
    let limit = wanted.limit.unwrap_or(1_000).min(100_000);
    let query = MeasurementQuery { monitor: wanted.monitor, since, limit };
    Ok(Json(platform.store().measurements(&model, &query).await?))
}

/// Which measurements of segments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedSegments {
    segment: Option<String>,
    monitor: Option<MonitorKind>,
    since: Option<String>,
    limit: Option<u32>,
}

/// Measurements of declared segments and of those found to be weak, newest window first.
pub(super) async fn segments(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Query(wanted): Query<WantedSegments>,
) -> Result<Json<Vec<Measurement>>, ApiProblem> {
    platform.state().model(&model)?;
    let since =
        wanted.since.as_deref().map(parse_time).transpose().map_err(|problem| problem.field("since"))?;
    let limit = wanted.limit.unwrap_or(1_000).min(100_000);
    let query = MeasurementQuery { monitor: wanted.monitor, since, limit };
    let segment = wanted.segment.as_deref().filter(|segment| !segment.is_empty());
    Ok(Json(platform.store().segment_measurements(&model, segment, &query).await?))
}

pub(super) async fn incidents(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
) -> Result<Json<Vec<IncidentState>>, ApiProblem> {
    Ok(Json(platform.state().model(&model)?.incidents.clone()))
}

pub(super) async fn rollouts(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
) -> Result<Json<Vec<RolloutState>>, ApiProblem> {
    Ok(Json(platform.state().model(&model)?.rollouts.clone()))
}

/// A spec to apply: its text, and the folder that its paths and commands start from, on the platform's machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    by: String,
    spec: String,
    folder: PathBuf,
}

pub(super) async fn apply(
    State(platform): State<Platform>,
    Body(apply): Body<Apply>,
) -> Result<Json<Applied>, ApiProblem> {
    if !apply.folder.is_absolute() {
        return Err(Problem::invalid("not an absolute path").field("folder").into());
    }
    let spec = ModelSpec::parse(&apply.spec)?;
    Ok(Json(platform.apply(&apply.by, spec, &apply.folder).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    by: String,
    artifact: PathBuf,
    note: String,
}

pub(super) async fn register(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Body(register): Body<Register>,
) -> Result<Json<Value>, ApiProblem> {
    let registration = Registration { artifact: register.artifact, note: register.note };
    let version = platform.register(&register.by, &model, registration).await?;
    Ok(Json(json!({"model": model, "version": version})))
}

/// Either a record's id, or a column and its value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forget {
    by: String,
    id: Option<String>,
    column: Option<String>,
    value: Option<String>,
}

pub(super) async fn forget(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Body(asked): Body<Forget>,
) -> Result<Json<Value>, ApiProblem> {
    let what = match (asked.id, asked.column, asked.value) {
        (Some(id), None, None) => Erase::Id(id),
        (None, Some(name), Some(value)) => Erase::Column { name, value },
        _ => {
            let problem = Problem::invalid("what is to be erased is not clear").field("id");
            return Err(problem.hint("name either `id`, or `column` and `value`").into());
        }
    };
    let dropped = platform.forget(&asked.by, &model, what).await?;
    Ok(Json(json!({"model": model, "erased": dropped})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollOut {
    by: String,
    version: Version,
    #[serde(default)]
    skip: Vec<String>,
    #[serde(default)]
    reason: String,
}

pub(super) async fn request_rollout(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Body(asked): Body<RollOut>,
) -> Result<Json<Value>, ApiProblem> {
    platform.request_rollout(&asked.by, &model, asked.version, asked.skip, asked.reason).await?;
    Ok(Json(json!({"model": model, "version": asked.version})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) by: String,
    #[serde(default)]
    pub(super) reason: String,
}

pub(super) async fn approve(
    State(platform): State<Platform>,
    Path(rollout): Path<String>,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, ApiProblem> {
    decide(&platform, &rollout, true, answer).await
}

pub(super) async fn reject(
    State(platform): State<Platform>,
    Path(rollout): Path<String>,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, ApiProblem> {
    decide(&platform, &rollout, false, answer).await
}

async fn decide(
    platform: &Platform,
    rollout: &str,
    approved: bool,
    answer: Answer,
) -> Result<Json<Value>, ApiProblem> {
    let rollout = RolloutId::parse(rollout).map_err(|problem| problem.field("rollout"))?;
    platform.answer(&answer.by, &rollout, approved, answer.reason).await?;
    Ok(Json(json!({"rollout": rollout, "approved": approved})))
}

pub(super) async fn report(
    State(platform): State<Platform>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiProblem> {
    let path = platform.issue_report(&name).await?;
    Ok(Json(json!({"path": path})))
}
