//! The four properties of a plan:
//!
//! (a) planned twice on the same state, the second plan has no actions;
//! (b) stopped after any prefix of the actions and observed again, the end is the same;
//! (c) with any observation dropped, the end is the same;
//! (d) with an older observation there are never two live attempts and no status goes backwards.

use proptest::prelude::*;

use super::fixtures::*;
use super::small_world::*;
use crate::plan::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_second_plan_on_the_same_state_has_nothing_to_do(steps in prop::collection::vec(step(), 0..25)) {
        let mut world = World::new();
        for step in &steps {
            world.happen(step);
        }
        // An end is told first and cleaned up by the next look.
        for _ in 0..3 {
            let view = world.view();
            world.reconcile(view, usize::MAX);
        }
        let before = world.job.status.clone();
        let view = world.view();
        let again = world.reconcile(view, usize::MAX);
        prop_assert!(world.expired || again.actions.is_empty(), "{:?}", again.actions);
        prop_assert_eq!(again.status, before);
    }

    #[test]
    fn stopped_after_any_prefix_the_end_is_the_same(
        steps in prop::collection::vec(step(), 0..15), prefix in 0_usize..3,
    ) {
        let mut world = World::new();
        for step in &steps {
            world.happen(step);
        }
        let mut stopped = world.clone();
        world.happen(&Step::Reconcile);
        stopped.happen(&Step::ReconcilePrefix(prefix));
        world.settle();
        stopped.settle();
        prop_assert_eq!(world.job.status.phase, stopped.job.status.phase);
        prop_assert_eq!(world.job.status.result, stopped.job.status.result);
        // Where a cancelled attempt was may be forgotten with it; how often others ran may not.
        if !world.job.spec.cancel {
            prop_assert_eq!(world.job.status.attempt, stopped.job.status.attempt);
        }
    }

    #[test]
    fn with_any_observation_dropped_the_end_is_the_same(
        steps in prop::collection::vec(step(), 1..15), dropped in any::<prop::sample::Index>(),
    ) {
        // A dropped observation is a reconcile that does not take place.
        let steps: Vec<_> = std::iter::once(Step::Reconcile).chain(steps).collect();
        let looks: Vec<_> = (0..steps.len())
            .filter(|&i| matches!(steps[i], Step::Reconcile)).collect();
        let skipped = looks[dropped.index(looks.len())];
        let mut ends = Vec::new();
        for skip in [None, Some(skipped)] {
            let mut world = World::new();
            // The news of everything that happened arrives late, but all of it.
            for (i, step) in steps.iter().enumerate() {
                if Some(i) != skip {
                    world.happen(step);
                    world.check()?;
                }
            }
            world.settle();
            ends.push((world.job.status.is_finished(), world.job.spec.cancel, world.attempts.len()));
        }
        prop_assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn with_an_old_view_there_are_never_two_live_attempts_and_nothing_goes_backwards(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.happen(step);
            world.check()?;
        }
        world.settle();
        world.check()?;
        prop_assert!(!world.job.spec.cancel || world.job.status.is_finished());
    }

    #[test]
    fn a_job_that_keeps_failing_ends_after_its_retries(tolds in prop::collection::vec(any::<bool>(), 8)) {
        let mut world = World::new();
        for told in tolds {
            world.happen(&Step::Reconcile);
            world.happen(&Step::Run);
            world.happen(&Step::Crash { told });
            world.happen(&Step::Reconcile);
            world.happen(&Step::Pass(61_000));
        }
        prop_assert_eq!(world.job.status.phase, Some(Phase::Failed));
        prop_assert_eq!(world.job.status.attempt, Some(limits().retries + 1));
    }
}
