//! What `steersman simulate rollout` finds, as its JSON has it: how rollouts would go on one's own traffic.
//!
//! The shape is a contract: fields may be added, none changes its meaning. Times are seconds from the start of a rollout.

use crate::spec::{Guardrail, Strategy};
use serde::{Deserialize, Serialize};

/// Rollouts of several strategies, simulated on the same traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutSimulation {
    /// The finding in one sentence.
    pub summary: String,
    /// The traffic that was simulated.
    pub traffic: SimulatedTraffic,
    /// Rollouts of each kind.
    pub rollouts: u64,
    /// The same seed gives the same numbers.
    pub seed: u64,
    /// The strategies, the spec's own first.
    pub strategies: Vec<SimulatedStrategy>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Traffic as it was seen, or assumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedTraffic {
    /// The file, folder or pattern; empty for figures that were given.
    pub source: String,
    /// Mean requests a day.
    pub per_day: f64,
    /// Requests a second in each stretch of the season, one after the other, repeating.
    pub rates: Vec<f64>,
    /// Length of a stretch in seconds.
    pub stretch_seconds: f64,
    /// The champion's share of failed calls.
    pub errors: f64,
    /// Its share of calls without an answer.
    pub timeouts: f64,
    /// Its share of calls beyond the frozen quantile of latency.
    pub slow: f64,
    /// Its share of wrong predictions.
    pub wrong: f64,
    /// Share of the predictions on which two good versions differ.
    pub differ: f64,
    /// Share of the requests whose label comes at all.
    pub labelled: f64,
    /// When labels come, in seconds: one delay for each equal part of them, rising.
    pub label_delays: Vec<f64>,
}

/// How the rollouts of one strategy went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedStrategy {
    /// Its name.
    pub name: String,
    /// How traffic moves.
    pub strategy: Strategy,
    /// Its stages, as a spec has them.
    pub stages: Vec<String>,
    /// By what the candidate is like.
    pub outcomes: Vec<SimulatedOutcome>,
}

impl SimulatedStrategy {
    /// How rollouts go whose candidate is as good as the champion.
    pub fn unchanged(&self) -> Option<&SimulatedOutcome> {
        self.outcomes.iter().find(|outcome| outcome.ratio == 1.0)
    }

    /// How rollouts go whose candidate ought to be promoted: one as good as the champion; where it must be proven better,
    /// one that is.
    pub fn good(&self) -> Option<&SimulatedOutcome> {
        match self.strategy.must_win() {
            true => self.outcomes.iter().find(|outcome| outcome.ratio < 1.0),
            false => self.unchanged(),
        }
    }
}

/// How the rollouts of candidates of one kind went. Shares are of all rollouts, in `[0, 1]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedOutcome {
    /// In which guardrail the candidate differs from the champion; none for no difference.
    pub guardrail: Option<Guardrail>,
    /// How many times the champion's bad events it has.
    pub ratio: f64,
    /// Withdrawn for harm before it became champion.
    pub rolled_back: f64,
    /// Became champion and was found harmful while the old one stood ready.
    pub reverted: f64,
    /// Became champion and stayed.
    pub promoted: f64,
    /// Withdrawn for lack of proof, or of budget.
    pub withdrawn: f64,
    /// Waited for a person in the end.
    pub asked: f64,
    /// When harm was found, of those where it was.
    pub found_after: Option<Spread>,
    /// When the candidate became champion, of those where it stayed.
    pub promoted_after: Option<Spread>,
    /// Requests that the candidate answered: until its end, or until it became champion for good.
    pub exposed: Spread,
    /// Mean of these.
    pub exposed_mean: f64,
    /// Share of rollouts that were decided (harm found, or promoted for good) by a time: times and shares, rising.
    pub decided: Vec<(f64, f64)>,
}

impl SimulatedOutcome {
    /// Share of rollouts in which harm was found.
    pub fn found(&self) -> f64 {
        self.rolled_back + self.reverted
    }
}

/// Where most values lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// A tenth is below.
    pub low: f64,
    /// Half is below.
    pub median: f64,
    /// A tenth is above.
    pub high: f64,
}
