//! What waits to be sent to the other replicas: an outbox for each, with the latest reports of each job.
//!
//! A batch has reports of one kind: a replica of an earlier release refuses a whole batch for one that it does not
//! know.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use windlass_core::Report;
use windlass_core::report::Event;

use crate::protocol::limits::MAX_BATCH_BYTES;

/// Most jobs that wait in an outbox.
const MAX_JOBS: usize = 10_000;

/// Bytes of reports in a batch: half of what is taken, so that the last report fits as well.
const FULL_BATCH_BYTES: usize = MAX_BATCH_BYTES / 2;

/// What a peer is told.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ReportBatch {
    /// The latest report of each job.
    #[schemars(with = "Vec<Report>")]
    reports: Vec<Value>,
}

impl ReportBatch {
    /// Those that can be read: a replica of a later release may know others.
    pub(crate) fn reports(self) -> impl Iterator<Item = Report> {
        self.reports.into_iter().filter_map(|report| serde_json::from_value(report).ok())
    }
}

/// What is to be sent, by peer.
#[derive(Default)]
pub(crate) struct Outboxes(Mutex<HashMap<SocketAddr, Arc<Outbox>>>);

/// What waits for one peer.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    pub(super) posted: Notify,
}

/// The latest reports of each job, written.
#[derive(Default)]
struct Waiting {
    progress: BTreeMap<String, Bytes>,
    usage: BTreeMap<String, Bytes>,
    refuses_usage: bool,
}

/// Reports of one kind, written.
pub(super) struct Batch {
    pub(super) body: Bytes,
    pub(super) is_usage: bool,
}

impl Outboxes {
    pub(crate) fn post(&self, report: &Report) {
        let outboxes = lock(&self.0);
        if outboxes.is_empty() {
            return;
        }
        let (is_usage, key) = (matches!(report.event, Event::Usage { .. }), &report.job_uid);
        // A report that was read can be written.
        let written = Bytes::from(serde_json::to_vec(report).unwrap_or_default());
        for outbox in outboxes.values() {
            let mut waiting = lock(&outbox.waiting);
            if is_usage && waiting.refuses_usage {
                continue;
            }
            let Waiting { progress, usage, .. } = &mut *waiting;
            let reports = if is_usage { usage } else { progress };
            if reports.len() < MAX_JOBS || reports.contains_key(key) {
                reports.insert(key.clone(), written.clone());
            }
            outbox.posted.notify_one();
        }
    }

    pub(super) fn outbox_of(&self, peer: SocketAddr) -> Arc<Outbox> {
        Arc::clone(lock(&self.0).entry(peer).or_default())
    }

    pub(super) fn retain(&self, peers: &[SocketAddr]) {
        lock(&self.0).retain(|peer, _| peers.contains(peer));
    }
}

impl Outbox {
    /// A batch of what is there, progress first; `None` when nothing is.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut waiting = lock(&self.waiting);
        let is_usage = waiting.progress.is_empty();
        let Waiting { progress, usage, .. } = &mut *waiting;
        let reports = if is_usage { usage } else { progress };
        let mut batch = b"{\"reports\":[".to_vec();
        let empty = batch.len();
        while batch.len() < FULL_BATCH_BYTES
            && let Some((_, report)) = reports.pop_first()
        {
            if batch.len() > empty {
                batch.push(b',');
            }
            batch.extend_from_slice(&report);
        }
        (batch.len() > empty).then(|| {
            batch.extend_from_slice(b"]}");
            Batch { body: batch.into(), is_usage }
        })
    }

    /// The peer does not know samples: it is sent no more.
    pub(super) fn refuse_usage(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.refuses_usage = true;
        waiting.usage.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map is one after a panic, too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use windlass_core::parse;
    use windlass_core::usage_over_time::UsageOverTime;

    use super::*;

    fn report(uid: &str, done: u64, message: &str) -> Report {
        let (total, message, elapsed_seconds) = (1000, message.to_owned(), 0.5);
        let event = Event::Progress { done, total, message, elapsed_seconds };
        Report { job_uid: uid.into(), attempt: 1, event, sent: None }
    }

    #[test]
    fn a_batch_has_the_latest_of_each_job_and_its_size_is_bounded() {
        let outboxes = Outboxes::default();
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        outboxes.post(&report("nobody", 1, ""));
        let outbox = outboxes.outbox_of(peer);
        assert!(outbox.next_batch().is_none());
        for done in 1..=3 {
            outboxes.post(&report("a", done, ""));
            outboxes.post(&report("b", done, ""));
        }
        let batch: Value = serde_json::from_slice(&outbox.next_batch().unwrap().body).unwrap();
        let done = |at: usize| batch["reports"][at]["event"]["progress"]["done"].as_u64();
        assert_eq!((done(0), done(1), done(2)), (Some(3), Some(3), None), "{batch}");
        assert!(outbox.next_batch().is_none());

        // Each character becomes six.
        for job in 0..2000 {
            outboxes.post(&report(&job.to_string(), 1, &"\u{1}".repeat(1024)));
        }
        let (mut sent, mut batches) = (0, 0);
        while let Some(Batch { body: batch, .. }) = outbox.next_batch() {
            assert!(batch.len() <= MAX_BATCH_BYTES, "{}", batch.len());
            let batch: ReportBatch =
                parse::json(&batch).unwrap_or_else(|_| panic!("our own batch"));
            sent += batch.reports().count();
            batches += 1;
        }
        assert_eq!(sent, 2000);
        assert!(batches > 20, "{batches}");
    }

    #[test]
    fn samples_have_batches_of_their_own_until_they_are_refused() {
        let outboxes = Outboxes::default();
        let outbox = outboxes.outbox_of("127.0.0.1:1".parse().unwrap());
        let usage = |uid: &str| {
            let (over_time, namespace) = (UsageOverTime::begin(1, 4), Some("n".into()));
            let event = Event::Usage { over_time, is_last: false, namespace };
            Report { job_uid: uid.into(), attempt: 1, event, sent: None }
        };
        let kinds = || {
            for report in [usage("a"), report("a", 1, ""), usage("b")] {
                outboxes.post(&report);
            }
            let batches = std::iter::from_fn(|| outbox.next_batch());
            batches.map(|batch| {
                let read: ReportBatch = parse::message(&batch.body).unwrap_or_else(|_| panic!());
                let reports: Vec<_> = read.reports().collect();
                let is_usage = |report: &Report| matches!(report.event, Event::Usage { .. });
                assert!(reports.iter().all(|report| is_usage(report) == batch.is_usage));
                (batch.is_usage, reports.len())
            })
        };
        assert_eq!(kinds().collect::<Vec<_>>(), [(false, 1), (true, 2)]);
        outboxes.post(&usage("c"));
        outbox.refuse_usage();
        assert_eq!(kinds().collect::<Vec<_>>(), [(false, 1)]);
    }
}
