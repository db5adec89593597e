//! What the last hour and the last day were like, from this gateway's own watch of all jobs: since it started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc;
use windlass_core::history::{Counted, History, HistoryReport};

use super::estimates::ClusterEstimates;
use crate::cache::job::WatchedJob;
use crate::cache::watch::{Change, handle_changes, watch_config, watch_events};
use crate::served::apis;

/// What happened to the jobs of all namespaces.
#[derive(Default)]
pub struct ClusterHistory {
    kept: Mutex<Kept>,
    /// They are made from the same watch.
    estimates: Arc<ClusterEstimates>,
}

#[derive(Default)]
struct Kept {
    namespaces: HashMap<String, History>,
    /// What was counted of the jobs that are there, by UID.
    counted: HashMap<String, Counted>,
    /// Whether the first list is whole. What happened before it is not counted.
    is_listed: bool,
}

impl ClusterHistory {
    /// Of which these are the estimates.
    #[cfg(test)]
    pub(super) fn with(estimates: ClusterEstimates) -> Self {
        Self { kept: Mutex::default(), estimates: Arc::new(estimates) }
    }

    /// What is known of one namespace.
    pub(super) fn report(&self, namespace: &str) -> HistoryReport {
        let (since, now) = (Some(self.estimates.since()), self.estimates.now());
        match self.lock().namespaces.get(namespace) {
            Some(history) => history.report(since, now),
            None => History::default().report(since, now),
        }
    }

    /// When the jobs are likely to end that run.
    pub(super) fn estimates(&self) -> &Arc<ClusterEstimates> {
        &self.estimates
    }

    /// Counts what happens to the jobs of these namespaces, or of all where none is named, for ever.
    pub async fn follow(self: Arc<Self>, client: Client, namespaces: Vec<String>) {
        let jobs = apis(&client, &namespaces);
        // What cannot be read is logged by the watch.
        let (unreadable, _) = mpsc::unbounded_channel();
        let events = watch_events(jobs, watch_config(None), unreadable, WatchedJob::prune);
        let mut changes = Box::pin(handle_changes(events, Some));
        while let Some(change) = changes.next().await {
            self.take(&change, self.estimates.now());
        }
    }

    /// The watch has shown this.
    pub(super) fn take(&self, change: &Change<WatchedJob>, now: Timestamp) {
        self.estimates.take(change);
        self.lock().take(change, &self.estimates, now);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic leaves at most one job that is counted in one slot of two.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, change: &Change<WatchedJob>, estimates: &ClusterEstimates, now: Timestamp) {
        match change {
            Change::Applied(job) => {
                if let Some(uid) = job.uid() {
                    self.count(uid, job, estimates, now);
                }
            }
            Change::Deleted(gone) => {
                self.counted.remove(&gone.uid);
            }
            Change::Listed => self.is_listed = true,
            Change::Failed => {}
        }
    }

    fn count(&mut self, uid: &str, job: &WatchedJob, estimates: &ClusterEstimates, now: Timestamp) {
        let (namespace, status) = (job.namespace(), job.status());
        let after = Counted::of_status(status);
        let before = self.counted.insert(uid.to_owned(), after);
        let before = before.unwrap_or(if self.is_listed { Counted::default() } else { after });
        if before == after {
            return;
        }
        if job.is_finished() {
            estimates.count_ended(job);
        }
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.retain(|_, history| history.has_any(now));
            let known = &self.namespaces;
            estimates.retain_times(|name| name == namespace || known.contains_key(name));
        }
        self.namespaces.entry(namespace.to_owned()).or_default().count(before, status, now);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::watch::DeletedObject;

    const NOW: &str = "2026-01-01T00:00:10Z";

    fn job(namespace: &str, uid: &str, phase: &str) -> Change<WatchedJob> {
        let object = json!({ "metadata": { "namespace": namespace, "name": uid, "uid": uid },
            "spec": { "function": "f" },
            "status": { "phase": phase, "timeline": { "created": "2026-01-01T00:00:00Z",
                "started": "2026-01-01T00:00:04Z", "finished": "2026-01-01T00:00:09Z" } } });
        Change::Applied(serde_json::from_value(object).unwrap())
    }

    /// How many have started and succeeded after these changes.
    fn counts(changes: &[Change<WatchedJob>], namespace: &str) -> (u32, u32) {
        let (mut kept, now) = (Kept::default(), NOW.parse().unwrap());
        let estimates = ClusterEstimates::default();
        changes.iter().for_each(|change| kept.take(change, &estimates, now));
        let history = kept.namespaces.remove(namespace).unwrap_or_default();
        let all = history.report(None, now).day.all;
        (all.started, all.succeeded)
    }

    #[test]
    fn what_was_before_the_first_list_is_not_counted_and_all_that_follows_is_once() {
        let old = [job("n", "old", "Succeeded"), job("n", "runs", "Running"), Change::Listed];
        assert_eq!(counts(&old, "n"), (0, 0));
        let new = [job("n", "runs", "Succeeded"), job("n", "new", "Succeeded")];
        let again = [Change::Failed, job("n", "old", "Succeeded"), job("n", "new", "Succeeded")];
        let missed = [job("n", "missed", "Succeeded"), Change::Listed];
        let other = [job("other", "o", "Succeeded")];
        let all = [&old[..], &new, &again, &missed, &other].concat();
        assert_eq!(counts(&all, "n"), (2, 3));
        assert_eq!(counts(&all, "other"), (1, 1));
    }

    #[test]
    fn nothing_is_kept_of_a_job_that_is_gone() {
        let mut kept = Kept::default();
        let gone = DeletedObject { namespace: "n".into(), name: "j".into(), uid: "j".into() };
        let now = NOW.parse().unwrap();
        let estimates = ClusterEstimates::default();
        kept.take(&job("n", "j", "Succeeded"), &estimates, now);
        kept.take(&Change::Deleted(gone), &estimates, now);
        assert!(kept.counted.is_empty());
    }
}
