//! The judge of a rollout: weighs, event by event, whether the candidate is harmful or proven safe.
//!
//! For each guardrail two kinds of evidence are kept, as e-processes (valid at every look):
//!
//! - *which arm*: given a bad event, how likely was it to come from the candidate? (Lindon, Sanden, Shirikian, KDD
//!   2022.) The base rate cancels, so daily cycles and changing weights do no harm. Copies answered in the shadow give
//!   pairs: a discordant pair is an event at even odds (the sequential McNemar test).
//! - *a level*: for errors and slow calls, the candidate's own rate against a rate that is harmless even where the
//!   champion never fails; for performance, the loss on the same request against the champion's (betting, Waudby-Smith
//!   and Ramdas).
//!
//! The average of two e-values is an e-value, so the two are averaged. Each guardrail gets the rollout's `alpha` divided
//! by the number of guardrails: the chance of rolling back a candidate that is no worse is at most `alpha` over the
//! whole rollout. A unit (a caller, where the split is sticky) counts at most once for each guardrail.
//!
//! The sums depend on the order of arrival alone, so a judge that is fed the same records and labels again says the same
//! to the last bit.

use std::collections::{HashMap, HashSet};
use steersman_domain::fact::{GuardrailVerdict, RolloutPlan, Verdict, VerdictOutcome};
use steersman_domain::record::Arm;
use steersman_domain::spec::Guardrail;
use steersman_domain::{Label, ModelSpec, Record, RecordId, Task};
use steersman_stats::sequential::{ArmProcess, MeanProcess, RateProcess, SampleRatio, mean_of_logs};

/// A candidate whose calls fail less often than this is safe even where the champion never fails.
pub const HARMLESS_ERROR_RATE: f64 = 0.01;
/// A candidate of whose calls fewer than this are slower than the champion's 99th percentile is safe: twice the
/// champion's share.
pub const HARMLESS_SLOW_RATE: f64 = 0.02;
/// Evidence at which the split itself is not believed (probability 0.001 of a false alarm).
pub const SPLIT_EVIDENCE: f64 = 6.907_755_278_982_137;
/// Share of the scale at which the error of a regression counts as a wrong prediction: twice the usual error.
const WRONG_SHARE: f64 = 0.4;

/// The loss of one prediction: the squared error of a probability, the absolute error of a number.
pub fn loss(task: Task, prediction: f64, label: f64) -> f64 {
    match task {
        Task::Binary => (prediction - label).powi(2),
        Task::Regression => (prediction - label).abs(),
    }
}

/// Weighs one rollout.
#[derive(Debug, Clone)]
pub struct Judge {
    plan: RolloutPlan,
    output: String,
    task: Task,
    threshold: f64,
    processes: Vec<Process>,
    split: SampleRatio,
    split_units: HashSet<u64>,
    split_weight: f64,
    served: [u64; 3],
    labelled: u64,
    calls: HashMap<RecordId, Call>,
}

/// What is known of one request.
#[derive(Debug, Clone, Default)]
struct Call {
    served: Option<Answer>,
    shadow: Option<Answer>,
    label: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    candidate: bool,
    weight: f64,
    unit: u64,
    output: Option<f64>,
    failed: bool,
    slow: bool,
}

/// The evidence on one guardrail.
#[derive(Debug, Clone)]
struct Process {
    guardrail: Guardrail,
    harm: ArmProcess,
    safety: ArmProcess,
    rate: Option<RateProcess>,
    worse: Option<MeanProcess>,
    no_worse: Option<MeanProcess>,
    units: HashSet<u64>,
    events: [u64; 2],
    pairs: u64,
}

impl Process {
    fn new(guardrail: Guardrail, plan: &RolloutPlan) -> Self {
        let rate = match guardrail {
            Guardrail::Errors => Some(RateProcess::below(HARMLESS_ERROR_RATE)),
            Guardrail::LatencyP99 => Some(RateProcess::below(HARMLESS_SLOW_RATE)),
            Guardrail::Performance => None,
        };
        let paired = guardrail == Guardrail::Performance;
        Self {
            guardrail,
            harm: ArmProcess::harm(1.0),
            safety: ArmProcess::safety(plan.margin),
            rate,
            worse: paired.then(|| MeanProcess::above(0.0, -1.0, 1.0)),
            no_worse: paired.then(|| MeanProcess::below(0.0, -plan.loss_margin, 1.0)),
            units: HashSet::new(),
            events: [0; 2],
            pairs: 0,
        }
    }

    /// A bad event of one arm.
    fn event(&mut self, candidate: bool, weight: f64, unit: u64) {
        if self.units.insert(unit) {
            self.events[usize::from(candidate)] += 1;
            self.harm.observe(candidate, weight);
            self.safety.observe(candidate, weight);
        }
    }

    /// Evidence that the candidate is worse, and that it is not worse than allowed.
    fn evidence(&self) -> (f64, f64) {
        let second_harm = self.worse.as_ref().map(MeanProcess::log_e);
        let second_safety =
            self.no_worse.as_ref().map(MeanProcess::log_e).or(self.rate.as_ref().map(RateProcess::log_e));
        (average(self.harm.log_e(), second_harm), average(self.safety.log_e(), second_safety))
    }
}

fn average(first: f64, second: Option<f64>) -> f64 {
    second.map_or(first, |second| mean_of_logs(&[first, second]))
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(spec: &ModelSpec, plan: &RolloutPlan) -> Self {
        Self {
            plan: plan.clone(),
            output: spec.model.prediction.clone(),
            task: spec.model.task,
            threshold: spec.model.threshold,
            processes: plan.guardrails.iter().map(|&guardrail| Process::new(guardrail, plan)).collect(),
            split: SampleRatio::new(),
            split_units: HashSet::new(),
            split_weight: 0.0,
            served: [0; 3],
            labelled: 0,
            calls: HashMap::new(),
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

    /// Takes in a record of the rollout. Records without an arm came by another way and are passed over.
    pub fn record(&mut self, record: &Record) {
        let Some(arm) = record.arm else { return };
        let slow = match (self.plan.latency_limit_ms, record.latency_ms) {
            (Some(limit), Some(latency)) => latency > limit,
            _ => false,
        };
        let answer = Answer {
            candidate: arm != Arm::Champion,
            weight: record.weight.unwrap_or(0.0),
            unit: record.unit.unwrap_or(0),
            output: record.outputs.get(&self.output).and_then(steersman_domain::Value::number),
            failed: record.failed(),
            slow,
        };
        let call = self.calls.entry(record.id.clone()).or_default();
        let slot = if arm == Arm::Shadow { &mut call.shadow } else { &mut call.served };
        if slot.is_some() {
            return;
        }
        *slot = Some(answer);
        let call = call.clone();
        self.served[match arm {
            Arm::Champion => 0,
            Arm::Candidate => 1,
            Arm::Shadow => 2,
        }] += 1;
        if arm != Arm::Shadow {
            self.observe_split(&answer);
            self.observe_calls(&answer);
        }
        if call.served.is_some() && call.shadow.is_some() {
            self.observe_pair(&call);
        }
        if let Some(label) = call.label {
            // The label came first: the answer that has just arrived is judged at once.
            let fresh = if arm == Arm::Shadow {
                Call { served: None, ..call.clone() }
            } else {
                Call { shadow: None, ..call.clone() }
            };
            self.observe_label(&fresh, label);
            self.observe_label_pair(&call, label);
        }
    }

    /// Takes in a label. The first one counts; corrections do not take evidence back.
    pub fn label(&mut self, label: &Label) {
        let Some(truth) = label.label.number() else { return };
        let call = self.calls.entry(label.id.clone()).or_default();
        if call.label.is_some() {
            return;
        }
        call.label = Some(truth);
        let call = call.clone();
        if call.served.is_some() {
            self.labelled += 1;
        }
        self.observe_label(&call, truth);
        self.observe_label_pair(&call, truth);
    }

    fn process(&mut self, guardrail: Guardrail) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.guardrail == guardrail)
    }

    /// Whether the split is as it was told: one look at each unit for each weight.
    fn observe_split(&mut self, answer: &Answer) {
        if answer.weight != self.split_weight {
            self.split_weight = answer.weight;
            self.split_units.clear();
        }
        if answer.weight > 0.0 && answer.weight < 1.0 && self.split_units.insert(answer.unit) {
            self.split.observe(answer.candidate, answer.weight);
        }
    }

    fn observe_calls(&mut self, answer: &Answer) {
        for (guardrail, bad) in [(Guardrail::Errors, answer.failed), (Guardrail::LatencyP99, answer.slow)] {
            let Some(process) = self.process(guardrail) else { continue };
            if answer.candidate
                && let Some(rate) = &mut process.rate
            {
                rate.observe(bad);
            }
            if bad {
                process.event(answer.candidate, answer.weight, answer.unit);
            }
        }
    }

    /// A copy was answered as well: if one of the two was bad and the other was not, which?
    fn observe_pair(&mut self, call: &Call) {
        let (Some(served), Some(shadow)) = (call.served, call.shadow) else { return };
        let bad = [
            (Guardrail::Errors, served.failed, shadow.failed),
            (Guardrail::LatencyP99, served.slow, shadow.slow),
        ];
        for (guardrail, served_bad, shadow_bad) in bad {
            let Some(process) = self.process(guardrail) else { continue };
            process.pairs += 1;
            if let Some(rate) = &mut process.rate {
                rate.observe(shadow_bad);
            }
            if served_bad != shadow_bad {
                process.event(shadow_bad, 0.5, shadow.unit);
            }
        }
    }

    fn observe_label(&mut self, call: &Call, label: f64) {
        let Some(served) = call.served else { return };
        let Some(output) = served.output else { return };
        if self.wrong(output, label)
            && let Some(process) = self.process(Guardrail::Performance)
        {
            process.event(served.candidate, served.weight, served.unit);
        }
    }

    /// Champion and shadow on the same labelled request: whose loss is larger?
    fn observe_label_pair(&mut self, call: &Call, label: f64) {
        let (Some(served), Some(shadow)) = (call.served, call.shadow) else { return };
        let (Some(champion_output), Some(candidate_output)) = (served.output, shadow.output) else { return };
        let champion_loss = self.bounded_loss(champion_output, label);
        let candidate_loss = self.bounded_loss(candidate_output, label);
        let margin = self.plan.loss_margin;
        let Some(process) = self.process(Guardrail::Performance) else { return };
        process.pairs += 1;
        if let Some(worse) = &mut process.worse {
            worse.observe(candidate_loss - champion_loss);
        }
        if let Some(no_worse) = &mut process.no_worse {
            no_worse.observe(candidate_loss - margin * champion_loss);
        }
    }

    /// The loss in `[0, 1]`.
    fn bounded_loss(&self, output: f64, label: f64) -> f64 {
        let scale = self.plan.loss_scale.unwrap_or(1.0);
        (loss(self.task, output, label) / scale).clamp(0.0, 1.0)
    }

    fn wrong(&self, output: f64, label: f64) -> bool {
        match self.task {
            Task::Binary => (output >= self.threshold) != (label > 0.5),
            Task::Regression => self.bounded_loss(output, label) > WRONG_SHARE,
        }
    }

    /// What the judge says now.
    pub fn verdict(&self) -> Verdict {
        let conclusive = (self.processes.len() as f64 / self.plan.alpha).ln();
        let guardrails: Vec<GuardrailVerdict> =
            self.processes.iter().map(|process| self.guardrail_verdict(process, conclusive)).collect();
        let split_broken = self.split.log_e() >= SPLIT_EVIDENCE;
        let any =
            |outcome| guardrails.iter().any(|guardrail: &GuardrailVerdict| guardrail.outcome == outcome);
        let outcome = if split_broken {
            VerdictOutcome::Invalid
        } else if any(VerdictOutcome::Fail) {
            VerdictOutcome::Fail
        } else if any(VerdictOutcome::Hold) {
            VerdictOutcome::Hold
        } else {
            VerdictOutcome::Pass
        };
        let named = |outcome| {
            let parts = guardrails.iter().filter(|guardrail| guardrail.outcome == outcome);
            parts.map(|guardrail| guardrail.explanation.clone()).collect::<Vec<_>>().join("; ")
        };
        let explanation = match outcome {
            VerdictOutcome::Invalid => format!(
                "the split cannot be trusted: {} of {} requests went to the candidate, which does not fit its weight",
                self.served[1],
                self.served[0] + self.served[1]
            ),
            other => named(other),
        };
        let served = self.served[0] + self.served[1];
        Verdict {
            outcome,
            guardrails,
            champion_requests: self.served[0],
            candidate_requests: self.served[1],
            shadow_requests: self.served[2],
            maturity: if served == 0 { 0.0 } else { self.labelled as f64 / served as f64 },
            explanation,
        }
    }

    fn guardrail_verdict(&self, process: &Process, conclusive: f64) -> GuardrailVerdict {
        let (harm, safety) = process.evidence();
        let outcome = if harm >= conclusive {
            VerdictOutcome::Fail
        } else if safety >= conclusive {
            VerdictOutcome::Pass
        } else {
            VerdictOutcome::Hold
        };
        let what = match process.guardrail {
            Guardrail::Errors => "failed calls",
            Guardrail::LatencyP99 => "slow calls",
            Guardrail::Performance => "wrong predictions",
        };
        let counts = format!(
            "{what}: candidate {} on {} requests, champion {} on {}",
            process.events[1], self.served[1], process.events[0], self.served[0]
        );
        let pairs = match &process.worse {
            Some(worse) if process.pairs > 0 => {
                format!("; loss on {} shared requests differs by {:+.4}", process.pairs, worse.mean())
            }
            _ if process.pairs > 0 => format!(", {} copies compared", process.pairs),
            _ => String::new(),
        };
        let share = |evidence: f64| (100.0 * evidence / conclusive).clamp(0.0, 100.0);
        let words = match outcome {
            VerdictOutcome::Fail => "proven worse".to_owned(),
            VerdictOutcome::Pass => "proven safe".to_owned(),
            _ => {
                format!("not decided (proof of safety {:.0} %, of harm {:.0} %)", share(safety), share(harm))
            }
        };
        GuardrailVerdict {
            guardrail: process.guardrail,
            outcome,
            harm,
            safety,
            conclusive,
            champion_events: process.events[0],
            candidate_events: process.events[1],
            pairs: process.pairs,
            explanation: format!("{counts}{pairs}: {words}"),
        }
    }
}
