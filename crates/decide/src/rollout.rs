//! The rollout state machine: start, stage by stage, judged at each step, to promoted, rolled back or aborted.

use crate::engine::{About, Intent};
use crate::evaluation::loss_scale;
use steersman_domain::fact::{ApprovalStep, RolloutOutcome, RolloutPlan, TripCause, Verdict, VerdictOutcome};
use steersman_domain::spec::{Approval, OnHold, Share, Stage};
use steersman_domain::{Fact, RolloutId, Version};
use steersman_ledger::state::{ModelState, RolloutState, StageState};

/// A candidate whose server failed this often in one stage is withdrawn.
const MOST_SERVER_FAILURES: usize = 3;

/// Takes the active rollout one step further, or starts one.
pub(crate) fn proceed(about: &About<'_>, intents: &mut Vec<Intent>) {
    match about.model.active_rollout() {
        None => start(about, intents),
        Some(rollout) => match rollout.current_stage() {
            None => first_stage(about, rollout, intents),
            Some(stage) => judge(about, rollout, stage, intents),
        },
    }
}

/// The version to roll out: one that a person asked for, or the latest past the gate.
fn start(about: &About<'_>, intents: &mut Vec<Intent>) {
    let model = about.model;
    let Some(champion) = model.champion() else { return };
    let asked = model.requests.iter().find(|request| !request.taken && request.version != champion);
    let (version, skipped, cause) = match asked {
        Some(request) => (request.version, request.skip.clone(), request.seq),
        None => {
            let latest = model.versions.values().next_back();
            let passed = latest.filter(|version| version.version != champion && !version.withdrawn);
            let Some((version, gate)) = passed.and_then(|version| Some((version, version.gate.as_ref()?)))
            else {
                return;
            };
            let tried = model.rollouts.iter().any(|rollout| rollout.candidate == version.version);
            if !gate.passed || tried {
                return;
            }
            (version.version, Vec::new(), gate.seq)
        }
    };
    let rollout = RolloutId::derive(&[about.name.as_str(), &version.to_string(), &cause.to_string()]);
    let plan = plan(about, &rollout, champion, &skipped);
    intents.push(about.intent("roll_out", vec![cause], |intent| Fact::RolloutStarted {
        model: about.name.clone(),
        rollout,
        intent,
        candidate: version,
        champion,
        plan,
        skipped,
    }));
}

fn plan(about: &About<'_>, rollout: &RolloutId, champion: Version, skipped: &[String]) -> RolloutPlan {
    let spec = &about.model.spec;
    let without_shadow = skipped.iter().any(|step| step == "shadow");
    let stages = spec.rollout.stages.iter().filter(|stage| !(without_shadow && stage.share == Share::Shadow));
    let baseline = about.model.versions.get(&champion).and_then(|version| version.evaluation.as_ref());
    RolloutPlan {
        stages: stages.copied().collect(),
        guardrails: spec.rollout.guardrails.clone(),
        alpha: spec.rollout.alpha,
        margin: spec.rollout.margin,
        loss_margin: spec.rollout.loss_margin,
        loss_scale: loss_scale(spec, baseline),
        budget: spec.rollout.budget,
        salt: rollout.to_string(),
        latency_limit_ms: about.observation.latency_p99_ms,
    }
}

fn first_stage(about: &About<'_>, rollout: &RolloutState, intents: &mut Vec<Intent>) {
    let spec = &about.model.spec.rollout;
    if spec.approval == Approval::BeforeStart {
        let question = format!("may {} get its first requests?", rollout.candidate);
        match answer(about, rollout, ApprovalStep::BeforeStart, question, intents) {
            None => return,
            Some((false, seq)) => {
                let reason = "a person said no before the start".to_owned();
                return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, vec![seq]));
            }
            Some((true, _)) => {}
        }
    }
    intents.extend(enter(about, rollout, 0, vec![rollout.seq]));
}

/// The answer to a question; asks it if it was not asked yet.
fn answer(
    about: &About<'_>,
    rollout: &RolloutState,
    step: ApprovalStep,
    question: String,
    intents: &mut Vec<Intent>,
) -> Option<(bool, u64)> {
    if let Some(approval) = rollout.approval(step) {
        return approval.answer.as_ref().map(|answer| (answer.approved, answer.seq));
    }
    let version = about.model.versions.get(&rollout.candidate)?;
    intents.push(about.intent("ask", vec![rollout.seq], |_| Fact::ApprovalRequested {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        step,
        artifact: version.artifact.clone(),
        question,
    }));
    None
}

fn enter(about: &About<'_>, rollout: &RolloutState, index: usize, because: Vec<u64>) -> Option<Intent> {
    let stage = rollout.plan.stages.get(index)?;
    Some(about.intent("enter", because, |intent| Fact::StageEntered {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        intent,
        stage: index,
        weight: stage.weight(),
        mirror: stage.share == Share::Shadow,
    }))
}

fn finish(
    about: &About<'_>,
    rollout: &RolloutState,
    outcome: RolloutOutcome,
    reason: String,
    because: Vec<u64>,
) -> Intent {
    about.intent("finish", because, |intent| Fact::RolloutFinished {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        intent,
        outcome,
        exposed: about.observation.exposed,
        reason,
    })
}

/// What the judge says decides: on, back, or wait.
fn judge(about: &About<'_>, rollout: &RolloutState, stage: &StageState, intents: &mut Vec<Intent>) {
    if let Some(refusal) = refused(rollout) {
        let reason = format!("a person said no: {}", refusal.0);
        return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, vec![refusal.1]));
    }
    if let Some(reason) = server_gone(about.model, rollout, stage) {
        return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, vec![stage.seq]));
    }
    let Some(verdict) = &about.observation.verdict else { return };
    let because = vec![stage.seq];
    match verdict.outcome {
        VerdictOutcome::Fail | VerdictOutcome::Invalid => {
            intents.extend(say(about, rollout, stage, verdict));
            intents.push(finish(
                about,
                rollout,
                RolloutOutcome::RolledBack,
                verdict.explanation.clone(),
                because,
            ));
        }
        _ if about.observation.tripped == Some(TripCause::Budget) => {
            intents.extend(say(about, rollout, stage, verdict));
            let reason =
                format!("its budget of exposed requests was used up without proof: {}", verdict.explanation);
            intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, because));
        }
        VerdictOutcome::Pass if long_enough(about, rollout, stage) => {
            intents.extend(say(about, rollout, stage, verdict));
            advance(about, rollout, stage, because, intents);
        }
        VerdictOutcome::Pass => {}
        VerdictOutcome::Hold => on_hold(about, rollout, stage, verdict, intents),
    }
}

/// A person's no to any question of this rollout.
fn refused(rollout: &RolloutState) -> Option<(String, u64)> {
    rollout.approvals.iter().find_map(|approval| {
        let answer = approval.answer.as_ref().filter(|answer| !answer.approved)?;
        Some((answer.reason.clone(), answer.seq))
    })
}

fn server_gone(model: &ModelState, rollout: &RolloutState, stage: &StageState) -> Option<String> {
    let failures: Vec<_> = model
        .server_failures
        .iter()
        .filter(|failure| failure.version == rollout.candidate && failure.at >= stage.entered_at)
        .collect();
    let last = failures.last().filter(|_| failures.len() >= MOST_SERVER_FAILURES)?;
    Some(format!("the server of {} failed {} times: {}", rollout.candidate, failures.len(), last.reason))
}

fn stage_plan<'a>(rollout: &'a RolloutState, stage: &StageState) -> Option<&'a Stage> {
    rollout.plan.stages.get(stage.stage)
}

fn long_enough(about: &About<'_>, rollout: &RolloutState, stage: &StageState) -> bool {
    let least = stage_plan(rollout, stage).and_then(|plan| plan.at_least);
    least.is_none_or(|least| least.after(stage.entered_at) <= about.now)
}

/// To the next stage; the last one makes the candidate champion.
fn advance(
    about: &About<'_>,
    rollout: &RolloutState,
    stage: &StageState,
    because: Vec<u64>,
    intents: &mut Vec<Intent>,
) {
    let next = stage.stage + 1;
    if next + 1 < rollout.plan.stages.len() {
        return intents.extend(enter(about, rollout, next, because));
    }
    if about.model.spec.rollout.approval == Approval::BeforeFull {
        let question = format!("may {} become champion?", rollout.candidate);
        match answer(about, rollout, ApprovalStep::BeforeFull, question, intents) {
            Some((true, _)) => {}
            _ => return,
        }
    }
    let reason = "proven safe on every guardrail".to_owned();
    intents.push(finish(about, rollout, RolloutOutcome::Promoted, reason, because.clone()));
    intents.push(about.intent("promote", because, |intent| Fact::ChampionChanged {
        model: about.name.clone(),
        version: rollout.candidate,
        previous: about.model.champion(),
        intent,
        rollout: Some(rollout.rollout.clone()),
    }));
}

/// No proof either way: after the stage's time a person decides, or the candidate is withdrawn.
fn on_hold(
    about: &About<'_>,
    rollout: &RolloutState,
    stage: &StageState,
    verdict: &Verdict,
    intents: &mut Vec<Intent>,
) {
    let spec = &about.model.spec.rollout;
    if spec.stage_timeout.after(stage.entered_at) > about.now {
        return;
    }
    let because = vec![stage.seq];
    if spec.on_hold == OnHold::RollBack {
        intents.extend(say(about, rollout, stage, verdict));
        let reason = format!("no proof of safety after {}: {}", spec.stage_timeout, verdict.explanation);
        return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, because));
    }
    let asked_in_this_stage = rollout
        .approvals
        .iter()
        .rfind(|approval| approval.step == ApprovalStep::Hold && approval.seq > stage.seq);
    match asked_in_this_stage {
        Some(approval) => {
            if let Some(yes) = approval.answer.as_ref().filter(|answer| answer.approved) {
                advance(about, rollout, stage, vec![stage.seq, yes.seq], intents);
            }
        }
        None => {
            intents.extend(say(about, rollout, stage, verdict));
            let Some(version) = about.model.versions.get(&rollout.candidate) else { return };
            intents.push(about.intent("ask", because, |_| Fact::ApprovalRequested {
                model: about.name.clone(),
                rollout: rollout.rollout.clone(),
                step: ApprovalStep::Hold,
                artifact: version.artifact.clone(),
                question: format!("the judge could not decide in {}: go on?", spec.stage_timeout),
            }));
        }
    }
}

/// The verdict as a fact, when it differs from the last one in this stage.
fn say(about: &About<'_>, rollout: &RolloutState, stage: &StageState, verdict: &Verdict) -> Option<Intent> {
    let last = rollout.verdicts.last().filter(|last| last.stage == stage.stage);
    if last.is_some_and(|last| last.verdict.outcome == verdict.outcome) {
        return None;
    }
    Some(about.intent("verdict", vec![stage.seq], |_| Fact::VerdictGiven {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        stage: stage.stage,
        verdict: verdict.clone(),
    }))
}
