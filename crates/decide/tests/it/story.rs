//! The loop on a virtual clock: what it does when things go well and when they do not.

use crate::world::{Nature, World, live, name, spec};
use steersman_domain::Version;
use steersman_domain::fact::RolloutOutcome;
use steersman_ledger::state::RunStatus;

fn nature() -> Nature {
    Nature { champion_wrong: 0.4, candidate_wrong: 0.15, bad_days: 33..200, training_fails: false }
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
