//! One job, followed once for all its streams: the world is asked by one watch, and each event is
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

use super::board::{Board, Heard, Listener};
use super::frame::Frame;
use crate::refusal::Refusal;

/// A status whose progress changes later than this after a report was heard here was written by who
/// has heard a later one: a commit takes no longer in a cluster that is well.
const COMMIT: Duration = Duration::from_secs(1);

/// What the streams of a job are shown.
#[derive(Clone)]
pub(crate) enum Told {
    Frame(Arc<Frame>),
    /// The job cannot be followed any more.
    Problem(Refusal),
}

/// The jobs that somebody follows, by UID: as many as there are open streams, at most.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<HashMap<String, Weak<Feed>>>);

/// One job that is followed as long as this is kept.
pub(crate) struct Feed {
    feeds: Weak<Feeds>,
    uid: String,
    told: watch::Receiver<Option<Told>>,
    task: AbortHandle,
}

impl Feeds {
    /// The feed of this job, which somebody may have begun already.
    pub(crate) fn join(
        self: &Arc<Self>,
        jobs: &Arc<dyn Jobs>,
        board: &Arc<Board>,
        key: &JobKey,
        uid: &str,
    ) -> Arc<Feed> {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has met an end or an error is over, whoever still reads it.
        let open = |feed: &Arc<Feed>| !feed.task.is_finished();
        if let Some(feed) = feeds.get(uid).and_then(Weak::upgrade).filter(open) {
            return feed;
        }
        let (tell, told) = watch::channel(None);
        let follower = Follower {
            jobs: Arc::clone(jobs),
            heard: board.listen(uid),
            key: key.clone(),
            uid: uid.to_owned(),
            tell,
        };
        let task = tokio::spawn(follower.run()).abort_handle();
        let feed = Arc::new(Feed { feeds: Arc::downgrade(self), uid: uid.to_owned(), told, task });
        feeds.insert(uid.to_owned(), Arc::downgrade(&feed));
        feed
    }
}

impl Feed {
    pub(crate) fn told(&self) -> watch::Receiver<Option<Told>> {
        self.told.clone()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
        let Some(feeds) = self.feeds.upgrade() else { return };
        let mut feeds = feeds.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another one of the same job may have been begun.
        if feeds.get(&self.uid).is_some_and(|feed| feed.strong_count() == 0) {
            feeds.remove(&self.uid);
        }
    }
}

/// The task behind a feed.
struct Follower {
    jobs: Arc<dyn Jobs>,
    heard: Listener,
    key: JobKey,
    uid: String,
    tell: watch::Sender<Option<Told>>,
}

impl Follower {
    async fn run(mut self) {
        if let Err(error) = self.follow().await {
            self.tell.send_replace(Some(Told::Problem(error.into())));
        }
    }

    /// Returns at the end of the job.
    async fn follow(&mut self) -> Result<(), Error> {
        let mut changes = self.jobs.watch(&self.key).await?;
        let mut stored = changes.next_shown().await?;
        let mut committed = stored.job.status.progress.clone();
        let known = self.heard.known();
        if known.is_some_and(|heard| is_behind(&heard, committed.as_ref())) {
            self.heard.forget();
        }
        loop {
            if stored.job.metadata.uid != self.uid {
                return Err(Error::no_job(&self.key.name));
            }
            let heard = self.heard.known().map(|heard| heard.live);
            let shown = Shown::new(Arc::clone(&stored.job), stored.live.clone().or(heard));
            self.tell.send_replace(Some(Told::Frame(Arc::new(Frame::new(shown)))));
            if stored.job.status.is_finished() {
                self.heard.forget();
                return Ok(());
            }
            tokio::select! {
                next = changes.next_shown() => {
                    stored = next?;
                    let now = &stored.job.status.progress;
                    if *now != committed {
                        committed.clone_from(now);
                        let is_old = |heard: &Heard| heard.at.elapsed() > COMMIT;
                        if self.heard.known().as_ref().is_some_and(is_old) {
                            self.heard.forget();
                        }
                    }
                }
                () = self.heard.changed() => {}
            }
        }
    }
}

/// Whether what was heard is behind what is committed, for all that can be said at first sight.
fn is_behind(heard: &Heard, committed: Option<&Progress>) -> bool {
    heard.at.elapsed() > COMMIT
        && committed.is_some_and(|committed| committed.fraction > heard.live.progress.fraction)
}
