//! Gateways: the one of this process, and those that are processes of their own. Each is told how to split and holds a
//! part of a rollout's budget; the parts are facts, so that they never add up to more than the whole, whoever leads.

use super::ingest::{captured, may_come_again};
use super::{Platform, lock, platform_draft};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use steersman_domain::fact::TripCause;
use steersman_domain::{Fact, ModelName, Problem};
use steersman_gateway::remote::{Orders, Report, decode};
use steersman_gateway::{Counters, Route, next_grant};
use steersman_ledger::state::{ModelState, RolloutState};
use steersman_store::Batch;

/// A gateway that has not reported for so long gets no part of a budget kept free for it.
const GONE: Duration = Duration::from_secs(60);
/// How long an answer waits for news.
const NEWS: Duration = Duration::from_secs(5);
/// So many gateways are known by name.
const MOST: usize = 1_000;

/// What is known of the gateways that report.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    known: BTreeMap<String, (Instant, Report)>,
}

impl Platform {
    /// The name of this process's own gateway.
    fn own_gateway(&self) -> String {
        format!("replica:{}", self.inner.name)
    }

    /// Takes a gateway's report in, and tells it how to split: at once where it has no orders or old ones, else when
    /// there is news or a few seconds have passed.
    pub async fn direct_gateway(&self, name: &str, report: Report) -> Result<Orders, Problem> {
        self.must_lead()?;
        check_name(name)?;
        let revision = report.revision;
        {
            let mut gateways = lock(&self.inner.gateways);
            gateways.known.retain(|_, (seen, _)| seen.elapsed() < GONE * 60);
            if gateways.known.len() >= MOST && !gateways.known.contains_key(name) {
                return Err(Problem::conflict(format!("{MOST} gateways are known already")));
            }
            gateways.known.insert(name.to_owned(), (Instant::now(), report));
        }
        let mut news = self.inner.routes_changed.subscribe();
        let mut stopping = self.inner.stopping.subscribe();
        let changed = async { drop(news.wait_for(|now| Some(*now) != revision).await) };
        let stopped = async { drop(stopping.wait_for(|stop| *stop).await) };
        tokio::select! {
            () = changed => {}
            () = stopped => {}
            () = tokio::time::sleep(NEWS) => {}
        }
        self.must_lead()?;
        let revision = *self.inner.routes_changed.borrow();
        let state = self.state();
        let mut routes = BTreeMap::new();
        for model in self.inner.gateway.models() {
            let Some(mut route) = self.inner.gateway.route(&model) else { continue };
            if let Ok(known) = state.model(&model) {
                let used = self.used_by(name, &model, &route);
                self.portion(&model, known, &mut route, name, used).await?;
            }
            routes.insert(model, route);
        }
        let silence = self.inner.gateway.judge_silence().as_millis();
        Ok(Orders {
            revision,
            silence_ms: u64::try_from(silence).unwrap_or(u64::MAX),
            routes,
            models: state.models.keys().cloned().collect(),
        })
    }

    /// What a gateway says that it has used of the rollout that a route is of.
    fn used_by(&self, gateway: &str, model: &ModelName, route: &Route) -> u64 {
        let gateways = lock(&self.inner.gateways);
        let report = gateways.known.get(gateway).map(|(_, report)| report);
        let same = report.filter(|report| {
            let salt = route.candidate.as_ref().map(|candidate| &candidate.salt);
            salt.is_some() && report.rollouts.get(model) == salt
        });
        same.and_then(|report| report.counters.get(model)).map_or(0, |counters| counters.candidate_requests)
    }

    /// Cuts the budgets of a route to what this process's gateway may use.
    pub(super) async fn own_portion(
        &self,
        name: &ModelName,
        model: &ModelState,
        route: &mut Route,
    ) -> Result<(), Problem> {
        let known = self.inner.gateway.route(name).and_then(|route| route.candidate);
        let salt = route.candidate.as_ref().map(|candidate| &candidate.salt);
        let used = match known.as_ref().map(|candidate| &candidate.salt) == salt {
            true => self.inner.gateway.counters(name).candidate_requests,
            false => 0,
        };
        self.portion(name, model, route, &self.own_gateway(), used).await
    }

    /// Cuts the budgets of a route to what a gateway may use, after granting it more if it needs it.
    async fn portion(
        &self,
        name: &ModelName,
        model: &ModelState,
        route: &mut Route,
        gateway: &str,
        used: u64,
    ) -> Result<(), Problem> {
        let (Some(candidate), Some(rollout)) = (&mut route.candidate, model.active_rollout()) else {
            return Ok(());
        };
        let Some(budget) = rollout.plan.budget.filter(|_| rollout.plan.salt == candidate.salt) else {
            return Ok(());
        };
        let held = self.grant(name, &rollout.rollout, budget, gateway, used).await?;
        candidate.budget = Some(held);
        for segment in &mut candidate.segment_budgets {
            // The same proportion of each.
            let part = u128::from(segment.requests) * u128::from(held) / u128::from(budget.max(1));
            segment.requests = u64::try_from(part).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// What a gateway holds of a budget, after a further grant if it needs one.
    async fn grant(
        &self,
        name: &ModelName,
        rollout: &steersman_domain::RolloutId,
        budget: u64,
        gateway: &str,
        used: u64,
    ) -> Result<u64, Problem> {
        // One at a time: each looks at what the one before it was given.
        let _granting = self.inner.granting.lock().await;
        let state = self.state();
        let Some(rollout) = state.model(name)?.active_rollout().filter(|now| now.rollout == *rollout) else {
            return Ok(0);
        };
        let (all, own) = (rollout.grants.values().sum(), rollout.grants.get(gateway).copied().unwrap_or(0));
        let more = next_grant(budget, all, own, used, self.gateways_alive());
        if more == 0 || rollout.current_stage().is_none_or(|stage| stage.weight == 0.0) {
            return Ok(own);
        }
        let fact = Fact::BudgetGranted {
            model: name.clone(),
            rollout: rollout.rollout.clone(),
            gateway: gateway.to_owned(),
            requests: more,
        };
        let drafts = vec![platform_draft("act", vec![rollout.seq], fact)];
        self.commit(Batch { drafts, ..Batch::default() }).await?;
        Ok(own + more)
    }

    fn gateways_alive(&self) -> u64 {
        let gateways = lock(&self.inner.gateways);
        1 + gateways.known.values().filter(|(seen, _)| seen.elapsed() < GONE).count() as u64
    }

    /// Why a rollout's candidate gets no more traffic from some gateway, and how many requests it had from all. A budget
    /// is used up when all gateways together have used it.
    pub(super) fn tripped(&self, name: &ModelName, rollout: &RolloutState) -> (Option<TripCause>, u64) {
        let own = self.inner.gateway.counters(name);
        let (mut cause, mut used) = (own.tripped, own.candidate_requests);
        for (_, report) in lock(&self.inner.gateways).known.values() {
            let counters = report.counters.get(name);
            let same = report.rollouts.get(name) == Some(&rollout.plan.salt);
            let Some(counters) = counters.filter(|_| same) else { continue };
            used += counters.candidate_requests;
            // A judge that is silent matters more than a budget.
            cause = cause.filter(|cause| *cause == TripCause::DeadMan).or(counters.tripped).or(cause);
        }
        let spent = rollout.plan.budget.is_some_and(|budget| used >= budget);
        (cause.filter(|cause| *cause == TripCause::DeadMan || spent), used)
    }

    /// Takes captured calls in; they are durable when this returns.
    pub async fn take_captures(&self, gateway: &str, batch: Bytes) -> Result<u64, Problem> {
        check_name(gateway)?;
        let now = self.now();
        let calls: Vec<_> = decode(batch)?.into_iter().map(|capture| captured(capture, now)).collect();
        let count = calls.len() as u64;
        if let Some((model, _)) = calls.iter().find(|(model, _)| self.schema(model).is_err()) {
            // A replica that has not followed yet; the gateway asks again.
            return Err(Problem::not_found(format!("`{model}` is not declared here")));
        }
        // What cannot be read is in the quarantine; what could not be written comes again.
        let unwritten =
            self.write_calls(calls, now).await.into_iter().filter_map(Result::err).find(may_come_again);
        unwritten.map_or(Ok(count), Err)
    }

    /// The gateways that report: how long ago, and what they counted.
    pub fn gateways(&self) -> Vec<(String, Duration, BTreeMap<ModelName, Counters>)> {
        let gateways = lock(&self.inner.gateways);
        let one = |(name, (seen, report)): (&String, &(Instant, Report))| {
            (name.clone(), seen.elapsed(), report.counters.clone())
        };
        gateways.known.iter().map(one).collect()
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.len() <= 63 && name.chars().all(fits) {
        true => Ok(()),
        false => Err(Problem::invalid(format!("`{name}` is not the name of a gateway"))
            .hint("letters, digits, `-`, `_` and `.`, at most 63")),
    }
}
