//! A training run: the user's program reads a snapshot and leaves an artefact.

use crate::artifact::{digest, replace};
use crate::command::{Program, RunFailure, run};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Instant;
use steersman_domain::spec::{RetrainSection, fill};
use steersman_domain::{Digest, ModelName, Problem, RunId};

/// The file in which a program may report numbers about its training.
const METRICS: &str = "metrics.json";

/// What is to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// The model.
    pub model: ModelName,
    /// The run.
    pub run: RunId,
    /// The command and its limits.
    pub retrain: RetrainSection,
    /// Where the command runs.
    pub folder: PathBuf,
    /// The data.
    pub snapshot: PathBuf,
    /// Where the artefact will be.
    pub artifact: PathBuf,
    /// Where the program's output goes.
    pub log: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Digest of the artefact.
    pub artifact: Digest,
    /// How long the program ran.
    pub seconds: f64,
    /// Numbers that it reported.
    pub metrics: BTreeMap<String, f64>,
}

/// Runs the training program. An artefact that an earlier attempt finished is taken as it is.
pub async fn train(training: &Training) -> Result<Trained, RunFailure> {
    let receipt = training.artifact.with_extension("json");
    if let Some(trained) = finished(&receipt, &training.artifact) {
        return Ok(trained);
    }
    // A folder of this attempt's own: the program of a platform that was killed, here or on another replica, may still be
    // writing into its.
    let attempt = std::hash::RandomState::new().build_hasher().finish();
    let partial = Partial(training.artifact.with_extension(format!("{attempt:016x}.partial")));
    let outcome = attempt_in(&partial.0, training).await?;
    if let Some(trained) = finished(&receipt, &training.artifact) {
        return Ok(trained);
    }
    replace(&partial.0, &training.artifact).map_err(failure)?;
    let json =
        serde_json::to_string(&outcome).map_err(|error| failure(Problem::internal(error.to_string())))?;
    fs::write(&receipt, json).map_err(|error| failure(Problem::io("write", &receipt, &error)))?;
    Ok(outcome)
}

/// The folder of an attempt; what is left of it goes with it.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn attempt_in(partial: &Path, training: &Training) -> Result<Trained, RunFailure> {
    fs::create_dir_all(partial).map_err(|error| failure(Problem::io("make the folder", partial, &error)))?;
    let values = BTreeMap::from([
        ("snapshot", training.snapshot.display().to_string()),
        ("artifact", partial.display().to_string()),
        ("model", training.model.to_string()),
        ("run", training.run.to_string()),
    ]);
    let program = Program {
        command: fill(&training.retrain.command, &values),
        folder: training.folder.clone(),
        environment: training.retrain.environment.clone(),
        log: training.log.clone(),
    };
    let started = Instant::now();
    run(&program, training.retrain.timeout.duration()).await?;
    Ok(Trained {
        artifact: digest(partial).map_err(failure)?,
        seconds: started.elapsed().as_secs_f64(),
        metrics: metrics(&partial.join(METRICS))?,
    })
}

/// The outcome of an earlier attempt, if its artefact is still what it was.
fn finished(receipt: &Path, artifact: &Path) -> Option<Trained> {
    let trained: Trained = serde_json::from_str(&fs::read_to_string(receipt).ok()?).ok()?;
    (digest(artifact).ok()? == trained.artifact).then_some(trained)
}

/// The numbers that the program reported; none is fine.
fn metrics(path: &Path) -> Result<BTreeMap<String, f64>, RunFailure> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&text).map_err(|error| RunFailure {
        reason: format!("`{METRICS}` is not an object of numbers: {error}"),
        hint: "write for example {\"loss\": 0.2}, or leave the file out".to_owned(),
    })
}

fn failure(problem: Problem) -> RunFailure {
    let hint = problem.hint.clone().unwrap_or_else(|| "look at the log of the run".to_owned());
    RunFailure { reason: Problem { hint: None, ..problem }.to_string(), hint }
}
