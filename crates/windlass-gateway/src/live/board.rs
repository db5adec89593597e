//! The latest progress of each running job, as workers have told it: here or to another replica.
//!
//! What is here is a hint that may be lost: a status is committed by whoever heard the report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use windlass_core::live::Live;

/// Most jobs whose progress is kept. Each costs its message, 1 KiB at most, and little more.
const MOST: usize = 10_000;

/// At the bound what was told longer ago than this makes room.
const OLD: Duration = Duration::from_secs(30);

/// What was heard last, and when.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) live: Live,
    pub(crate) at: Instant,
}

/// By the job's UID.
#[derive(Default)]
pub(crate) struct Board {
    jobs: Mutex<HashMap<String, watch::Sender<Option<Heard>>>>,
}

impl Board {
    /// Progress that a worker has told. Whether it is news: what is older than what is known is not,
    /// nor what there is no room for.
    pub(crate) fn hear(&self, uid: &str, live: Live) -> bool {
        self.hear_at(uid, live, Instant::now())
    }

    fn hear_at(&self, uid: &str, live: Live, at: Instant) -> bool {
        let mut jobs = self.lock();
        let heard = Heard { live, at };
        if let Some(entry) = jobs.get(uid) {
            return entry.send_if_modified(|known| {
                let is_news = known.as_ref().is_none_or(|known| heard.live.is_after(&known.live));
                if is_news {
                    *known = Some(heard);
                }
                is_news
            });
        }
        if jobs.len() >= MOST {
            jobs.retain(|_, entry| {
                let told = entry.borrow().as_ref().is_some_and(|known| at - known.at < OLD);
                told || !entry.is_closed()
            });
        }
        let has_room = jobs.len() < MOST;
        if has_room {
            jobs.insert(uid.to_owned(), watch::Sender::new(Some(heard)));
        }
        has_room
    }

    /// Drops what is known of a job.
    pub(crate) fn forget(&self, uid: &str) {
        let mut jobs = self.lock();
        let Some(entry) = jobs.get(uid) else { return };
        if entry.is_closed() {
            jobs.remove(uid);
        } else {
            entry.send_if_modified(|known| known.take().is_some());
        }
    }

    /// Listens for a job.
    pub(crate) fn listen(self: &Arc<Self>, uid: &str) -> Listener {
        let mut jobs = self.lock();
        let entry = jobs.entry(uid.to_owned()).or_insert_with(|| watch::Sender::new(None));
        let heard = Some(entry.subscribe());
        Listener { board: Arc::clone(self), uid: uid.to_owned(), heard }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<Heard>>>> {
        // A map is one after a panic, too.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever waits for news of one job.
pub(crate) struct Listener {
    board: Arc<Board>,
    uid: String,
    /// Always there until the end: taken by `drop`, so that it does not count any more.
    heard: Option<watch::Receiver<Option<Heard>>>,
}

impl Listener {
    /// What is known now.
    pub(crate) fn known(&mut self) -> Option<Heard> {
        self.heard.as_mut()?.borrow_and_update().clone()
    }

    /// Returns when something else is known.
    pub(crate) async fn changed(&mut self) {
        let changed = match &mut self.heard {
            Some(heard) => heard.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            // An entry outlives its listeners.
            std::future::pending().await
        }
    }

    /// Drops what is known.
    pub(crate) fn forget(&self) {
        self.board.forget(&self.uid);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard = None;
        let mut jobs = self.board.lock();
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
        let board = Arc::new(Board::default());
        let mut listener = board.listen("a");
        assert!(board.hear("a", live(5)));
        assert!(!board.hear("a", live(5)) && !board.hear("a", live(4)));
        assert!(board.hear("a", live(6)));
        assert_eq!(listener.known().unwrap().live.elapsed_ms, 6);
        board.forget("a");
        assert!(listener.known().is_none());
        drop(listener);
        assert!(board.lock().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let board = Arc::new(Board::default());
        let _listener = board.listen("0");
        let now = Instant::now();
        for job in 0..MOST + 5 {
            assert_eq!(board.hear_at(&job.to_string(), live(1), now), job < MOST, "{job}");
        }
        assert!(board.hear_at("new", live(1), now + OLD));
        // Somebody listens for the first.
        assert_eq!(board.lock().len(), 2);
    }
}
