//! The rollout state machine: start, stage by stage, judged at each step, to promoted, rolled back or aborted; and after a
//! promotion the time in which the old champion stands ready.
//!
//! What ends a rollout is looked at first, whatever else it waits for: harm rolls back also while a person is asked or has
//! put it on hold. `moves` is the rule from stage to stage, `guard` what follows a promotion.

mod guard;
mod moves;

pub use moves::{Move, Standing};

use crate::engine::{About, Intent};
use crate::evaluation::loss_scale;
use crate::judge::Judge;
use jiff::Timestamp;
use steersman_domain::fact::{
    ApprovalStep, RolloutCommand, RolloutOutcome, RolloutPlan, TripCause, Verdict, VerdictOutcome,
};
use steersman_domain::spec::{Approval, ModelSpec, OnHold, Share, Stage, Strategy};
use steersman_domain::time::micros;
use steersman_domain::{Fact, RolloutId, Version};
use steersman_ledger::state::{
    ApprovalState, GuardState, ModelState, RolloutState, StageState, VersionState,
};

/// A version whose server failed this often, in one stage or after its promotion, is withdrawn.
const MOST_SERVER_FAILURES: usize = 3;

/// Takes the active rollout one step further, or starts one.
pub(crate) fn proceed(about: &About<'_>, intents: &mut Vec<Intent>) {
    if let Some(rollout) = about.model.active_rollout() {
        return match rollout.current_stage() {
            None => first_stage(about, rollout, intents),
            Some(stage) => go_on(about, rollout, stage, intents),
        };
    }
    match about.model.guarded_rollout() {
        Some((rollout, state)) => guard::guard(about, rollout, state, intents),
        None => start(about, intents),
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
    let without_shadow = skipped.iter().any(|step| step == "shadow");
    let versions = (model.versions.get(&version), model.versions.get(&champion));
    let mut plan = plan(&model.spec, versions, without_shadow);
    plan.salt = rollout.to_string();
    plan.latency_limit_ms = about.observation.latency_p99_ms;
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

/// The plan of a rollout as a spec has it, of this candidate against this champion; salt and the limit of latency are set
/// when it starts.
pub fn plan(
    spec: &ModelSpec,
    (candidate, champion): (Option<&VersionState>, Option<&VersionState>),
    without_shadow: bool,
) -> RolloutPlan {
    let rollout = &spec.rollout;
    let stages: Vec<Stage> = rollout.steps();
    let kept = |stage: &Stage| !(without_shadow && stage.share == Share::Shadow);
    let mut kept: Vec<Stage> = stages.iter().copied().filter(kept).collect();
    if kept.len() < 2 {
        // Without copies there must still be a stage in which it is judged.
        kept.insert(0, Stage { share: Share::Percent(5.0), at_least: None });
    }
    let baseline = champion.and_then(|version| version.evaluation.as_ref());
    let evaluated = candidate.and_then(|version| version.evaluation.as_ref());
    let expected = evaluated.and_then(|evaluation| evaluation.expected.as_ref());
    let against = champion.map(|version| version.version);
    RolloutPlan {
        strategy: rollout.strategy,
        stages: kept,
        guardrails: rollout.guardrails.clone(),
        alpha: rollout.alpha,
        harm: rollout.harm,
        margin: rollout.margin,
        early_margin: Some(rollout.early_margin),
        loss_margin: rollout.loss_margin,
        loss_scale: loss_scale(spec, baseline),
        budget: rollout.budget,
        salt: String::new(),
        latency_limit_ms: None,
        segments: rollout.segments.clone(),
        means: rollout.means.clone(),
        maturity: rollout.maturity,
        estimate: rollout.estimate,
        expected: expected.filter(|expected| Some(expected.against) == against).cloned(),
        guard: rollout.guard.0,
    }
}

fn first_stage(about: &About<'_>, rollout: &RolloutState, intents: &mut Vec<Intent>) {
    if let Some(end) = ended_by_a_person(about, rollout) {
        return intents.push(end);
    }
    if rollout.paused().is_some() {
        return;
    }
    if about.model.spec.rollout.approval == Approval::BeforeStart {
        let question = format!("may {} get its first requests?", rollout.candidate);
        match answer(about, rollout, ApprovalStep::BeforeStart, question, intents) {
            Some(true) => {}
            _ => return,
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
) -> Option<bool> {
    if let Some(approval) = rollout.approval(step) {
        return approval.answer.as_ref().map(|answer| answer.approved);
    }
    intents.extend(ask(about, rollout, step, question, vec![rollout.seq]));
    None
}

/// A question, bound to the candidate's artefact.
fn ask(
    about: &About<'_>,
    rollout: &RolloutState,
    step: ApprovalStep,
    question: String,
    because: Vec<u64>,
) -> Option<Intent> {
    let version = about.model.versions.get(&rollout.candidate)?;
    Some(about.intent("ask", because, |_| Fact::ApprovalRequested {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        step,
        artifact: version.artifact.clone(),
        question,
    }))
}

fn enter(about: &About<'_>, rollout: &RolloutState, index: usize, because: Vec<u64>) -> Option<Intent> {
    let stage = rollout.plan.stages.get(index)?;
    Some(about.intent("enter", because, |intent| Fact::StageEntered {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        intent,
        stage: index,
        weight: stage.weight(),
        mirror: stage.mirror(),
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

/// A person aborted it, or said no to a question.
fn ended_by_a_person(about: &About<'_>, rollout: &RolloutState) -> Option<Intent> {
    let aborted = rollout.command(RolloutCommand::Abort).map(|abort| {
        let reason = if abort.reason.is_empty() { String::new() } else { format!(": {}", abort.reason) };
        (format!("a person aborted it{reason}"), abort.seq)
    });
    let refused = rollout.approvals.iter().find_map(|approval| {
        let answer = approval.answer.as_ref().filter(|answer| !answer.approved)?;
        let reason = match approval.step {
            ApprovalStep::BeforeStart => "a person said no before the start".to_owned(),
            _ => format!("a person said no: {}", answer.reason),
        };
        // No to going on without proof leaves the rollout where it is.
        (approval.step != ApprovalStep::Skip).then_some((reason, answer.seq))
    });
    let (reason, cause) = aborted.or(refused)?;
    Some(finish(about, rollout, RolloutOutcome::Aborted, reason, vec![cause]))
}

/// Why the candidate's server counts as gone, by its failures since then.
fn server_gone(model: &ModelState, rollout: &RolloutState, since: Timestamp) -> Option<String> {
    let failures: Vec<_> = model
        .server_failures
        .iter()
        .filter(|failure| failure.version == rollout.candidate && failure.at >= since)
        .collect();
    let last = failures.last().filter(|_| failures.len() >= MOST_SERVER_FAILURES)?;
    Some(format!("the server of {} failed {} times: {}", rollout.candidate, failures.len(), last.reason))
}

/// What the judge, the gateway and people say decides: on, back, or wait.
fn go_on(about: &About<'_>, rollout: &RolloutState, stage: &StageState, intents: &mut Vec<Intent>) {
    if let Some(end) = ended_by_a_person(about, rollout) {
        return intents.push(end);
    }
    let because = vec![stage.seq];
    if let Some(reason) = server_gone(about.model, rollout, stage.entered_at) {
        return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, because));
    }
    let Some(standing) = standing(about, rollout, stage) else { return };
    let verdict = about.observation.verdict.as_ref();
    if let Some(cause) = about.observation.tripped {
        let words = verdict.map_or("nothing was judged yet", |verdict| verdict.explanation.as_str());
        let reason = match cause {
            TripCause::Budget => format!("its budget of exposed requests was used up without proof: {words}"),
            TripCause::DeadMan => {
                format!("the judge was silent, so the gateway took its traffic away: {words}")
            }
        };
        // Harm that is proven by now says more.
        if verdict.is_none_or(|verdict| verdict.outcome != VerdictOutcome::Fail) {
            intents.extend(verdict.and_then(|verdict| say(about, rollout, stage, verdict)));
            return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, because));
        }
    }
    let outcome = match verdict {
        Some(verdict) => verdict.outcome,
        // A stage that only stands ready needs no judge, but a server that does.
        None if !standing.stage.judged() => VerdictOutcome::Hold,
        None => return,
    };
    let next = standing.next(outcome);
    if next == Move::RollBack {
        intents.extend(verdict.and_then(|verdict| say(about, rollout, stage, verdict)));
        let reason = verdict.map_or(String::new(), |verdict| verdict.explanation.clone());
        return intents.push(finish(about, rollout, RolloutOutcome::RolledBack, reason, because));
    }
    if rollout.paused().is_some() {
        return;
    }
    match skip(about, rollout, stage, intents) {
        Skip::NotWanted => {}
        Skip::Waits => return,
        Skip::Allowed { cause, reason } => {
            let reason = format!("a person went on without proof: {reason}");
            return advance(about, rollout, stage, vec![stage.seq, cause], reason, intents);
        }
    }
    if !standing.stage.judged() && !stands_ready(about.model, rollout) {
        return;
    }
    match next {
        Move::Stay | Move::RollBack => {}
        Move::Advance | Move::Promote => {
            intents.extend(verdict.and_then(|verdict| say(about, rollout, stage, verdict)));
            let reason = match rollout.plan.strategy {
                Strategy::BlueGreen if !standing.stage.judged() => "all requests move at once".to_owned(),
                Strategy::Ab | Strategy::ChampionChallenger => {
                    "proven better, and safe on every guardrail".to_owned()
                }
                _ => "proven safe on every guardrail".to_owned(),
            };
            advance(about, rollout, stage, because, reason, intents);
        }
        Move::GiveUp | Move::Ask => {
            let Some(verdict) = verdict else { return };
            undecided(about, rollout, stage, verdict, intents);
        }
    }
}

/// Whether the gateway knows the candidate's server: it answers.
fn stands_ready(model: &ModelState, rollout: &RolloutState) -> bool {
    model.route.is_some_and(|route| route.candidate == Some(rollout.candidate))
}

fn standing(about: &About<'_>, rollout: &RolloutState, stage: &StageState) -> Option<Standing> {
    let spec = &about.model.spec.rollout;
    let now = micros(about.now);
    let resumed = rollout.command(RolloutCommand::Resume).map(|resume| micros(resume.at));
    let entered = micros(stage.entered_at);
    Some(Standing {
        stage: *rollout.plan.stages.get(stage.stage)?,
        last: stage.stage + 2 >= rollout.plan.stages.len(),
        since: now - entered,
        patience: now - resumed.map_or(entered, |resumed| resumed.max(entered)),
        timeout: spec.stage_timeout,
        on_hold: spec.on_hold,
    })
}

/// Whether a person wants to go on without proof.
enum Skip {
    /// Nobody does, or it was not allowed.
    NotWanted,
    /// Somebody must agree first.
    Waits,
    /// It may be, because of this fact.
    Allowed { cause: u64, reason: String },
}

/// Where people must agree to rollouts, they must agree to this too.
fn skip(about: &About<'_>, rollout: &RolloutState, stage: &StageState, intents: &mut Vec<Intent>) -> Skip {
    let Some(wanted) = rollout.command(RolloutCommand::Skip).filter(|skip| skip.seq > stage.seq) else {
        return Skip::NotWanted;
    };
    let reason = wanted.reason.clone();
    if about.model.spec.rollout.approval == Approval::None {
        return Skip::Allowed { cause: wanted.seq, reason };
    }
    let Some(asked) = asked_since(rollout, ApprovalStep::Skip, wanted.seq) else {
        let (candidate, by) = (rollout.candidate, &wanted.by);
        let question = format!("may {candidate} go on without proof? {by} wants it: {reason}");
        intents.extend(ask(about, rollout, ApprovalStep::Skip, question, vec![wanted.seq]));
        return Skip::Waits;
    };
    match &asked.answer {
        None => Skip::Waits,
        Some(answer) if answer.approved => Skip::Allowed { cause: answer.seq, reason },
        Some(_) => Skip::NotWanted,
    }
}

/// The question of this step that was asked after a fact.
fn asked_since(rollout: &RolloutState, step: ApprovalStep, seq: u64) -> Option<&ApprovalState> {
    rollout.approvals.iter().rfind(|approval| approval.step == step && approval.seq > seq)
}

/// To the next stage; the last one makes the candidate champion.
fn advance(
    about: &About<'_>,
    rollout: &RolloutState,
    stage: &StageState,
    because: Vec<u64>,
    reason: String,
    intents: &mut Vec<Intent>,
) {
    let next = stage.stage + 1;
    if next + 1 < rollout.plan.stages.len() {
        return intents.extend(enter(about, rollout, next, because));
    }
    if about.model.spec.rollout.approval == Approval::BeforeFull {
        let question = format!("may {} become champion?", rollout.candidate);
        match answer(about, rollout, ApprovalStep::BeforeFull, question, intents) {
            Some(true) => {}
            _ => return,
        }
    }
    intents.push(finish(about, rollout, RolloutOutcome::Promoted, reason, because.clone()));
    intents.push(about.intent("promote", because, |intent| Fact::ChampionChanged {
        model: about.name.clone(),
        version: rollout.candidate,
        previous: about.model.champion(),
        intent,
        rollout: Some(rollout.rollout.clone()),
    }));
}

/// No proof either way in time, or a split that cannot be trusted: a person decides, or the candidate is withdrawn. Until
/// then the candidate keeps the share that it has, within its budget.
fn undecided(
    about: &About<'_>,
    rollout: &RolloutState,
    stage: &StageState,
    verdict: &Verdict,
    intents: &mut Vec<Intent>,
) {
    let spec = &about.model.spec.rollout;
    let because = vec![stage.seq];
    let invalid = verdict.outcome == VerdictOutcome::Invalid;
    if spec.on_hold == OnHold::RollBack {
        intents.extend(say(about, rollout, stage, verdict));
        let reason = match invalid {
            true => verdict.explanation.clone(),
            false => format!("no proof of safety after {}: {}", spec.stage_timeout, verdict.explanation),
        };
        return intents.push(finish(about, rollout, RolloutOutcome::Aborted, reason, because));
    }
    match asked_since(rollout, ApprovalStep::Hold, stage.seq) {
        Some(approval) => {
            if let Some(yes) = approval.answer.as_ref().filter(|answer| answer.approved) {
                let reason = format!("a person decided: {}", yes.reason);
                advance(about, rollout, stage, vec![stage.seq, yes.seq], reason, intents);
            }
        }
        None => {
            intents.extend(say(about, rollout, stage, verdict));
            let question = match invalid {
                true => format!("{}: go on all the same?", verdict.explanation),
                false => format!("the judge could not decide in {}: go on?", spec.stage_timeout),
            };
            intents.extend(ask(about, rollout, ApprovalStep::Hold, question, because));
        }
    }
}

/// The verdict as a fact, when it differs from the last one in this stage.
fn say(about: &About<'_>, rollout: &RolloutState, stage: &StageState, verdict: &Verdict) -> Option<Intent> {
    say_at(about, rollout, stage.stage, verdict)
}

fn say_at(about: &About<'_>, rollout: &RolloutState, stage: usize, verdict: &Verdict) -> Option<Intent> {
    let last = rollout.verdicts.last().filter(|last| last.stage == stage);
    if last.is_some_and(|last| last.verdict.outcome == verdict.outcome) {
        return None;
    }
    let cause = rollout.stages.last().map_or(rollout.seq, |stage| stage.seq);
    Some(about.intent("verdict", vec![cause], |_| Fact::VerdictGiven {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        stage,
        verdict: verdict.clone(),
    }))
}

/// What a judge is needed for: a rollout under way, or a version that was promoted lately.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The rollout.
    pub rollout: &'a RolloutState,
    /// The time after its promotion, if it is in it.
    pub guard: Option<&'a GuardState>,
}

impl<'a> Judged<'a> {
    /// What is to be judged of a model.
    pub fn of(model: &'a ModelState) -> Option<Self> {
        let active = model.active_rollout().map(|rollout| Self { rollout, guard: None });
        active.or_else(|| {
            let (rollout, guard) = model.guarded_rollout()?;
            Some(Self { rollout, guard: Some(guard) })
        })
    }

    /// The same as long as the same judge goes on.
    pub fn key(&self) -> (RolloutId, bool) {
        (self.rollout.rollout.clone(), self.guard.is_some())
    }

    /// What arrived since then is judged.
    pub fn since(&self) -> Timestamp {
        self.guard.map_or(self.rollout.started_at, |guard| guard.since)
    }

    /// The stage that it is in.
    pub fn stage(&self) -> usize {
        self.rollout.current_stage().map_or(0, |stage| stage.stage)
    }

    /// A judge who has seen nothing yet.
    pub fn judge(&self, spec: &ModelSpec) -> Judge {
        let plan = &self.rollout.plan;
        match self.guard {
            None => Judge::new(spec, plan),
            Some(guard) => {
                let before = self.rollout.verdicts.last().map(|last| &last.verdict);
                Judge::guarding(spec, plan, before, guard.since)
            }
        }
    }
}

/// The version that a route must reach besides the champion: the candidate of a rollout, or the old champion that stands
/// ready; with its weight, and whether it gets copies.
pub fn beside(model: &ModelState) -> Option<(&RolloutState, Version, f64, bool)> {
    if let Some(rollout) = model.active_rollout() {
        let stage = rollout.current_stage()?;
        return Some((rollout, rollout.candidate, stage.weight, stage.mirror));
    }
    let (rollout, _) = model.guarded_rollout()?;
    // Who has requests copied before a promotion may have them copied after it.
    let mirror = rollout.plan.stages.iter().any(Stage::mirror);
    Some((rollout, rollout.champion, 0.0, mirror))
}
