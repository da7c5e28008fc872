//! Training and evaluation: each run is carried out by one task, and its outcome is a fact.
//!
//! A platform that was killed takes its unfinished runs up again. Nothing is done twice that matters: the snapshot has
//! the same digest, a finished artefact is found in its place, and an outcome is written once.

use super::{Platform, blocking, lock, platform_draft, snapshot_spec};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_act::train::{Trained, Training};
use steersman_act::{command::RunFailure, infer};
use steersman_decide::compare;
use steersman_decide::evaluation::{Scored, expected_losses, within_segments};
use steersman_domain::fact::{Evaluation, RunTask, SnapshotRequest};
use steersman_domain::oip::Row;
use steersman_domain::spec::SnapshotFormat;
use steersman_domain::{Fact, ModelName, Problem, Version};
use steersman_ledger::state::{ModelState, RunState};
use steersman_records::reference::read_reference;
use steersman_store::Batch;

/// How many rows one request to a model server holds during an evaluation.
const EVALUATION_BATCH: usize = 256;

impl Platform {
    /// Starts the runs that are asked for and not under way.
    pub(super) fn start_jobs(&self, names: &[ModelName]) {
        let state = self.state();
        let mut jobs = lock(&self.inner.jobs);
        jobs.retain(|_, job| !job.is_finished());
        for name in names {
            let Ok(model) = state.model(name) else { continue };
            for run in
                model.pending_runs().filter(|run| !jobs.contains_key(&run.run)).cloned().collect::<Vec<_>>()
            {
                let (platform, name, model, id) =
                    (self.clone(), name.clone(), model.clone(), run.run.clone());
                let job = tokio::spawn(async move { platform.carry_out(&name, &model, &run).await });
                jobs.insert(id, job);
            }
        }
    }

    async fn carry_out(&self, name: &ModelName, model: &ModelState, run: &RunState) {
        let outcome = match &run.task {
            RunTask::Train { snapshot } => self.train(name, model, run, snapshot).await,
            RunTask::Evaluate { version, from, to } => {
                let request = SnapshotRequest { as_of: self.now(), from: Some(*from), to: *to };
                self.evaluate(name, model, run, *version, &request).await.map_err(failure)
            }
        };
        let Err(RunFailure { reason, hint }) = outcome else { return };
        let fact = Fact::RunFailed { model: name.clone(), run: run.run.clone(), reason, hint };
        if let Err(problem) = self.write("act", fact).await {
            tracing::error!(run = %run.run, %problem, "the failure of a run could not be written");
        }
    }

    async fn train(
        &self,
        name: &ModelName,
        model: &ModelState,
        run: &RunState,
        request: &SnapshotRequest,
    ) -> Result<(), RunFailure> {
        let retrain = model.spec.retrain.clone().ok_or_else(|| RunFailure {
            reason: "the spec no longer has a `[retrain]` section".to_owned(),
            hint: "add it and apply the spec again".to_owned(),
        })?;
        let path = self.snapshot_path(name, &run.run, &model.spec);
        let snapshot =
            self.snapshot(name, model, request, path.clone(), retrain.format).await.map_err(failure)?;
        if let Some(earlier) = &run.snapshot {
            if earlier.digest != snapshot.digest {
                let message = "the snapshot taken again is not the one taken before";
                return Err(failure(Problem::new(steersman_domain::ErrorKind::Corrupt, message)));
            }
        } else {
            let fact = Fact::SnapshotTaken {
                model: name.clone(),
                run: run.run.clone(),
                snapshot: snapshot.digest.clone(),
                request: request.clone(),
                rows: snapshot.rows,
            };
            self.write("act", fact).await.map_err(failure)?;
        }
        let folder = self.run_dir(name, &run.run);
        let training = Training {
            model: name.clone(),
            run: run.run.clone(),
            retrain,
            folder: PathBuf::from(&model.folder),
            snapshot: path,
            artifact: folder.join("artifact"),
            log: folder.join("log.txt"),
        };
        let Trained { artifact, seconds, metrics } = steersman_act::train::train(&training).await?;
        let finished = Fact::RunFinished { model: name.clone(), run: run.run.clone(), seconds, metrics };
        // Versions are numbered in the order in which they are registered, which only the writer of facts knows.
        let state = self.state();
        let version = state.model(name).map_err(failure)?.next_version();
        let registered = Fact::VersionRegistered {
            model: name.clone(),
            version,
            artifact,
            run: Some(run.run.clone()),
            snapshot: Some(snapshot.digest),
            trained_until: Some(request.to),
            note: run.reason.clone(),
        };
        let drafts = [finished, registered].map(|fact| platform_draft("act", vec![run.seq], fact)).to_vec();
        self.commit(Batch { drafts, ..Batch::default() }).await.map(|_| ()).map_err(failure)
    }

    async fn snapshot(
        &self,
        name: &ModelName,
        model: &ModelState,
        request: &SnapshotRequest,
        path: PathBuf,
        format: SnapshotFormat,
    ) -> Result<steersman_records::Snapshot, Problem> {
        let reference = self.reference_path(name, &model.spec);
        let (log, name, spec, request) =
            (self.inner.log.clone(), name.clone(), model.spec.clone(), request.clone());
        blocking(move || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|error| Problem::io("make the folder", folder, &error))?;
            }
            let reference = read_reference(&reference, &spec)?;
            log.snapshot(&name, &request, Some(&reference.table), &path, format)
        })
        .await
    }

    /// A snapshot in a file that is gone when the handle is.
    pub async fn export_snapshot(
        &self,
        name: &ModelName,
        request: &SnapshotRequest,
        format: SnapshotFormat,
    ) -> Result<(std::fs::File, steersman_records::Snapshot), Problem> {
        static EXPORTS: AtomicU64 = AtomicU64::new(0);
        let state = self.state();
        let number = EXPORTS.fetch_add(1, Ordering::Relaxed);
        let path = self.model_dir(name).join("exports").join(format!("{number}.{}", format.extension()));
        let snapshot = self.snapshot(name, state.model(name)?, request, path.clone(), format).await?;
        let file = blocking(move || {
            let file = std::fs::File::open(&path).map_err(|error| Problem::io("open", &path, &error))?;
            std::fs::remove_file(&path).map_err(|error| Problem::io("remove", &path, &error))?;
            Ok(file)
        });
        Ok((file.await?, snapshot))
    }

    /// Has candidate and champion answer for the same labelled records, and compares.
    async fn evaluate(
        &self,
        name: &ModelName,
        model: &ModelState,
        run: &RunState,
        version: Version,
        request: &SnapshotRequest,
    ) -> Result<(), Problem> {
        let started = std::time::Instant::now();
        let path = self.run_dir(name, &run.run).join("holdout.parquet");
        self.snapshot(name, model, request, path.clone(), SnapshotFormat::Parquet).await?;
        let spec = snapshot_spec(&model.spec);
        let holdout = blocking(move || read_reference(&path, &spec)).await?;
        let schema = self.schema(name)?;
        let labels = holdout.table.numbers(&schema.label.name);
        let rows: Vec<Row> = holdout.table.rows(&schema);
        let candidate = self.answers(name, model, version, &rows).await?;
        let champion = match model.champion() {
            Some(champion) => Some(self.answers(name, model, champion, &rows).await?),
            None => None,
        };
        let (scored, compared): (Vec<Scored>, Vec<&Row>) = (0..rows.len())
            .filter_map(|index| {
                let champion = champion.as_ref().map(|champion| champion[index]);
                // A row that one of them has no answer for is not compared.
                let champion = match champion {
                    Some(None) => return None,
                    other => other.flatten(),
                };
                let scored = Scored { label: labels[index]?, candidate: candidate[index]?, champion };
                Some((scored, &rows[index]))
            })
            .unzip();
        let segments = within_segments(&model.spec, &scored, &compared);
        let expected = model.champion().and_then(|against| expected_losses(&model.spec, &scored, against));
        let evaluation = Evaluation { segments, expected, ..compare(&model.spec, &scored)? };
        let facts = [
            Fact::EvaluationFinished { model: name.clone(), run: run.run.clone(), version, evaluation },
            Fact::RunFinished {
                model: name.clone(),
                run: run.run.clone(),
                seconds: started.elapsed().as_secs_f64(),
                metrics: Default::default(),
            },
        ];
        let drafts = facts.map(|fact| platform_draft("act", vec![run.seq], fact)).to_vec();
        self.commit(Batch { drafts, ..Batch::default() }).await.map(|_| ())
    }

    async fn answers(
        &self,
        name: &ModelName,
        model: &ModelState,
        version: Version,
        rows: &[Row],
    ) -> Result<Vec<Option<f64>>, Problem> {
        let url = self.server(name, model, version).await?.ok_or_else(|| {
            let message = format!("the server of {version} does not come up");
            Problem::new(steersman_domain::ErrorKind::Upstream, message)
                .hint("see its log in the `servers` folder")
        })?;
        infer::score(&url, name, &self.schema(name)?, rows, EVALUATION_BATCH).await
    }
}

fn failure(problem: Problem) -> RunFailure {
    let hint = problem.hint.clone().unwrap_or_else(|| "look at the log of the run".to_owned());
    RunFailure { reason: Problem { hint: None, ..problem }.to_string(), hint }
}
