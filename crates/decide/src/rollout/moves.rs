//! Which way a rollout goes from one stage: a rule without state, the same in production and in simulations.

use steersman_domain::Period;
use steersman_domain::fact::VerdictOutcome;
use steersman_domain::spec::{OnHold, Stage};

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The stage it is in.
    pub stage: Stage,
    /// Whether the next step makes the candidate champion.
    pub last: bool,
    /// How long it is in this stage, in microseconds.
    pub since: i64,
    /// How long the judge has had to decide, in microseconds: time on hold by a person does not count.
    pub patience: i64,
    /// After so long without a decision something must happen.
    pub timeout: Period,
    /// What then.
    pub on_hold: OnHold,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Nothing yet.
    Stay,
    /// The next stage.
    Advance,
    /// The candidate becomes champion.
    Promote,
    /// The candidate is withdrawn for harm.
    RollBack,
    /// The candidate is withdrawn for lack of proof.
    GiveUp,
    /// A person must decide.
    Ask,
}

impl Standing {
    /// What happens next, by what the judge says.
    pub fn next(&self, outcome: VerdictOutcome) -> Move {
        let undecided = match self.on_hold {
            OnHold::RollBack => Move::GiveUp,
            OnHold::Wait => Move::Ask,
        };
        let long_enough = self.stage.at_least.is_none_or(|least| self.since >= least.micros());
        match outcome {
            VerdictOutcome::Fail => Move::RollBack,
            VerdictOutcome::Invalid => undecided,
            VerdictOutcome::Hold if self.stage.judged() => {
                if self.patience >= self.timeout.micros() {
                    undecided
                } else {
                    Move::Stay
                }
            }
            VerdictOutcome::Pass | VerdictOutcome::Hold => match (long_enough, self.last) {
                (false, _) => Move::Stay,
                (true, false) => Move::Advance,
                (true, true) => Move::Promote,
            },
        }
    }
}
