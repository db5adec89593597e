//! A list that many ask for again and again, as open dashboards do: the API server is asked by one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use windlass_core::Error;

/// How old a list may be that somebody else has asked for.
const FRESH: Duration = Duration::from_secs(1);

/// What was answered.
#[derive(Clone, Debug)]
struct Latest<T> {
    asked: Instant,
    answered: Instant,
    answer: Result<Vec<T>, Error>,
}

/// `None` while nobody has an answer.
type Slot<T> = Arc<AsyncMutex<Option<Latest<T>>>>;

/// The latest list of each namespace that was asked for a moment ago.
#[derive(Debug)]
pub(super) struct SharedList<T> {
    fresh: Duration,
    slots: Mutex<HashMap<String, Slot<T>>>,
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self { fresh: FRESH, slots: Mutex::default() }
    }
}

impl<T: Clone> SharedList<T> {
    /// The list of a namespace, asked for now or a moment ago. Who comes while it is asked for gets that answer, however
    /// long it takes, also when it is an error.
    pub(super) async fn get(
        &self,
        namespace: &str,
        ask: impl Future<Output = Result<Vec<T>, Error>>,
    ) -> Result<Vec<T>, Error> {
        let came = Instant::now();
        let slot = self.slot(namespace);
        let mut latest = slot.lock().await;
        if let Some(latest) = &*latest
            && (latest.answered >= came || latest.asked.elapsed() < self.fresh)
        {
            return latest.answer.clone();
        }
        let asked = Instant::now();
        let answer = ask.await;
        *latest = Some(Latest { asked, answered: Instant::now(), answer: answer.clone() });
        answer
    }

    /// The next one asks: what it says has changed.
    pub(super) fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    fn slot(&self, namespace: &str) -> Slot<T> {
        let mut slots = self.lock();
        // One that somebody waits for is locked, or soon will be.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_ok_and(|latest| {
                    latest.as_ref().is_some_and(|latest| latest.asked.elapsed() < self.fresh)
                })
        });
        Arc::clone(slots.entry(namespace.to_owned()).or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot<T>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// An API server that answers after a while, and counts.
    #[derive(Default)]
    struct Asked(AtomicUsize);

    impl Asked {
        async fn answer(&self) -> Result<Vec<usize>, Error> {
            let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if count == 2 { Err(Error::unavailable("away")) } else { Ok(vec![count]) }
        }
    }

    fn list(fresh: Duration) -> SharedList<usize> {
        SharedList { fresh, ..SharedList::default() }
    }

    /// An answer that takes longer than it is fresh is the answer of all who have come meanwhile.
    #[tokio::test]
    async fn fifty_who_ask_at_once_cost_what_one_costs() {
        let (list, asked) = (list(Duration::ZERO), Asked::default());
        let all = async || {
            let asking = (0..50).map(|_| list.get("a", asked.answer()));
            futures::future::join_all(asking).await
        };
        assert!(all().await.into_iter().all(|answer| answer.unwrap() == [1]));
        assert!(all().await.into_iter().all(|answer| answer.is_err()), "an error is one, too");
        assert!(all().await.into_iter().all(|answer| answer.unwrap() == [3]));
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_a_moment_and_not_once_it_is_known_to_be_old() {
        let (list, asked) = (list(Duration::from_secs(3_600)), Asked::default());
        for _ in 0..3 {
            assert_eq!(list.get("a", asked.answer()).await.unwrap(), [1]);
        }
        assert!(list.get("b", asked.answer()).await.is_err(), "another namespace");
        list.forget("a");
        assert_eq!(list.get("a", asked.answer()).await.unwrap(), [3]);
        let left = SharedList { fresh: Duration::ZERO, ..list };
        left.get("c", asked.answer()).await.unwrap();
        assert_eq!(left.lock().len(), 1, "what nobody asks for any more is not kept");
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_question_to_the_next() {
        let (list, asked) = (list(FRESH), Asked::default());
        let mut early = Box::pin(list.get("a", std::future::pending()));
        assert!(futures::poll!(early.as_mut()).is_pending());
        drop(early);
        assert_eq!(list.get("a", asked.answer()).await.unwrap(), [1]);
    }
}
