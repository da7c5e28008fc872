//! One turn of the loop: take in what arrived, watch, decide, write facts, act.

use super::{Clock, Live, Platform, intent_draft, lock, platform_draft};
use steersman_decide::rollout::Judged;
use steersman_decide::{Judge, ModelObservation, Observations, WindowStatus, decide};
use steersman_domain::fact::Verdict;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Fact, ModelName, MonitorKind, Period, Problem};
use steersman_ledger::state::ModelState;
use steersman_store::{Batch, MeasurementQuery};

/// Records become a segment after so long, however few they are.
const SEGMENT_AFTER: Period = Period::from_seconds(300);
/// Where replicas share records it is sooner: the leader sees what the others took in.
const SHARED_AFTER: Period = Period::from_seconds(5);
/// More rounds of deciding than this in one turn mean that two rules undo each other.
const MOST_ROUNDS: usize = 32;

impl Platform {
    /// One turn of the loop; on a replica that stands by, a look at what the leader wrote. Returns whether anything
    /// happened.
    pub async fn tick(&self) -> Result<bool, Problem> {
        let before = self.state().size;
        self.inner.events.expire(self.now());
        if let Clock::System = self.inner.clock {
            // What came long ago must not wait for its segment until more comes.
            let after = if self.inner.store.shared() { SHARED_AFTER } else { SEGMENT_AFTER };
            if let Err(problem) = self.inner.log.flush_older(after.before(self.now())) {
                tracing::warn!(%problem, "records stay in the write-ahead log");
            }
        }
        self.follow_segments().await;
        if self.lead().await? {
            self.turn().await?;
        } else {
            self.follow().await?;
        }
        Ok(self.state().size != before)
    }

    async fn turn(&self) -> Result<(), Problem> {
        let names: Vec<ModelName> = self.state().models.keys().cloned().collect();
        for name in &names {
            self.catch_up(name).await?;
            self.watch(name).await?;
        }
        self.write_gateway_trips().await?;
        for round in 0.. {
            if round == MOST_ROUNDS {
                return Err(Problem::internal("deciding does not come to an end"));
            }
            let observations = self.observe(&names).await?;
            let intents = decide(&self.state(), &observations, self.now());
            if intents.is_empty() {
                break;
            }
            let drafts = intents.into_iter().map(intent_draft).collect();
            self.commit(Batch { drafts, ..Batch::default() }).await?;
            for name in &names {
                let state = self.state();
                let model = state.model(name)?;
                self.ready_judge(name, model).await?;
                self.follow_champion(name, model).await?;
            }
        }
        for name in &names {
            self.apply_routes(name).await?;
        }
        self.start_jobs(&names);
        // Only a turn that went well shows that there is a judge.
        self.inner.gateway.heartbeat();
        // A replay takes no time in which to compact.
        if let Clock::System = self.inner.clock {
            self.start_compaction();
        }
        if let Err(problem) = self.keep_segments().await {
            tracing::warn!(%problem, "old records stay until the next look");
        }
        Ok(())
    }

    /// Turns the loop until nothing is left to do: no job runs and a turn changes nothing. For replays and tests, whose
    /// clock stands still meanwhile.
    pub async fn settle(&self) -> Result<(), Problem> {
        loop {
            let changed = self.tick().await?;
            let jobs: Vec<_> = lock(&self.inner.jobs).drain().map(|(_, job)| job).collect();
            let waited = !jobs.is_empty();
            for mut job in jobs {
                // The gateway must keep hearing from the judge while a job takes its time.
                while tokio::time::timeout(std::time::Duration::from_secs(1), &mut job).await.is_err() {
                    self.inner.gateway.heartbeat();
                }
            }
            if !changed && !waited {
                return Ok(());
            }
        }
    }

    async fn watch(&self, name: &ModelName) -> Result<(), Problem> {
        let state = self.state();
        let batch = self.inner.watcher.tick(name, state.model(name)?, self.now()).await?;
        let empty = batch.drafts.is_empty() && batch.windows.is_empty() && batch.measurements.is_empty();
        if empty && batch.monitor_states.is_empty() {
            return Ok(());
        }
        self.commit(batch).await?;
        self.inner.watcher.committed(name);
        Ok(())
    }

    /// When another version serves, windows are compared with what that one was trained on.
    async fn follow_champion(&self, name: &ModelName, model: &ModelState) -> Result<(), Problem> {
        let compared_with = lock(&self.inner.models).get(name).and_then(|live| live.compared_with);
        let champion = model.champion().filter(|version| {
            let run = model.versions.get(version).and_then(|version| version.run.as_ref());
            run.is_some_and(|run| self.snapshot_path(name, run, &model.spec).exists())
        });
        if champion.is_some() && champion != compared_with {
            self.compare_with_champion(name, model, None).await?;
        }
        Ok(())
    }

    /// What `decide` may look at beside the facts.
    async fn observe(&self, names: &[ModelName]) -> Result<Observations, Problem> {
        let state = self.state();
        let mut observations = Observations::default();
        for name in names {
            let model = state.model(name)?;
            let query = MeasurementQuery { monitor: Some(MonitorKind::Performance), since: None, limit: 100 };
            let mut windows: Vec<WindowStatus> = self
                .inner
                .store
                .measurements(name, &query)
                .await?
                .into_iter()
                .filter(|measurement| measurement.reading.value().is_some())
                .map(|measurement| WindowStatus {
                    window: measurement.window,
                    violated: measurement.alarming,
                })
                .collect();
            windows.sort_by_key(|status| status.window.start);
            let latency = MeasurementQuery { monitor: Some(MonitorKind::Latency), since: None, limit: 1 };
            let latency = self.inner.store.measurements(name, &latency).await?;
            let mut models = lock(&self.inner.models);
            let Some(live) = models.get_mut(name) else { continue };
            let now = self.now();
            let known_by_now = model.spec.model.label.expected_delay.before(now);
            let labelled_records =
                live.last_record.zip(live.last_label).map(|(record, label)| record.min(label));
            let last_labelled = labelled_records.max(live.reference_span.map(|(_, to)| to));
            let judged = judged_now(live, model);
            observations.models.insert(
                name.clone(),
                ModelObservation {
                    windows,
                    history_from: live.reference_span.map(|(from, _)| from),
                    labelled_until: last_labelled.map(|last| from_micros(micros(last) + 1).min(known_by_now)),
                    verdict: judged.map(|(judge, stage)| judge.verdict(stage)),
                    tripped: model.active_rollout().and_then(|rollout| self.tripped(name, rollout).0),
                    exposed: judged.map_or(0, |(judge, _)| judge.exposed()),
                    latency_p99_ms: latency.first().and_then(|measurement| measurement.reading.value()),
                },
            );
        }
        Ok(observations)
    }

    /// What the judge of a model says at the moment, if one judges.
    pub fn verdict(&self, name: &ModelName) -> Option<Verdict> {
        let state = self.state();
        let model = state.models.get(name)?;
        let models = lock(&self.inner.models);
        let (judge, stage) = judged_now(models.get(name)?, model)?;
        Some(judge.verdict(stage))
    }

    /// The gateway acted by itself: a fact.
    async fn write_gateway_trips(&self) -> Result<(), Problem> {
        let state = self.state();
        let mut drafts = Vec::new();
        for (name, model) in &state.models {
            let Some(rollout) = model.active_rollout().filter(|rollout| rollout.tripped.is_none()) else {
                continue;
            };
            let (Some(cause), exposed) = self.tripped(name, rollout) else { continue };
            let fact = Fact::GatewayTripped {
                model: name.clone(),
                rollout: rollout.rollout.clone(),
                cause,
                exposed,
            };
            drafts.push(platform_draft("act", vec![rollout.seq], fact));
        }
        if !drafts.is_empty() {
            self.commit(Batch { drafts, ..Batch::default() }).await?;
        }
        Ok(())
    }
}

/// The judge of what is to be judged, and the stage that it is in.
fn judged_now<'a>(live: &'a Live, model: &ModelState) -> Option<(&'a Judge, usize)> {
    let judged = Judged::of(model)?;
    let (key, judge) = live.judge.as_ref()?;
    (*key == judged.key()).then(|| (judge, judged.stage()))
}
