//! The decisions of a plan, one by one.

use super::fixtures::*;
use crate::plan::*;
use crate::report::{self, Ending, Outcome};
use crate::status::{Place, Truth};
use crate::transition::coarsely;
use crate::{JobSpec, Metadata};

#[test]
fn an_attempt_that_ends_at_once_is_not_told_to_run() {
    let job = job();
    let seen = |since: i64| Observed {
        running_grace: Duration::from_secs(2),
        ..seen(vec![attempt(1, AttemptState::Running { since: at(since) })])
    };
    let early = plan(&job, &limits(), &seen(0), at(1000));
    assert_eq!(early.status.phase, job.status.phase);
    assert_eq!(early.requeue_after, Some(Duration::from_secs(1)));
    let told = |since, now| plan(&job, &limits(), &seen(since), at(now)).status.phase;
    assert_eq!(told(0, 2000), Some(Phase::Running));
    // By the clock of another machine it starts in an hour.
    assert_eq!(told(3_600_000, 1), Some(Phase::Running));
}

#[test]
fn a_granted_job_starts_its_first_attempt_without_a_write() {
    let plan = plan(&job(), &limits(), &seen(vec![]), at(1));
    assert_eq!(plan.actions, [Action::Start { attempt: 1, cpus: 2 }]);
    assert_eq!(plan.status, job().status);
}

#[test]
fn a_job_that_waits_says_so() {
    let admission = AdmissionDecision::Waiting { why: "no".into(), place: None };
    let seen = Observed { admission, ..Observed::default() };
    let plan = plan(&job(), &limits(), &seen, at(1));
    assert_eq!(plan.actions, []);
    assert_eq!(plan.status.phase, Some(Phase::Queued));
    let admitted = told(&plan.status, ConditionType::Admitted);
    assert_eq!(admitted, Some((Truth::False, "WaitingForCpus")));
}

#[test]
fn starting_is_told_only_when_it_takes_long_or_has_a_reason() {
    let fresh = plan(&job(), &limits(), &seen(vec![attempt(1, starting())]), at(100));
    assert_eq!(fresh.status, job().status);
    assert_eq!(fresh.requeue_after, Some(Duration::from_millis(59_900)));

    // A start deadline that comes first is looked at in time.
    let short = JobLimits { start_deadline_seconds: 10, ..limits() };
    let fresh = plan(&job(), &short, &seen(vec![attempt(1, starting())]), at(100));
    assert_eq!(fresh.requeue_after, Some(Duration::from_millis(9_900)));

    let slow = plan(&job(), &limits(), &seen(vec![attempt(1, starting())]), at(60_000));
    assert_eq!(slow.status.phase, Some(Phase::Starting));
    // Its pod comes: not worth another write.
    let told_so = Job { status: slow.status.clone(), ..job() };
    let with_pod = Attempt { pod: Some("pod".into()), ..attempt(1, starting()) };
    let later = plan(&told_so, &limits(), &seen(vec![with_pod]), at(70_000));
    assert_eq!(later.status, told_so.status);
    assert!(later.requeue_after.is_some());

    let stuck = AttemptState::Starting {
        reason: Some("Unschedulable".into()),
        message: "0/1 nodes are available".into(),
    };
    let stuck = plan(&job(), &limits(), &seen(vec![attempt(1, stuck)]), at(100));
    let running = told(&stuck.status, ConditionType::Running);
    assert_eq!(running, Some((Truth::False, "Unschedulable")));
}

#[test]
fn an_attempt_that_never_starts_fails_at_its_deadline_and_is_removed() {
    let world = seen(vec![attempt(1, starting())]);
    let late = plan(&job(), &limits(), &world, at(START_DEADLINE_SECONDS * 1000));
    assert_eq!(late.status.phase, Some(Phase::Failed));
    assert_eq!(late.status.failure.as_ref().unwrap().reason, FailureReason::StartDeadline);
    let told = Job { status: late.status, ..job() };
    let after = plan(&told, &limits(), &world, at(START_DEADLINE_SECONDS * 1000));
    assert_eq!(after.actions, [Action::Remove { attempt: 1 }]);
}

#[test]
fn the_start_deadline_runs_from_the_pod_and_not_while_nobody_has_made_one() {
    let late = START_DEADLINE_SECONDS * 1000;
    let waits = Attempt { startable_since: None, ..attempt(1, starting()) };
    let plan_at =
        |attempt: &Attempt, now| plan(&job(), &limits(), &seen(vec![attempt.clone()]), at(now));
    // A Job controller with thousands of others to make pods for.
    assert_eq!(plan_at(&waits, 10 * late).status.phase, Some(Phase::Starting));
    let came =
        Attempt { startable_since: Some(at(late)), pod: Some("pod".into()), ..waits.clone() };
    assert_eq!(plan_at(&came, late + 60_000).status.phase, Some(Phase::Starting));
    assert_eq!(plan_at(&came, 2 * late).status.phase, Some(Phase::Failed));
    // It is refused a pod.
    let state = AttemptState::Starting { reason: Some("QuotaExceeded".into()), message: "".into() };
    let refused = Attempt { state, ..waits };
    assert_eq!(plan_at(&refused, late).status.phase, Some(Phase::Failed));
}

#[test]
fn what_is_refused_is_told_at_once_and_fails_at_the_start_deadline_or_when_it_is_final() {
    let refused = |is_final| Refusal {
        attempt: 1,
        since: at(0),
        reason: "QuotaExceeded".into(),
        message: "exceeded quota".into(),
        is_final,
    };
    let seen = |is_final| Observed { refusal: Some(refused(is_final)), ..seen(vec![]) };
    let soon = plan(&job(), &limits(), &seen(false), at(1_000));
    assert_eq!(soon.actions, [Action::Start { attempt: 1, cpus: 2 }], "it is tried again");
    assert_eq!(soon.status.phase, Some(Phase::Starting));
    let running = told(&soon.status, ConditionType::Running);
    assert_eq!(running, Some((Truth::False, "QuotaExceeded")));
    let late = plan(&job(), &limits(), &seen(false), at(START_DEADLINE_SECONDS * 1000));
    let reason = |plan: &Plan| plan.status.failure.as_ref().map(|failure| failure.reason);
    assert_eq!((&late.actions[..], reason(&late)), (&[][..], Some(FailureReason::StartDeadline)));
    let never = plan(&job(), &limits(), &seen(true), at(1_000));
    assert_eq!((&never.actions[..], reason(&never)), (&[][..], Some(FailureReason::CannotStart)));
    assert_eq!((late.status.phase, never.status.phase), (Some(Phase::Failed), Some(Phase::Failed)));
    // What was said of another attempt means nothing, however long ago.
    let other = Refusal { attempt: 7, ..refused(true) };
    let other = Observed { refusal: Some(other), ..seen(false) };
    let plan = plan(&job(), &limits(), &other, at(START_DEADLINE_SECONDS * 1000));
    assert_eq!((plan.actions.len(), plan.status), (1, job().status));
}

#[test]
fn a_job_that_lacks_what_was_there_waits_and_says_so() {
    let mut job = job();
    job.status.phase = Some(Phase::Queued);
    job.status.waiting = Some(Place { position: 4, estimated_start: None });
    let why = "no function \"f\"".to_owned();
    let admission =
        AdmissionDecision::Blocked { reason: reasons::FUNCTION_NOT_FOUND, why, place: None };
    let blocked =
        plan(&job, &limits(), &Observed { admission, ..Observed::default() }, at(10_000_000))
            .status;
    let admitted = told(&blocked, ConditionType::Admitted);
    assert_eq!(admitted, Some((Truth::False, reasons::FUNCTION_NOT_FOUND)));
    assert_eq!((blocked.phase, blocked.waiting), (Some(Phase::Queued), None));
}

#[test]
fn a_deleted_node_proves_nothing_and_cancel_does_not_wait_for_it() {
    let state = AttemptState::Unreachable { message: "n is deleted".into(), since: at(7) };
    let mut job = job();
    job.status.phase = Some(Phase::Running);
    let world = seen(vec![attempt(1, state)]);
    let waits = plan(&job, &limits(), &world, at(1_000_000));
    assert_eq!((&waits.actions[..], waits.status.phase), (&[][..], Some(Phase::Running)));
    let running = told(&waits.status, ConditionType::Running);
    assert_eq!(running, Some((Truth::Unknown, reasons::NODE_DELETED)));
    // Nobody tells that the node has come back.
    assert!(waits.requeue_after.is_some());
    job.spec.cancel = true;
    let cancelled = plan(&job, &limits(), &world, at(1_000_000));
    assert_eq!(cancelled.status.phase, Some(Phase::Cancelled));
}

#[test]
fn a_place_in_the_line_is_told_again_when_it_has_changed_by_half() {
    let place = |position| Some(Place { position, estimated_start: None });
    for (told, now, tells) in [
        (100, 99, false),
        (100, 51, false),
        (100, 50, true),
        (100, 151, true),
        (1, 1, false),
        (2, 1, true),
    ] {
        let told_next = coarsely(place(told), place(now));
        assert_eq!(told_next == place(now), tells || told == now, "{told} -> {now}");
    }
    assert_eq!((coarsely(None, place(9)), coarsely(place(9), None)), (place(9), place(9)));
}

#[test]
fn batch_jobs_of_attempts_before_the_last_do_not_pile_up() {
    let lost =
        End::Unreported { reason: FailureReason::Lost, message: "evicted".into(), at: at(9) };
    let ended = |number| attempt(number, AttemptState::Ended(lost.clone()));
    let mut job = job();
    job.status = plan(&job, &limits(), &seen(vec![ended(3)]), at(10)).status;
    let next = plan(&job, &limits(), &seen(vec![ended(2), ended(3)]), at(70_000));
    let expected = [Action::Remove { attempt: 2 }, Action::Start { attempt: 4, cpus: 2 }];
    assert_eq!(next.actions, expected);
}

#[test]
fn a_batch_job_that_may_start_what_has_ended_anew_is_removed_before_the_next_attempt() {
    let lost = End::Unreported { reason: FailureReason::Lost, message: "gone".into(), at: at(9) };
    let suspended = Attempt { may_restart: true, ..attempt(1, AttemptState::Ended(lost.clone())) };
    let mut job = job();
    job.status = plan(&job, &limits(), &seen(vec![suspended.clone()]), at(10)).status;
    assert_eq!(job.status.phase, Some(Phase::Queued));
    assert!(!needs_cpus(&job, std::slice::from_ref(&suspended), at(70_000)));
    let early = plan(&job, &limits(), &seen(vec![suspended.clone()]), at(3_009));
    assert_eq!((early.actions, early.requeue_after), (vec![], Some(Duration::from_secs(2))));
    let first = plan(&job, &limits(), &seen(vec![suspended]), at(70_000));
    assert_eq!(first.actions, [Action::Remove { attempt: 1 }]);
    assert!(first.requeue_after.is_some());
    let next = plan(&job, &limits(), &seen(vec![]), at(70_000));
    assert_eq!(next.actions, [Action::Start { attempt: 2, cpus: 2 }]);
}

#[test]
fn why_it_does_not_start_is_told_once_whatever_the_words() {
    let hindered = |reason: &str, message: &str| AttemptState::Starting {
        reason: Some(reason.into()),
        message: message.into(),
    };
    let mut job = job();
    let mut told_of = |state| {
        job.status = plan(&job, &limits(), &seen(vec![attempt(1, state)]), at(100)).status;
        let running = job.status.condition(ConditionType::Running).unwrap();
        (running.reason.clone(), running.message.clone())
    };
    let expected = |reason: &str, message: &str| (reason.to_owned(), message.to_owned());
    let first = expected("Unschedulable", "0/9 nodes");
    assert_eq!(told_of(hindered("Unschedulable", "0/9 nodes")), first);
    assert_eq!(told_of(hindered("Unschedulable", "0/8 nodes")), first);
    let image = expected("ErrImagePull", "not found");
    assert_eq!(told_of(hindered("ErrImagePull", "not found")), image);
    assert_eq!(told_of(hindered("ImagePullBackOff", "back-off 10 s")), image);
    assert_eq!(told_of(hindered("ErrImagePull", "not found, again")), image);
    let unscheduled = expected("Unschedulable", "0/7 nodes");
    assert_eq!(told_of(hindered("Unschedulable", "0/7 nodes")), unscheduled);
}

#[test]
fn cancelled_job_is_told_when_nothing_runs_any_more() {
    let mut job = job();
    job.spec.cancel = true;
    let running = attempt(1, AttemptState::Running { since: at(5) });
    let first = plan(&job, &limits(), &seen(vec![running.clone()]), at(10));
    assert_eq!(first.actions, [Action::Remove { attempt: 1 }]);
    assert_eq!(first.status, job.status);

    let stopping = Attempt { stopping: true, ..running };
    let second = plan(&job, &limits(), &seen(vec![stopping]), at(20));
    assert_eq!((second.actions, second.status.phase), (vec![], None));

    let gone = plan(&job, &limits(), &seen(vec![]), at(30));
    assert_eq!(gone.status.phase, Some(Phase::Cancelled));
    let finished = told(&gone.status, ConditionType::Finished);
    assert_eq!(finished, Some((Truth::True, "Cancelled")));
}

#[test]
fn a_result_that_comes_after_cancel_is_refused_in_words() {
    let mut job = job();
    job.spec.cancel = true;
    let refused = report::check(&job, &job.metadata.uid, 1);
    assert_eq!(refused, Err(report::ReportRefusal::Cancelled));
}

#[test]
fn an_invalid_job_fails_without_an_attempt_and_lists_the_problems() {
    let why = Error::Invalid(vec![crate::Problem::at("/parallelism", "99 is not allowed")]);
    let plan = plan_invalid(&job(), &why, &Observed::default(), at(3));
    assert_eq!(plan.actions, []);
    let failure = plan.status.failure.unwrap();
    assert_eq!((failure.reason, failure.attempt), (FailureReason::Invalid, 0));
    assert!(failure.message.contains("/parallelism: 99"), "{}", failure.message);
}

#[test]
fn a_job_that_became_invalid_after_a_failed_attempt_fails() {
    let why = Error::NotFound { kind: "ComputeFunction", name: "f".into() };
    let mut job = job();
    let crashed = ending(Outcome::failed(FailureReason::Crashed, ""), at(1));
    job.status = report::finish(&job, &limits(), 1, &crashed).unwrap();
    assert_eq!(job.status.phase, Some(Phase::Queued));
    let seen = |state| Observed { attempts: vec![attempt(1, state)], ..Observed::default() };
    let exiting = plan_invalid(&job, &why, &seen(AttemptState::Running { since: at(0) }), at(5));
    assert_eq!(exiting.status.phase, Some(Phase::Queued), "its processes are still there");
    let gone = plan_invalid(&job, &why, &seen(AttemptState::Ended(End::Reported(crashed))), at(9));
    let reason = gone.status.failure.map(|failure| failure.reason);
    assert_eq!((gone.status.phase, reason), (Some(Phase::Failed), Some(FailureReason::Invalid)));
    assert_eq!(gone.actions, [Action::Remove { attempt: 1 }]);
}

#[test]
fn a_report_of_json_that_is_none_is_a_failure() {
    let told = |text: &[u8]| {
        let result = crate::result::inline_result(text, "application/json").unwrap();
        report::finish(&job(), &limits(), 1, &ending(Outcome::Succeeded(result), at(1))).unwrap()
    };
    assert_eq!(told(b"[1]").phase, Some(Phase::Succeeded));
    for bad in [&b"hello"[..], b"{\"a\":1,\"a\":2}", b"\xff"] {
        let status = told(bad);
        assert_eq!((status.phase, status.result), (Some(Phase::Queued), None));
        let failure = status.failure.unwrap();
        assert_eq!(failure.reason, FailureReason::NoOutput);
        assert!(failure.message.contains("that is not JSON"), "{}", failure.message);
    }
}

#[test]
fn nothing_of_an_earlier_attempt_is_told_of_the_next() {
    let mut job = job();
    let progress = crate::status::Progress::new(8, 10, "", 1.0);
    let failed = Ending {
        progress: Some(progress),
        usage: Some(crate::status::Usage::default()),
        ..ending(Outcome::failed(FailureReason::Crashed, ""), at(1))
    };
    job.status = report::finish(&job, &limits(), 1, &failed).unwrap();
    let second = ending(Outcome::Succeeded(result()), at(9));
    let status = report::finish(&job, &limits(), 2, &second).unwrap();
    assert_eq!((status.attempt, status.progress, status.usage), (Some(2), None, None));
}

#[test]
fn a_finished_job_expires_after_its_time_to_live() {
    let mut job = job();
    job.status.end(Phase::Succeeded, "Succeeded", "", at(0));
    let early = plan(&job, &limits(), &Observed::default(), at(99_000));
    assert_eq!((early.actions, early.requeue_after), (vec![], Some(Duration::from_secs(1))));
    let late = plan(&job, &limits(), &Observed::default(), at(100_000));
    assert_eq!(late.actions, [Action::Expire]);
}

// --- properties over a small world -------------------------------------------------------------

#[test]
fn a_refusal_that_was_reported_is_remembered_by_whoever_reads_the_status() {
    let mut job = Job::new(Metadata::default(), JobSpec::default());
    let limits = JobLimits { retries: 3, ..JobLimits::without_function(&job.spec) };
    assert_eq!(reported_refusal(&job, &[]), None);
    // The first attempt ran, and failed long ago.
    let end = End::Unreported { reason: FailureReason::Killed, message: "".into(), at: at(0) };
    let attempts = vec![attempt(1, AttemptState::Ended(end))];
    let failed = Observed { attempts: attempts.clone(), ..Observed::default() };
    job.status = plan(&job, &limits, &failed, at(0)).status;
    assert_eq!((job.status.phase, reported_refusal(&job, &attempts)), (Some(Phase::Queued), None));
    // The second is refused.
    let refusal = Refusal {
        attempt: 2,
        since: at(7_200_000),
        reason: reasons::QUOTA_EXCEEDED.into(),
        message: "exceeded quota".into(),
        is_final: false,
    };
    let admission = AdmissionDecision::Granted(1);
    let refused = Observed { admission, refusal: Some(refusal.clone()), ..failed };
    job.status = plan(&job, &limits, &refused, at(7_201_000)).status;
    assert_eq!(reported_refusal(&job, &attempts), Some(refusal));
}
