//! Jobs that begin before they are stored.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;
use windlass_core::live::Shown;
use windlass_core::{Error, Job, JobLimits, JobSpec, Metadata, Phase};

use super::change::{Change, NewJob};
use super::files_still_there::OpenFiles;
use super::job_cache::JobCache;
use super::kept_history::KeptHistory;
use super::writer::{Hearers, Writer};
use super::{rows, schema};
use crate::event::{self, Event};
use crate::queueing::backlog::Backlog;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

type Answer = oneshot::Receiver<Result<Arc<Job>, Error>>;

/// A store's writer, without a controller.
struct Fixture {
    changes: Option<Sender<Change>>,
    events: mpsc::UnboundedReceiver<Event>,
    cache: Arc<JobCache>,
    reader: Connection,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

/// A writer that waits so long for the ends of what it has begun, on a disk of so many pages.
fn store(patience: Duration, pages: u32) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = schema::path(directory.path());
    let db = schema::open(&path, true).unwrap();
    db.pragma_update(None, "max_page_count", pages).unwrap();
    let files = OpenFiles::of_database(&path).unwrap();
    let (events, heard) = event::channel();
    let (failure, _) = watch::channel(None);
    let cache = Arc::new(JobCache::default());
    let bytes = Arc::new(AtomicU64::new(0));
    let hearers = Hearers { cache: Arc::clone(&cache), events, failure, bytes };
    let history = Arc::new(KeptHistory::load(&db).unwrap());
    let mut writer = Writer::new(db, files, hearers, history);
    writer.patience = patience;
    let (changes, received) = channel();
    let thread = Some(std::thread::spawn(move || writer.run(&received)));
    let reader = schema::open_reader(&path).unwrap();
    let changes = Some(changes);
    Fixture { changes, events: heard, cache, reader, thread, _directory: directory }
}

impl Fixture {
    fn send(&self, change: Change) {
        self.changes.as_ref().unwrap().send(change).unwrap_or_else(|_| panic!("it has ended"));
    }

    fn insert(&self, job: &Job, is_waited_for: bool) -> Answer {
        let (reply, answer) = oneshot::channel();
        let reservation = Arc::new(Backlog::new(9)).reserve("default", None).unwrap();
        let (job, limits) = (job.clone(), JobLimits::without_function(&job.spec));
        let new = Box::new(NewJob { job, limits, reservation, is_waited_for });
        self.send(Change::Insert { new, reply });
        answer
    }

    fn update(&self, job: Job) {
        self.send(Change::Update { job: Arc::new(job), reply: None });
    }

    /// Waits until everything that was sent is committed or refused.
    fn flush(&self) {
        let (reply, flushed) = oneshot::channel();
        self.send(Change::Flush { reply });
        flushed.blocking_recv().unwrap().unwrap();
    }

    /// Whether the next job that begins is stored already.
    fn submitted(&mut self) -> (String, bool) {
        match self.events.blocking_recv().unwrap() {
            Event::Submitted { job, is_stored, .. } => (job.metadata.name.clone(), is_stored),
            event => panic!("{event:?}"),
        }
    }

    /// What a job is in the database.
    fn stored(&self, name: &str) -> Option<Job> {
        rows::by_name(&self.reader, name).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.changes = None;
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn job(name: &str) -> Job {
    let spec: JobSpec = serde_json::from_str(r#"{"function":"f"}"#).unwrap();
    let metadata = Metadata {
        name: name.into(),
        uid: Uuid::now_v7().to_string(),
        resource_version: "1".into(),
        creation_timestamp: Some(Timestamp::now()),
        ..Metadata::default()
    };
    Job::new(metadata, spec)
}

/// A later version of a job, with a status of so many bytes.
fn later(job: &Job, phase: Phase, bytes: usize) -> Job {
    let mut job = job.clone();
    let version = job.metadata.resource_version.parse::<u64>().unwrap() + 1;
    job.metadata.resource_version = version.to_string();
    job.status.phase = Some(phase);
    job.status.attempt = Some(1);
    job.status.node = Some("x".repeat(bytes));
    job
}

/// No disk is that large.
const ENDLESS: u32 = 1 << 30;

#[test]
fn a_job_that_is_waited_for_begins_unseen_and_is_stored_once_with_its_end() {
    let mut store = store(LONG, ENDLESS);
    let first = job("first");
    let mut answer = store.insert(&first, true);
    assert_eq!(store.submitted(), ("first".into(), false));
    store.send(Change::UpdateSoon(Arc::new(later(&first, Phase::Running, 0))));
    let shown = Shown::new(Arc::new(later(&first, Phase::Running, 0)), None);
    store.send(Change::Show(shown));
    assert!(store.stored("first").is_none() && store.cache.get("first").is_none());
    assert!(answer.try_recv().is_err(), "it is acknowledged before it is stored");
    let last = later(&later(&first, Phase::Running, 0), Phase::Succeeded, 0);
    store.update(last.clone());
    // Not before the transaction that has both; and that waits for nothing more.
    assert_eq!(answer.blocking_recv().unwrap().unwrap().status, last.status);
    assert_eq!(store.stored("first").unwrap().status, last.status);
}

#[test]
fn who_waits_for_a_commit_does_not_wait_for_the_end_of_a_job() {
    let mut store = store(LONG, ENDLESS);
    let answer = store.insert(&job("waited"), true);
    assert_eq!(store.submitted(), ("waited".into(), false));
    let plain = store.insert(&job("plain"), false);
    assert_eq!(plain.blocking_recv().unwrap().unwrap().metadata.name, "plain");
    assert!(!answer.blocking_recv().unwrap().unwrap().status.is_finished());
    assert_eq!(store.submitted(), ("plain".into(), true));
    assert!(store.stored("waited").is_some());
    // The end of a job that was stored before.
    let answer = store.insert(&job("next"), true);
    assert_eq!(store.submitted(), ("next".into(), false));
    store.update(later(&store.stored("plain").unwrap(), Phase::Succeeded, 0));
    assert_eq!(answer.blocking_recv().unwrap().unwrap().metadata.name, "next");
}

#[test]
fn an_end_waits_only_a_moment_for_other_ends() {
    let mut store = store(LONG, ENDLESS);
    let (quick, slow) = (job("quick"), job("slow"));
    let answers = [store.insert(&slow, true), store.insert(&quick, true)];
    assert_eq!(store.submitted(), ("slow".into(), false));
    assert_eq!(store.submitted(), ("quick".into(), false));
    store.update(later(&quick, Phase::Succeeded, 0));
    let answered = answers.map(|answer| answer.blocking_recv().unwrap().unwrap());
    assert_eq!(answered.map(|job| job.status.is_finished()), [false, true]);
}

#[test]
fn a_job_whose_end_takes_long_is_stored_before_it() {
    let mut store = store(Duration::from_millis(1), ENDLESS);
    let answer = store.insert(&job("slow"), true);
    assert_eq!(answer.blocking_recv().unwrap().unwrap().metadata.name, "slow");
    assert_eq!(store.submitted(), ("slow".into(), false));
    assert!(store.stored("slow").is_some());
}

#[test]
fn who_waits_for_a_job_that_is_stored_finds_it_without_reading() {
    let store = store(Duration::from_millis(1), ENDLESS);
    let slow = job("slow");
    assert!(store.insert(&slow, true).blocking_recv().unwrap().is_ok());
    assert_eq!(
        store.cache.get("slow").map(|found| found.metadata.uid.clone()),
        Some(slow.metadata.uid.clone())
    );
    store.update(later(&slow, Phase::Succeeded, 0));
    store.flush();
    assert!(store.cache.get("slow").is_none(), "one that nobody watches stays");
}

#[test]
fn jobs_that_wait_are_not_kept_in_memory_when_what_they_wait_for_changes() {
    let mut store = store(LONG, ENDLESS);
    let mut mine = job("mine");
    assert!(store.insert(&mine, false).blocking_recv().unwrap().is_ok());
    store.submitted();
    mine.metadata.resource_version = "2".into();
    mine.status.phase = Some(Phase::Queued);
    store.update(mine.clone());
    store.flush();
    assert!(store.cache.get("mine").is_none(), "nobody watches it, and it does not run");
    store.update(later(&mine, Phase::Running, 0));
    store.flush();
    assert!(store.cache.get("mine").is_some(), "it runs");
}

#[test]
fn a_name_is_taken_by_a_job_that_is_not_stored_yet() {
    let mut store = store(LONG, ENDLESS);
    let first = job("mine");
    let answer = store.insert(&first, true);
    assert_eq!(store.submitted(), ("mine".into(), false));
    let mut second = store.insert(&job("mine"), true);
    // It is refused for the name of a job that could still be refused itself: only after the commit.
    assert!(second.try_recv().is_err());
    store.update(later(&first, Phase::Succeeded, 0));
    assert!(answer.blocking_recv().unwrap().is_ok());
    let refused = second.blocking_recv().unwrap().unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused}");
    assert!(store.events.try_recv().is_err(), "the second has begun");
}

#[test]
fn of_a_job_that_cannot_be_stored_nothing_is_told_or_kept() {
    let mut store = store(LONG, 40);
    let old = job("old");
    assert!(store.insert(&old, false).blocking_recv().unwrap().is_ok());
    store.submitted();
    let (new, double) = (job("new"), job("new"));
    let mut answer = store.insert(&new, true);
    assert_eq!(store.submitted(), ("new".into(), false));
    let second = store.insert(&double, true);
    // Too much for the disk.
    store.update(later(&new, Phase::Succeeded, 1 << 20));
    let Event::NotStored { uid, attempt, refusal } = store.events.blocking_recv().unwrap() else {
        panic!()
    };
    assert_eq!((uid.to_string(), attempt), (new.metadata.uid.clone(), 1));
    let refused = second.blocking_recv().unwrap().unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    // What the controller says of it meanwhile.
    store.send(Change::UpdateSoon(Arc::new(later(&new, Phase::Running, 0))));
    store.send(Change::Show(Shown::new(Arc::new(later(&new, Phase::Running, 0)), None)));
    store.update(later(&new, Phase::Succeeded, 0));
    // A job that was acknowledged is not lost by it.
    store.update(later(&old, Phase::Succeeded, 0));
    store.flush();
    assert!(store.cache.get("new").is_none() && store.stored("new").is_none());
    assert_eq!(store.stored("old").unwrap().status.phase, Some(Phase::Succeeded));
    assert!(answer.try_recv().is_err(), "it is told only when nothing runs");
    refusal.answer_caller();
    let refused = answer.blocking_recv().unwrap().unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    // The name is free.
    store.send(Change::Forget(uid));
    let again = store.insert(&double, false);
    assert!(again.blocking_recv().unwrap().is_ok());
}

#[test]
fn a_job_is_left_to_the_store_only_once_that_has_its_version() {
    let mut store = store(LONG, 40);
    let mine = job("mine");
    let uid = Uuid::parse_str(&mine.metadata.uid).unwrap();
    let leave = |version: &str| Change::Leave { uid, version: version.to_owned() };
    assert!(store.insert(&mine, false).blocking_recv().unwrap().is_ok());
    store.submitted();
    // Too much for the disk: reading it now would give the version before.
    let second = later(&mine, Phase::Queued, 1 << 20);
    store.update(second.clone());
    store.send(leave("2"));
    store.flush();
    assert!(store.events.try_recv().is_err(), "it is not stored");
    // Of one that another has overtaken it is told too late, and does no harm.
    let until_stored = |store: &mut Fixture, expected: &str| loop {
        match store.events.blocking_recv() {
            Some(Event::Stored { uid: left, version }) if version == expected => {
                assert_eq!(left, uid);
                let stored = store.stored("mine").unwrap();
                return assert_eq!(stored.metadata.resource_version, expected);
            }
            Some(Event::Stored { version, .. }) => assert_eq!(version, "2"),
            event => panic!("{event:?}"),
        }
    };
    store.update(later(&second, Phase::Queued, 0));
    store.send(leave("3"));
    until_stored(&mut store, "3");
    // And when it is stored later, by another change.
    let fourth = later(&later(&second, Phase::Queued, 0), Phase::Running, 0);
    store.send(Change::UpdateSoon(Arc::new(fourth)));
    store.send(leave("4"));
    until_stored(&mut store, "4");
}
