//! The loop on a virtual clock: what it does when things go well and when they do not.

use crate::world::{Nature, World, live, name, spec};
use steersman_domain::Version;
use steersman_domain::fact::RolloutOutcome;
use steersman_ledger::state::RunStatus;

fn nature() -> Nature {
    Nature::default()
}

#[test]
fn a_bad_week_leads_to_a_better_champion() {
    let mut world = World::new(nature(), spec(""));
    let state = live(&mut world, 25, |_| false);
    let model = state.model(&name()).unwrap();
    assert_eq!(model.rollouts[0].finished.as_ref().unwrap().outcome, RolloutOutcome::Promoted);
    assert!(model.champion().unwrap() >= Version(2));
    // The first version has no champion to be judged against; every other change of champion was judged.
    let kinds = world.kinds();
    let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!(count("champion.changed"), 1 + count("rollout.finished"));
}

#[test]
fn a_harmful_candidate_is_rolled_back_and_not_tried_again() {
    let harmful = Nature { champion_wrong: 0.1, candidate_wrong: 0.5, ..nature() };
    let mut world = World::new(harmful, spec(""));
    let state = live(&mut world, 12, |_| false);
    let model = state.model(&name()).unwrap();
    assert_eq!(model.champion(), Some(Version(1)));
    let first = &model.rollouts[0];
    assert_eq!(first.finished.as_ref().unwrap().outcome, RolloutOutcome::RolledBack);
    assert_eq!(model.rollouts.iter().filter(|rollout| rollout.candidate == first.candidate).count(), 1);
    assert!(model.versions[&first.candidate].withdrawn);
}

#[test]
fn trainings_keep_to_the_cooldown_and_the_weekly_cap() {
    let failing = Nature { training_fails: true, ..nature() };
    let mut world = World::new(failing, spec("").clone());
    let state = live(&mut world, 20, |_| false);
    let model = state.model(&name()).unwrap();
    assert!(model.runs.iter().all(|run| matches!(run.status, RunStatus::Failed { .. })));
    let days: Vec<i64> = model.runs.iter().map(|run| run.requested_at.as_second() / 86_400).collect();
    assert!(days.len() >= 3 && days.windows(2).all(|pair| pair[1] - pair[0] >= 5), "{days:?}");
}

#[test]
fn nothing_happens_without_a_reason() {
    let calm = Nature { bad_days: 0..0, ..nature() };
    let mut world = World::new(calm, spec(""));
    live(&mut world, 3, |_| false);
    let before = world.ledger.len();
    live(&mut world, 30, |_| false);
    assert_eq!(world.ledger.len(), before, "{:?}", &world.kinds()[before..]);
}

#[test]
fn before_full_asks_a_person_and_waits() {
    let mut world = World::new(nature(), spec("approval='before_full'\n"));
    let state = live(&mut world, 30, |_| false);
    let model = state.model(&name()).unwrap();
    assert_eq!(model.champion(), Some(Version(1)));
    let (rollout, approval) = model.open_approvals().next().unwrap();
    let fact = steersman_domain::Fact::ApprovalDecided {
        model: name(),
        rollout: rollout.rollout.clone(),
        step: approval.step,
        artifact: approval.artifact.clone(),
        approved: true,
        reason: "looks good".to_owned(),
    };
    world.write(fact);
    let state = live(&mut world, 1, |_| false);
    assert_eq!(state.model(&name()).unwrap().champion(), Some(Version(2)));
}

fn lived(nature: Nature, rollout: &str, days: i64) -> (World, steersman_ledger::State) {
    let mut world = World::new(nature, spec(rollout));
    let state = live(&mut world, days, |_| false);
    (world, state)
}

/// The first rollout that ended, how it ended, and why.
fn first_end(state: &steersman_ledger::State) -> (RolloutOutcome, String) {
    let model = state.model(&name()).unwrap();
    let end = model.rollouts.iter().find_map(|rollout| rollout.finished.clone()).unwrap();
    (end.outcome, end.reason)
}

#[test]
fn a_champion_that_turns_out_worse_is_replaced_by_the_old_one_and_fenced() {
    let turning = Nature { promoted_wrong: 0.7, bad_days: 33..38, ..nature() };
    let (world, state) = lived(turning, "guard='3d'\n", 20);
    let model = state.model(&name()).unwrap();
    let rollout = &model.rollouts[0];
    assert_eq!(rollout.finished.as_ref().unwrap().outcome, RolloutOutcome::Promoted);
    let ended = rollout.guard.as_ref().unwrap().ended.as_ref().unwrap();
    assert!(!ended.kept && ended.reason.contains("proven worse"), "{}", ended.reason);
    assert_eq!(model.champion(), Some(Version(1)));
    assert!(model.versions[&rollout.candidate].fence.starts_with("reverted: wrong predictions"));
    // The old champion answered copies until then, and the gateway was told both times.
    assert_eq!(world.route.unwrap().champion, Version(1));
    // Within a day: the pairs tell.
    assert!(ended.at.as_second() - rollout.finished.as_ref().unwrap().at.as_second() <= 86_400);
    // The same artefact under a new number stays fenced.
    let mut world = world;
    let artifact = model.versions[&rollout.candidate].artifact.clone();
    let version = model.next_version();
    world.write(steersman_domain::Fact::VersionRegistered {
        model: name(),
        version,
        artifact,
        run: None,
        snapshot: None,
        trained_until: None,
        note: "synchronised again".to_owned(),
    });
    let state = live(&mut world, 3, |_| false);
    let model = state.model(&name()).unwrap();
    assert!(model.versions[&version].fence.starts_with("the same artefact as v2: reverted"));
    assert!(model.rollouts.iter().all(|rollout| rollout.candidate != version));
}

#[test]
fn a_good_champion_is_kept_and_the_old_one_let_go() {
    let (world, state) = lived(Nature { bad_days: 33..38, ..nature() }, "", 20);
    let model = state.model(&name()).unwrap();
    let ended = model.rollouts[0].guard.as_ref().unwrap().ended.as_ref().unwrap();
    assert!(ended.kept && ended.reason.starts_with("nothing spoke against v2"), "{}", ended.reason);
    assert_eq!(world.route.unwrap().candidate, None);
}

#[test]
fn blue_and_green_change_places_at_once_and_back() {
    let steps = "strategy='blue_green'\nstages=['preview 1d','100%']\nguard='4d'\n";
    let harmful = Nature { champion_wrong: 0.2, promoted_wrong: 0.8, bad_days: 33..38, ..nature() };
    let (_, state) = lived(harmful, steps, 16);
    let model = state.model(&name()).unwrap();
    let end = model.rollouts[0].finished.as_ref().unwrap();
    assert_eq!(
        (end.outcome, end.exposed, end.reason.as_str()),
        (RolloutOutcome::Promoted, 0, "all requests move at once")
    );
    // Nothing is copied here: it is held against what the old champion showed before.
    let ended = model.rollouts[0].guard.as_ref().unwrap().ended.as_ref().unwrap();
    assert!(!ended.kept && model.champion() == Some(Version(1)), "{}", ended.reason);
}

#[test]
fn people_pause_resume_skip_and_abort() {
    use steersman_domain::fact::RolloutCommand::{Abort, Pause, Resume, Skip};
    let calm = || Nature { candidate_wrong: 0.35, bad_days: 33..38, ..nature() };
    // On hold it stays in its stage, however long.
    let (_, state) = lived(Nature { people: vec![(26, Pause)], candidate_wrong: 0.1, ..calm() }, "", 20);
    let rollout = state.model(&name()).unwrap().active_rollout().unwrap();
    assert_eq!((rollout.stages.len(), rollout.paused().is_some()), (1, true));
    let (_, state) =
        lived(Nature { people: vec![(26, Pause), (40, Resume)], candidate_wrong: 0.1, ..calm() }, "", 20);
    assert_eq!(first_end(&state).0, RolloutOutcome::Promoted);
    // Aborted at once.
    let (_, state) = lived(Nature { people: vec![(26, Abort)], ..calm() }, "", 12);
    assert_eq!(first_end(&state), (RolloutOutcome::Aborted, "a person aborted it: so be it".to_owned()));
    // Without proof to the next stage.
    let (_, state) = lived(Nature { people: vec![(26, Skip), (28, Skip), (30, Skip)], ..calm() }, "", 9);
    let (outcome, reason) = first_end(&state);
    assert_eq!(
        (outcome, reason.as_str()),
        (RolloutOutcome::Promoted, "a person went on without proof: so be it")
    );
    // Where people must agree, somebody must agree to that too.
    let asks = "approval='before_full'\nstage_timeout='20d'\n";
    let (_, state) = lived(Nature { people: vec![(26, Skip)], answers: Some(true), ..calm() }, asks, 9);
    let rollout = &state.model(&name()).unwrap().rollouts[0];
    assert_eq!(
        (rollout.approvals[0].step, rollout.stages.len()),
        (steersman_domain::fact::ApprovalStep::Skip, 2)
    );
    let (_, state) = lived(Nature { people: vec![(26, Skip)], answers: Some(false), ..calm() }, asks, 9);
    let rollout = &state.model(&name()).unwrap().rollouts[0];
    assert!(rollout.finished.is_none() && rollout.stages.len() == 1);
}

#[test]
fn harm_rolls_back_also_on_hold_and_while_a_person_is_asked() {
    use steersman_domain::fact::RolloutCommand::Pause;
    let harmful = Nature { champion_wrong: 0.1, candidate_wrong: 0.6, people: vec![(26, Pause)], ..nature() };
    let (_, state) = lived(harmful, "", 12);
    assert_eq!(first_end(&state).0, RolloutOutcome::RolledBack);
    // Proven safe, a person is asked before it gets everything, and then it turns bad.
    let mut world = World::new(
        Nature { champion_wrong: 0.3, candidate_wrong: 0.1, bad_days: 33..38, ..nature() },
        spec("approval='before_full'\n"),
    );
    let state = live(&mut world, 16, |_| false);
    assert!(state.model(&name()).unwrap().open_approvals().next().is_some());
    world.nature.candidate_wrong = 0.95;
    let state = live(&mut world, 8, |_| false);
    assert_eq!(first_end(&state).0, RolloutOutcome::RolledBack);
}

#[test]
fn a_challenger_must_win() {
    let steps = "strategy='champion_challenger'\nstages=['shadow 2d','100%']\nstage_timeout='12d'\non_hold='roll_back'\n";
    let better = Nature { champion_wrong: 0.4, candidate_wrong: 0.15, bad_days: 33..38, ..nature() };
    let (_, state) = lived(better, steps, 20);
    assert_eq!(
        first_end(&state),
        (RolloutOutcome::Promoted, "proven better, and safe on every guardrail".to_owned())
    );
    // Safe is not enough.
    let same = Nature { champion_wrong: 0.25, candidate_wrong: 0.25, bad_days: 33..38, ..nature() };
    let (_, state) = lived(same, steps, 25);
    assert_eq!(first_end(&state).0, RolloutOutcome::Aborted);
}
