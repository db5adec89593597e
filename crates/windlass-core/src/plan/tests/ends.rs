//! What becomes of a job whose attempts fail.

use super::fixtures::*;
use crate::plan::*;
use crate::report::Outcome;
use crate::status::{Failure, JobResult, Truth};
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
fn what_was_computed_before_the_last_failure_is_kept_and_no_result() {
    let failed = |partial: JobResult| {
        let (reason, message) = (FailureReason::FunctionError, "raised".to_owned());
        let outcome = Outcome::Failed {
            reason,
            message,
            exit_code: Some(70),
            partial: Some(Box::new(partial)),
        };
        ending(outcome, at(1))
    };
    let mut job = job();
    job.spec.retries = Some(1);
    let limits = JobLimits { retries: 1, ..limits() };
    job.status = report::finish(&job, &limits, 1, &failed(result())).unwrap();
    assert_eq!((job.status.phase, &job.status.result), (Some(Phase::Queued), &None));
    job.status = report::finish(&job, &limits, 2, &failed(result())).unwrap();
    assert_eq!((job.status.phase, &job.status.result), (Some(Phase::Failed), &Some(result())));
    assert!(
        crate::jobs::result_of(&job, false)
            .unwrap_err()
            .to_string()
            .contains("only what it had computed")
    );
    assert_eq!(crate::jobs::result_of(&job, true).unwrap(), &result());
    // What is called JSON and is not is none, and neither is what has another digest. The failure is told all the same.
    let mut other = Job { status: JobStatus::default(), ..job.clone() };
    other.spec.retries = None;
    let no_json = crate::result::inline_result(b"{", "application/json").unwrap();
    for none in [no_json, JobResult { bytes: 77, ..result() }] {
        let status = report::finish(&other, &limits, 1, &failed(none)).unwrap();
        assert_eq!((status.phase, status.result), (Some(Phase::Failed), None));
        assert_eq!(status.failure.unwrap().reason, FailureReason::FunctionError);
    }
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

/// An attempt that has waited on a node for its whole start deadline, seen at this time.
fn not_started_on_a_node(
    job: &mut Job,
    number: AttemptNumber,
    at_seconds: i64,
    said: (&str, &str),
) -> Plan {
    let created = at((at_seconds - START_DEADLINE_SECONDS) * 1000);
    let state = AttemptState::Starting { reason: Some(said.0.into()), message: said.1.into() };
    let attempt = Attempt {
        created,
        startable_since: Some(created),
        node: Some("n1".into()),
        ..attempt(number, state)
    };
    let plan = plan(job, &limits(), &seen(vec![attempt]), at(at_seconds * 1000));
    job.status = plan.status.clone();
    plan
}

const NOT_MOUNTED: (&str, &str) = ("CreateContainerError", "cannot mount");

#[test]
fn a_start_that_fails_for_the_sake_of_its_node_is_tried_once_more() {
    let mut job = job();
    let shown = |job: &Job| (job.status.phase, job.status.failure.as_ref().unwrap().reason);
    not_started_on_a_node(&mut job, 1, 600, NOT_MOUNTED);
    assert_eq!(shown(&job), (Some(Phase::Queued), FailureReason::Lost));
    assert_eq!((job.status.node.as_deref(), job.status.retries), (Some("n1"), 0));
    // What is left of it is ended first.
    let again = not_started_on_a_node(&mut job, 1, 600, NOT_MOUNTED);
    assert_eq!(again.actions, [Action::Remove { attempt: 1 }]);
    assert!(again.requeue_after.is_some());
    let gone = plan(&job, &limits(), &seen(vec![]), at(610_000));
    assert_eq!(gone.actions, [Action::Start { attempt: 2, cpus: 2 }]);
    not_started_on_a_node(&mut job, 2, 1300, NOT_MOUNTED);
    assert_eq!(shown(&job), (Some(Phase::Failed), FailureReason::StartDeadline));
}

#[test]
fn a_node_that_neither_starts_nor_ends_an_attempt_fails_its_job_after_a_second_deadline() {
    let mut job = job();
    let silent = (reasons::NODE_NOT_READY, "node \"n1\": Kubelet stopped posting node status.");
    not_started_on_a_node(&mut job, 1, 600, silent);
    let waits = not_started_on_a_node(&mut job, 1, 1199, silent);
    assert_eq!(
        (job.status.phase, waits.requeue_after),
        (Some(Phase::Queued), Some(Duration::from_secs(1)))
    );
    not_started_on_a_node(&mut job, 1, 1200, silent);
    let failure = job.status.failure.unwrap();
    assert_eq!(
        (job.status.phase, failure.reason),
        (Some(Phase::Failed), FailureReason::StartDeadline)
    );
    let said = "did not start within 600 s: NodeNotReady node \"n1\": Kubelet stopped posting node status. Its node has \
                not ended it in another 600 s.";
    assert_eq!(failure.message, said);
}

#[test]
fn what_was_given_up_on_a_node_that_was_deleted_may_run_and_no_other_starts() {
    for reason in [FailureReason::Lost, FailureReason::Preempted] {
        let mut job = job();
        not_started_on_a_node(&mut job, 1, 600, NOT_MOUNTED);
        job.status.failure.as_mut().unwrap().reason = reason;
        let state = AttemptState::Unreachable { message: "deleted".into(), since: at(700_000) };
        let unreachable = Attempt { is_present: false, ..attempt(1, state) };
        let waits = plan(&job, &limits(), &seen(vec![unreachable]), at(700_000));
        assert_eq!((&waits.actions[..], waits.status.phase), (&[][..], Some(Phase::Queued)));
        assert_eq!(waits.requeue_after, Some(Duration::from_secs(30)));
    }
}

#[test]
fn what_every_node_would_say_is_not_tried_on_another() {
    let missing =
        "failed to resolve reference \"registry.example/f:1\": registry.example/f:1: not found";
    let refused = "dial tcp 10.0.0.7:443: connect: connection refused";
    for (reason, message, is_tried_again) in [
        ("InvalidImageName", "", false),
        ("CreateContainerConfigError", "secret \"s\" not found", false),
        ("ErrImagePull", missing, false),
        ("ImagePullBackOff", missing, false),
        (reasons::SUSPENDED, "", false),
        ("ErrImagePull", refused, true),
        ("ErrImageNeverPull", "", true),
        ("CreateContainerError", "", true),
    ] {
        let mut job = job();
        not_started_on_a_node(&mut job, 1, 600, (reason, message));
        assert_eq!(job.status.phase == Some(Phase::Queued), is_tried_again, "{reason} {message}");
    }
}

#[test]
fn a_job_for_which_no_node_had_room_is_tried_on_another_too() {
    let mut job = job();
    let no_room = Attempt {
        unschedulable_since: Some(at(0)),
        ..attempt(1, AttemptState::Starting { reason: None, message: String::new() })
    };
    let waits =
        Observed { unschedulable_timeout: Some(Duration::from_secs(10)), ..seen(vec![no_room]) };
    job.status = plan(&job, &limits(), &waits, at(10_000)).status;
    assert_eq!(job.status.failure.as_ref().unwrap().reason, FailureReason::Unschedulable);
    not_started_on_a_node(&mut job, 2, 700, NOT_MOUNTED);
    assert_eq!(job.status.phase, Some(Phase::Queued));
    not_started_on_a_node(&mut job, 3, 1400, NOT_MOUNTED);
    assert_eq!(job.status.phase, Some(Phase::Failed));
}
