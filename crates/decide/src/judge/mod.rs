//! The judge of a rollout: weighs whether the candidate is harmful or proven safe.
//!
//! For each guardrail two kinds of evidence are kept, as e-processes (valid at every look):
//!
//! - *which arm*: given a bad event, how likely was it to come from the candidate? (Lindon, Sanden, Shirikian, KDD
//!   2022.) The base rate cancels, so daily cycles and changing weights do no harm. Copies answered in the shadow give
//!   pairs: a discordant pair is an event at even odds (the sequential McNemar test).
//! - *a level*: for calls, the candidate's own rate against a rate that is harmless even where the champion never fails;
//!   for performance, the loss on the same request against the champion's; for means, their difference (betting,
//!   Waudby-Smith and Ramdas).
//!
//! The average of two e-values is an e-value, so the two are averaged. A unit (a caller, where the split is sticky) counts
//! at most once for each guardrail: it is what was randomised.
//!
//! - `evidence`: the sums of one guardrail. [`Panel`]: all of them, and what follows; simulations feed it directly.
//! - [`Judge`] makes sums of records and labels as they arrive; `calls` remembers what waits for its copy or label.
//! - `estimate`: performance before the labels. `words`: sentences.
//!
//! The sums depend on the arrivals alone, so a judge that is fed the same records and labels again says the same to the last
//! bit; and what a verdict rests on is in the verdict ([`Panel::restored`]).

mod calls;
pub(crate) mod estimate;
mod evidence;
mod panel;
mod words;

pub use evidence::{Evidence, HARMLESS_ERROR_RATE, HARMLESS_SLOW_RATE};
pub use panel::{Panel, SPLIT_EVIDENCE, Standard, Weighed};

use calls::{Answer, Call, Calls};
use estimate::Estimates;
use jiff::Timestamp;
use std::collections::HashSet;
use steersman_domain::fact::{RolloutPlan, Verdict, VerdictOutcome};
use steersman_domain::record::Arm;
use steersman_domain::spec::{EstimateUse, Guardrail};
use steersman_domain::time::micros;
use steersman_domain::{Label, ModelSpec, Period, Record, Task, Value};

/// Share of the scale at which the error of a regression counts as a wrong prediction: twice the usual error.
const WRONG_SHARE: f64 = 0.4;
/// So many units are told apart for each guardrail, and for the split; what comes after them is not counted.
const MOST_UNITS: usize = 1_000_000;

/// The loss of one prediction: the squared error of a probability, the absolute error of a number.
pub fn loss(task: Task, prediction: f64, label: f64) -> f64 {
    match task {
        Task::Binary => (prediction - label).powi(2),
        Task::Regression => (prediction - label).abs(),
    }
}

fn bounded_loss(task: Task, scale: Option<f64>, output: f64, label: f64) -> f64 {
    (loss(task, output, label) / scale.unwrap_or(1.0)).clamp(0.0, 1.0)
}

fn is_wrong(task: Task, threshold: f64, scale: Option<f64>, output: f64, label: f64) -> bool {
    match task {
        Task::Binary => (output >= threshold) != (label > 0.5),
        Task::Regression => bounded_loss(task, scale, output, label) > WRONG_SHARE,
    }
}

/// Whether a prediction is wrong: on the other side of the threshold, or off by more than twice the usual error, which is a
/// fifth of `scale`.
pub fn wrong(spec: &ModelSpec, scale: Option<f64>, output: f64, label: f64) -> bool {
    is_wrong(spec.model.task, spec.model.threshold, scale, output, label)
}

/// Weighs one rollout, or a version after its promotion.
#[derive(Debug, Clone)]
pub struct Judge {
    plan: RolloutPlan,
    output: String,
    task: Task,
    threshold: f64,
    label_delay: Period,
    /// The judged version serves, and the old champion answers the copies.
    guarding: bool,
    panel: Panel,
    /// Units that had an event, by the place of the evidence.
    units: Vec<HashSet<u64>>,
    split_units: HashSet<u64>,
    served: [u64; 3],
    labelled: u64,
    calls: Calls,
    estimates: Option<Estimates>,
    latest: i64,
    since: i64,
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(spec: &ModelSpec, plan: &RolloutPlan) -> Self {
        Self::with(spec, plan, Panel::new(plan), false)
    }

    /// A judge of the version that a rollout promoted at this time; `before` is the last verdict before that. What was
    /// asked earlier was answered by others.
    pub fn guarding(
        spec: &ModelSpec,
        plan: &RolloutPlan,
        before: Option<&Verdict>,
        since: Timestamp,
    ) -> Self {
        let shown = |guardrail| {
            let of =
                before?.guardrails.iter().find(|of| of.guardrail == guardrail && of.subject.is_empty())?;
            Some((of.champion_events, of.champion_trials))
        };
        Self { since: micros(since), ..Self::with(spec, plan, Panel::guarding(plan, shown), true) }
    }

    fn with(spec: &ModelSpec, plan: &RolloutPlan, panel: Panel, guarding: bool) -> Self {
        let estimated = !guarding && plan.estimate != EstimateUse::Ignore;
        Self {
            plan: plan.clone(),
            output: spec.model.prediction.clone(),
            task: spec.model.task,
            threshold: spec.model.threshold,
            label_delay: spec.model.label.expected_delay,
            guarding,
            units: vec![HashSet::new(); panel.evidence().len()],
            panel,
            split_units: HashSet::new(),
            served: [0; 3],
            labelled: 0,
            calls: Calls::default(),
            estimates: plan.expected.as_ref().filter(|_| estimated).map(Estimates::new),
            latest: i64::MIN,
            since: i64::MIN,
        }
    }

    /// Requests that the candidate answered so far.
    pub fn exposed(&self) -> u64 {
        self.served[1]
    }

    /// Requests and copies seen so far: champion, candidate, shadow.
    pub fn seen(&self) -> [u64; 3] {
        self.served
    }

    /// The evidence so far.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }

    /// Time goes on to that of the latest record or label.
    fn pass(&mut self, at: Timestamp) {
        self.latest = self.latest.max(micros(at));
        self.calls.pass(self.latest.saturating_sub(self.label_delay.micros()));
    }

    fn answer(&self, record: &Record, arm: Arm) -> Answer {
        let number = |name: &String| {
            record.outputs.get(name).or_else(|| record.features.get(name)).and_then(Value::number)
        };
        let segments = self.plan.segments.iter().enumerate().filter(|(_, segment)| {
            let value = record.features.get(&segment.column).and_then(Value::category);
            value.is_some_and(|value| value == segment.value)
        });
        let numbers = self
            .plan
            .means
            .iter()
            .map(|guard| number(&guard.column).map_or(f64::NAN, |value| Evidence::number(guard, value)));
        let slow = self.plan.latency_limit_ms.zip(record.latency_ms).map(|(limit, latency)| latency > limit);
        Answer {
            candidate: (arm != Arm::Champion) != self.guarding,
            weight: record.weight.unwrap_or(0.0),
            unit: record.unit.unwrap_or(0),
            output: record.outputs.get(&self.output).and_then(Value::number),
            failed: record.failed(),
            unanswered: record.unanswered(),
            slow,
            segments: segments.fold(0, |bits, (place, _)| bits | 1 << place),
            numbers: numbers.collect(),
        }
    }

    /// Takes in a record of the rollout. Records without an arm came by another way and are passed over.
    pub fn record(&mut self, record: &Record) {
        let Some(arm) = record.arm else { return };
        if micros(record.time) < self.since || self.guarding && arm == Arm::Candidate {
            return;
        }
        let answer = self.answer(record, arm);
        let call = self.calls.call(&record.id);
        let slot = if arm == Arm::Shadow { &mut call.shadow } else { &mut call.served };
        if slot.is_some() {
            return;
        }
        *slot = Some(answer.clone());
        let call = call.clone();
        self.served[match arm {
            Arm::Champion => 0,
            Arm::Candidate => 1,
            Arm::Shadow => 2,
        }] += 1;
        if arm != Arm::Shadow {
            self.calls.expect(&record.id, micros(record.time));
            self.observe_served(&answer);
        }
        if let Some((champion, candidate)) = self.pair(&call) {
            self.observe_pair(&champion, &candidate);
        }
        if let Some(label) = call.label {
            // The label came first: the answer that has just arrived is judged at once.
            if arm != Arm::Shadow {
                self.observe_label(&answer, label);
            }
            self.observe_label_pair(&call, label);
        }
        self.pass(record.time);
    }

    /// Takes in a label. The first one counts; corrections do not take evidence back.
    pub fn label(&mut self, label: &Label) {
        let Some(truth) = label.label.number() else { return };
        let call = self.calls.call(&label.id);
        if call.label.is_some() {
            return;
        }
        call.label = Some(truth);
        let call = call.clone();
        self.calls.arrived(&label.id);
        if let Some(served) = &call.served {
            self.observe_label(served, truth);
        }
        self.observe_label_pair(&call, truth);
        self.pass(label.time);
    }

    /// The champion's answer and the candidate's to the same request.
    fn pair(&self, call: &Call) -> Option<(Answer, Answer)> {
        let (served, shadow) = (call.served.clone()?, call.shadow.clone()?);
        Some(if self.guarding { (shadow, served) } else { (served, shadow) })
    }

    /// A bad event of a unit, at this weight, for the evidence at this place.
    fn event(&mut self, place: usize, weight: f64, candidate: bool, unit: u64) {
        let informs = weight > 0.0 && weight < 1.0;
        let (Some(units), Some(evidence)) =
            (self.units.get_mut(place), self.panel.evidence_mut().get_mut(place))
        else {
            return;
        };
        if informs && units.len() < MOST_UNITS && units.insert(unit) {
            evidence.add_events(weight, u64::from(!candidate), u64::from(candidate));
        }
    }

    /// An answer that a caller got, and whether it was bad, for the evidence at this place.
    fn trial(&mut self, place: usize, answer: &Answer, bad: bool) {
        let Some(own) = self.panel.evidence_mut().get_mut(place) else { return };
        let side = usize::from(answer.candidate);
        own.trials[side] += 1;
        own.events[side] += u64::from(bad);
        if answer.candidate {
            own.add_level(1, u64::from(bad));
        }
        if bad {
            self.event(place, answer.weight, answer.candidate, answer.unit);
        }
    }

    /// An answer that a caller got.
    fn observe_served(&mut self, answer: &Answer) {
        let fresh = answer.weight > 0.0 && answer.weight < 1.0 && self.split_units.len() < MOST_UNITS;
        if fresh && self.split_units.insert(answer.unit) {
            let candidate = u64::from(answer.candidate);
            self.panel.add_requests(answer.weight, 1 - candidate, candidate);
        }
        for place in 0..self.panel.evidence().len() {
            let Some(own) = self.panel.evidence_mut().get_mut(place) else { continue };
            if !answer.within(own.segment) {
                continue;
            }
            if own.guardrail == Guardrail::Mean {
                let column = own.subject.clone();
                if let Some(value) = self.number(answer, &column)
                    && let Some(own) = self.panel.evidence_mut().get_mut(place)
                {
                    own.observe_number(answer.candidate, answer.weight, value);
                }
                continue;
            }
            let Some(bad) = bad(own.guardrail, answer) else { continue };
            self.trial(place, answer, bad);
        }
        let chance = answer.weight > 0.0 && answer.weight < 1.0;
        if let (Some(estimates), Some(output), true) = (&mut self.estimates, answer.output, chance) {
            estimates.answer(answer.candidate, output);
        }
    }

    fn number(&self, answer: &Answer, column: &str) -> Option<f64> {
        let place = self.plan.means.iter().position(|guard| guard.column == column)?;
        answer.numbers.get(place).copied().filter(|value| !value.is_nan())
    }

    /// A copy was answered as well: if one of the two was bad and the other was not, which?
    fn observe_pair(&mut self, champion: &Answer, candidate: &Answer) {
        for place in 0..self.panel.evidence().len() {
            let guarding = self.guarding;
            let Some(own) = self.panel.evidence_mut().get_mut(place) else { continue };
            if !candidate.within(own.segment) {
                continue;
            }
            if own.guardrail == Guardrail::Mean {
                let column = own.subject.clone();
                let numbers = self.number(champion, &column).zip(self.number(candidate, &column));
                if let (Some((champion, candidate)), Some(own)) =
                    (numbers, self.panel.evidence_mut().get_mut(place))
                {
                    own.observe_numbers(champion, candidate);
                }
                continue;
            }
            let both = bad(own.guardrail, champion).zip(bad(own.guardrail, candidate));
            let Some((champion_bad, candidate_bad)) = both else { continue };
            own.pairs += 1;
            if !guarding {
                own.add_level(1, u64::from(candidate_bad));
            }
            if champion_bad != candidate_bad {
                self.event(place, 0.5, candidate_bad, candidate.unit);
            }
        }
        if let (Some(estimates), Some(champion), Some(candidate)) =
            (&mut self.estimates, champion.output, candidate.output)
        {
            estimates.pair(champion, candidate);
        }
    }

    /// The truth about an answer that a caller got.
    fn observe_label(&mut self, served: &Answer, label: f64) {
        self.labelled += 1;
        let Some(output) = served.output else { return };
        let wrong = self.wrong(output, label);
        for place in 0..self.panel.evidence().len() {
            let Some(own) = self.panel.evidence_mut().get_mut(place) else { continue };
            if own.guardrail != Guardrail::Performance || !served.within(own.segment) {
                continue;
            }
            self.trial(place, served, wrong);
        }
        let chance = served.weight > 0.0 && served.weight < 1.0;
        if let (Some(estimates), true) = (&mut self.estimates, chance) {
            estimates.answer_label(served.candidate, output, loss(self.task, output, label));
        }
    }

    /// Champion and candidate on the same labelled request: whose loss is larger?
    fn observe_label_pair(&mut self, call: &Call, label: f64) {
        let Some((champion, candidate)) = self.pair(call) else { return };
        let (Some(champion_output), Some(candidate_output)) = (champion.output, candidate.output) else {
            return;
        };
        let champion_loss = self.bounded_loss(champion_output, label);
        let candidate_loss = self.bounded_loss(candidate_output, label);
        for own in self.panel.evidence_mut() {
            if own.guardrail == Guardrail::Performance && candidate.within(own.segment) {
                own.add_losses(&[(champion_loss, candidate_loss, 1)]);
                own.show(candidate_loss - champion_loss);
            }
        }
        if let Some(estimates) = &mut self.estimates {
            let of = |output: f64| (output, loss(self.task, output, label));
            estimates.pair_label(of(champion_output), of(candidate_output));
        }
    }

    /// The loss in `[0, 1]`.
    fn bounded_loss(&self, output: f64, label: f64) -> f64 {
        bounded_loss(self.task, self.plan.loss_scale, output, label)
    }

    fn wrong(&self, output: f64, label: f64) -> bool {
        is_wrong(self.task, self.threshold, self.plan.loss_scale, output, label)
    }

    /// What the judge says now, in this stage of the plan.
    pub fn verdict(&self, stage: usize) -> Verdict {
        let early = self.plan.stages.get(stage).is_some_and(|stage| stage.early());
        let (due, came) = (self.calls.due, self.calls.came);
        let mature = due > 0 && came as f64 >= self.plan.maturity * due as f64;
        let labels_count = self.plan.guardrails.contains(&Guardrail::Performance);
        let margin = if self.plan.strategy.must_win() { 1.0 } else { self.plan.loss_margin };
        let estimate = self.estimates.as_ref().and_then(|estimates| {
            estimates.verdict(margin.max(self.plan.harm), self.plan.strategy.must_win())
        });
        let standard = Standard { early, mature, estimated_safe: false };
        let mut weighed = self.panel.weigh(standard);
        let estimated = estimate.as_ref().map(|estimate| estimate.outcome);
        match (weighed.outcome, estimated) {
            (VerdictOutcome::Hold, Some(VerdictOutcome::Fail))
                if self.plan.estimate >= EstimateUse::RollBack =>
            {
                weighed.outcome = VerdictOutcome::Fail;
            }
            (VerdictOutcome::Hold, Some(VerdictOutcome::Pass))
                if self.plan.estimate == EstimateUse::Promote =>
            {
                weighed = self.panel.weigh(Standard { estimated_safe: true, ..standard });
            }
            // Where labels do not count, a bad estimate still keeps the candidate from going on.
            (VerdictOutcome::Pass, Some(VerdictOutcome::Fail)) if !labels_count => {
                weighed.outcome = VerdictOutcome::Hold;
            }
            _ => {}
        }
        let guardrails = words::guardrails(&self.panel, &weighed, self.plan.alpha);
        let labels = labels_count.then(|| words::maturity(due, came, self.plan.maturity));
        let told = estimate.as_ref().filter(|_| !mature || weighed.outcome != VerdictOutcome::Pass);
        let split = (self.served[0], self.served[1]);
        let explanation = words::together(weighed.outcome, &guardrails, split, labels, told);
        let served = self.served[0] + self.served[1];
        Verdict {
            outcome: weighed.outcome,
            harm: weighed.harm,
            conclusive: self.panel.conclusive(),
            guardrails,
            split: evidence::weight_counts(self.panel.split()),
            champion_requests: self.served[0],
            candidate_requests: self.served[1],
            shadow_requests: self.served[2],
            maturity: if served == 0 { 0.0 } else { self.labelled as f64 / served as f64 },
            labels_due: due,
            labels_came: came,
            estimate,
            explanation,
        }
    }
}

/// Whether an answer is bad by this guardrail; none where that is not known.
fn bad(guardrail: Guardrail, answer: &Answer) -> Option<bool> {
    match guardrail {
        Guardrail::Errors => Some(answer.failed),
        Guardrail::Timeouts => Some(answer.unanswered),
        Guardrail::LatencyP99 => answer.slow,
        Guardrail::Performance | Guardrail::Mean => None,
    }
}
