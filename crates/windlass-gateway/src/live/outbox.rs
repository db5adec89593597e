//! What waits to be sent to the other replicas: an outbox for each, with the latest report of each job.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
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
    pub(crate) reports: Vec<Report>,
}

/// What is to be sent, by peer.
#[derive(Default)]
pub(crate) struct Outboxes(Mutex<HashMap<SocketAddr, Arc<Outbox>>>);

/// The latest report of each job, written.
#[derive(Default)]
pub(super) struct Outbox {
    reports: Mutex<BTreeMap<String, Bytes>>,
    pub(super) posted: Notify,
}

impl Outboxes {
    pub(crate) fn post(&self, report: &Report) {
        let outboxes = lock(&self.0);
        if outboxes.is_empty() {
            return;
        }
        // Neither takes the place of the other.
        let what = if matches!(report.event, Event::Usage { .. }) { "usage" } else { "progress" };
        let key = format!("{}/{what}", report.job_uid);
        // A report that was read can be written.
        let written = Bytes::from(serde_json::to_vec(report).unwrap_or_default());
        for outbox in outboxes.values() {
            let mut reports = lock(&outbox.reports);
            if reports.len() < MAX_JOBS || reports.contains_key(&key) {
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
    /// A batch of what is there, written; `None` when nothing is.
    pub(super) fn next_batch(&self) -> Option<Bytes> {
        let mut reports = lock(&self.reports);
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
            batch.into()
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map is one after a panic, too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use windlass_core::parse;

    use super::*;

    fn report(uid: &str, done: u64, message: &str) -> Report {
        let (total, message, elapsed_seconds) = (1000, message.to_owned(), 0.5);
        let event = Event::Progress { done, total, message, elapsed_seconds };
        Report { job_uid: uid.into(), attempt: 1, event }
    }

    #[test]
    fn a_batch_has_the_latest_of_each_job_and_its_size_is_bounded() {
        let outboxes = Outboxes::default();
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        outboxes.post(&report("nobody", 1, ""));
        let outbox = outboxes.outbox_of(peer);
        assert_eq!(outbox.next_batch(), None);
        for done in 1..=3 {
            outboxes.post(&report("a", done, ""));
            outboxes.post(&report("b", done, ""));
        }
        let batch: Value = serde_json::from_slice(&outbox.next_batch().unwrap()).unwrap();
        let done = |at: usize| batch["reports"][at]["event"]["progress"]["done"].as_u64();
        assert_eq!((done(0), done(1), done(2)), (Some(3), Some(3), None), "{batch}");
        assert_eq!(outbox.next_batch(), None);

        // Each character becomes six.
        for job in 0..2000 {
            outboxes.post(&report(&job.to_string(), 1, &"\u{1}".repeat(1024)));
        }
        let (mut sent, mut batches) = (0, 0);
        while let Some(batch) = outbox.next_batch() {
            assert!(batch.len() <= MAX_BATCH_BYTES, "{}", batch.len());
            let batch: ReportBatch =
                parse::json(&batch).unwrap_or_else(|_| panic!("our own batch"));
            sent += batch.reports.len();
            batches += 1;
        }
        assert_eq!(sent, 2000);
        assert!(batches > 20, "{batches}");
    }
}
