//! What the last hour and the last day were like, and when the jobs that run are likely to end, from this gateway's own
//! watch of all jobs: since it started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc;
use windlass_clock::{Clock, FreshAnswers};
use windlass_core::estimate::{Estimate, Estimates};
use windlass_core::history::{Counted, History, HistoryReport};
use windlass_core::{Error, JobKey};

use super::open_jobs::OpenJobs;
use crate::cache::job::WatchedJob;
use crate::cache::watch::{Change, handle_changes, watch_config, watch_events};
use crate::served::apis;

/// What happened to the jobs of all namespaces.
pub struct ClusterHistory {
    clock: Clock,
    since: Timestamp,
    kept: Mutex<Kept>,
    /// The latest estimates of each namespace.
    estimates: Arc<FreshAnswers<Arc<Estimates>>>,
}

#[derive(Default)]
struct Kept {
    namespaces: HashMap<String, History>,
    open: OpenJobs,
    /// What was counted of the jobs that are there, by UID.
    counted: HashMap<String, Counted>,
    /// Whether the first list is whole. What happened before it is not counted.
    is_listed: bool,
}

impl Default for ClusterHistory {
    fn default() -> Self {
        let clock = Clock::start();
        Self { since: clock.now(), clock, kept: Mutex::default(), estimates: Arc::default() }
    }
}

impl ClusterHistory {
    /// What is known of one namespace.
    pub(super) fn report(&self, namespace: &str) -> HistoryReport {
        let (since, now) = (Some(self.since), self.clock.now());
        match self.lock().namespaces.get(namespace) {
            Some(history) => history.report(since, now),
            None => History::default().report(since, now),
        }
    }

    /// When the jobs of one namespace are likely to end that run, and the positions of those that wait: worked out at
    /// most once a second, while nobody waits for what is counted or for another namespace.
    pub(super) async fn estimates(
        self: &Arc<Self>,
        namespace: &str,
    ) -> Result<Arc<Estimates>, Error> {
        let (history, of) = (Arc::clone(self), namespace.to_owned());
        let make = async move {
            let work = move || Arc::new(history.work_out(&of, history.clock.now()));
            tokio::task::spawn_blocking(work).await.map_err(|error| Error::Bug(error.to_string()))
        };
        self.estimates.get_to_its_end(namespace, make).await
    }

    fn work_out(&self, namespace: &str, now: Timestamp) -> Estimates {
        let kept = self.lock();
        let (snapshot, is_listed) = (kept.open.snapshot(namespace), kept.is_listed);
        drop(kept);
        let (since, complete) = (Some(self.since), is_listed && snapshot.is_whole);
        Estimates { since, complete, items: snapshot.estimates(now) }
    }

    /// The same of one job, as it is now.
    pub(super) fn estimate(&self, key: &JobKey) -> Option<Estimate> {
        let snapshot = self.lock().open.one(key)?;
        snapshot.estimates(self.clock.now()).pop()
    }

    /// Counts what happens to the jobs of these namespaces, or of all where none is named, for ever.
    pub async fn follow(self: Arc<Self>, client: Client, namespaces: Vec<String>) {
        let jobs = apis(&client, &namespaces);
        // What cannot be read is logged by the watch.
        let (unreadable, _) = mpsc::unbounded_channel();
        let events = watch_events(jobs, watch_config(None), unreadable, WatchedJob::prune);
        let mut changes = Box::pin(handle_changes(events, Some));
        while let Some(change) = changes.next().await {
            self.lock().take(&change, self.clock.now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic leaves at most one job that is counted in one slot of two.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, change: &Change<WatchedJob>, now: Timestamp) {
        match change {
            Change::Applied(job) => {
                let namespace = job.namespace();
                if let Some(uid) = job.uid() {
                    self.open.keep(namespace, uid, job);
                    self.count(namespace, uid, job, now);
                }
            }
            Change::Deleted(gone) => {
                self.counted.remove(&gone.uid);
                self.open.forget(&gone.namespace, &gone.name, &gone.uid);
            }
            Change::Listed => self.is_listed = true,
            Change::Failed => {}
        }
    }

    fn count(&mut self, namespace: &str, uid: &str, job: &WatchedJob, now: Timestamp) {
        let status = job.status();
        let after = Counted::of_status(status);
        let before = self.counted.insert(uid.to_owned(), after);
        let before = before.unwrap_or(if self.is_listed { Counted::default() } else { after });
        if before == after {
            return;
        }
        if job.is_finished() {
            self.open.count(namespace, job);
        }
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.retain(|_, history| history.has_any(now));
            let Self { open, namespaces, .. } = self;
            open.retain(|name| name == namespace || namespaces.contains_key(name));
        }
        self.namespaces.entry(namespace.to_owned()).or_default().count(before, status, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        changes.iter().for_each(|change| kept.take(change, now));
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

    fn open_job(name: &str, status: &serde_json::Value) -> Change<WatchedJob> {
        let object = json!({ "metadata": { "namespace": "n", "name": name, "uid": name },
            "spec": { "function": "f" }, "status": status });
        Change::Applied(serde_json::from_value(object).unwrap())
    }

    /// Five jobs have taken 5 s, one runs since now, and one waits at position 3.
    fn busy() -> ClusterHistory {
        let (history, now) = (ClusterHistory::default(), NOW.parse().unwrap());
        let mut kept = history.lock();
        kept.take(&Change::Listed, now);
        kept.take(&open_job("runs", &json!({ "phase": "Running", "parallelism": 1 })), now);
        let waits = json!({ "phase": "Queued", "waiting": { "position": 3 } });
        kept.take(&open_job("waits", &waits), now);
        let ended = json!({ "phase": "Succeeded", "parallelism": 1, "timeline": {
            "admitted": "2026-01-01T00:00:04Z", "running": "2026-01-01T00:00:04Z",
            "finished": "2026-01-01T00:00:09Z" } });
        for number in 0..5 {
            kept.take(&open_job(&format!("ended-{number}"), &ended), now);
        }
        drop(kept);
        history
    }

    #[test]
    fn what_runs_ends_after_as_long_as_others_took_and_what_waits_has_its_position() {
        let (history, now) = (busy(), NOW.parse().unwrap());
        let told = |namespace| history.lock().open.snapshot(namespace).estimates(now);
        let [runs, waits] = <[_; 2]>::try_from(told("n")).unwrap();
        assert_eq!((&*runs.name, runs.not_told), ("runs", None));
        let ends = runs.estimated_completion_time.unwrap();
        assert_eq!(ends.to_string(), "2026-01-01T00:00:15Z", "five seconds from now");
        assert!(waits.position == Some(3) && waits.not_told.is_some());
        assert_eq!(told("other"), []);
    }

    #[test]
    fn nothing_is_estimated_of_a_job_that_has_ended_or_is_gone_and_no_end_of_one_that_was_cancelled()
     {
        let (history, now) = (busy(), NOW.parse().unwrap());
        let one =
            |name: &str| history.estimate(&JobKey { namespace: "n".into(), name: name.into() });
        assert_eq!(one("waits").unwrap().position, Some(3));
        assert!(one("runs").unwrap().estimated_completion_time.is_some());
        let cancelled = json!({ "metadata": { "namespace": "n", "name": "runs", "uid": "runs" },
            "spec": { "function": "f", "cancel": true },
            "status": { "phase": "Running", "parallelism": 1 } });
        let cancelled = Change::Applied(serde_json::from_value(cancelled).unwrap());
        history.lock().take(&cancelled, now);
        let told = one("runs").unwrap();
        assert!(told.estimated_completion_time.is_none() && told.not_told.is_some(), "{told:?}");
        history.lock().take(&open_job("runs", &json!({ "phase": "Cancelled" })), now);
        assert_eq!(one("runs"), None);
        let gone = |uid: &str| {
            Change::Deleted(DeletedObject {
                namespace: "n".into(),
                name: "waits".into(),
                uid: uid.into(),
            })
        };
        history.lock().take(&gone("an earlier one"), now);
        assert!(one("waits").is_some());
        history.lock().take(&gone("waits"), now);
        assert_eq!(one("waits"), None);
    }

    #[tokio::test]
    async fn of_many_the_first_thousand_that_wait_are_told_and_the_same_for_a_second() {
        let estimates = Arc::new(FreshAnswers::kept_for(Duration::from_secs(3_600)));
        let history = Arc::new(ClusterHistory { estimates, ..busy() });
        let told = async || history.estimates("n").await.unwrap();
        assert!(told().await.complete);
        let now = NOW.parse().unwrap();
        for number in 0..1_500_u32 {
            let waits = json!({ "phase": "Queued", "waiting": { "position": 1_500 - number } });
            history.lock().take(&open_job(&format!("waits-{number}"), &waits), now);
        }
        assert_eq!(told().await.items.len(), 2, "as it was told last");
        history.estimates.forget("n");
        let told = told().await;
        let positions: Vec<_> = told.items.iter().filter_map(|told| told.position).collect();
        assert_eq!((positions.len(), positions[0], told.complete), (1_000, 1, false));
        assert!(positions.is_sorted());
    }

    #[tokio::test]
    async fn jobs_without_a_place_are_told_and_not_all_are_there_before_the_first_list() {
        let (history, now) = (Arc::new(ClusterHistory::default()), NOW.parse().unwrap());
        history.lock().take(&open_job("new", &json!({})), now);
        history.lock().take(&open_job("again", &json!({ "phase": "Queued" })), now);
        let told = history.estimates("n").await.unwrap();
        assert!(told.items.iter().all(|job| job.position.is_none() && job.not_told.is_some()));
        assert_eq!((told.items.len(), told.complete), (2, false));
        history.lock().take(&Change::Listed, now);
        history.estimates.forget("n");
        assert!(history.estimates("n").await.unwrap().complete);
    }

    #[test]
    fn nothing_is_kept_of_a_job_that_is_gone() {
        let mut kept = Kept::default();
        let gone = DeletedObject { namespace: "n".into(), name: "j".into(), uid: "j".into() };
        let now = NOW.parse().unwrap();
        kept.take(&job("n", "j", "Succeeded"), now);
        kept.take(&Change::Deleted(gone), now);
        assert!(kept.counted.is_empty());
    }
}
