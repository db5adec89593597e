//! Answers that many ask for again and again, as open dashboards do: one of those who ask has it made, and it is told
//! again for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use windlass_core::Error;

/// How long an answer is told again.
const FRESH: Duration = Duration::from_secs(1);

/// The latest answer to one question.
#[derive(Debug)]
struct Latest<T> {
    answered: Instant,
    answer: Result<T, Error>,
}

/// `None` while nobody has an answer.
type Slot<T> = Arc<AsyncMutex<Option<Latest<T>>>>;

/// The latest answers to the questions that were asked a moment ago.
#[derive(Debug)]
pub struct FreshAnswers<T> {
    fresh: Duration,
    slots: Mutex<HashMap<String, Slot<T>>>,
}

impl<T> Default for FreshAnswers<T> {
    fn default() -> Self {
        Self::kept_for(FRESH)
    }
}

impl<T> FreshAnswers<T> {
    /// With answers that are told again for so long.
    pub fn kept_for(fresh: Duration) -> Self {
        Self { fresh, slots: Mutex::default() }
    }

    /// The next who asks this has it made: the answer has changed.
    pub fn forget(&self, question: &str) {
        self.lock().remove(question);
    }

    fn slot(&self, question: &str) -> Slot<T> {
        let mut slots = self.lock();
        // One that somebody waits for is locked, or soon will be.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot
                    .try_lock()
                    .is_ok_and(|latest| latest.as_ref().is_some_and(|latest| self.is_fresh(latest)))
        });
        Arc::clone(slots.entry(question.to_owned()).or_default())
    }

    fn is_fresh(&self, latest: &Latest<T>) -> bool {
        latest.answered.elapsed() < self.fresh
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot<T>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> FreshAnswers<T> {
    /// The answer to a question, made now or a moment ago. Who comes while it is made gets that one, however long it takes,
    /// also when it is an error. When the one goes away who has it made, the next one begins anew.
    pub async fn get(
        &self,
        question: &str,
        make: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let came = Instant::now();
        let slot = self.slot(question);
        let mut latest = slot.lock().await;
        if let Some(latest) = &*latest
            && (latest.answered >= came || self.is_fresh(latest))
        {
            return latest.answer.clone();
        }
        let answer = make.await;
        *latest = Some(Latest { answered: Instant::now(), answer: answer.clone() });
        answer
    }
}

impl<T: Clone + Send + 'static> FreshAnswers<T> {
    /// The same of an answer that costs much: it is made to its end also when the one goes away who has it made.
    pub async fn get_to_its_end(
        self: &Arc<Self>,
        question: &str,
        make: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (answers, question) = (Arc::clone(self), question.to_owned());
        let made = tokio::spawn(async move { answers.get(&question, make).await });
        made.await.map_err(|error| Error::Bug(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Who answers after a while, and counts.
    #[derive(Default)]
    struct Asked(AtomicUsize);

    impl Asked {
        async fn answer(&self) -> Result<usize, Error> {
            let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if count == 2 { Err(Error::unavailable("away")) } else { Ok(count) }
        }
    }

    const LONG: Duration = Duration::from_secs(3_600);

    /// An answer that takes longer than it is fresh is the answer of all who have come meanwhile.
    #[tokio::test]
    async fn fifty_who_ask_at_once_cost_what_one_costs() {
        let (answers, asked) = (FreshAnswers::kept_for(Duration::ZERO), Asked::default());
        let all = async || {
            let asking = (0..50).map(|_| answers.get("a", asked.answer()));
            futures::future::join_all(asking).await
        };
        assert!(all().await.into_iter().all(|answer| answer.unwrap() == 1));
        assert!(all().await.into_iter().all(|answer| answer.is_err()), "an error is one, too");
        assert!(all().await.into_iter().all(|answer| answer.unwrap() == 3));
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_a_moment_and_not_once_it_is_known_to_be_old() {
        let (answers, asked) = (FreshAnswers::kept_for(LONG), Asked::default());
        for _ in 0..3 {
            assert_eq!(answers.get("a", asked.answer()).await.unwrap(), 1);
        }
        assert!(answers.get("b", asked.answer()).await.is_err(), "another question");
        answers.forget("a");
        assert_eq!(answers.get("a", asked.answer()).await.unwrap(), 3);
        let left = FreshAnswers { fresh: Duration::ZERO, ..answers };
        left.get("c", asked.answer()).await.unwrap();
        assert_eq!(left.lock().len(), 1, "what nobody asks for any more is not kept");
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_question_to_the_next() {
        let (answers, asked) = (FreshAnswers::default(), Asked::default());
        let mut early = Box::pin(answers.get("a", std::future::pending()));
        assert!(futures::poll!(early.as_mut()).is_pending());
        drop(early);
        assert_eq!(answers.get("a", asked.answer()).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_costs_much_is_made_to_its_end_when_the_one_gives_up_who_has_asked() {
        let (answers, go_on) = (Arc::new(FreshAnswers::kept_for(LONG)), Arc::new(Notify::new()));
        let waits = Arc::clone(&go_on);
        let first = async move {
            waits.notified().await;
            Ok(1)
        };
        let mut early = Box::pin(answers.get_to_its_end("a", first));
        assert!(futures::poll!(early.as_mut()).is_pending());
        tokio::task::yield_now().await;
        drop(early);
        go_on.notify_one();
        let next = answers.get_to_its_end("a", async { panic!("made twice") });
        assert_eq!(next.await.unwrap(), 1);
    }
}
