//! What the judge promises about single records and labels.

use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use steersman_decide::Judge;
use steersman_decide::judge::{Panel, Standard};
use steersman_decide::rollout::plan;
use steersman_domain::fact::{RolloutPlan, Verdict, VerdictOutcome};
use steersman_domain::record::Arm;
use steersman_domain::spec::Guardrail;
use steersman_domain::time::from_micros;
use steersman_domain::{Label, ModelSpec, Record, Value};

fn spec(rollout: &str) -> ModelSpec {
    ModelSpec::parse(&format!(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={{column='y', expected_delay='1h'}}\n\
         [data]\nreference='r'\ntime='t'\n[rollout]\n{rollout}\n"
    ))
    .unwrap()
}

fn judge(rollout: &str) -> (Judge, RolloutPlan) {
    let spec = spec(rollout);
    let mut plan = plan(&spec, (None, None), false);
    plan.latency_limit_ms = Some(100.0);
    (Judge::new(&spec, &plan), plan)
}

/// One call: its number, who answered, what came of it.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u64,
    arm: Arm,
    weight: f64,
    status: u16,
    latency_ms: f64,
    output: f64,
    region: f64,
}

const CALL: Call = Call {
    number: 0,
    arm: Arm::Champion,
    weight: 0.1,
    status: 200,
    latency_ms: 10.0,
    output: 0.9,
    region: 1.0,
};

fn at(number: u64) -> Timestamp {
    from_micros(number as i64 * 1_000_000)
}

impl Call {
    fn record(self) -> Record {
        Record {
            id: format!("r{}", self.number).parse().unwrap(),
            time: at(self.number),
            version: None,
            arm: Some(self.arm),
            weight: Some(self.weight),
            unit: Some(self.number),
            features: BTreeMap::from([
                ("region".to_owned(), Value::Number(self.region)),
                ("tokens".to_owned(), Value::Number(self.latency_ms)),
            ]),
            outputs: BTreeMap::from([("p".to_owned(), Value::Number(self.output))]),
            latency_ms: Some(self.latency_ms),
            status: Some(self.status),
        }
    }
}

fn label(number: u64, truth: f64) -> Label {
    Label { id: format!("r{number}").parse().unwrap(), label: Value::Number(truth), time: at(number + 4_000) }
}

/// A copy of the call and what the shadow did.
fn copied(judge: &mut Judge, champion: Call, shadow: Call) {
    judge.record(&Call { weight: 0.0, ..champion }.record());
    judge.record(&Call { arm: Arm::Shadow, weight: 0.0, number: champion.number, ..shadow }.record());
}

fn harm(judge: &Judge, place: usize) -> f64 {
    judge.panel().weigh(Standard::default()).each[place].0
}

#[test]
fn a_pair_counts_the_same_whichever_side_failed() {
    let failed = |champion: u16, candidate: u16| {
        let (mut judge, _) = judge("guardrails=['errors']");
        for number in 0..40 {
            copied(&mut judge, Call { number, status: champion, ..CALL }, Call { status: candidate, ..CALL });
        }
        let verdict = judge.verdict(0);
        let arms = verdict.guardrails[0].sums.arms.clone();
        (verdict.outcome, arms.first().map_or((0, 0), |count| (count.champion, count.candidate)))
    };
    assert_eq!(failed(200, 500), (VerdictOutcome::Fail, (0, 40)));
    assert_eq!(failed(500, 200), (VerdictOutcome::Pass, (40, 0)));
    assert_eq!(failed(500, 500).1, (0, 0));
}

#[test]
fn no_answer_is_a_timeout_and_slow_is_unknown_without_a_limit() {
    let (mut judge, plan) = judge("guardrails=['timeouts', 'latency_p99']");
    let arm = Arm::Candidate;
    for number in 0..12 {
        judge.record(&Call { number, arm, status: if number % 2 == 0 { 0 } else { 504 }, ..CALL }.record());
        judge.record(&Call { number: 100 + number, arm, status: 500, latency_ms: 500.0, ..CALL }.record());
        (0..18).for_each(|more| judge.record(&Call { number: 200 + 18 * number + more, ..CALL }.record()));
    }
    let verdict = judge.verdict(1);
    let events: Vec<u64> = verdict.guardrails.iter().map(|guardrail| guardrail.candidate_events).collect();
    assert_eq!((verdict.outcome, events), (VerdictOutcome::Fail, vec![12, 12]));
    let unknown = RolloutPlan { latency_limit_ms: None, guardrails: vec![Guardrail::LatencyP99], ..plan };
    let mut judge = Judge::new(&spec(""), &unknown);
    for number in 0..5_000 {
        judge.record(&Call { number, arm, weight: 0.5, ..CALL }.record());
        judge.record(&Call { number: 10_000 + number, weight: 0.5, ..CALL }.record());
    }
    assert_eq!(judge.verdict(1).outcome, VerdictOutcome::Hold);
}

#[test]
fn a_split_that_is_not_as_told_makes_the_verdict_invalid() {
    let (mut judge, _) = judge("guardrails=['errors']");
    for number in 0..400 {
        let arm = if number % 2 == 0 { Arm::Candidate } else { Arm::Champion };
        judge.record(&Call { number, arm, ..CALL }.record());
    }
    let verdict = judge.verdict(1);
    assert_eq!(verdict.outcome, VerdictOutcome::Invalid);
    assert!(verdict.explanation.starts_with("the split cannot be trusted: 200 of 400 requests"));
}

#[test]
fn harm_in_one_segment_is_enough_and_segments_need_no_proof() {
    let run = |bad_region: f64| {
        let (mut judge, plan) = judge("guardrails=['errors']\nsegments=['region = 2']");
        for number in 0..8_000 {
            let arm = if number % 10 == 0 { Arm::Candidate } else { Arm::Champion };
            let region = if number % 80 == 0 || number % 7 == 3 { 2.0 } else { 1.0 };
            let bad = arm == Arm::Candidate && region == bad_region;
            judge.record(&Call { number, arm, region, status: if bad { 500 } else { 200 }, ..CALL }.record());
        }
        (judge.verdict(1), plan)
    };
    let (harmed, plan) = run(2.0);
    let segment = harmed.guardrails.iter().find(|of| of.subject == "region = 2").unwrap();
    assert_eq!((harmed.outcome, segment.outcome), (VerdictOutcome::Fail, VerdictOutcome::Fail));
    assert!(segment.explanation.starts_with("failed calls where region = 2: candidate "));
    // Half of alpha is the segment's.
    assert!((segment.conclusive - -(plan.alpha / 2.0).ln()).abs() < 1e-12 && segment.proof.is_none());
    assert_eq!(run(3.0).0.outcome, VerdictOutcome::Pass);
}

#[test]
fn a_mean_is_judged_on_copies_and_on_split_requests() {
    let means = "guardrails=['errors']\nmeans=[{column='tokens', range=[0, 100], tolerance=5}]";
    let copies = |more: f64| {
        let (mut judge, _) = judge(means);
        for number in 0..1_000 {
            let latency_ms = 20.0 + (number % 30) as f64;
            copied(
                &mut judge,
                Call { number, latency_ms, ..CALL },
                Call { latency_ms: latency_ms + more, ..CALL },
            );
        }
        judge.verdict(0)
    };
    let (cheap, dear) = (copies(1.0), copies(9.0));
    assert_eq!((cheap.outcome, dear.outcome), (VerdictOutcome::Pass, VerdictOutcome::Fail));
    let difference = dear.guardrails[1].difference.unwrap();
    assert!(difference.low < 9.0 && 9.0 < difference.high && (difference.value - 9.0).abs() < 1e-9);
    let split = |more: f64| {
        let (mut judge, _) = judge(means);
        for number in 0..6_000u64 {
            let arm = if number % 2 == 0 { Arm::Candidate } else { Arm::Champion };
            let extra = if arm == Arm::Candidate { more } else { 0.0 };
            let latency_ms = 20.0 + (number * 7 % 30) as f64 + extra;
            judge.record(&Call { number, arm, weight: 0.5, latency_ms, ..CALL }.record());
        }
        judge.panel().weigh(Standard::default()).each[1].2
    };
    assert_eq!((split(0.0), split(12.0)), (VerdictOutcome::Pass, VerdictOutcome::Fail));
}

#[test]
fn few_of_the_labels_that_are_due_prove_no_safety() {
    let run = |labels: u64| {
        let (mut judge, _) = judge("guardrails=['performance']");
        for number in 0..4_000 {
            copied(&mut judge, Call { number, ..CALL }, Call { output: 0.95, ..CALL });
        }
        (0..4_000).filter(|number| number % 10 < labels).for_each(|number| judge.label(&label(number, 1.0)));
        judge.verdict(0)
    };
    let (few, most) = (run(3), run(9));
    assert_eq!((few.outcome, few.labels_came), (VerdictOutcome::Hold, 1_200));
    let words = "of 4000 labels that are due have come (30 %, 80 % are needed for proof of safety)";
    assert!(few.explanation.contains(words), "{}", few.explanation);
    assert_eq!(most.outcome, VerdictOutcome::Pass);
    // Harm needs no patience.
    let (mut judge, _) = judge("guardrails=['performance']");
    for number in 0..1_000 {
        copied(&mut judge, Call { number, ..CALL }, Call { output: 0.1, ..CALL });
    }
    (0..40).for_each(|number| judge.label(&label(number, 1.0)));
    assert_eq!(judge.verdict(0).outcome, VerdictOutcome::Fail);
}

fn calls() -> impl Strategy<Value = Vec<(Call, Option<f64>)>> {
    let arm = prop_oneof![Just(Arm::Champion), Just(Arm::Candidate), Just(Arm::Shadow)];
    let weight = prop_oneof![Just(0.0), Just(0.05), Just(0.25), Just(0.5)];
    let call = (0u64..150, arm, weight, prop::bool::weighted(0.1), 0.0f64..120.0, 0.0f64..1.0).prop_map(
        |(number, arm, weight, failed, latency_ms, output)| Call {
            number,
            arm,
            weight,
            status: if failed { 503 } else { 200 },
            latency_ms,
            output,
            region: (number % 3) as f64,
        },
    );
    let label = prop::option::of(prop_oneof![Just(0.0), Just(1.0)]);
    prop::collection::vec((call, label), 0..400)
}

const ALL: &str = "guardrails=['errors', 'timeouts', 'latency_p99', 'performance']\nsegments=['region = 1']\n\
                   means=[{column='tokens', range=[0, 120], tolerance=3, worse='lower'}]";

fn fed(calls: &[(Call, Option<f64>)]) -> (Judge, RolloutPlan) {
    let (mut judge, plan) = judge(ALL);
    for (call, truth) in calls {
        judge.record(&call.record());
        if let Some(truth) = truth {
            judge.label(&label(call.number, *truth));
        }
    }
    (judge, plan)
}

proptest! {
    #[test]
    fn a_verdict_can_be_made_again_from_its_own_sums_to_the_last_bit(calls in calls(), stage in 0usize..3) {
        let (judge, plan) = fed(&calls);
        let verdict = judge.verdict(stage);
        // Through the ledger and back.
        let text = serde_json::to_string(&verdict).unwrap();
        let read: Verdict = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &verdict);
        let mature = read.labels_due > 0 && read.labels_came as f64 >= plan.maturity * read.labels_due as f64;
        let standard = Standard { early: plan.stages[stage].early(), mature, estimated_safe: false };
        let again = Panel::new(&plan).restored(&read).weigh(standard);
        prop_assert_eq!((again.outcome, again.harm.to_bits()), (verdict.outcome, verdict.harm.to_bits()));
        for (of, guardrail) in again.each.iter().zip(&verdict.guardrails) {
            prop_assert_eq!((of.0.to_bits(), of.1.to_bits(), of.2), (guardrail.harm.to_bits(), guardrail.safety.to_bits(), guardrail.outcome));
        }
        // The same arrivals, the same words.
        prop_assert_eq!(fed(&calls).0.verdict(stage), verdict);
    }

    #[test]
    fn what_comes_twice_counts_once(calls in calls()) {
        let (judge, _) = fed(&calls);
        let mut twice = fed(&calls).0;
        for (call, truth) in &calls {
            twice.record(&call.record());
            if let Some(truth) = truth {
                twice.label(&label(call.number, *truth));
            }
        }
        prop_assert_eq!(twice.verdict(1), judge.verdict(1));
    }
}

#[test]
fn evidence_of_one_guardrail_is_shared_among_all_and_none_waits_for_its_own() {
    // Two guardrails with nearly enough each are enough together.
    let (mut judge, plan) = judge("guardrails=['errors', 'latency_p99']");
    let mut number = 0;
    while judge.verdict(1).outcome == VerdictOutcome::Hold && number < 100 {
        number += 1;
        let weight = 0.5;
        judge.record(
            &Call { number, weight, arm: Arm::Candidate, status: 500, latency_ms: 500.0, ..CALL }.record(),
        );
        judge.record(&Call { number: 1_000 + number, weight, ..CALL }.record());
    }
    let verdict = judge.verdict(1);
    assert_eq!(verdict.outcome, VerdictOutcome::Fail);
    let alone = -(plan.alpha / 2.0).ln();
    assert!((verdict.guardrails[0].conclusive - alone).abs() < 1e-12);
    assert!(harm(&judge, 0) < alone && harm(&judge, 0) >= verdict.conclusive, "{}", harm(&judge, 0));
    assert!(verdict.explanation.starts_with("proven worse by all guardrails together, most by"));
}
