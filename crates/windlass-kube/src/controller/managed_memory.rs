//! What this process remembers of batch Jobs: when it has tried to make a pod, what the API server said, which status it
//! has written, and what it has deleted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::by_job::ByJob;
use crate::cache::failed_creates::FailedCreate;

/// A pod that was made is looked for when no watch has shown it by then. A busy API server shows it seconds later.
const MADE_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// After the first refusal so long is waited, then each time twice as long.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// The longest pause between two tries. A quota that was used up may be free again at any time.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// A pod whose creation was not answered is created again within this time. After it, the pod may have run and be gone.
const UNANSWERED: SignedDuration = SignedDuration::from_secs(10);

/// By UID of the job.
pub(crate) struct ManagedMemory {
    /// The name of this process, which no other has. The batch Jobs that it creates say that it makes their pods.
    maker: String,
    tries: ByJob<Try>,
    /// The versions of batch Jobs that a write of ours has replaced.
    replaced: ByJob<String>,
    /// The UID of the batch Job that was deleted last.
    deleted: ByJob<String>,
    has_told: AtomicBool,
}

/// The last try to make a pod.
struct Try {
    batch_job_uid: String,
    next: Timestamp,
    pause: SignedDuration,
    refusal: Option<FailedCreate>,
    /// What holds it up, where nobody has refused it. It is told and ends no job: its time is that of its latest telling.
    held_up: Option<FailedCreate>,
    made: Made,
}

impl Try {
    /// Nothing is known of it.
    fn new(batch_job_uid: &str, now: Timestamp) -> Self {
        Self {
            batch_job_uid: batch_job_uid.to_owned(),
            next: now,
            pause: FIRST_PAUSE,
            refusal: None,
            held_up: None,
            made: Made::Never,
        }
    }
}

/// Whether a pod was ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Never,
    /// Nobody knows, since then.
    Unanswered(Timestamp),
    Yes,
}

impl ManagedMemory {
    /// With nothing remembered yet.
    pub(super) fn new() -> Self {
        Self {
            maker: uuid::Uuid::new_v4().simple().to_string(),
            tries: ByJob::default(),
            replaced: ByJob::default(),
            deleted: ByJob::default(),
            has_told: AtomicBool::new(false),
        }
    }

    /// The name of this process.
    pub(super) fn maker(&self) -> &str {
        &self.maker
    }

    /// Whether the pod of this batch Job was never there: this process makes it, and has not made it yet.
    pub(super) fn never_made(
        &self,
        job_uid: &str,
        batch_job_uid: &str,
        maker: &str,
        now: Timestamp,
    ) -> bool {
        let all = self.tries.lock();
        let tried = all.get(job_uid).filter(|tried| tried.batch_job_uid == batch_job_uid);
        maker == self.maker
            && match tried.map(|tried| tried.made) {
                None | Some(Made::Never) => true,
                Some(Made::Unanswered(since)) => now.duration_since(since) < UNANSWERED,
                Some(Made::Yes) => false,
            }
    }

    /// How long to wait until the pod of this batch Job is tried again.
    pub(super) fn pause(
        &self,
        job_uid: &str,
        batch_job_uid: &str,
        now: Timestamp,
    ) -> Option<Duration> {
        let all = self.tries.lock();
        let tried = all.get(job_uid).filter(|tried| tried.batch_job_uid == batch_job_uid)?;
        let left = tried.next.duration_since(now);
        left.is_positive().then(|| left.unsigned_abs())
    }

    /// The pod of this batch Job is there.
    pub(super) fn made(&self, job_uid: &str, batch_job_uid: &str, now: Timestamp) {
        let tried = Try { next: now + MADE_PAUSE, made: Made::Yes, ..Try::new(batch_job_uid, now) };
        self.tries.lock().insert(job_uid.to_owned(), tried);
    }

    /// Nobody knows whether the pod of this batch Job was made. What may be why is told, where it is known.
    pub(super) fn unanswered(
        &self,
        job_uid: &str,
        batch_job_uid: &str,
        why: Option<&str>,
        now: Timestamp,
    ) {
        let mut all = self.tries.lock();
        let known = all.get(job_uid).filter(|tried| tried.batch_job_uid == batch_job_uid);
        let made = match known.map(|tried| tried.made) {
            None | Some(Made::Never) => Made::Unanswered(now),
            Some(known) => known,
        };
        let tried = Try {
            held_up: why.map(|why| FailedCreate { since: now, message: why.to_owned() }),
            made,
            ..Try::new(batch_job_uid, now)
        };
        all.insert(job_uid.to_owned(), tried);
    }

    /// The pod of this batch Job is not tried: others of its function are held up, for this reason. Whether that is news.
    pub(super) fn held_up(
        &self,
        job_uid: &str,
        batch_job_uid: &str,
        why: &str,
        now: Timestamp,
    ) -> bool {
        let mut all = self.tries.lock();
        let known = all.remove(job_uid).filter(|tried| tried.batch_job_uid == batch_job_uid);
        let mut tried = known.unwrap_or_else(|| Try::new(batch_job_uid, now));
        let is_news = tried.refusal.as_ref().or(tried.held_up.as_ref()).is_none();
        tried.held_up = Some(FailedCreate { since: now, message: why.to_owned() });
        all.insert(job_uid.to_owned(), tried);
        is_news
    }

    /// The API server has refused the pod of this batch Job.
    pub(super) fn refused(
        &self,
        job_uid: &str,
        batch_job_uid: &str,
        message: &str,
        now: Timestamp,
    ) {
        let mut all = self.tries.lock();
        let known = all.remove(job_uid).filter(|tried| tried.batch_job_uid == batch_job_uid);
        let made = known.as_ref().map_or(Made::Never, |tried| tried.made);
        let known = known.and_then(|tried| Some((tried.refusal?.since, tried.pause * 2)));
        let (since, pause) = known.unwrap_or((now, FIRST_PAUSE));
        let pause = pause.min(LONGEST_PAUSE);
        let refusal = Some(FailedCreate { since, message: message.to_owned() });
        let next = now + pause;
        let tried = Try { next, pause, refusal, made, ..Try::new(batch_job_uid, now) };
        all.insert(job_uid.to_owned(), tried);
    }

    /// Why the pod of this batch Job could not be made when that was last tried, or why that is not tried.
    pub(super) fn refusal(&self, job_uid: &str, batch_job_uid: &str) -> Option<FailedCreate> {
        let all = self.tries.lock();
        let tried = all.get(job_uid).filter(|tried| tried.batch_job_uid == batch_job_uid)?;
        tried.refusal.as_ref().or(tried.held_up.as_ref()).cloned()
    }

    /// The pods of this job's batch Job are ended; another one may be made as soon as it goes on.
    pub(super) fn suspended(&self, job_uid: &str) {
        self.tries.forget(job_uid);
    }

    /// A write of ours has replaced this version of a batch Job.
    pub(super) fn has_replaced(&self, job_uid: &str, version: &str) {
        self.replaced.lock().insert(job_uid.to_owned(), version.to_owned());
    }

    /// Whether a write of ours has replaced this version, so that the watch is behind.
    pub(super) fn is_replaced(&self, job_uid: &str, version: &str) -> bool {
        self.replaced.lock().get(job_uid).is_some_and(|replaced| replaced == version)
    }

    /// This batch Job was deleted. Its watch may show it for a moment.
    pub(super) fn has_deleted(&self, job_uid: &str, batch_job_uid: &str) {
        self.deleted.lock().insert(job_uid.to_owned(), batch_job_uid.to_owned());
    }

    /// Whether this batch Job was deleted, so that there is no need to do it again.
    pub(super) fn is_deleted(&self, job_uid: &str, batch_job_uid: &str) -> bool {
        self.deleted.lock().get(job_uid).is_some_and(|deleted| deleted == batch_job_uid)
    }

    /// The API server has stored a batch Job without its `spec.managedBy`. Told once.
    pub(super) fn field_was_dropped(&self) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            warn!(
                "the API server drops spec.managedBy of batch Jobs: the cluster's Job controller makes their pods, at \
                 its own rate"
            );
        }
    }

    /// The job of this UID is over: no pod of it is made any more.
    pub(super) fn is_over(&self, job_uid: &str) {
        self.tries.forget(job_uid);
    }

    /// The job of this UID is gone.
    pub(super) fn forget(&self, job_uid: &str) {
        self.tries.forget(job_uid);
        self.replaced.forget(job_uid);
        self.deleted.forget(job_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_times::at;

    #[test]
    fn a_refused_pod_is_tried_again_later_each_time() {
        let memory = ManagedMemory::new();
        assert_eq!(memory.pause("j", "b", at(0)), None);
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            memory.refused("j", "b", "exceeded quota", now);
            let pause = memory.pause("j", "b", now).unwrap();
            pauses.push(pause.as_secs());
            now += SignedDuration::try_from(pause).unwrap();
            assert_eq!(memory.pause("j", "b", now), None);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let message = "exceeded quota".to_owned();
        assert_eq!(memory.refusal("j", "b"), Some(FailedCreate { since: at(0), message }));
        assert_eq!(memory.refusal("j", "another"), None, "it is of another attempt");
        memory.made("j", "b", now);
        assert_eq!(memory.refusal("j", "b"), None);
        assert!(memory.pause("j", "b", now).is_some(), "the watch shows it soon");
        memory.suspended("j");
        assert_eq!(memory.pause("j", "b", now), None);
    }

    #[test]
    fn a_pod_is_known_never_to_have_been_there_only_by_who_makes_it() {
        let memory = ManagedMemory::new();
        let never_made = |now| memory.never_made("j", "b", memory.maker(), now);
        assert!(never_made(at(0)));
        assert!(!memory.never_made("j", "b", "another", at(0)));
        assert!(!memory.never_made("j", "b", ManagedMemory::new().maker(), at(0)));
        memory.refused("j", "b", "exceeded quota", at(0));
        assert!(never_made(at(100)));
        memory.unanswered("j", "b", None, at(100));
        memory.unanswered("j", "b", None, at(105));
        assert!(never_made(at(109)), "it is tried again at once");
        assert!(!never_made(at(110)), "it may have run meanwhile");
        memory.made("j", "b", at(111));
        assert!(!never_made(at(200)));
        memory.unanswered("j", "b", None, at(200));
        memory.refused("j", "b", "exceeded quota", at(201));
        assert!(!never_made(at(202)), "it was there");
    }

    #[test]
    fn what_holds_a_pod_up_is_told_beside_no_refusal_of_its_own() {
        let memory = ManagedMemory::new();
        let told = || memory.refusal("j", "b").map(|told| (told.since, told.message));
        assert!(memory.held_up("j", "b", "a webhook", at(0)));
        assert!(!memory.held_up("j", "b", "a webhook", at(1)), "it is told already");
        assert_eq!(told(), Some((at(1), "a webhook".into())), "no deadline begins");
        assert!(memory.never_made("j", "b", memory.maker(), at(1)));
        assert_eq!(memory.pause("j", "b", at(1)), None);
        memory.refused("j", "b", "exceeded quota", at(2));
        assert!(!memory.held_up("j", "b", "a webhook", at(3)));
        assert_eq!(told(), Some((at(2), "exceeded quota".into())));
        assert!(memory.pause("j", "b", at(2)).is_some(), "its next try is when it was to be");
        memory.unanswered("j", "b", Some("no answer"), at(4));
        assert_eq!(told(), Some((at(4), "no answer".into())));
        memory.made("j", "b", at(5));
        assert_eq!(told(), None);
    }
}
