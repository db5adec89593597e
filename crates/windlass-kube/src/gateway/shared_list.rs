//! A list that many ask for again and again, as open dashboards do: the API server is asked by one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use windlass_core::Error;

/// How old a list may be that somebody else has asked for.
const FRESH: Duration = Duration::from_secs(1);

/// An answer, and when it was asked for. `None` while nobody has one.
type Slot<T> = Arc<AsyncMutex<Option<(Instant, Result<Vec<T>, Error>)>>>;

/// The latest list of each namespace that was asked for a moment ago.
#[derive(Debug)]
pub(super) struct SharedList<T>(Mutex<HashMap<String, Slot<T>>>);

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> SharedList<T> {
    /// The list of a namespace, asked for now or a moment ago. Who comes while it is asked for waits for that answer, also
    /// when it is an error.
    pub(super) async fn get(
        &self,
        namespace: &str,
        ask: impl Future<Output = Result<Vec<T>, Error>>,
    ) -> Result<Vec<T>, Error> {
        let slot = self.slot(namespace);
        let mut latest = slot.lock().await;
        if let Some((asked, answer)) = &*latest
            && asked.elapsed() < FRESH
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = ask.await;
        *latest = Some((asked, answer.clone()));
        answer
    }

    /// The next one asks: what it says has changed.
    pub(super) fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    fn slot(&self, namespace: &str) -> Slot<T> {
        let mut slots = self.lock();
        slots.retain(|_, slot| {
            let is_fresh = |latest: Option<&(Instant, _)>| {
                latest.is_some_and(|(asked, _)| asked.elapsed() < FRESH)
            };
            slot.try_lock().map_or(true, |latest| is_fresh(latest.as_ref()))
        });
        Arc::clone(slots.entry(namespace.to_owned()).or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            tokio::time::sleep(FRESH / 20).await;
            if count == 3 { Err(Error::unavailable("away")) } else { Ok(vec![count]) }
        }
    }

    #[tokio::test]
    async fn fifty_who_ask_cost_what_one_costs_and_see_nothing_old() {
        let (list, asked) = (SharedList::default(), Asked::default());
        let all = async || {
            let asking = (0..50).map(|_| list.get("a", asked.answer()));
            futures::future::join_all(asking).await
        };
        assert!(all().await.into_iter().all(|answer| answer.unwrap() == [1]));
        assert_eq!(list.get("a", asked.answer()).await.unwrap(), [1], "a moment later");
        assert_eq!(list.get("b", asked.answer()).await.unwrap(), [2], "another namespace");
        tokio::time::sleep(FRESH).await;
        // It is too old by now, and an answer that is an error is the answer of all.
        assert!(all().await.into_iter().all(|answer| answer.is_err()));
        assert_eq!(asked.0.load(Ordering::SeqCst), 3);
        tokio::time::sleep(FRESH).await;
        assert_eq!(list.get("a", asked.answer()).await.unwrap(), [4]);
        list.forget("a");
        assert_eq!(list.get("a", asked.answer()).await.unwrap(), [5]);
        assert_eq!(list.lock().len(), 1, "what nobody asks for any more is not kept");
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_question_to_the_next() {
        let (list, asked) = (SharedList::default(), Asked::default());
        let early = tokio::time::timeout(FRESH / 100, list.get("a", asked.answer())).await;
        assert!(early.is_err());
        assert_eq!(list.get("a", asked.answer()).await.unwrap(), [2]);
    }
}
