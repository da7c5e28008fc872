//! What people do to a rollout, and how one would go.

use super::ApiProblem;
use super::models::{Answer, Body};
use crate::Platform;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use steersman_domain::fact::RolloutCommand;
use steersman_domain::simulation::SimulatedStrategy;
use steersman_domain::{ModelName, RolloutId};

/// How rollouts of a model would go if one started now; `null` before anything serves or was measured.
pub(super) async fn forecast(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
) -> Result<Json<Option<SimulatedStrategy>>, ApiProblem> {
    Ok(Json(platform.forecast(&model).await?))
}

/// What the judge says at the moment: `pass`, `fail`, `hold` or `invalid`, as other controllers ask for it; `null` while
/// nothing is judged.
pub(super) async fn verdict(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
) -> Result<Json<Value>, ApiProblem> {
    platform.state().model(&model)?;
    let verdict = platform.verdict(&model);
    let word = verdict.as_ref().map(|verdict| verdict.outcome);
    Ok(Json(json!({"verdict": word, "detail": verdict})))
}

type Steered = Result<Json<Value>, ApiProblem>;

pub(super) async fn pause(platform: State<Platform>, rollout: Path<String>, answer: Body<Answer>) -> Steered {
    steer(platform, rollout, answer, RolloutCommand::Pause).await
}

pub(super) async fn resume(
    platform: State<Platform>,
    rollout: Path<String>,
    answer: Body<Answer>,
) -> Steered {
    steer(platform, rollout, answer, RolloutCommand::Resume).await
}

pub(super) async fn abort(platform: State<Platform>, rollout: Path<String>, answer: Body<Answer>) -> Steered {
    steer(platform, rollout, answer, RolloutCommand::Abort).await
}

pub(super) async fn skip(platform: State<Platform>, rollout: Path<String>, answer: Body<Answer>) -> Steered {
    steer(platform, rollout, answer, RolloutCommand::Skip).await
}

async fn steer(
    State(platform): State<Platform>,
    Path(rollout): Path<String>,
    Body(answer): Body<Answer>,
    command: RolloutCommand,
) -> Steered {
    let rollout = RolloutId::parse(&rollout).map_err(|problem| problem.field("rollout"))?;
    platform.steer(&answer.by, &rollout, command, answer.reason).await?;
    Ok(Json(json!({"rollout": rollout, "command": command})))
}
