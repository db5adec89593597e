//! An attempt for which no node has room gives its CPUs back.

use std::time::Duration;

use super::fixtures::*;
use crate::JobSpec;
use crate::plan::next_try::{
    FIRST_UNSCHEDULABLE_BACKOFF_MILLISECONDS, MAX_UNSCHEDULABLE_BACKOFF_MILLISECONDS,
};
use crate::plan::*;
use crate::status::Truth;

const TIMEOUT: Duration = Duration::from_secs(10);
const NO_CPU: &str = "0/3 nodes are available: 3 Insufficient cpu.";
const NO_NODE: &str = "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}.";

/// An attempt of so many CPUs that was created then, and that found no node a second later.
fn unschedulable(number: AttemptNumber, cpus: Cpus, created: i64, message: &str) -> Attempt {
    let reason = Some("Unschedulable".into());
    let state = AttemptState::Starting { reason, message: message.into() };
    let since = Some(at(created));
    let unschedulable_since = Some(at(created + 1_000));
    let all = attempt(number, state);
    Attempt { cpus, created: at(created), startable_since: since, unschedulable_since, ..all }
}

fn observed(attempt: Attempt) -> Observed {
    Observed { unschedulable_timeout: Some(TIMEOUT), ..seen(vec![attempt]) }
}

/// A job of 8 CPUs, or at least 2.
fn moldable() -> Job {
    let mut job = job();
    job.spec = JobSpec { parallelism: Some(8), min_parallelism: Some(2), ..job.spec };
    job
}

fn moldable_limits() -> JobLimits {
    JobLimits { parallelism: 8, min_parallelism: 2, ..limits() }
}

/// The attempt finds no node from then on, and gives its CPUs back. Returns the time at which the next one starts.
fn give_back(job: &mut Job, created: i64, message: &str) -> i64 {
    let number = next_attempt_number(job, &[]);
    let cpus = next_parallelism(job, &moldable_limits());
    let world = observed(unschedulable(number, cpus, created, message));
    job.status = plan(job, &moldable_limits(), &world, at(created + 11_000)).status;
    retry_at(job).unwrap().duration_since(at(0)).as_millis() as i64
}

#[test]
fn it_gives_its_cpus_back_after_the_timeout_and_is_then_removed() {
    let world = observed(unschedulable(1, 2, 0, NO_CPU));
    let mut job = job();
    let early = plan(&job, &limits(), &world, at(10_999));
    assert_eq!(early.status.phase, Some(Phase::Starting));
    assert_eq!(early.requeue_after, Some(Duration::from_millis(1)));
    let back = plan(&job, &limits(), &world, at(11_000));
    assert!(back.actions.is_empty(), "{:?}", back.actions);
    let status = &back.status;
    assert_eq!((status.phase, status.retries), (Some(Phase::Queued), 0));
    assert_eq!(told(status, ConditionType::Running), Some((Truth::False, "Unschedulable")));
    let admitted = status.condition(ConditionType::Admitted).unwrap();
    assert_eq!((admitted.status, admitted.reason.as_str()), (Truth::False, "Retrying"));
    assert!(admitted.message.starts_with("no node had room for it"), "{}", admitted.message);
    assert_eq!(status.failure.as_ref().map(|failure| failure.message.as_str()), Some(NO_CPU));
    job.status = back.status;
    // Also one that has found a node meanwhile: its CPUs are promised to others.
    let late =
        Attempt { state: AttemptState::Running { since: at(1) }, ..world.attempts[0].clone() };
    for there in [world.attempts[0].clone(), late] {
        let next = plan(&job, &limits(), &observed(there.clone()), at(12_000));
        assert_eq!(next.actions, [Action::Remove { attempt: 1 }]);
        assert!(!needs_cpus(&job, &[there], at(700_000)), "it is not dead");
    }
}

#[test]
fn what_still_exits_after_its_report_is_not_removed() {
    let mut job = job();
    let end = AttemptState::Ended(End::Reported(ending(crashed(), at(5))));
    job.status = plan(&job, &limits(), &observed(attempt(1, end)), at(6)).status;
    let exits = attempt(1, AttemptState::Running { since: at(1) });
    assert!(plan(&job, &limits(), &observed(exits), at(7)).actions.is_empty());
}

#[test]
fn without_a_timeout_it_waits_until_the_start_deadline() {
    let world = seen(vec![unschedulable(1, 2, 0, NO_CPU)]);
    let deadline = START_DEADLINE_SECONDS * 1000;
    let status = plan(&job(), &limits(), &world, at(deadline - 1)).status;
    assert_eq!(status.phase, Some(Phase::Starting));
    let failure = plan(&job(), &limits(), &world, at(deadline)).status.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::StartDeadline);
}

#[test]
fn the_start_deadline_ends_it_with_the_schedulers_words() {
    let mut job = job();
    let (mut now, mut attempts) = (0, 0);
    while !job.status.is_finished() {
        assert_eq!(job.status.retries, 0);
        now = give_back(&mut job, now, NO_NODE);
        attempts += 1;
    }
    let failure = job.status.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::StartDeadline);
    let said = format!("did not start within 600 s: Unschedulable {NO_NODE}");
    assert_eq!(failure.message, said);
    assert!((5..12).contains(&attempts), "{attempts} attempts");
    let took = failure.time.duration_since(at(0)).as_secs();
    assert!((600..900).contains(&took), "{took} s");
}

#[test]
fn the_time_that_it_waits_for_cpus_meanwhile_does_not_count() {
    let mut job = job();
    let mut now = 0;
    for _ in 0..4 {
        // Each time others have the CPUs of its queue for an hour.
        now = give_back(&mut job, now, NO_NODE) + 3_600_000;
        assert_eq!(job.status.phase, Some(Phase::Queued));
    }
}

#[test]
fn back_off_is_as_long_as_it_has_found_no_node_and_has_bounds() {
    let mut job = job();
    let first = FIRST_UNSCHEDULABLE_BACKOFF_MILLISECONDS as i64;
    let longest = MAX_UNSCHEDULABLE_BACKOFF_MILLISECONDS as i64;
    let next = give_back(&mut job, 0, NO_NODE);
    let failure = job.status.failure.clone().unwrap();
    for (so_far, full) in
        [(0, first), (11, 11_000), (40, 40_000), (1_000, longest), (500_000, 500_000_000 / 16)]
    {
        let since = failure.time - SignedDuration::from_secs(so_far);
        let refused_since = Some(since);
        job.status.failure = Some(crate::status::Failure { refused_since, ..failure.clone() });
        let wait = retry_at(&job).unwrap().duration_since(failure.time).as_millis() as i64;
        assert!((full / 2..=full).contains(&wait), "{so_far} s: {wait} ms");
    }
    assert!(next >= 11_000 + first / 2);
}

#[test]
fn the_longest_start_deadline_has_room_for_fewer_attempts_than_there_are() {
    let limits = JobLimits { start_deadline_seconds: 604_800, ..limits() };
    let (mut job, mut now) = (job(), 0);
    while !job.status.is_finished() {
        let number = next_attempt_number(&job, &[]);
        let world = observed(unschedulable(number, 2, now, NO_NODE));
        job.status = plan(&job, &limits, &world, at(now + 11_000)).status;
        now = retry_at(&job).unwrap().duration_since(at(0)).as_millis() as i64;
    }
    assert_eq!(job.status.failure.unwrap().reason, FailureReason::StartDeadline);
}

#[test]
fn a_job_that_may_take_fewer_is_soon_tried_with_half_as_many() {
    let mut job = moldable();
    let (mut now, mut tried) = (0, Vec::new());
    for _ in 0..4 {
        tried.push(next_parallelism(&job, &moldable_limits()));
        let next = give_back(&mut job, now, NO_CPU);
        let waits = next - (now + 11_000);
        now = next;
        // With the fewest there is nothing else to try.
        assert_eq!(waits >= 5_000, *tried.last().unwrap() == 2, "{tried:?}: {waits} ms");
    }
    assert_eq!(tried, [8, 4, 2, 2]);
}

#[test]
fn fewer_cpus_help_only_where_they_lack_and_only_until_it_has_run() {
    let mut job = moldable();
    give_back(&mut job, 0, NO_NODE);
    assert_eq!(next_parallelism(&job, &moldable_limits()), 8);
    give_back(&mut job, 0, NO_CPU);
    assert_eq!(next_parallelism(&job, &moldable_limits()), 4);
    // It has run with 4, and is lost.
    let end = End::Unreported { reason: FailureReason::Lost, message: NO_CPU.into(), at: at(9) };
    let lost = Attempt { cpus: 4, ..attempt(3, AttemptState::Ended(end)) };
    job.status = plan(&job, &moldable_limits(), &observed(lost), at(10)).status;
    assert_eq!(next_parallelism(&job, &moldable_limits()), 8);
}
