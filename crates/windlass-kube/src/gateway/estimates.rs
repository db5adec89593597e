//! When the jobs of a cluster are likely to end, and the positions of those that wait, from what this gateway's watch has
//! shown of them: worked out when somebody asks, for all who ask within a second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use windlass_backend::{Clock, FreshAnswers};
use windlass_core::estimate::{Estimate, Estimates};
use windlass_core::{Error, JobKey};

use super::open_jobs::OpenJobs;
use crate::cache::job::WatchedJob;
use crate::cache::watch::Change;

/// Works out estimates of the jobs of all namespaces.
pub(super) struct ClusterEstimates {
    clock: Clock,
    since: Timestamp,
    seen: Mutex<Seen>,
    /// The latest of each namespace.
    answers: Arc<FreshAnswers<Arc<Estimates>>>,
}

/// What the watch has shown.
#[derive(Default)]
struct Seen {
    open: OpenJobs,
    /// Whether the first list is whole.
    is_listed: bool,
}

impl Default for ClusterEstimates {
    fn default() -> Self {
        let clock = Clock::start();
        Self { since: clock.now(), clock, seen: Mutex::default(), answers: Arc::default() }
    }
}

impl ClusterEstimates {
    /// Since when the watch has shown anything.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// The time by which they are worked out.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// When the jobs of one namespace are likely to end that run, and the positions of those that wait: worked out at
    /// most once a second, while nobody waits for what is watched or for another namespace.
    pub(super) async fn latest(self: &Arc<Self>, namespace: &str) -> Result<Arc<Estimates>, Error> {
        let (estimates, of) = (Arc::clone(self), namespace.to_owned());
        let make = async move {
            let work = move || Arc::new(estimates.work_out(&of, estimates.now()));
            tokio::task::spawn_blocking(work).await.map_err(|error| Error::Bug(error.to_string()))
        };
        self.answers.get_to_its_end(namespace, make).await
    }

    fn work_out(&self, namespace: &str, now: Timestamp) -> Estimates {
        let seen = self.lock();
        let (snapshot, is_listed) = (seen.open.snapshot(namespace), seen.is_listed);
        drop(seen);
        let (since, complete) = (Some(self.since), is_listed && snapshot.is_whole);
        Estimates { since, complete, items: snapshot.estimates(now) }
    }

    /// The same of one job, as it is now.
    pub(super) fn one(&self, key: &JobKey) -> Option<Estimate> {
        let snapshot = self.lock().open.one(key)?;
        snapshot.estimates(self.now()).pop()
    }

    /// The watch has shown this.
    pub(super) fn take(&self, change: &Change<WatchedJob>) {
        let mut seen = self.lock();
        match change {
            Change::Applied(job) => {
                if let Some(uid) = job.uid() {
                    seen.open.keep(job.namespace(), uid, job);
                }
            }
            Change::Deleted(gone) => seen.open.forget(&gone.namespace, &gone.name, &gone.uid),
            Change::Listed => seen.is_listed = true,
            Change::Failed => {}
        }
    }

    /// A job has just ended.
    pub(super) fn count_ended(&self, job: &WatchedJob) {
        self.lock().open.count(job.namespace(), job);
    }

    /// Forgets how long jobs took, but for those of these namespaces.
    pub(super) fn retain_times(&self, is_kept: impl Fn(&str) -> bool) {
        self.lock().open.retain(is_kept);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A panic leaves at most one job that is kept or forgotten wrongly until its next change.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::history::ClusterHistory;
    use super::*;
    use crate::cache::watch::DeletedObject;

    const NOW: &str = "2026-01-01T00:00:10Z";

    fn open_job(name: &str, status: &serde_json::Value) -> Change<WatchedJob> {
        let object = json!({ "metadata": { "namespace": "n", "name": name, "uid": name },
            "spec": { "function": "f" }, "status": status });
        Change::Applied(serde_json::from_value(object).unwrap())
    }

    /// Five jobs have taken 5 s, one runs since now, and one waits at position 3.
    fn busy_with(estimates: ClusterEstimates) -> ClusterHistory {
        let (history, now) = (ClusterHistory::with(estimates), NOW.parse().unwrap());
        history.take(&Change::Listed, now);
        history.take(&open_job("runs", &json!({ "phase": "Running", "parallelism": 1 })), now);
        let waits = json!({ "phase": "Queued", "waiting": { "position": 3 } });
        history.take(&open_job("waits", &waits), now);
        let ended = json!({ "phase": "Succeeded", "parallelism": 1, "timeline": {
            "admitted": "2026-01-01T00:00:04Z", "running": "2026-01-01T00:00:04Z",
            "finished": "2026-01-01T00:00:09Z" } });
        for number in 0..5 {
            history.take(&open_job(&format!("ended-{number}"), &ended), now);
        }
        history
    }

    #[test]
    fn what_runs_ends_after_as_long_as_others_took_and_what_waits_has_its_position() {
        let (history, now) = (busy_with(ClusterEstimates::default()), NOW.parse().unwrap());
        let told = |namespace| history.estimates().work_out(namespace, now).items;
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
        let (history, now) = (busy_with(ClusterEstimates::default()), NOW.parse().unwrap());
        let one = |name: &str| {
            history.estimates().one(&JobKey { namespace: "n".into(), name: name.into() })
        };
        assert_eq!(one("waits").unwrap().position, Some(3));
        assert!(one("runs").unwrap().estimated_completion_time.is_some());
        let cancelled = json!({ "metadata": { "namespace": "n", "name": "runs", "uid": "runs" },
            "spec": { "function": "f", "cancel": true },
            "status": { "phase": "Running", "parallelism": 1 } });
        let cancelled = Change::Applied(serde_json::from_value(cancelled).unwrap());
        history.take(&cancelled, now);
        let told = one("runs").unwrap();
        assert!(told.estimated_completion_time.is_none() && told.not_told.is_some(), "{told:?}");
        history.take(&open_job("runs", &json!({ "phase": "Cancelled" })), now);
        assert_eq!(one("runs"), None);
        let gone = |uid: &str| {
            Change::Deleted(DeletedObject {
                namespace: "n".into(),
                name: "waits".into(),
                uid: uid.into(),
            })
        };
        history.take(&gone("an earlier one"), now);
        assert!(one("waits").is_some());
        history.take(&gone("waits"), now);
        assert_eq!(one("waits"), None);
    }

    #[tokio::test]
    async fn of_many_the_first_thousand_that_wait_are_told_and_the_same_for_a_second() {
        let answers = Arc::new(FreshAnswers::kept_for(Duration::from_secs(3_600)));
        let history = busy_with(ClusterEstimates { answers, ..ClusterEstimates::default() });
        let told = async || history.estimates().latest("n").await.unwrap();
        assert!(told().await.complete);
        let now = NOW.parse().unwrap();
        for number in 0..1_500_u32 {
            let waits = json!({ "phase": "Queued", "waiting": { "position": 1_500 - number } });
            history.take(&open_job(&format!("waits-{number}"), &waits), now);
        }
        assert_eq!(told().await.items.len(), 2, "as it was told last");
        history.estimates().answers.forget("n");
        let told = told().await;
        let positions: Vec<_> = told.items.iter().filter_map(|told| told.position).collect();
        assert_eq!((positions.len(), positions[0], told.complete), (1_000, 1, false));
        assert!(positions.is_sorted());
    }

    #[tokio::test]
    async fn jobs_without_a_place_are_told_and_not_all_are_there_before_the_first_list() {
        let (history, now) = (ClusterHistory::default(), NOW.parse().unwrap());
        history.take(&open_job("new", &json!({})), now);
        history.take(&open_job("again", &json!({ "phase": "Queued" })), now);
        let told = history.estimates().latest("n").await.unwrap();
        assert!(told.items.iter().all(|job| job.position.is_none() && job.not_told.is_some()));
        assert_eq!((told.items.len(), told.complete), (2, false));
        history.take(&Change::Listed, now);
        history.estimates().answers.forget("n");
        assert!(history.estimates().latest("n").await.unwrap().complete);
    }
}
