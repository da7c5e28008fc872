//! What the judge says, in sentences.

use super::evidence::Evidence;
use super::panel::{Panel, Weighed};
use steersman_domain::fact::{Estimate, EstimateVerdict, GuardrailVerdict, VerdictOutcome};
use steersman_domain::spec::Guardrail;

/// The verdict on each guardrail.
pub(super) fn guardrails(panel: &Panel, weighed: &Weighed, alpha: f64) -> Vec<GuardrailVerdict> {
    let conclusive = panel.conclusive();
    let of = |(own, &(harm, safety, outcome)): (&Evidence, &(f64, f64, VerdictOutcome))| {
        let alone = -(alpha * own.share).ln();
        let difference = own.mean_difference().map(|value| {
            let (low, high) = own.interval().unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            Estimate { value, low: low.max(f64::MIN), high: high.min(f64::MAX) }
        });
        let proof = own.must_prove.then_some(conclusive);
        GuardrailVerdict {
            guardrail: own.guardrail,
            subject: own.subject.clone(),
            outcome,
            harm,
            safety,
            conclusive: alone,
            proof,
            champion_events: own.events[0],
            candidate_events: own.events[1],
            champion_trials: own.trials[0],
            candidate_trials: own.trials[1],
            pairs: own.pairs,
            difference: difference.filter(|_| own.interval().is_some()),
            sums: own.sums(),
            explanation: sentence(own, outcome, (harm, alone), (safety, proof)),
        }
    };
    panel.evidence().iter().zip(&weighed.each).map(of).collect()
}

fn sentence(
    own: &Evidence,
    outcome: VerdictOutcome,
    (harm, alone): (f64, f64),
    (safety, proof): (f64, Option<f64>),
) -> String {
    let share = |evidence: f64, conclusive: f64| (100.0 * evidence / conclusive).clamp(0.0, 100.0);
    let words = match (outcome, proof) {
        (VerdictOutcome::Fail, _) => "proven worse".to_owned(),
        (VerdictOutcome::Pass, _) => "proven safe".to_owned(),
        (_, Some(proof)) => format!(
            "not decided (proof of safety {:.0} %, of harm {:.0} %)",
            share(safety, proof),
            share(harm, alone)
        ),
        (_, None) => format!("no proof of harm ({:.0} %)", share(harm, alone)),
    };
    format!("{}{}: {words}", counts(own), pairs(own))
}

fn counts(own: &Evidence) -> String {
    let within = match own.guardrail {
        Guardrail::Mean => return format!("mean of `{}`", own.subject),
        _ if own.subject.is_empty() => String::new(),
        _ => format!(" where {}", own.subject),
    };
    let (what, trials) = match own.guardrail {
        Guardrail::Errors => ("failed calls", "requests"),
        Guardrail::Timeouts => ("calls without an answer", "requests"),
        Guardrail::LatencyP99 => ("slow calls", "requests"),
        Guardrail::Performance | Guardrail::Mean => ("wrong predictions", "labels"),
    };
    format!(
        "{what}{within}: candidate {} on {} {trials}, champion {} on {}",
        own.events[1], own.trials[1], own.events[0], own.trials[0]
    )
}

fn pairs(own: &Evidence) -> String {
    let interval = own.interval().map_or(String::new(), |(low, high)| format!(" [{low:+.4}, {high:+.4}]"));
    match (own.guardrail, own.mean_difference()) {
        (Guardrail::Performance, Some(difference)) => {
            format!("; loss on {} shared requests differs by {difference:+.4}{interval}", own.pairs)
        }
        (Guardrail::Mean, Some(difference)) => format!(" differs by {difference:+.4}{interval}"),
        (Guardrail::Mean, None) => " not seen yet".to_owned(),
        _ if own.pairs > 0 => format!(", {} copies compared", own.pairs),
        _ => String::new(),
    }
}

/// How many of the labels that are due have come.
pub(super) fn maturity(due: u64, came: u64, wanted: f64) -> String {
    match due {
        0 => "no label is due yet".to_owned(),
        due => {
            let share = came as f64 / due as f64;
            let wait = if share < wanted {
                format!(", {:.0} % are needed for proof of safety", 100.0 * wanted)
            } else {
                String::new()
            };
            format!("{came} of {due} labels that are due have come ({:.0} %{wait})", 100.0 * share)
        }
    }
}

/// The whole verdict in one sentence: what decided it, or what it waits for.
pub(super) fn together(
    outcome: VerdictOutcome,
    guardrails: &[GuardrailVerdict],
    split: (u64, u64),
    labels: Option<String>,
    estimate: Option<&EstimateVerdict>,
) -> String {
    let listed = |keep: &dyn Fn(&GuardrailVerdict) -> bool| {
        let parts = guardrails.iter().filter(|guardrail| keep(guardrail));
        parts.map(|guardrail| guardrail.explanation.clone()).collect::<Vec<_>>()
    };
    let mut parts = match outcome {
        VerdictOutcome::Invalid => vec![format!(
            "the split cannot be trusted: {} of {} requests went to the candidate, which does not fit its weight",
            split.1,
            split.0 + split.1
        )],
        VerdictOutcome::Fail => {
            let failed = listed(&|guardrail| guardrail.outcome == VerdictOutcome::Fail);
            let strongest =
                guardrails.iter().max_by(|a, b| (a.harm - a.conclusive).total_cmp(&(b.harm - b.conclusive)));
            match (failed.is_empty(), strongest) {
                (false, _) => failed,
                // The label-free estimate decided, or all guardrails together.
                (true, Some(_)) if estimate.is_some_and(|one| one.outcome == VerdictOutcome::Fail) => {
                    Vec::new()
                }
                (true, Some(one)) => {
                    vec![format!("proven worse by all guardrails together, most by {}", one.explanation)]
                }
                (true, None) => Vec::new(),
            }
        }
        other => listed(&|guardrail| guardrail.outcome == other && guardrail.proof.is_some()),
    };
    parts.extend(estimate.map(|estimate| estimate.explanation.clone()));
    if outcome != VerdictOutcome::Invalid {
        parts.extend(labels);
    }
    if parts.is_empty() { "nothing is decided yet".to_owned() } else { parts.join("; ") }
}
