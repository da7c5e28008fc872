//! The rollout that is under way, or whose champion is still watched: what is judged, how far the proofs are, and what
//! people can do.

use crate::comparison::sentence as capital;
use crate::delivery::period;
use jiff::Timestamp;
use steersman_domain::fact::{GuardrailVerdict, Verdict, VerdictOutcome};
use steersman_ledger::state::{GuardState, ModelState, RolloutState};

/// What is said of a rollout.
pub(crate) struct Course {
    pub(crate) title: String,
    pub(crate) sentence: String,
    pub(crate) rollout: String,
    pub(crate) rows: Vec<Evidence>,
    pub(crate) lines: Vec<String>,
    /// Command and what a button says.
    pub(crate) commands: Vec<(&'static str, &'static str)>,
    pub(crate) form: bool,
}

/// How far the proofs on one guardrail are, in percent.
pub(crate) struct Evidence {
    pub(crate) name: String,
    pub(crate) tone: &'static str,
    pub(crate) safety: Option<u64>,
    pub(crate) harm: u64,
    pub(crate) words: String,
}

/// The rollout under way, or the time after a promotion.
pub(crate) fn course(
    model: &ModelState,
    verdict: Option<&Verdict>,
    now: Timestamp,
    form: bool,
) -> Option<Course> {
    let (rollout, guard) = match (model.active_rollout(), model.guarded_rollout()) {
        (Some(rollout), _) => (rollout, None),
        (None, Some((rollout, guard))) => (rollout, Some(guard)),
        (None, None) => return None,
    };
    let verdict = verdict.or_else(|| rollout.verdicts.last().map(|last| &last.verdict));
    let mut lines = Vec::new();
    if let Some(verdict) = verdict {
        lines.extend(verdict.estimate.as_ref().map(|estimate| capital(&estimate.explanation) + "."));
        if verdict.labels_due > 0 {
            lines.push(format!(
                "{} of {} labels that are due have come.",
                verdict.labels_came, verdict.labels_due
            ));
        }
        let share = 100.0 * verdict.harm / verdict.conclusive.max(f64::MIN_POSITIVE);
        lines.push(format!(
            "All together: proof of harm {:.0} %. It is conclusive at 100 %, with at most {:.1} % chance of being wrong over \
             the whole rollout.",
            share.clamp(0.0, 100.0),
            100.0 * rollout.plan.alpha
        ));
    }
    let commands = match (guard, rollout.paused()) {
        (Some(_), _) => vec![("abort", "Bring the old champion back")],
        (None, Some(_)) => vec![("resume", "Resume"), ("skip", "Skip stage"), ("abort", "Abort")],
        (None, None) => vec![("pause", "Pause"), ("skip", "Skip stage"), ("abort", "Abort")],
    };
    Some(Course {
        title: match guard {
            Some(_) => format!("{} serves, {} stands ready", rollout.candidate, rollout.champion),
            None => format!(
                "Rollout of {} ({})",
                rollout.candidate,
                rollout.plan.strategy.as_str().replace('_', " ")
            ),
        },
        sentence: sentence(rollout, guard, now),
        rollout: rollout.rollout.to_string(),
        rows: verdict.map_or(Vec::new(), |verdict| verdict.guardrails.iter().map(evidence).collect()),
        lines,
        commands,
        form,
    })
}

fn sentence(rollout: &RolloutState, guard: Option<&GuardState>, now: Timestamp) -> String {
    if let Some(guard) = guard {
        let left = (guard.until.as_second() - now.as_second()).max(0);
        return format!(
            "If {} turns out worse in the next {}, {} serves again at once.",
            rollout.candidate,
            period(left),
            rollout.champion
        );
    }
    let paused = rollout.paused().map_or(String::new(), |paused| {
        let why = if paused.reason.is_empty() { String::new() } else { format!(": {}", paused.reason) };
        format!(" Paused by {}{why}; harm still rolls it back.", paused.by)
    });
    let Some(stage) = rollout.current_stage() else {
        return format!("It has not begun its first stage.{paused}");
    };
    let stages: Vec<String> = rollout
        .plan
        .stages
        .iter()
        .enumerate()
        .map(|(place, one)| if place == stage.stage { format!("[{one}]") } else { one.to_string() })
        .collect();
    let budget = rollout
        .plan
        .budget
        .map_or(String::new(), |budget| format!(" At most {budget} requests may be exposed."));
    format!(
        "In stage {} of {} for {}: {}.{budget}{paused}",
        stage.stage + 1,
        rollout.plan.stages.len(),
        period((now.as_second() - stage.entered_at.as_second()).max(0)),
        stages.join(", ")
    )
}

fn evidence(guardrail: &GuardrailVerdict) -> Evidence {
    let share = |evidence: f64, conclusive: f64| {
        (100.0 * evidence / conclusive.max(f64::MIN_POSITIVE)).clamp(0.0, 100.0).round() as u64
    };
    let name = match guardrail.subject.as_str() {
        "" => guardrail.guardrail.as_str().to_owned(),
        subject => format!("{}, {subject}", guardrail.guardrail.as_str()),
    };
    Evidence {
        name,
        tone: match guardrail.outcome {
            VerdictOutcome::Pass => "good",
            VerdictOutcome::Fail | VerdictOutcome::Invalid => "bad",
            VerdictOutcome::Hold => "neutral",
        },
        safety: guardrail.proof.map(|proof| share(guardrail.safety, proof)),
        harm: share(guardrail.harm, guardrail.conclusive),
        words: guardrail.explanation.clone(),
    }
}
