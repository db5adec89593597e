//! Who may upload: so many at a time, and one namespace never all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

#[derive(Debug, Clone)]
pub(crate) struct UploadTurns {
    all: Arc<Turns>,
    /// How many one namespace has at most.
    of_a_namespace: usize,
    /// Of the namespaces that upload or wait.
    namespaces: Arc<Mutex<HashMap<String, Weak<Turns>>>>,
}

/// So many turns, and how many wait for one.
#[derive(Debug)]
struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct UploadTurn {
    demand: Demand,
    _permits: [OwnedSemaphorePermit; 2],
}

/// Who waits for what an upload holds: a turn of its namespace, and one of all.
#[derive(Debug, Clone)]
pub(crate) struct Demand([Arc<Turns>; 2]);

impl UploadTurns {
    /// So many turns, of which a namespace leaves a quarter to the others.
    pub(crate) fn new(number: usize) -> Self {
        let all = Arc::new(Turns::new(number));
        Self { all, of_a_namespace: number - number / 4, namespaces: Arc::default() }
    }

    /// Waits for a turn, in the order of arrival.
    pub(crate) async fn acquire(&self, namespace: &str) -> Result<UploadTurn, AcquireError> {
        let demand = self.demand_of(namespace);
        let [of_namespace, of_all] = &demand.0;
        // The turn of the namespace first: who waits for it must not hold what another namespace could use.
        let permits = [of_namespace.acquire().await?, of_all.acquire().await?];
        Ok(UploadTurn { demand, _permits: permits })
    }

    /// A turn, if there is one now.
    pub(crate) fn try_acquire(&self, namespace: &str) -> Option<UploadTurn> {
        let demand = self.demand_of(namespace);
        let [of_namespace, of_all] = &demand.0;
        let permits = [of_namespace.try_acquire()?, of_all.try_acquire()?];
        Some(UploadTurn { demand, _permits: permits })
    }

    fn demand_of(&self, namespace: &str) -> Demand {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let known = namespaces.get(namespace).and_then(Weak::upgrade);
        let turns = known.unwrap_or_else(|| {
            namespaces.retain(|_, turns| turns.strong_count() > 0);
            let turns = Arc::new(Turns::new(self.of_a_namespace));
            namespaces.insert(namespace.to_owned(), Arc::downgrade(&turns));
            turns
        });
        Demand([turns, Arc::clone(&self.all)])
    }
}

impl Turns {
    fn new(number: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(number)), waiting: AtomicUsize::new(0) }
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        let _waits = Waits::new(&self.waiting);
        Arc::clone(&self.free).acquire_owned().await
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

impl UploadTurn {
    pub(crate) fn demand(&self) -> Demand {
        self.demand.clone()
    }
}

impl Demand {
    /// Whether somebody waits who could begin if this upload ended.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.iter().any(|turns| turns.waiting.load(Ordering::Relaxed) > 0)
    }
}

/// Counts as one that waits, until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_leaves_a_turn_to_others_and_all_together_have_no_more_than_there_are() {
        let turns = UploadTurns::new(4);
        let mut busy: Vec<_> = (0..3).map(|_| turns.try_acquire("a").unwrap()).collect();
        assert!(turns.try_acquire("a").is_none());
        let other = turns.try_acquire("b").unwrap();
        assert!(turns.try_acquire("c").is_none());
        busy.pop();
        drop((turns.try_acquire("a").unwrap(), other));
        turns.try_acquire("c").unwrap();
    }

    #[tokio::test]
    async fn who_waits_for_the_turn_of_its_namespace_holds_none_of_the_others() {
        let turns = UploadTurns::new(4);
        let busy: Vec<_> = (0..3).map(|_| turns.try_acquire("a").unwrap()).collect();
        let waits = tokio::spawn({
            let turns = turns.clone();
            async move { turns.acquire("a").await.unwrap() }
        });
        tokio::task::yield_now().await;
        let other = turns.acquire("b").await.unwrap();
        assert!(!waits.is_finished());
        // Its wait is for an upload of its own namespace, and no other's is in its way.
        assert!(busy[0].demand().is_waited_for() && !other.demand().is_waited_for());
        let of_all = tokio::spawn({
            let turns = turns.clone();
            async move { turns.acquire("c").await.unwrap() }
        });
        tokio::task::yield_now().await;
        assert!(other.demand().is_waited_for());
        drop(other);
        of_all.await.unwrap();
        drop(busy);
        waits.await.unwrap();
    }

    #[test]
    fn namespaces_that_have_ended_are_forgotten() {
        let turns = UploadTurns::new(4);
        for number in 0..100 {
            turns.try_acquire(&number.to_string()).unwrap();
        }
        assert_eq!(turns.namespaces.lock().unwrap().len(), 1);
    }
}
