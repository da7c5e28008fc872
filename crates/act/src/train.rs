//! A training run: the user's program reads a snapshot and leaves an artefact.

use crate::artifact::{digest, replace};
use crate::command::{Program, RunFailure, run};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
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
    let partial = training.artifact.with_extension("partial");
    empty(&partial).map_err(failure)?;
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
    let trained = Trained {
        artifact: digest(&partial).map_err(failure)?,
        seconds: started.elapsed().as_secs_f64(),
        metrics: metrics(&partial.join(METRICS))?,
    };
    replace(&partial, &training.artifact).map_err(failure)?;
    let json =
        serde_json::to_string(&trained).map_err(|error| failure(Problem::internal(error.to_string())))?;
    fs::write(&receipt, json).map_err(|error| failure(Problem::io("write", &receipt, &error)))?;
    Ok(trained)
}

/// The outcome of an earlier attempt, if its artefact is still what it was.
fn finished(receipt: &Path, artifact: &Path) -> Option<Trained> {
    let trained: Trained = serde_json::from_str(&fs::read_to_string(receipt).ok()?).ok()?;
    (digest(artifact).ok()? == trained.artifact).then_some(trained)
}

fn empty(folder: &Path) -> Result<(), Problem> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| Problem::io("empty", folder, &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| Problem::io("make the folder", folder, &error))
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
