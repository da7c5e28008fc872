//! Who decides: with SQLite this process, as it owns the folder; with Postgres the one replica that holds the lease.
//!
//! The leader turns the loop. The others stand by: they take telemetry in and show pages, follow the facts that the leader
//! writes, and try to take the lead at each turn. Who takes it folds the ledger to its end first, so it decides on the
//! same state. Who loses it stops its jobs; that a late commit of its changes nothing is the store's promise
//! (`steersman_store::Store::commit`).
//!
//! A leader whose database is away keeps its model servers and routes: requests are answered as before, while nothing is
//! decided and the gateway's dead-man switch takes a candidate's traffic away. Only when another one leads are they
//! withdrawn.

use super::{Platform, lock};
use serde::Serialize;
use std::sync::PoisonError;
use std::time::Duration;
use steersman_domain::{ErrorKind, Fact, ModelName, Problem};
use steersman_ledger::State;
use steersman_store::Leader;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a replica knows of the lead.
#[derive(Debug, Default)]
pub(super) struct Lead {
    /// The term in which it leads.
    held: Option<Term>,
    /// The last term in which it led.
    last: u64,
    /// The other one that leads, as last seen.
    other: Option<Leader>,
    /// Renews the lease.
    keeper: Option<JoinHandle<()>>,
}

/// A time of leading.
#[derive(Debug, Clone, Copy)]
struct Term {
    number: u64,
    /// It is over at this time unless it is renewed; without one, never.
    until: Option<Instant>,
}

/// Which part a replica plays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replica {
    /// Its name.
    pub replica: String,
    /// Whether it is the one that decides.
    pub leads: bool,
    /// Whether there may be others.
    pub shared: bool,
    /// The one that decides, as far as it is known.
    pub leader: Option<Leader>,
}

impl Platform {
    /// Whether this replica decides.
    pub fn leads(&self) -> bool {
        let held = lock(&self.inner.lead).held;
        held.is_some_and(|term| term.until.is_none_or(|until| Instant::now() < until))
    }

    /// Which part this replica plays.
    pub fn replica(&self) -> Replica {
        let leads = self.leads();
        let (name, address) = (self.inner.name.clone(), self.inner.address.clone());
        let lead = lock(&self.inner.lead);
        let own = lead.held.filter(|_| leads);
        let own = own.map(|term| Leader { replica: name.clone(), address, term: term.number });
        let leader = own.or_else(|| lead.other.clone());
        Replica { replica: name, leads, shared: self.inner.store.shared(), leader }
    }

    /// Refuses what only the leader may do.
    pub(super) fn must_lead(&self) -> Result<(), Problem> {
        if self.leads() {
            return Ok(());
        }
        let leader = lock(&self.inner.lead).other.clone();
        let hint = match leader {
            Some(leader) => format!("`{}` leads: ask {}", leader.replica, leader.address),
            None => "nobody leads at the moment: ask again in a few seconds".to_owned(),
        };
        Err(Problem::new(ErrorKind::Unavailable, "this replica stands by and decides nothing").hint(hint))
    }

    /// Keeps the lead, or takes it if it is free. Returns whether this replica leads now.
    pub(super) async fn lead(&self) -> Result<bool, Problem> {
        if self.leads() {
            return Ok(true);
        }
        if lock(&self.inner.lead).held.is_some() {
            tracing::warn!(replica = self.inner.name, "the lead is lost");
            self.step_down().await;
        }
        let began = Instant::now();
        let taken = self.inner.store.take_lead(&self.inner.name, &self.inner.address).await?;
        let Some(number) = taken else {
            let leader = self.inner.store.leader().await?;
            let other = {
                let mut lead = lock(&self.inner.lead);
                // Its own lease, which it could not renew, runs out first.
                lead.other = leader.filter(|leader| leader.term != lead.last);
                lead.other.is_some()
            };
            if other {
                self.inner.gateway.withdraw();
                self.inner.routes_changed.send_modify(|revision| *revision += 1);
                self.inner.servers.stop_all().await;
            }
            return Ok(false);
        };
        let until = self.inner.store.shared().then(|| began + self.inner.store.lease());
        {
            let mut lead = lock(&self.inner.lead);
            lead.held = Some(Term { number, until });
            (lead.last, lead.other) = (number, None);
        }
        let taken_over = self.take_over(number).await;
        if taken_over.is_err() {
            // Somebody else may be able to.
            self.step_down().await;
            self.inner.store.give_up_lead().await?;
        }
        taken_over.map(|()| true)
    }

    /// Makes all that is known beside the ledger, from its end on.
    async fn take_over(&self, term: u64) -> Result<(), Problem> {
        self.follow().await?;
        let models: Vec<ModelName> = self.state().models.keys().cloned().collect();
        for model in &models {
            self.load_model(model).await?;
        }
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let fact = match self.inner.store.shared() {
            false => Fact::PlatformStarted { program },
            true => Fact::LeadTaken { program, replica: self.inner.name.clone(), term },
        };
        self.write("act", fact).await
    }

    /// Ends what only the leader may do. What it knew beside the ledger is forgotten: others go on from here.
    async fn step_down(&self) {
        lock(&self.inner.lead).held = None;
        let jobs: Vec<_> = lock(&self.inner.jobs).drain().map(|(_, job)| job).collect();
        for job in jobs {
            job.abort();
            // Its programs end with it.
            let _ = job.await;
        }
        self.inner.watcher.forget();
        lock(&self.inner.models).clear();
    }

    /// Takes in facts that others wrote, and readies the record log for their models.
    pub(super) async fn follow(&self) -> Result<(), Problem> {
        let _writing = self.inner.writer.lock().await;
        self.read_on().await
    }

    /// The same, for whoever holds the writer's lock.
    pub(super) async fn read_on(&self) -> Result<(), Problem> {
        let mut learnt = std::collections::BTreeSet::new();
        loop {
            let entries = self.inner.store.entries(self.state().size, 1_000).await?;
            if entries.is_empty() {
                break;
            }
            self.fold(&entries)?;
            let schemas = entries.iter().filter(|entry| matches!(entry.fact, Fact::ReferenceLearnt { .. }));
            learnt.extend(schemas.filter_map(|entry| entry.fact.model().cloned()));
        }
        let state = self.state();
        for name in learnt {
            let Some(reference) = &state.model(&name)?.reference else { continue };
            let (log, schema) = (self.inner.log.clone(), reference.schema.clone());
            super::blocking(move || log.declare(&name, &schema).map(drop)).await?;
        }
        Ok(())
    }

    /// Folds entries into the state. Readers keep the state that they have; of what changes, only the models that the
    /// entries are about are copied.
    pub(super) fn fold(&self, entries: &[steersman_domain::Entry]) -> Result<(), Problem> {
        let mut state = State::clone(&self.state());
        for entry in entries {
            state.apply(entry)?;
        }
        *self.inner.state.write().unwrap_or_else(PoisonError::into_inner) = std::sync::Arc::new(state);
        Ok(())
    }

    /// Renews the lease three times before it is over, for as long as the platform is up.
    pub(super) fn start_keeping(&self) {
        if !self.inner.store.shared() {
            return;
        }
        let (platform, lease) = (self.clone(), self.inner.store.lease());
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(lease / 4).await;
                platform.renew(lease).await;
            }
        });
        lock(&self.inner.lead).keeper = Some(keeper);
    }

    async fn renew(&self, lease: Duration) {
        let Some(term) = lock(&self.inner.lead).held else { return };
        let began = Instant::now();
        let kept = tokio::time::timeout(lease / 2, self.inner.store.keep_lead()).await;
        let until = match kept {
            Ok(Ok(true)) => began + lease,
            // Another one leads.
            Ok(Ok(false)) => began,
            Ok(Err(problem)) => return tracing::warn!(%problem, "the lease was not renewed"),
            Err(_) => return tracing::warn!("the lease was not renewed: the database does not answer"),
        };
        let mut lead = lock(&self.inner.lead);
        if let Some(held) = lead.held.as_mut().filter(|held| held.number == term.number) {
            held.until = Some(until);
        }
    }

    /// Lets another one lead at once.
    pub(super) async fn let_go(&self) {
        if let Some(keeper) = lock(&self.inner.lead).keeper.take() {
            keeper.abort();
        }
        lock(&self.inner.lead).held = None;
        if let Err(problem) = self.inner.store.give_up_lead().await {
            tracing::warn!(%problem, "the lead was not given up; it runs out");
        }
    }
}
