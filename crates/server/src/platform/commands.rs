//! What people ask the platform to do.

use super::{Platform, blocking};
use serde::Serialize;
use std::path::{Path, PathBuf};
use steersman_act::artifact;
use steersman_decide::rollout::Judged;
use steersman_domain::fact::{ApprovalStep, RolloutCommand};
use steersman_domain::{Actor, Fact, ModelName, ModelSpec, Problem, RolloutId, Version};
use steersman_store::{Batch, Draft};

/// What applying a spec did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// The model.
    pub model: ModelName,
    /// Whether anything changed.
    pub changed: bool,
    /// Rows of the reference.
    pub reference_rows: u64,
}

/// A version that a person brings.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// A file or folder with the artefact.
    pub artifact: PathBuf,
    /// Where it comes from.
    pub note: String,
}

impl Platform {
    /// Declares a model, or changes its spec. `folder` is where its commands run and what relative paths start from.
    pub async fn apply(&self, by: &str, spec: ModelSpec, folder: &Path) -> Result<Applied, Problem> {
        self.must_lead()?;
        let name = spec.model.name.clone();
        let kept = self.reference_path(&name, &spec);
        let named = self.read_named(&folder.join(&spec.data.reference), &spec, &kept).await?;
        let reference = &named.reference;
        spec.watch.quality.check(&reference.schema)?;
        steersman_watch::segments::check(&spec, reference)?;
        let state = self.state();
        let known = state.models.get(&name);
        let folder_text = folder.display().to_string();
        let same_spec = known.is_some_and(|known| known.spec == spec && known.folder == folder_text);
        let known_reference = known.and_then(|known| known.reference.as_ref());
        let same_reference = known_reference.is_some_and(|known| known.digest == reference.digest);
        let applied = Applied {
            model: name.clone(),
            changed: !(same_spec && same_reference),
            reference_rows: reference.rows,
        };
        if !applied.changed {
            return Ok(applied);
        }
        if let Some(known) = known_reference
            && known.schema != reference.schema
            && known.schema.prediction != reference.schema.prediction
        {
            return Err(Problem::conflict("the prediction is not the one declared before")
                .field("model.prediction")
                .hint("declare a new model instead"));
        }
        let (source, personal) = (named.source.clone(), named.personal.clone());
        blocking(move || artifact::import_file(&source, &kept)).await?;
        let (log, declared, schema) = (self.inner.log.clone(), name.clone(), reference.schema.clone());
        blocking(move || log.declare_personal(&declared, &schema, personal)).await?;
        let mut facts = Vec::new();
        if !same_spec {
            facts.push(Fact::ModelDeclared {
                model: name.clone(),
                spec: Box::new(spec),
                folder: folder_text,
            });
        }
        if !same_reference {
            facts.push(Fact::ReferenceLearnt {
                model: name.clone(),
                digest: reference.digest.clone(),
                rows: reference.rows,
                labelled: reference.labelled,
                from: reference.from,
                to: reference.to,
                schema: reference.schema.clone(),
            });
        }
        self.write_by(by, facts).await?;
        self.load_model(&name).await?;
        Ok(applied)
    }

    /// Takes a person's version in. It goes through the evaluation gate like any other, unless a rollout is asked for
    /// without.
    pub async fn register(
        &self,
        by: &str,
        model: &ModelName,
        registration: Registration,
    ) -> Result<Version, Problem> {
        self.must_lead()?;
        let state = self.state();
        let version = state.model(model)?.next_version();
        let to = self.artifact_path(model, version, None);
        let from = registration.artifact;
        let digest = blocking(move || {
            artifact::import(&from, &to)?;
            artifact::digest(&to)
        });
        let fact = Fact::VersionRegistered {
            model: model.clone(),
            version,
            artifact: digest.await?,
            run: None,
            snapshot: None,
            trained_until: None,
            note: registration.note,
        };
        self.write_by(by, vec![fact]).await?;
        Ok(version)
    }

    /// Asks for a rollout of a registered version, if wanted without some of its safeguards; that is on record.
    pub async fn request_rollout(
        &self,
        by: &str,
        model: &ModelName,
        version: Version,
        skip: Vec<String>,
        reason: String,
    ) -> Result<(), Problem> {
        let state = self.state();
        let known = state.model(model)?;
        let possible = ["evaluation", "shadow", "fence"];
        if let Some(unknown) = skip.iter().find(|step| !possible.contains(&step.as_str())) {
            return Err(Problem::invalid(format!("`{unknown}` cannot be skipped"))
                .field("skip")
                .hint("evaluation, shadow and fence can be"));
        }
        let Some(candidate) = known.versions.get(&version) else {
            return Err(Problem::not_found(format!("`{model}` has no version {version}")));
        };
        if known.champion().is_none() || known.champion() == Some(version) {
            return Err(Problem::conflict(format!(
                "{version} cannot be rolled out against itself or nothing"
            )));
        }
        if let Some(rollout) = known.active_rollout() {
            let message = format!("rollout {} of {} is under way", rollout.rollout, rollout.candidate);
            return Err(Problem::conflict(message).hint("wait for its end, or `steersman rollout abort` it"));
        }
        if candidate.withdrawn && !skip.iter().any(|step| step == "fence") {
            let message = format!("{version} is fenced: {}", candidate.fence);
            return Err(
                Problem::conflict(message).hint("skip `fence` and say why, if it shall be tried again")
            );
        }
        let evaluated = candidate.gate.as_ref().is_some_and(|gate| gate.passed);
        if !evaluated && !skip.iter().any(|step| step == "evaluation") {
            return Err(Problem::conflict(format!("{version} has not passed the evaluation gate"))
                .hint("wait for it, or skip `evaluation` and say why"));
        }
        if !skip.is_empty() && reason.trim().is_empty() {
            return Err(Problem::invalid("a reason is needed to skip safeguards").field("reason"));
        }
        self.write_by(by, vec![Fact::RolloutRequested { model: model.clone(), version, skip, reason }]).await
    }

    /// Records a person's yes or no. A no withdraws the candidate, whether or not it was asked for.
    pub async fn answer(
        &self,
        by: &str,
        rollout: &RolloutId,
        approved: bool,
        reason: String,
    ) -> Result<(), Problem> {
        let state = self.state();
        let found = state.models.iter().find_map(|(name, model)| {
            let active = model.active_rollout().filter(|active| active.rollout == *rollout)?;
            Some((name, model, active))
        });
        let Some((name, model, active)) = found else {
            return Err(Problem::not_found(format!("no rollout `{rollout}` is under way"))
                .hint("`steersman status` lists what waits for an answer"));
        };
        let open = active.approvals.iter().find(|approval| approval.answer.is_none());
        let artifact = model.versions.get(&active.candidate).map(|version| version.artifact.clone());
        let artifact = artifact.ok_or_else(|| Problem::internal("a rollout without a version"))?;
        let mut facts = Vec::new();
        let step = match open {
            Some(approval) => approval.step,
            None if approved => {
                return Err(Problem::conflict("nothing is asked about this rollout")
                    .hint("it goes on by itself when it is proven safe"));
            }
            None => {
                facts.push(Fact::ApprovalRequested {
                    model: name.clone(),
                    rollout: rollout.clone(),
                    step: ApprovalStep::Hold,
                    artifact: artifact.clone(),
                    question: "withdraw the candidate?".to_owned(),
                });
                ApprovalStep::Hold
            }
        };
        facts.push(Fact::ApprovalDecided {
            model: name.clone(),
            rollout: rollout.clone(),
            step,
            artifact,
            approved,
            reason,
        });
        self.write_by(by, facts).await
    }

    /// Takes hold of a rollout: holds it, lets it go on, aborts it (or brings the old champion back while it stands
    /// ready), or goes on without proof.
    pub async fn steer(
        &self,
        by: &str,
        rollout: &RolloutId,
        command: RolloutCommand,
        reason: String,
    ) -> Result<(), Problem> {
        let state = self.state();
        let found = state.models.iter().find_map(|(name, model)| {
            let judged = Judged::of(model).filter(|judged| judged.rollout.rollout == *rollout)?;
            Some((name, model, judged))
        });
        let Some((name, model, judged)) = found else {
            return Err(Problem::not_found(format!("no rollout `{rollout}` is under way"))
                .hint("`steersman rollouts` lists them"));
        };
        let conflict = |message: &str, hint: &str| Err(Problem::conflict(message).hint(hint));
        let paused = judged.rollout.paused().is_some();
        match command {
            RolloutCommand::Abort => {}
            _ if judged.guard.is_some() => {
                return conflict("the candidate serves already", "`abort` brings the old champion back");
            }
            RolloutCommand::Pause if paused => {
                return conflict("it is paused already", "`resume` lets it go on");
            }
            RolloutCommand::Resume if !paused => return conflict("it is not paused", "`pause` holds it"),
            RolloutCommand::Skip if judged.rollout.current_stage().is_none() => {
                return conflict("it has not begun its first stage", "approve or abort it");
            }
            _ => {}
        }
        if matches!(command, RolloutCommand::Skip | RolloutCommand::Abort) && reason.trim().is_empty() {
            let message = format!("a reason is needed to {} a rollout", command.as_str());
            return Err(Problem::invalid(message).field("reason"));
        }
        let artifact = model.versions.get(&judged.rollout.candidate).map(|version| version.artifact.clone());
        let artifact = artifact.ok_or_else(|| Problem::internal("a rollout without a version"))?;
        let (model, rollout) = (name.clone(), rollout.clone());
        self.write_by(by, vec![Fact::RolloutSteered { model, rollout, command, artifact, reason }]).await
    }

    /// Writes facts in a person's name.
    pub(super) async fn write_by(&self, by: &str, facts: Vec<Fact>) -> Result<(), Problem> {
        let name = by.trim();
        if name.is_empty() || name.len() > 100 {
            return Err(Problem::invalid("a name of 1 to 100 bytes is needed").field("by"));
        }
        let actor = Actor::Person(name.to_owned());
        let draft = |fact| Draft { actor: actor.clone(), because: Vec::new(), fact };
        let drafts = facts.into_iter().map(draft).collect();
        self.commit(Batch { drafts, ..Batch::default() }).await.map(|_| ())
    }
}
