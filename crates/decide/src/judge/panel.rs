//! All evidence on a rollout, and what follows from it together. Sums alone: no records, no words.
//!
//! Harm: each guardrail has a share of `alpha`; the mean of their e-values by these shares is an e-value of "the
//! candidate is worse in nothing", whatever the guardrails have to do with each other, and at `1/alpha` the candidate is
//! harmful. (That is never later than any guardrail alone at its own share.) So a candidate that is no worse is rolled
//! back with probability at most `alpha` over the whole rollout.
//!
//! Safety: every guardrail must be proven safe. An unsafe candidate is unsafe in one of them, and proof of safety there
//! comes with probability at most `alpha`; so each is held against `1/alpha`, undivided.
//!
//! Segments guard and need no proof: half of a guardrail's share is theirs.

use super::evidence::{ArmTests, Evidence, HARMLESS_ERROR_RATE, HARMLESS_SLOW_RATE, arm_events};
use std::sync::Arc;
use steersman_domain::fact::{RolloutPlan, Verdict, VerdictOutcome};
use steersman_domain::spec::Guardrail;
use steersman_stats::sequential::{ArmEvents, ArmTest};

/// Evidence at which the split itself is not believed (probability 0.001 of a false alarm).
pub const SPLIT_EVIDENCE: f64 = 6.907_755_278_982_137;

/// All evidence on a rollout.
#[derive(Debug, Clone)]
pub struct Panel {
    alpha: f64,
    evidence: Vec<Evidence>,
    split: ArmEvents,
    split_test: Arc<ArmTest>,
}

/// By which standard a rollout is judged at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standard {
    /// Few requests are exposed: the wider margin does.
    pub early: bool,
    /// Enough of the labels that are due have come.
    pub mature: bool,
    /// Performance is taken for safe by its estimate.
    pub estimated_safe: bool,
}

/// What follows from the evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// Over all.
    pub outcome: VerdictOutcome,
    /// Evidence of harm in anything.
    pub harm: f64,
    /// By guardrail: evidence of harm and of safety, and what follows.
    pub each: Vec<(f64, f64, VerdictOutcome)>,
}

impl Panel {
    /// The evidence that a plan asks for; nothing was observed yet.
    pub fn new(plan: &RolloutPlan) -> Self {
        let must_win = plan.strategy.must_win();
        let calls = ArmTests::new(plan, false);
        let performance = if must_win { ArmTests::new(plan, true) } else { calls.clone() };
        let loss_margin = if must_win { 1.0 } else { plan.loss_margin };
        let of = |guardrail| match guardrail {
            Guardrail::Performance => Evidence::of_performance(performance.clone(), plan.harm, loss_margin),
            _ => Evidence::of_calls(guardrail, calls.clone()),
        };
        Self::with(plan, of)
    }

    /// The evidence against a version that was promoted, beside the old champion's copies. `shown` says what the old
    /// champion showed: bad events, and trials.
    pub fn guarding(plan: &RolloutPlan, shown: impl Fn(Guardrail) -> Option<(u64, u64)>) -> Self {
        let tests = ArmTests::new(plan, false);
        let shown = |guardrail| {
            let (events, trials) = shown(guardrail).filter(|shown| shown.1 > 0)?;
            // Few trials leave room: two standard errors, and two events.
            let trials = trials as f64;
            let rate = events as f64 / trials;
            Some(rate + 2.0 * (rate * (1.0 - rate) / trials).sqrt() + 2.0 / trials)
        };
        let of = |guardrail| match guardrail {
            Guardrail::Performance => Evidence::of_performance(tests.clone(), plan.harm, plan.loss_margin)
                .against(shown(guardrail).map(|rate| plan.margin * rate)),
            Guardrail::LatencyP99 => {
                Evidence::of_calls(guardrail, tests.clone()).against(Some(HARMLESS_SLOW_RATE))
            }
            _ => {
                let rate = plan.margin * shown(guardrail).unwrap_or(0.0);
                Evidence::of_calls(guardrail, tests.clone()).against(Some(rate.max(HARMLESS_ERROR_RATE)))
            }
        };
        let mut panel = Self::with(plan, of);
        panel.evidence.iter_mut().for_each(|evidence| evidence.must_prove = false);
        panel
    }

    fn with(plan: &RolloutPlan, of: impl Fn(Guardrail) -> Evidence) -> Self {
        let guardrails = (plan.guardrails.len() + plan.means.len()).max(1) as f64;
        let segments = plan.segments.len() as f64;
        let mut evidence = Vec::new();
        for &guardrail in &plan.guardrails {
            let whole = if plan.segments.is_empty() { 1.0 } else { 0.5 };
            evidence.push(of(guardrail).sharing(whole / guardrails));
            for (place, segment) in plan.segments.iter().enumerate() {
                let share = 0.5 / segments / guardrails;
                evidence.push(of(guardrail).sharing(share).within(place, segment));
            }
        }
        evidence.extend(plan.means.iter().map(|mean| Evidence::of_mean(mean).sharing(1.0 / guardrails)));
        let weights = plan.stages.iter().map(|stage| stage.weight());
        let split_test = Arc::new(ArmTest::split().at_weights(weights));
        Self { alpha: plan.alpha, evidence, split: ArmEvents::default(), split_test }
    }

    /// This panel with what a verdict says was observed: it says the same again, to the last bit.
    #[must_use]
    pub fn restored(mut self, verdict: &Verdict) -> Self {
        for (evidence, of) in self.evidence.iter_mut().zip(&verdict.guardrails) {
            evidence.restore(&of.sums);
        }
        self.split = arm_events(&verdict.split);
        self
    }

    /// The evidence, one by one.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// The same, to add to.
    pub fn evidence_mut(&mut self) -> &mut [Evidence] {
        &mut self.evidence
    }

    /// So many requests with this weight went to each arm.
    pub fn add_requests(&mut self, weight: f64, champion: u64, candidate: u64) {
        self.split.add(weight, champion, candidate);
    }

    /// How requests were split.
    pub fn split(&self) -> &ArmEvents {
        &self.split
    }

    /// Evidence at which harm, and safety, are conclusive.
    pub fn conclusive(&self) -> f64 {
        -self.alpha.ln()
    }

    /// What follows from it.
    pub fn weigh(&self, standard: Standard) -> Weighed {
        let conclusive = self.conclusive();
        let each: Vec<(f64, f64, VerdictOutcome)> =
            self.evidence.iter().map(|evidence| self.weigh_one(evidence, standard)).collect();
        let largest = each.iter().map(|of| of.0).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 =
            self.evidence.iter().zip(&each).map(|(own, of)| own.share * (of.0 - largest).exp()).sum();
        let harm = if largest.is_finite() { largest + sum.ln() } else { 0.0 };
        let proven = |(own, of): (&Evidence, &(f64, f64, VerdictOutcome))| {
            !own.must_prove || of.2 == VerdictOutcome::Pass
        };
        let any = self.evidence.iter().any(|own| own.must_prove);
        let outcome = if self.split_test.log_e(&self.split) >= SPLIT_EVIDENCE {
            VerdictOutcome::Invalid
        } else if harm >= conclusive {
            VerdictOutcome::Fail
        } else if any && self.evidence.iter().zip(&each).all(proven) {
            VerdictOutcome::Pass
        } else {
            VerdictOutcome::Hold
        };
        Weighed { outcome, harm, each }
    }

    fn weigh_one(&self, own: &Evidence, standard: Standard) -> (f64, f64, VerdictOutcome) {
        let (harm, safety) = own.weigh(standard.early);
        let labelled = own.guardrail == Guardrail::Performance;
        let proven = match labelled {
            true => standard.estimated_safe || standard.mature && safety >= self.conclusive(),
            false => safety >= self.conclusive(),
        };
        let outcome = if harm >= -(self.alpha * own.share).ln() {
            VerdictOutcome::Fail
        } else if own.must_prove && proven {
            VerdictOutcome::Pass
        } else {
            VerdictOutcome::Hold
        };
        (harm, safety, outcome)
    }
}
