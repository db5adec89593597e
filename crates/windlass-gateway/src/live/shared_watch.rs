//! One watch of a job, shared by all its streams: the back end serves one watch, and each event is
//! written once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use windlass_core::jobs::Jobs;
use windlass_core::live::Shown;
use windlass_core::status::Progress;
use windlass_core::{Error, JobKey};

use super::job_event::JobEvent;
use super::progress_cache::{CachedProgress, ProgressCache, ProgressSubscription};
use crate::protocol::error::ApiError;

/// The longest time from a report to the status that has it, in a cluster that is well. When a status
/// gets other progress later than this after a report came here, another replica has got a later report.
const COMMIT_TIME: Duration = Duration::from_secs(1);

/// What the streams of a job are shown.
#[derive(Clone)]
pub(crate) enum WatchUpdate {
    Event(Arc<JobEvent>),
    /// The job cannot be followed any more.
    Failed(ApiError),
}

/// The jobs that somebody follows, by UID: as many as there are open streams, at most.
#[derive(Default)]
pub(crate) struct SharedWatches(Mutex<HashMap<String, Weak<SharedWatch>>>);

/// One job that is followed as long as this is kept.
pub(crate) struct SharedWatch {
    watches: Weak<SharedWatches>,
    uid: String,
    updates: watch::Receiver<Option<WatchUpdate>>,
    task: AbortHandle,
}

impl SharedWatches {
    /// The watch of this job, which another stream may have started already.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        jobs: &Arc<dyn Jobs>,
        cache: &Arc<ProgressCache>,
        key: &JobKey,
        uid: &str,
    ) -> Arc<SharedWatch> {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A watch that has met an end or an error is over, even while streams still read it.
        let is_open = |shared: &Arc<SharedWatch>| !shared.task.is_finished();
        if let Some(shared) = watches.get(uid).and_then(Weak::upgrade).filter(is_open) {
            return shared;
        }
        let (sender, updates) = watch::channel(None);
        let task = WatchTask {
            jobs: Arc::clone(jobs),
            progress: cache.subscribe(uid),
            key: key.clone(),
            uid: uid.to_owned(),
            sender,
        };
        let task = tokio::spawn(task.run()).abort_handle();
        let shared = Arc::new(SharedWatch {
            watches: Arc::downgrade(self),
            uid: uid.to_owned(),
            updates,
            task,
        });
        watches.insert(uid.to_owned(), Arc::downgrade(&shared));
        shared
    }
}

impl SharedWatch {
    pub(crate) fn updates(&self) -> watch::Receiver<Option<WatchUpdate>> {
        self.updates.clone()
    }
}

impl Drop for SharedWatch {
    fn drop(&mut self) {
        self.task.abort();
        let Some(watches) = self.watches.upgrade() else { return };
        let mut watches = watches.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another watch of the same job may have been started.
        if watches.get(&self.uid).is_some_and(|shared| shared.strong_count() == 0) {
            watches.remove(&self.uid);
        }
    }
}

/// The task behind a shared watch.
struct WatchTask {
    jobs: Arc<dyn Jobs>,
    progress: ProgressSubscription,
    key: JobKey,
    uid: String,
    sender: watch::Sender<Option<WatchUpdate>>,
}

impl WatchTask {
    async fn run(mut self) {
        if let Err(error) = self.follow().await {
            self.sender.send_replace(Some(WatchUpdate::Failed(error.into())));
        }
    }

    /// Returns at the end of the job.
    async fn follow(&mut self) -> Result<(), Error> {
        let mut changes = self.jobs.watch(&self.key).await?;
        let mut stored = changes.next_shown().await?;
        let mut committed = stored.job.status.progress.clone();
        let latest = self.progress.latest();
        if latest.is_some_and(|latest| is_behind(&latest, committed.as_ref())) {
            self.progress.remove();
        }
        loop {
            if stored.job.metadata.uid != self.uid {
                return Err(Error::no_job(&self.key.name));
            }
            let live = self.progress.latest().map(|latest| latest.live);
            let shown = Shown::new(Arc::clone(&stored.job), stored.live.clone().or(live));
            self.sender.send_replace(Some(WatchUpdate::Event(Arc::new(JobEvent::new(shown)))));
            if stored.job.status.is_finished() {
                self.progress.remove();
                return Ok(());
            }
            tokio::select! {
                next = changes.next_shown() => {
                    stored = next?;
                    let now = &stored.job.status.progress;
                    if *now != committed {
                        committed.clone_from(now);
                        let is_old = |latest: &CachedProgress| latest.at.elapsed() > COMMIT_TIME;
                        if self.progress.latest().as_ref().is_some_and(is_old) {
                            self.progress.remove();
                        }
                    }
                }
                () = self.progress.changed() => {}
            }
        }
    }
}

/// Whether the cached progress seems to be behind the committed one.
fn is_behind(cached: &CachedProgress, committed: Option<&Progress>) -> bool {
    cached.at.elapsed() > COMMIT_TIME
        && committed.is_some_and(|committed| committed.fraction > cached.live.progress.fraction)
}
