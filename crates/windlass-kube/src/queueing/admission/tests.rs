//! What is granted, claimed, given up and told, event by event.

use windlass_core::{JobSpec, Metadata};

use super::*;
use crate::crd::ComputeQueueSpec;

const ME: &str = "me";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

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
struct World {
    admission: Admission,
    woken: mpsc::UnboundedReceiver<JobRef>,
    queue: ComputeQueue,
}

impl World {
    /// A queue of so many CPUs, whose holder this controller is.
    fn new(cpus: Cpus) -> Self {
        let (wake, woken) = mpsc::unbounded_channel();
        let admission = Admission::new(ME.into(), wake);
        let spec = serde_json::from_value(serde_json::json!({ "cpus": cpus })).unwrap();
        let mut queue = ComputeQueue::new("q", ComputeQueueSpec(spec));
        queue.metadata.namespace = Some("n".into());
        queue.metadata.uid = Some("queue".into());
        let mut world = Self { admission, woken, queue };
        world.tell(QueueStatus { holder: Some(ME.into()), ..QueueStatus::default() });
        world.admission.was_counted(&key());
        world.admission.open(at(0));
        world
    }

    /// The watch brings this status.
    fn tell(&mut self, status: QueueStatus) {
        self.queue.status = Some(status);
        self.admission.queue_changed(&self.queue, |_| false, at(0));
    }

    fn ask(&self, name: &str) -> AdmissionDecision {
        let job = job(name);
        let limits = JobLimits { parallelism: 2, ..JobLimits::without_function(&job.spec) };
        let limits = JobLimits { min_parallelism: 2, ..limits };
        self.admission.ask(&job, attempt(name), &limits, at(0))
    }

    fn due(&self) -> Option<ClaimWrite> {
        self.admission.due(false, at(0))
    }

    /// Whose claims the next write has.
    fn claims(&self) -> Option<Vec<String>> {
        let write = self.due()?;
        Some(write.status.claims.into_iter().map(|claim| claim.job_uid).collect())
    }

    fn seen(&self, name: &str, is_live: bool) {
        let origin = Origin {
            attempt: attempt(name),
            namespace: "n".into(),
            job: name.into(),
            queue: "q".into(),
            cpus: 2,
        };
        self.admission.attempt_changed(&Touched { origin, is_live }, at(0));
    }
}

#[test]
fn a_grant_is_used_only_when_it_is_claimed() {
    let mut world = World::new(2);
    assert_eq!(world.ask("a"), AdmissionDecision::NotAsked);
    let write = world.due().unwrap();
    assert!(write.may_replace);
    assert_eq!(world.ask("a"), AdmissionDecision::NotAsked, "it is being written");
    world.admission.claimed(&write, at(0));
    assert_eq!(world.woken.try_recv().unwrap(), ("n".into(), "a".into()));
    assert_eq!(world.ask("a"), AdmissionDecision::Granted(2));
    assert!(matches!(world.ask("b"), AdmissionDecision::Waiting { .. }));
}

#[test]
fn a_claim_stands_until_its_attempt_is_seen() {
    let mut world = World::new(6);
    world.ask("a");
    let write = world.due().unwrap();
    world.admission.claimed(&write, at(0));
    world.tell(write.status);
    world.ask("b");
    assert_eq!(world.claims(), Some(vec!["a".into(), "b".into()]));
    world.seen("a", true);
    assert_eq!(world.claims(), Some(vec!["b".into()]));
    let since = world.admission.unseen_claims();
    assert_eq!(since, [], "one that is only granted is nobody's to ask for");
}

#[test]
fn not_more_is_claimed_at_once_than_the_object_takes() {
    let world = World::new(10_000);
    for number in 0..=MOST_CLAIMS {
        world.ask(&format!("{number:04}"));
    }
    assert_eq!(world.claims().unwrap().len(), MOST_CLAIMS);
}

#[test]
fn a_grant_that_does_not_fit_any_more_goes_back() {
    let world = World::new(2);
    world.ask("a");
    // Another controller's.
    world.seen("b", true);
    assert_eq!(world.claims(), None);
    world.seen("b", false);
    assert_eq!(world.claims(), Some(vec!["a".into()]));
}

#[test]
fn what_was_granted_to_a_job_that_leaves_is_free() {
    let world = World::new(2);
    world.ask("a");
    world.ask("b");
    world.admission.leave("a", at(0));
    assert_eq!(world.claims(), Some(vec!["b".into()]));
}

#[test]
fn a_claim_of_a_job_that_left_while_it_was_written_means_nothing() {
    for watch_is_first in [true, false] {
        let mut world = World::new(2);
        world.ask("a");
        let write = world.due().unwrap();
        world.admission.leave("a", at(0));
        if watch_is_first {
            world.tell(write.status.clone());
        }
        world.admission.claimed(&write, at(0));
        world.tell(write.status);
        world.ask("b");
        assert_eq!(world.claims(), Some(vec!["b".into()]), "watch first: {watch_is_first}");
    }
}

#[test]
fn an_old_claim_of_what_has_ended_means_nothing() {
    let mut world = World::new(2);
    world.ask("a");
    let write = world.due().unwrap();
    world.admission.claimed(&write, at(0));
    world.tell(write.status.clone());
    world.seen("a", true);
    world.seen("a", false);
    // The watch is late.
    world.tell(write.status.clone());
    world.ask("b");
    assert_eq!(world.claims(), Some(vec!["b".into()]));
    // A process that has just begun: the trace says it.
    let mut world = World::new(2);
    world.queue.status = Some(write.status);
    world.admission.queue_changed(&world.queue, |_| true, at(0));
    world.ask("b");
    assert_eq!(world.claims(), Some(vec!["b".into()]));
}

#[test]
fn anothers_claim_counts_until_it_is_known_to_be_over() {
    let mut world = World::new(2);
    let claim = Claim::new(&attempt("a"), 2);
    let holder = Some("other".to_owned());
    world.tell(QueueStatus { holder, claims: vec![claim], ..QueueStatus::default() });
    world.ask("b");
    assert_eq!(world.claims(), None);
    assert_eq!(world.admission.unseen_claims(), [(attempt("a"), at(0))]);
    world.admission.is_over(&attempt("a"), at(0));
    let later = at(2);
    let write = world.admission.due(false, later).unwrap();
    assert!(!write.may_replace, "it is taken over first");
}

#[test]
fn a_queue_may_replace_only_when_all_that_was_made_before_is_counted() {
    let mut world = World::new(2);
    let held_by = |who: &str| QueueStatus { holder: Some(who.into()), ..QueueStatus::default() };
    world.tell(held_by("other"));
    world.ask("a");
    assert!(world.due().is_none(), "the other has some time for its claims");
    assert!(!world.admission.due(false, at(2)).unwrap().may_replace);
    // Taken over, and not counted yet.
    world.tell(held_by(ME));
    assert!(!world.admission.due(false, at(2)).unwrap().may_replace);
    world.admission.was_counted(&key());
    assert!(world.admission.due(false, at(2)).unwrap().may_replace);
}

#[test]
fn who_does_not_lead_grants_nothing() {
    let world = World::new(2);
    world.ask("a");
    world.admission.close();
    assert!(world.due().is_none());
    world.ask("b");
    assert!(world.due().is_none());
    world.admission.open(at(0));
    assert_eq!(world.claims(), Some(vec!["a".into()]), "the older first");
}

#[test]
fn what_is_granted_is_told_again_when_it_is_free() {
    let mut world = World::new(4);
    world.ask("a");
    let write = world.due().unwrap();
    assert_eq!(write.status.granted, 2);
    world.admission.claimed(&write, at(0));
    world.tell(write.status);
    world.seen("a", true);
    assert!(world.admission.due(true, at(0)).is_none(), "nothing has changed by half");
    world.seen("a", false);
    assert!(world.due().is_none(), "nobody waits for it");
    let write = world.admission.due(true, at(0)).unwrap();
    assert_eq!((write.status.granted, write.status.claims.len()), (0, 0));
}

#[test]
fn numbers_are_told_without_taking_the_queue_over() {
    let mut world = World::new(2);
    let claims = vec![Claim::new(&attempt("z"), 1)];
    let told = QueueStatus { holder: Some("other".into()), granted: 9, waiting: 0, claims };
    world.tell(told.clone());
    let write = world.admission.due(true, at(2)).unwrap();
    assert!(write.may_replace);
    assert_eq!(write.status, QueueStatus { granted: 1, ..told });
    world.tell(write.status);
    assert!(world.admission.due(true, at(4)).is_none());
}

#[test]
fn a_queue_that_is_deleted_lets_those_pass_who_waited_in_it() {
    let mut world = World::new(2);
    world.ask("a");
    world.ask("b");
    world.admission.queue_deleted(&key(), "another queue of that name");
    assert!(world.admission.has_queue(&job("b")));
    world.admission.queue_deleted(&key(), "queue");
    assert!(!world.admission.has_queue(&job("b")));
    let mut woken = vec![world.woken.try_recv().unwrap().1, world.woken.try_recv().unwrap().1];
    woken.sort();
    assert_eq!(woken, ["a", "b"]);
    assert_eq!(world.ask("b"), AdmissionDecision::Granted(2));
}
