//! Keeps model servers and the gateway as the state wants them: called again and again, it does what is still missing.

use super::Platform;
use std::path::PathBuf;
use steersman_decide::rollout::beside;
use steersman_domain::fact::RunTask;
use steersman_domain::{ErrorKind, Fact, ModelName, Problem, Version};
use steersman_gateway::{CandidateRoute, Route, Target};
use steersman_ledger::state::{ModelState, RouteState};

impl Platform {
    /// Starts and stops servers, and tells the gateway how to split.
    pub(super) async fn apply_routes(&self, name: &ModelName) -> Result<(), Problem> {
        self.write_server_exits().await?;
        let state = self.state();
        let model = state.model(name)?;
        let Some(champion) = model.champion() else { return Ok(()) };
        self.stop_unneeded(name, model, champion).await;
        let Some(url) = self.server(name, model, champion).await? else { return Ok(()) };
        let mut route = Route {
            champion: target(name, model, champion, url),
            candidate: None,
            sticky: model.spec.rollout.sticky.clone(),
            repeatable: model.spec.serve.as_ref().map(|serve| serve.repeatable).unwrap_or_default(),
        };
        let mut wanted = RouteState { champion, candidate: None, weight: 0.0, mirror: false };
        if let Some((rollout, version, weight, mirror)) = beside(model)
            && let Some(url) = self.server(name, model, version).await?
        {
            // After a promotion the old champion stands beside the new one.
            let guarding = version == rollout.champion;
            route.candidate = Some(CandidateRoute {
                target: target(name, model, version, url),
                weight,
                mirror,
                budget: rollout.plan.budget.filter(|_| !guarding),
                salt: if guarding {
                    format!("{}-guard", rollout.plan.salt)
                } else {
                    rollout.plan.salt.clone()
                },
                audience: model.spec.rollout.audience.clone(),
                segment_budgets: match guarding {
                    true => Vec::new(),
                    false => model.spec.rollout.segment_budgets.clone(),
                },
            });
            wanted = RouteState { champion, candidate: Some(version), weight, mirror };
        }
        self.own_portion(name, model, &mut route).await?;
        if self.inner.gateway.route(name).as_ref() != Some(&route) {
            self.inner.gateway.install(name, route);
            self.inner.routes_changed.send_modify(|revision| *revision += 1);
        }
        if model.route == Some(wanted) {
            return Ok(());
        }
        let RouteState { champion, candidate, weight, mirror } = wanted;
        self.write("act", Fact::RouteApplied { model: name.clone(), champion, candidate, weight, mirror })
            .await
    }

    /// The address of a version's server, started if it does not run. A failure becomes a fact; while a server is kept
    /// from restarting too fast there is no address and no new fact.
    pub(super) async fn server(
        &self,
        name: &ModelName,
        model: &ModelState,
        version: Version,
    ) -> Result<Option<String>, Problem> {
        let Some(serve) = &model.spec.serve else { return Ok(None) };
        if let Some(url) = &serve.url {
            return Ok(Some(address(url, name, version)));
        }
        let run = model.versions.get(&version).and_then(|state| state.run.as_ref());
        let artifact = self.artifact_path(name, version, run);
        let folder = PathBuf::from(&model.folder);
        match self.inner.servers.ensure(name, version, serve, &folder, &artifact).await {
            Ok(url) => Ok(Some(url)),
            Err(problem) if problem.kind == ErrorKind::Unavailable => Ok(None),
            Err(problem) => {
                let reason = problem.to_string();
                self.write("act", Fact::ServerFailed { model: name.clone(), version, reason }).await?;
                Ok(None)
            }
        }
    }

    async fn stop_unneeded(&self, name: &ModelName, model: &ModelState, champion: Version) {
        let evaluated = model.pending_runs().filter_map(|run| match run.task {
            RunTask::Evaluate { version, .. } => Some(version),
            RunTask::Train { .. } => None,
        });
        let mut needed: Vec<Version> = evaluated.collect();
        needed.push(champion);
        needed.extend(model.active_rollout().map(|rollout| rollout.candidate));
        needed.extend(beside(model).map(|(_, version, _, _)| version));
        self.inner.servers.retain(name, &needed).await;
    }

    async fn write_server_exits(&self) -> Result<(), Problem> {
        for exit in self.inner.servers.take_exits() {
            let fact = Fact::ServerFailed { model: exit.model, version: exit.version, reason: exit.reason };
            self.write("act", fact).await?;
        }
        Ok(())
    }
}

/// The server of a version, where it is reached.
fn target(name: &ModelName, model: &ModelState, version: Version, url: String) -> Target {
    let grpc = model.spec.serve.as_ref().and_then(|serve| serve.grpc_url.as_ref());
    Target { version, url, grpc: grpc.map(|grpc| address(grpc, name, version)) }
}

/// An address with the version and the model filled in.
fn address(template: &str, name: &ModelName, version: Version) -> String {
    template.replace("{version}", &version.to_string()).replace("{model}", name.as_str())
}
