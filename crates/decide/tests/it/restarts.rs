//! Killed and started again at any points, the engine reaches the same end, and does each thing once.

use crate::world::{Nature, World, live, spec};
use proptest::prelude::*;

fn world(candidate_wrong: f64) -> World {
    World::new(
        Nature { champion_wrong: 0.35, candidate_wrong, bad_days: 33..38, training_fails: false },
        spec(""),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn kills_at_random_points_change_nothing(kills in prop::collection::btree_set(1u64..200, 0..40), bad: bool) {
        let wrong = if bad { 0.6 } else { 0.1 };
        let (mut undisturbed, mut disturbed) = (world(wrong), world(wrong));
        let expected = live(&mut undisturbed, 20, |_| false);
        let reached = live(&mut disturbed, 20, |step| kills.contains(&step));
        prop_assert_eq!(&disturbed.ledger, &undisturbed.ledger);
        prop_assert_eq!(reached, expected);
        prop_assert!(disturbed.trainings.values().all(|&count| count == 1), "{:?}", disturbed.trainings);
    }
}
