//! One watch of a job, shared by all its streams: the back end serves one watch, and each event is
//! written once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use windlass_core::jobs::Jobs;
use windlass_core::live::Shown;
use windlass_core::status::Progress;
use windlass_core::{Error, JobKey};

use super::job_event::JobEvent;
use super::progress_cache::{CachedProgress, ProgressCache, ProgressSubscription};
use super::shared_task::{SharedTask, SharedTasks};
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

/// The latest update, once there is one.
pub(crate) type Updates = watch::Receiver<Option<WatchUpdate>>;

/// The jobs that somebody follows, by UID.
pub(crate) type SharedWatches = SharedTasks<Updates>;

/// One job that is followed as long as this is kept.
pub(crate) type SharedWatch = SharedTask<Updates>;

impl SharedWatches {
    /// The watch of this job.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        jobs: &Arc<dyn Jobs>,
        cache: &Arc<ProgressCache>,
        key: &JobKey,
        uid: &str,
    ) -> Arc<SharedWatch> {
        self.find_or_start(uid, || {
            let (sender, updates) = watch::channel(None);
            let task = WatchTask {
                jobs: Arc::clone(jobs),
                progress: cache.subscribe(uid),
                key: key.clone(),
                uid: uid.to_owned(),
                sender,
            };
            (updates, task.run())
        })
    }
}

impl SharedWatch {
    pub(crate) fn updates(&self) -> Updates {
        self.heard.clone()
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
