//! A route with everything that is counted on it. What is counted outlives a change of weights.

use crate::budget::{Exposure, Reserved};
use crate::route::{Counters, Route, ServerHealth, Target};
use crate::split::{By, Members};
use crate::upstream::Upstream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_domain::fact::TripCause;

/// Counts of a model, for as long as it has a route.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) champion: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
    pub(crate) budget_refusals: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) aborted: AtomicU64,
    pub(crate) shed_mirrors: AtomicU64,
    pub(crate) skipped_mirrors: AtomicU64,
    pub(crate) shed_captures: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A route, ready to be gone.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) route: Route,
    pub(crate) champion: Arc<Upstream>,
    pub(crate) candidate: Option<Arc<Upstream>>,
    pub(crate) sticky: Option<By>,
    pub(crate) audience: Option<Members>,
    pub(crate) exposure: Arc<Exposure>,
    pub(crate) counts: Arc<Counts>,
}

impl Slot {
    /// The slot that takes the place of `before`. `reserved` is what an earlier process wrote down of the same rollout;
    /// `remembered` says whether anything is written down at all.
    pub(crate) fn following(
        before: Option<&Self>,
        route: Route,
        reserved: Option<&Reserved>,
        remembered: bool,
    ) -> Self {
        let same = before.filter(|before| rollout_of(&before.route) == rollout_of(&route));
        let exposure = match (same, reserved) {
            (Some(same), _) => same.exposure.clone(),
            (None, Some(reserved)) => Arc::new(Exposure::restored(reserved)),
            (None, None) => Arc::new(Exposure::new(remembered)),
        };
        exposure.regrant(route.candidate.as_ref().and_then(|candidate| candidate.budget));
        let known = |target: &Target| {
            let upstreams = before.into_iter().flat_map(Self::upstreams);
            let found = upstreams.into_iter().find(|upstream| upstream.target == *target).cloned();
            found.unwrap_or_else(|| Arc::new(Upstream::new(target.clone())))
        };
        let candidate = route.candidate.as_ref();
        Self {
            champion: known(&route.champion),
            candidate: candidate.map(|candidate| known(&candidate.target)),
            sticky: route.sticky.as_deref().and_then(By::parse),
            audience: candidate.and_then(|candidate| candidate.audience.as_ref()).map(Members::new),
            exposure,
            counts: before.map(|before| before.counts.clone()).unwrap_or_default(),
            route,
        }
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        std::iter::once(&self.champion).chain(&self.candidate)
    }

    /// Takes the candidate's traffic away until another candidate or rollout comes.
    pub(crate) fn trip(&self, cause: TripCause) {
        if self.route.candidate.is_some() {
            self.exposure.trip(cause);
        }
    }

    pub(crate) fn health(&self) -> Vec<ServerHealth> {
        self.upstreams().map(|upstream| upstream.health()).collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        Counters {
            champion_requests: load(&counts.champion),
            candidate_requests: self.exposure.used(),
            shadow_requests: load(&self.exposure.shadow),
            failed_requests: load(&counts.failed),
            fallbacks: load(&counts.fallbacks),
            budget_refusals: load(&counts.budget_refusals),
            retries: load(&counts.retries),
            aborted_requests: load(&counts.aborted),
            shed_mirrors: load(&counts.shed_mirrors),
            skipped_mirrors: load(&counts.skipped_mirrors),
            shed_captures: load(&counts.shed_captures),
            tripped: self.exposure.tripped(),
        }
    }
}

/// What makes a rollout the same: its candidate and its salt.
pub(crate) fn rollout_of(route: &Route) -> Option<(steersman_domain::Version, &str)> {
    route.candidate.as_ref().map(|candidate| (candidate.target.version, candidate.salt.as_str()))
}
