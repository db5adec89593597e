//! What becomes of a job whose attempts fail.

use super::fixtures::*;
use crate::plan::*;
use crate::report::Outcome;
use crate::status::Failure;
use crate::transition::MAX_ATTEMPTS;

#[test]
fn a_lost_attempt_does_not_count_against_the_retries() {
    let lost =
        End::Unreported { reason: FailureReason::Lost, message: "evicted".into(), at: at(9) };
    let mut job = job();
    for number in 1..=5 {
        let world = seen(vec![attempt(number, AttemptState::Ended(lost.clone()))]);
        job.status = plan(&job, &limits(), &world, at(10)).status;
        assert_eq!((job.status.phase, job.status.retries), (Some(Phase::Queued), 0));
    }
}

#[test]
fn what_is_lost_again_and_again_ends_after_as_many_attempts_as_there_are() {
    let lost =
        End::Unreported { reason: FailureReason::Lost, message: "evicted".into(), at: at(9) };
    let mut job = job();
    for number in 1..MAX_ATTEMPTS {
        let world = seen(vec![attempt(number, AttemptState::Ended(lost.clone()))]);
        job.status = plan(&job, &limits(), &world, at(10)).status;
        assert_eq!(job.status.phase, Some(Phase::Queued), "attempt {number}");
    }
    let world = seen(vec![attempt(MAX_ATTEMPTS, AttemptState::Ended(lost))]);
    let status = plan(&job, &limits(), &world, at(10)).status;
    assert_eq!((status.phase, status.retries), (Some(Phase::Failed), 0));
    let message = status.failure.unwrap().message;
    assert_eq!(message, "no more than 200 attempts are made: evicted");
}

#[test]
fn refusals_of_nodes_do_not_count_until_the_start_deadline_after_the_first() {
    let mut job = job();
    let deadline = START_DEADLINE_SECONDS * 1000;
    let mut after = |number, at| {
        let end = End::NotTaken { message: "OutOfcpu".into(), at };
        let world = seen(vec![attempt(number, AttemptState::Ended(end))]);
        job.status = plan(&job, &limits(), &world, at).status;
        let failure = job.status.failure.clone().unwrap();
        (job.status.phase, job.status.retries, failure.reason, failure.message)
    };
    let waits = (Some(Phase::Queued), 0, FailureReason::Lost, "OutOfcpu".to_owned());
    // Long after the job was created: what counts is the first refusal.
    assert_eq!(after(1, at(10 * deadline)), waits);
    assert_eq!(after(2, at(11 * deadline - 1)), waits);
    let (phase, _, reason, message) = after(3, at(11 * deadline));
    assert_eq!((phase, reason), (Some(Phase::Failed), FailureReason::StartDeadline));
    assert!(message.ends_with("OutOfcpu"), "{message}");
}

#[test]
fn a_refusal_of_a_node_after_another_end_is_the_first() {
    let mut job = job();
    for (number, at_ms, end) in [
        (1, 0, End::NotTaken { message: "OutOfcpu".into(), at: at(0) }),
        (2, 1, End::Reported(ending(crashed(), at(1)))),
        (3, 700_000, End::NotTaken { message: "OutOfcpu".into(), at: at(700_000) }),
    ] {
        let world = seen(vec![attempt(number, AttemptState::Ended(end))]);
        job.status = plan(&job, &limits(), &world, at(at_ms)).status;
        assert_eq!(job.status.phase, Some(Phase::Queued), "attempt {number}");
    }
}

#[test]
fn an_error_of_the_function_is_tried_again_where_the_job_itself_asks_for_it() {
    let fails = |job: &Job, limits: &JobLimits| {
        let outcome = Outcome::failed(FailureReason::FunctionError, "ValueError");
        let end = AttemptState::Ended(End::Reported(ending(outcome, at(50))));
        plan(job, limits, &seen(vec![attempt(1, end)]), at(60)).status.phase
    };
    let mut job = job();
    assert!(limits().retries > 0, "those of the function");
    assert_eq!(fails(&job, &limits()), Some(Phase::Failed));
    job.spec.retries = Some(1);
    assert_eq!(fails(&job, &JobLimits { retries: 1, ..limits() }), Some(Phase::Queued));
    job.status.retries = 1;
    assert_eq!(fails(&job, &JobLimits { retries: 1, ..limits() }), Some(Phase::Failed), "used up");
    job.status.retries = 0;
    job.spec.retries = Some(0);
    assert_eq!(fails(&job, &JobLimits { retries: 0, ..limits() }), Some(Phase::Failed));
}

#[test]
fn want_of_memory_is_not_tried_again() {
    let outcome = Outcome::failed(FailureReason::OutOfMemory, "");
    let end = AttemptState::Ended(End::Reported(ending(outcome, at(50))));
    let status = plan(&job(), &limits(), &seen(vec![attempt(1, end)]), at(60)).status;
    assert_eq!((status.phase, status.retries), (Some(Phase::Failed), 1));
}

#[test]
fn bad_input_is_never_retried() {
    let outcome = Outcome::failed(FailureReason::BadInput, "no such strike");
    let end = AttemptState::Ended(End::Reported(ending(outcome, at(50))));
    let plan = plan(&job(), &limits(), &seen(vec![attempt(1, end)]), at(60));
    assert_eq!(plan.status.phase, Some(Phase::Failed));
    assert_eq!(told(&plan.status, ConditionType::Finished), Some((Truth::True, "BadInput")));
}

#[test]
fn back_off_doubles_to_a_minute_and_is_jittered_by_half_at_most() {
    let mut job = job();
    for (number, full) in [(1, 1_000), (2, 2_000), (3, 4_000), (7, 60_000), (99, 60_000)] {
        job.status.failure = Some(Failure {
            reason: FailureReason::Crashed,
            message: String::new(),
            exit_code: None,
            refused_since: None,
            attempt: number,
            time: at(0),
        });
        let wait = retry_at(&job).unwrap().duration_since(at(0)).as_millis();
        assert!((full / 2..=full).contains(&wait), "attempt {number}: {wait} ms");
    }
}

#[test]
fn a_change_after_the_end_is_seen_and_changes_nothing_else() {
    let mut job = job();
    let ended = Outcome::Succeeded(result());
    let world = seen(vec![attempt(1, AttemptState::Ended(End::Reported(ending(ended, at(9)))))]);
    job.status = plan(&job, &limits(), &world, at(10)).status;
    assert_eq!(
        (job.status.phase, job.status.observed_generation),
        (Some(Phase::Succeeded), Some(1))
    );
    job.metadata.generation = Some(2);
    job.spec.cancel = true;
    let again = plan(&job, &limits(), &world, at(11));
    let expected = JobStatus { observed_generation: Some(2), ..job.status };
    assert_eq!(again.status, expected);
}
