//! Killed and started again at any points, with every effect failing at times, the engine reaches the same end, and does
//! each thing once.

use crate::world::{Fault, Nature, World, live, name, spec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::Fact;
use steersman_domain::fact::{RolloutCommand, RolloutOutcome, VerdictOutcome};
use steersman_ledger::State;

const STRATEGIES: [&str; 6] = [
    "",
    "strategy='shadow'\nstages=['shadow 1d','100%']\nguard='3d'\n",
    "strategy='blue_green'\nstages=['preview 12h','100%']\nguard='3d'\n",
    "strategy='champion_challenger'\nstages=['shadow 2d','100%']\nstage_timeout='8d'\non_hold='roll_back'\n",
    "strategy='ab'\nsticky='x-user'\nstages=['50% 2d','100%']\nstage_timeout='6d'\n",
    "approval='before_full'\nstage_timeout='4d'\nguard='2d'\n",
];

#[derive(Debug, Clone)]
struct Story {
    strategy: usize,
    nature: Nature,
}

fn stories() -> impl Strategy<Value = Story> {
    let command = prop_oneof![
        Just(RolloutCommand::Pause),
        Just(RolloutCommand::Resume),
        Just(RolloutCommand::Abort),
        Just(RolloutCommand::Skip),
    ];
    let people = prop::collection::vec((16u32..80, command), 0..6);
    let wrong = || prop_oneof![Just(0.1), Just(0.35), Just(0.6)];
    (0..STRATEGIES.len(), wrong(), wrong(), people, prop::option::of(any::<bool>())).prop_map(
        |(strategy, candidate_wrong, promoted_wrong, people, answers)| Story {
            strategy,
            nature: Nature {
                champion_wrong: 0.35,
                candidate_wrong,
                promoted_wrong,
                bad_days: 33..44,
                people,
                answers,
                ..Nature::default()
            },
        },
    )
}

fn faults() -> impl Strategy<Value = BTreeMap<u64, Fault>> {
    let fault =
        prop_oneof![Just(Fault::Refused), Just(Fault::LostReply), Just(Fault::TimedOut), Just(Fault::Twice),];
    prop::collection::btree_map(1u64..300, fault, 0..60)
}

fn world(story: &Story) -> World {
    World::new(story.nature.clone(), spec(STRATEGIES[story.strategy]))
}

/// What must be true of any ledger, whatever happened.
fn check(world: &World, state: &State) -> Result<(), TestCaseError> {
    prop_assert!(world.trainings.values().all(|&count| count == 1), "{:?}", world.trainings);
    let mut intents = BTreeSet::new();
    for entry in &world.ledger {
        let intent = match &entry.fact {
            Fact::RunRequested { intent, .. }
            | Fact::RolloutStarted { intent, .. }
            | Fact::StageEntered { intent, .. }
            | Fact::RolloutFinished { intent, .. }
            | Fact::GuardEnded { intent, .. }
            | Fact::GateDecided { intent, .. }
            | Fact::ChampionChanged { intent, .. } => intent,
            _ => continue,
        };
        prop_assert!(intents.insert(intent.clone()), "{:?} twice", entry.fact);
    }
    let model = state.model(&name()).unwrap();
    for rollout in &model.rollouts {
        let passed = rollout.verdicts.iter().any(|verdict| verdict.verdict.outcome == VerdictOutcome::Pass);
        let by_person = rollout.command(RolloutCommand::Skip).is_some()
            || rollout.approvals.iter().any(|approval| approval.answer.is_some());
        let at_once = rollout.plan.stages.iter().all(|stage| !stage.judged() || stage.weight() == 1.0);
        let promoted = rollout.finished.as_ref().is_some_and(|end| end.outcome == RolloutOutcome::Promoted);
        prop_assert!(!promoted || passed || by_person || at_once, "promoted without proof: {rollout:?}");
        // Whoever was withdrawn or reverted is fenced, and never comes back by itself.
        let reverted =
            rollout.guard.as_ref().and_then(|guard| guard.ended.as_ref()).is_some_and(|end| !end.kept);
        let withdrawn = rollout.finished.is_some() && !promoted;
        let version = &model.versions[&rollout.candidate];
        prop_assert_eq!(version.withdrawn, reverted || withdrawn);
        let tried = model.rollouts.iter().filter(|other| other.candidate == rollout.candidate).count();
        prop_assert_eq!(tried, 1);
    }
    // Only a promotion, a return or the first version changes who serves.
    let changes = 1 + model
        .rollouts
        .iter()
        .map(|rollout| {
            let promoted =
                rollout.finished.as_ref().is_some_and(|end| end.outcome == RolloutOutcome::Promoted);
            let reverted =
                rollout.guard.as_ref().and_then(|guard| guard.ended.as_ref()).is_some_and(|end| !end.kept);
            usize::from(promoted) + usize::from(reverted)
        })
        .sum::<usize>();
    prop_assert_eq!(model.champions.len(), changes);
    // The gateway does what the state wants.
    prop_assert_eq!(model.route, world.route);
    prop_assert_eq!(model.route.map(|route| route.champion), model.champion());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn kills_and_failing_effects_at_random_points_change_nothing(
        kills in prop::collection::btree_set(1u64..300, 0..40),
        faults in faults(),
        story in stories(),
    ) {
        let (mut undisturbed, mut disturbed) = (world(&story), world(&story));
        disturbed.faults = faults;
        let expected = live(&mut undisturbed, 22, |_| false);
        let reached = live(&mut disturbed, 22, |step| kills.contains(&step));
        prop_assert_eq!(&disturbed.ledger, &undisturbed.ledger);
        prop_assert_eq!(&reached, &expected);
        check(&disturbed, &reached)?;
    }

    #[test]
    fn records_that_come_twice_and_in_any_order_break_nothing(
        kills in prop::collection::btree_set(1u64..300, 0..20),
        faults in faults(),
        story in stories(),
    ) {
        let mut world = world(&story);
        world.faults = faults;
        world.disorder = true;
        let reached = live(&mut world, 22, |step| kills.contains(&step));
        check(&world, &reached)?;
    }
}
