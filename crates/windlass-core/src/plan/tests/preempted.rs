//! An attempt is ended for another job.

use super::fixtures::*;
use crate::plan::*;

#[test]
fn it_is_told_and_then_ended_and_costs_no_retry() {
    let running = attempt(1, AttemptState::Running { since: at(0) });
    let message = preempted_for(Some(("research", 5)));
    let preempted = |attempt| Some(Preempted { attempt, message: message.clone() });
    let world = |attempt| Observed { preempted: preempted(attempt), ..seen(vec![running.clone()]) };
    let mut job = job();
    let other = plan(&job, &limits(), &world(2), at(1_000));
    assert_eq!(other.status.phase, Some(Phase::Running), "another attempt was meant");

    let told = plan(&job, &limits(), &world(1), at(1_000));
    assert!(told.actions.is_empty(), "{:?}", told.actions);
    assert_eq!((told.status.phase, told.status.retries), (Some(Phase::Queued), 0));
    let failure = told.status.failure.as_ref().unwrap();
    assert_eq!((failure.reason, &failure.message), (FailureReason::Preempted, &message));
    job.status = told.status;
    // Also where nobody knows any more for whom.
    let next = plan(&job, &limits(), &seen(vec![running.clone()]), at(1_100));
    assert_eq!(next.actions, [Action::Remove { attempt: 1 }]);
    assert!(!needs_cpus(&job, &[running], at(60_000)), "it is not dead");
    // Its pause does not grow.
    job.status.failure.as_mut().unwrap().attempt = 9;
    assert!(retry_at(&job).unwrap() <= at(2_000));
}
