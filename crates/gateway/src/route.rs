//! Routes, and what is counted on them.

use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use steersman_domain::Version;
use steersman_domain::fact::TripCause;

/// How a model's requests are split.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Who answers.
    pub champion: Target,
    /// Who wants to.
    pub candidate: Option<CandidateRoute>,
    /// The request header whose value keeps a caller on one arm; without it each request is its own unit.
    pub sticky: Option<String>,
}

/// A model server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The version it serves.
    pub version: Version,
    /// Its address, `http://host:port`.
    pub url: String,
}

/// The candidate's part of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateRoute {
    /// Its server.
    pub target: Target,
    /// The share of requests that it answers, in `[0, 1]`.
    pub weight: f64,
    /// Whether it gets copies of the champion's requests.
    pub mirror: bool,
    /// The most requests that it may answer; none for no limit.
    pub budget: Option<u64>,
    /// Makes the split of this rollout independent of earlier ones.
    pub salt: String,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Requests that the champion answered.
    pub champion_requests: u64,
    /// Requests that the candidate of this rollout was given.
    pub candidate_requests: u64,
    /// Copies that the candidate answered.
    pub shadow_requests: u64,
    /// Requests without an answer from any upstream.
    pub failed_requests: u64,
    /// Requests that the champion answered because the candidate could not be reached.
    pub fallbacks: u64,
    /// Copies that were not made, because there were too many under way.
    pub shed_mirrors: u64,
    /// Calls that were not recorded, because the queue was full.
    pub shed_captures: u64,
    /// Why the candidate gets no more traffic.
    pub tripped: Option<TripCause>,
}

const NOT_TRIPPED: u8 = 0;
const DEAD_MAN: u8 = 1;
const BUDGET: u8 = 2;

/// The candidate's counts: kept as long as it is the same version in the same rollout.
#[derive(Debug, Default)]
pub(crate) struct Exposure {
    pub(crate) requests: AtomicU64,
    pub(crate) shadow: AtomicU64,
    tripped: AtomicU8,
}

/// A route with its counts.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) route: Route,
    pub(crate) exposure: Arc<Exposure>,
    pub(crate) champion_requests: Arc<AtomicU64>,
    pub(crate) failed: Arc<AtomicU64>,
    pub(crate) fallbacks: Arc<AtomicU64>,
    pub(crate) shed_mirrors: Arc<AtomicU64>,
    pub(crate) shed_captures: Arc<AtomicU64>,
}

impl Slot {
    /// The slot that takes the place of `before`.
    pub(crate) fn following(before: Option<&Self>, route: Route) -> Self {
        let identity = |route: &Route| {
            route.candidate.as_ref().map(|candidate| (candidate.target.version, candidate.salt.clone()))
        };
        let same = before.filter(|before| identity(&before.route) == identity(&route));
        Self {
            exposure: same.map(|before| before.exposure.clone()).unwrap_or_default(),
            champion_requests: before.map(|before| before.champion_requests.clone()).unwrap_or_default(),
            failed: before.map(|before| before.failed.clone()).unwrap_or_default(),
            fallbacks: before.map(|before| before.fallbacks.clone()).unwrap_or_default(),
            shed_mirrors: before.map(|before| before.shed_mirrors.clone()).unwrap_or_default(),
            shed_captures: before.map(|before| before.shed_captures.clone()).unwrap_or_default(),
            route,
        }
    }

    /// Takes the candidate's traffic away until another candidate or rollout comes.
    pub(crate) fn trip(&self, cause: TripCause) {
        if self.route.candidate.is_none() {
            return;
        }
        let code = match cause {
            TripCause::DeadMan => DEAD_MAN,
            TripCause::Budget => BUDGET,
        };
        let _ = self.exposure.tripped.compare_exchange(NOT_TRIPPED, code, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(crate) fn tripped(&self) -> Option<TripCause> {
        match self.exposure.tripped.load(Ordering::SeqCst) {
            DEAD_MAN => Some(TripCause::DeadMan),
            BUDGET => Some(TripCause::Budget),
            _ => None,
        }
    }

    /// Counts one more request of the candidate, unless its budget is used up.
    pub(crate) fn expose(&self, budget: Option<u64>) -> bool {
        let Some(budget) = budget else {
            self.exposure.requests.fetch_add(1, Ordering::SeqCst);
            return true;
        };
        let within = |count: u64| (count < budget).then(|| count + 1);
        let exposed = self.exposure.requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, within).is_ok();
        if !exposed {
            self.trip(TripCause::Budget);
        }
        exposed
    }

    pub(crate) fn counters(&self) -> Counters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            champion_requests: load(&self.champion_requests),
            candidate_requests: load(&self.exposure.requests),
            shadow_requests: load(&self.exposure.shadow),
            failed_requests: load(&self.failed),
            fallbacks: load(&self.fallbacks),
            shed_mirrors: load(&self.shed_mirrors),
            shed_captures: load(&self.shed_captures),
            tripped: self.tripped(),
        }
    }
}
