//! What the control plane tells the gateway about a model, and what the gateway counts.

use crate::breaker::BreakerState;
use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::Version;
use steersman_domain::fact::TripCause;
pub use steersman_domain::spec::{Audience, Repeatable, SegmentBudget};

/// How a model's requests are split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Who answers.
    pub champion: Target,
    /// Who wants to.
    pub candidate: Option<CandidateRoute>,
    /// What keeps a caller on one arm: the name of a request header, or `cookie:NAME`; without it each request is its own
    /// unit.
    pub sticky: Option<String>,
    /// Which requests may be sent a second time.
    #[serde(default)]
    pub repeatable: Repeatable,
}

/// A model server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The version it serves.
    pub version: Version,
    /// Its address, `http://host:port` or `https://host:port`, with a path before those of the protocol if need be.
    pub url: String,
    /// Where it speaks gRPC, if that is another address.
    #[serde(default)]
    pub grpc: Option<String>,
}

impl Target {
    /// A server at one address.
    pub fn new(version: Version, url: impl Into<String>) -> Self {
        Self { version, url: url.into(), grpc: None }
    }
}

/// The candidate's part of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Who may be given to the candidate at all; all others stay with the champion, and chance has no part in that.
    #[serde(default)]
    pub audience: Option<Audience>,
    /// The most requests of one segment that it may answer, of those that say which segment they are of.
    #[serde(default)]
    pub segment_budgets: Vec<SegmentBudget>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
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
    /// Requests of the candidate's share that the champion answered because a budget had no room for them.
    pub budget_refusals: u64,
    /// Requests that were sent again to the same server.
    pub retries: u64,
    /// Callers who went away before their answer was whole.
    pub aborted_requests: u64,
    /// Copies that were not made, because there were too many under way.
    pub shed_mirrors: u64,
    /// Copies that were not made, because the request is not declared safe to copy or too large to keep.
    pub skipped_mirrors: u64,
    /// Calls that were not recorded, because the queue was full.
    pub shed_captures: u64,
    /// Why the candidate gets no more traffic.
    pub tripped: Option<TripCause>,
}

impl Counters {
    /// Adds what another gateway counted.
    pub fn add(&mut self, other: &Self) {
        self.champion_requests += other.champion_requests;
        self.candidate_requests += other.candidate_requests;
        self.shadow_requests += other.shadow_requests;
        self.failed_requests += other.failed_requests;
        self.fallbacks += other.fallbacks;
        self.budget_refusals += other.budget_refusals;
        self.retries += other.retries;
        self.aborted_requests += other.aborted_requests;
        self.shed_mirrors += other.shed_mirrors;
        self.skipped_mirrors += other.skipped_mirrors;
        self.shed_captures += other.shed_captures;
        self.tripped = self.tripped.or(other.tripped);
    }
}

/// How a model server is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerHealth {
    /// The version it serves.
    pub version: Version,
    /// Its breaker.
    pub breaker: BreakerState,
    /// How often its breaker opened.
    pub breaker_opened: u64,
    /// Requests under way to it.
    pub in_flight: u64,
    /// What went wrong, how often.
    pub faults: BTreeMap<Fault, u64>,
}
