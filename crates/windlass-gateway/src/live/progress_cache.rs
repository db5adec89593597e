//! The latest progress of each running job, as workers have reported it: here or to another replica.
//!
//! What is here is a hint that may be lost: a status is committed by whoever got the report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use windlass_core::live::Live;

/// Most jobs whose progress is kept. Each costs its message, 1 KiB at most, and little more.
const MAX_JOBS: usize = 10_000;

/// At the bound, progress that came longer ago than this makes room.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// The progress that came last, and when.
#[derive(Clone, Debug)]
pub(crate) struct CachedProgress {
    pub(crate) live: Live,
    pub(crate) at: Instant,
}

/// By the job's UID.
#[derive(Default)]
pub(crate) struct ProgressCache {
    jobs: Mutex<HashMap<String, watch::Sender<Option<CachedProgress>>>>,
}

impl ProgressCache {
    /// Keeps the progress that a worker has reported. Returns whether it is news: progress that is
    /// older than the kept one is not, and neither is progress that there is no room for.
    pub(crate) fn update(&self, uid: &str, live: Live) -> bool {
        self.update_at(uid, live, Instant::now())
    }

    fn update_at(&self, uid: &str, live: Live, at: Instant) -> bool {
        let mut jobs = self.lock();
        let new = CachedProgress { live, at };
        if let Some(entry) = jobs.get(uid) {
            return entry.send_if_modified(|kept| {
                let is_news = kept.as_ref().is_none_or(|kept| new.live.is_after(&kept.live));
                if is_news {
                    *kept = Some(new);
                }
                is_news
            });
        }
        if jobs.len() >= MAX_JOBS {
            jobs.retain(|_, entry| {
                let is_fresh =
                    entry.borrow().as_ref().is_some_and(|kept| at - kept.at < STALE_AFTER);
                is_fresh || !entry.is_closed()
            });
        }
        let has_room = jobs.len() < MAX_JOBS;
        if has_room {
            jobs.insert(uid.to_owned(), watch::Sender::new(Some(new)));
        }
        has_room
    }

    /// Drops the progress of a job.
    pub(crate) fn remove(&self, uid: &str) {
        let mut jobs = self.lock();
        let Some(entry) = jobs.get(uid) else { return };
        if entry.is_closed() {
            jobs.remove(uid);
        } else {
            entry.send_if_modified(|kept| kept.take().is_some());
        }
    }

    /// Subscribes to the progress of a job.
    pub(crate) fn subscribe(self: &Arc<Self>, uid: &str) -> ProgressSubscription {
        let mut jobs = self.lock();
        let entry = jobs.entry(uid.to_owned()).or_insert_with(|| watch::Sender::new(None));
        let receiver = Some(entry.subscribe());
        ProgressSubscription { cache: Arc::clone(self), uid: uid.to_owned(), receiver }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<CachedProgress>>>> {
        // A map is one after a panic, too.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription to the progress of one job.
pub(crate) struct ProgressSubscription {
    cache: Arc<ProgressCache>,
    uid: String,
    /// Always there until the end: taken by `drop`, so that it does not count any more.
    receiver: Option<watch::Receiver<Option<CachedProgress>>>,
}

impl ProgressSubscription {
    /// The progress that is kept now.
    pub(crate) fn latest(&mut self) -> Option<CachedProgress> {
        self.receiver.as_mut()?.borrow_and_update().clone()
    }

    /// Returns when it has changed.
    pub(crate) async fn changed(&mut self) {
        let changed = match &mut self.receiver {
            Some(receiver) => receiver.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            // An entry outlives its listeners.
            std::future::pending().await
        }
    }

    /// Drops the progress.
    pub(crate) fn remove(&self) {
        self.cache.remove(&self.uid);
    }
}

impl Drop for ProgressSubscription {
    fn drop(&mut self) {
        self.receiver = None;
        let mut jobs = self.cache.lock();
        if jobs.get(&self.uid).is_some_and(|entry| entry.is_closed() && entry.borrow().is_none()) {
            jobs.remove(&self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::status::Progress;

    use super::*;

    fn live(elapsed_ms: u64) -> Live {
        Live { attempt: 1, elapsed_ms, progress: Progress::new(1, 2, "", 1.0) }
    }

    #[test]
    fn only_what_is_later_is_news() {
        let cache = Arc::new(ProgressCache::default());
        let mut subscription = cache.subscribe("a");
        assert!(cache.update("a", live(5)));
        assert!(!cache.update("a", live(5)) && !cache.update("a", live(4)));
        assert!(cache.update("a", live(6)));
        assert_eq!(subscription.latest().unwrap().live.elapsed_ms, 6);
        cache.remove("a");
        assert!(subscription.latest().is_none());
        drop(subscription);
        assert!(cache.lock().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Arc::new(ProgressCache::default());
        let _subscription = cache.subscribe("0");
        let now = Instant::now();
        for job in 0..MAX_JOBS + 5 {
            assert_eq!(cache.update_at(&job.to_string(), live(1), now), job < MAX_JOBS, "{job}");
        }
        assert!(cache.update_at("new", live(1), now + STALE_AFTER));
        // Somebody listens for the first.
        assert_eq!(cache.lock().len(), 2);
    }
}
