//! What is granted, claimed, given up and told, event by event.

mod shared;

use windlass_core::status::reasons;
use windlass_core::{Cpus, JobSpec, Metadata};

use super::*;
use crate::crd::ComputeQueueSpec;
use crate::crd::{Claim, QueueStatus};
use crate::queueing::claim_write::{ClaimWrite, MAX_CLAIMS};
use crate::test_times::at;

const ME: &str = "me";

fn key() -> QueueKey {
    QueueKey { namespace: "n".into(), name: "q".into() }
}

fn attempt(job: &str) -> AttemptId {
    AttemptId { job_uid: job.into(), number: 1 }
}

fn job(name: &str) -> Job {
    let metadata = Metadata {
        namespace: "n".into(),
        name: name.into(),
        uid: name.into(),
        creation_timestamp: Some(at(0)),
        ..Metadata::default()
    };
    Job::new(metadata, JobSpec { queue: Some("q".into()), ..JobSpec::default() })
}

/// A queue and a controller that leads.
struct Controller {
    admission: ClusterAdmission,
    woken: mpsc::UnboundedReceiver<JobRef>,
    queue: ComputeQueue,
}

impl Controller {
    /// A queue of so many CPUs, whose holder this controller is.
    fn new(cpus: Cpus) -> Self {
        let (requeued, woken) = mpsc::unbounded_channel();
        let admission = ClusterAdmission::new(ME.into(), false, requeued);
        let spec = serde_json::from_value(serde_json::json!({ "cpus": cpus })).unwrap();
        let mut queue = ComputeQueue::new("q", ComputeQueueSpec(spec));
        queue.metadata.namespace = Some("n".into());
        queue.metadata.uid = Some("queue".into());
        let mut controller = Self { admission, woken, queue };
        controller.watch_status(QueueStatus { holder: Some(ME.into()), ..QueueStatus::default() });
        controller.admission.mark_counted(&LedgerKey::Queue(key()));
        controller.admission.start_granting(at(0));
        controller
    }

    /// The watch brings this status.
    fn watch_status(&mut self, status: QueueStatus) {
        self.queue.status = Some(status);
        self.admission.queue_changed(&self.queue, |_| false, at(0));
    }

    fn request(&self, name: &str) -> AdmissionDecision {
        self.request_in("q", name)
    }

    fn request_in(&self, queue: &str, name: &str) -> AdmissionDecision {
        let mut job = job(name);
        job.spec.queue = Some(queue.into());
        let limits = JobLimits { parallelism: 2, ..JobLimits::without_function(&job.spec) };
        let limits = JobLimits { min_parallelism: 2, ..limits };
        self.admission.request_cpus(&job, attempt(name), &limits, at(0))
    }

    fn next_write(&self) -> Option<ClaimWrite> {
        self.admission.next_claim_write(false, at(0))
    }

    /// A job asks and its claim is written: what the queue then says, as the watch brings it.
    fn claim(&mut self, name: &str) -> QueueStatus {
        self.request(name);
        let write = self.next_write().unwrap();
        self.admission.confirm_claims(&write, at(0));
        self.watch_status(write.status.clone());
        write.status
    }

    /// Whose claims the next write has.
    fn claims(&self) -> Option<Vec<String>> {
        let write = self.next_write()?;
        Some(write.status.claims.into_iter().map(|claim| claim.job_uid).collect())
    }

    fn observe(&self, name: &str, is_live: bool) {
        self.observe_with(name, is_live, 2);
    }

    /// An attempt whose label says so many CPUs.
    fn observe_with(&self, name: &str, is_live: bool, cpus: Cpus) {
        let labels = AttemptLabels {
            attempt: attempt(name),
            namespace: "n".into(),
            job: name.into(),
            queue: "q".into(),
            cpus,
        };
        self.admission.attempt_changed(&ChangedAttempt { labels, is_live }, at(0));
    }
}

#[test]
fn a_label_takes_no_more_than_a_job_may_have_and_gives_nothing_back() {
    let controller = Controller::new(2_000);
    for (label, held) in [(4_000_000_000, 1024), (0, 1024)] {
        controller.observe_with("forged", true, label);
        assert_eq!(controller.admission.cpus_in_use(), held, "{label}");
    }
    controller.observe_with("forged", false, 0);
    assert_eq!(controller.admission.cpus_in_use(), 0);
}

/// The claim that it shows is of an attempt that is over and that no cache has any more.
#[test]
fn a_watch_that_is_late_brings_no_claim_back() {
    let mut controller = Controller::new(2);
    controller.queue.metadata.resource_version = Some("9".into());
    let claimed = controller.claim("a");
    controller.observe("a", true);
    controller.observe("a", false);
    controller.queue.metadata.resource_version = Some("10".into());
    let nothing = QueueStatus { holder: Some(ME.into()), ..QueueStatus::default() };
    controller.watch_status(nothing.clone());
    for (version, is_held) in [("9", false), ("10", true)] {
        controller.queue.metadata.resource_version = Some(version.into());
        controller.watch_status(claimed.clone());
        assert_eq!(controller.admission.cpus_in_use() > 0, is_held, "{version}");
    }
    // Another queue of the name begins anew.
    controller.queue.metadata.uid = Some("another".into());
    controller.queue.metadata.resource_version = Some("1".into());
    controller.watch_status(nothing);
    assert_eq!(controller.admission.lock().queues[&key()].ledger.resource_version, "1");
}

#[test]
fn a_grant_is_used_only_when_it_is_claimed() {
    let mut controller = Controller::new(2);
    assert_eq!(controller.request("a"), AdmissionDecision::NotAsked);
    let write = controller.next_write().unwrap();
    assert!(write.may_replace);
    assert_eq!(controller.request("a"), AdmissionDecision::NotAsked, "it is being written");
    controller.admission.confirm_claims(&write, at(0));
    assert_eq!(controller.woken.try_recv().unwrap(), ("n".into(), "a".into()));
    assert_eq!(controller.request("a"), AdmissionDecision::Granted(2));
    assert!(matches!(controller.request("b"), AdmissionDecision::Waiting { .. }));
}

#[test]
fn a_claim_stands_until_its_attempt_is_seen() {
    let mut controller = Controller::new(6);
    controller.claim("a");
    controller.request("b");
    assert_eq!(controller.claims(), Some(vec!["a".into(), "b".into()]));
    controller.observe("a", true);
    assert_eq!(controller.claims(), Some(vec!["b".into()]));
    let since = controller.admission.unobserved_claims();
    assert_eq!(since, [], "one that is only granted is nobody's to ask for");
}

#[test]
fn not_more_is_claimed_at_once_than_the_object_takes() {
    let controller = Controller::new(10_000);
    for number in 0..=MAX_CLAIMS {
        controller.request(&format!("{number:04}"));
    }
    assert_eq!(controller.claims().unwrap().len(), MAX_CLAIMS);
}

#[test]
fn a_grant_that_does_not_fit_any_more_goes_back() {
    let controller = Controller::new(2);
    controller.request("a");
    // Another controller's.
    controller.observe("b", true);
    assert_eq!(controller.claims(), None);
    controller.observe("b", false);
    assert_eq!(controller.claims(), Some(vec!["a".into()]));
}

#[test]
fn what_was_granted_to_a_job_that_leaves_is_free() {
    let controller = Controller::new(2);
    controller.request("a");
    controller.request("b");
    controller.admission.withdraw("a", at(0));
    assert_eq!(controller.claims(), Some(vec!["b".into()]));
}

#[test]
fn a_claim_of_a_job_that_left_while_it_was_written_means_nothing() {
    for watch_is_first in [true, false] {
        let mut controller = Controller::new(2);
        controller.request("a");
        let write = controller.next_write().unwrap();
        controller.admission.withdraw("a", at(0));
        if watch_is_first {
            controller.watch_status(write.status.clone());
        }
        controller.admission.confirm_claims(&write, at(0));
        controller.watch_status(write.status);
        controller.request("b");
        assert_eq!(controller.claims(), Some(vec!["b".into()]), "watch first: {watch_is_first}");
    }
}

#[test]
fn an_old_claim_of_what_has_ended_means_nothing() {
    let mut controller = Controller::new(2);
    let status = controller.claim("a");
    controller.observe("a", true);
    controller.observe("a", false);
    // The watch is late.
    controller.watch_status(status.clone());
    controller.request("b");
    assert_eq!(controller.claims(), Some(vec!["b".into()]));
    // A process that has just begun: the cache says it.
    let mut controller = Controller::new(2);
    controller.queue.status = Some(status);
    controller.admission.queue_changed(&controller.queue, |_| true, at(0));
    controller.request("b");
    assert_eq!(controller.claims(), Some(vec!["b".into()]));
}

#[test]
fn anothers_claim_counts_until_it_is_known_to_be_over() {
    let mut controller = Controller::new(2);
    let claim = Claim::new(&attempt("a"), 2);
    let holder = Some("other".to_owned());
    controller.watch_status(QueueStatus { holder, claims: vec![claim], ..QueueStatus::default() });
    controller.request("b");
    assert_eq!(controller.claims(), None);
    assert_eq!(controller.admission.unobserved_claims(), [(attempt("a"), at(0))]);
    controller.admission.release_attempt(&attempt("a"), at(0));
    let later = at(2);
    let write = controller.admission.next_claim_write(false, later).unwrap();
    assert!(!write.may_replace, "it is taken over first");
}

#[test]
fn a_queue_may_replace_only_when_all_that_was_made_before_is_counted() {
    let mut controller = Controller::new(2);
    let held_by = |who: &str| QueueStatus { holder: Some(who.into()), ..QueueStatus::default() };
    controller.watch_status(held_by("other"));
    controller.request("a");
    assert!(controller.next_write().is_none(), "the other has some time for its claims");
    assert!(!controller.admission.next_claim_write(false, at(2)).unwrap().may_replace);
    // Taken over, and not counted yet.
    controller.watch_status(held_by(ME));
    assert!(!controller.admission.next_claim_write(false, at(2)).unwrap().may_replace);
    controller.admission.mark_counted(&LedgerKey::Queue(key()));
    assert!(controller.admission.next_claim_write(false, at(2)).unwrap().may_replace);
}

#[test]
fn who_does_not_lead_grants_nothing() {
    let controller = Controller::new(2);
    controller.request("a");
    controller.admission.stop_granting();
    assert!(controller.next_write().is_none());
    controller.request("b");
    assert!(controller.next_write().is_none());
    controller.admission.start_granting(at(0));
    assert_eq!(controller.claims(), Some(vec!["a".into()]), "the older first");
}

#[test]
fn what_is_granted_is_told_again_when_it_is_free() {
    let mut controller = Controller::new(4);
    assert_eq!(controller.claim("a").granted, 2);
    controller.observe("a", true);
    assert!(
        controller.admission.next_claim_write(true, at(0)).is_none(),
        "nothing has changed by half"
    );
    controller.observe("a", false);
    assert!(controller.next_write().is_none(), "nobody waits for it");
    let write = controller.admission.next_claim_write(true, at(0)).unwrap();
    assert_eq!((write.status.granted, write.status.claims.len()), (0, 0));
}

#[test]
fn numbers_are_told_without_taking_the_queue_over() {
    let mut controller = Controller::new(2);
    let claims = vec![Claim::new(&attempt("z"), 1)];
    let told = QueueStatus { holder: Some("other".into()), granted: 9, waiting: 0, claims };
    controller.watch_status(told.clone());
    let write = controller.admission.next_claim_write(true, at(2)).unwrap();
    assert!(write.may_replace);
    assert_eq!(write.status, QueueStatus { granted: 1, ..told });
    controller.watch_status(write.status);
    assert!(controller.admission.next_claim_write(true, at(4)).is_none());
}

#[test]
fn a_queue_that_is_deleted_holds_those_who_waited_in_it() {
    let mut controller = Controller::new(2);
    controller.request("a");
    controller.request("b");
    controller.admission.queue_deleted(&key(), "another queue of that name", at(0));
    assert!(controller.admission.has_queue(&job("b")));
    controller.admission.queue_deleted(&key(), "queue", at(0));
    assert!(!controller.admission.has_queue(&job("b")));
    let mut woken =
        vec![controller.woken.try_recv().unwrap().1, controller.woken.try_recv().unwrap().1];
    woken.sort();
    assert_eq!(woken, ["a", "b"]);
    let AdmissionDecision::Blocked { reason, place, .. } = controller.request("b") else {
        panic!()
    };
    assert_eq!((reason, place.is_some()), (reasons::QUEUE_NOT_FOUND, true));
    assert!(controller.next_write().is_none(), "nothing is granted");
}

#[test]
fn a_job_that_is_moved_leaves_its_grant_and_waits_until_its_claim_is_given_up() {
    for is_claimed in [false, true] {
        let mut controller = Controller::new(2);
        controller.request("a");
        if is_claimed {
            controller.claim("a");
            // An attempt may be made of it.
            assert_eq!(controller.request_in("other", "a"), AdmissionDecision::NotAsked);
            controller.admission.release_attempt(&attempt("a"), at(0));
        }
        let moved = controller.request_in("other", "a");
        let AdmissionDecision::Blocked { reason, place, .. } = moved else { panic!("{moved:?}") };
        assert_eq!((reason, place), (reasons::QUEUE_NOT_FOUND, None), "it was never in that one");
        controller.request("b");
        assert_eq!(controller.claims(), Some(vec!["b".into()]), "claimed: {is_claimed}");
    }
}
