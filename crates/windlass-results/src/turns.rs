//! Who may upload: so many at a time, and one namespace never all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Uploads at a time.
const UPLOADS: usize = 4;

/// Uploads of one namespace at a time. It leaves a turn to the others.
const UPLOADS_OF_A_NAMESPACE: usize = UPLOADS - 1;

#[derive(Debug, Clone)]
pub(crate) struct UploadTurns {
    all: Arc<Semaphore>,
    /// Of the namespaces that upload or wait.
    namespaces: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct UploadTurn {
    _of_namespace: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl UploadTurns {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(UPLOADS)), namespaces: Arc::default() }
    }

    /// Waits for a turn, in the order of arrival.
    pub(crate) async fn acquire(&self, namespace: &str) -> Result<UploadTurn, AcquireError> {
        // The turn of the namespace first: who waits for it must not hold what another namespace could use.
        let _of_namespace = self.of(namespace).acquire_owned().await?;
        let _of_all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(UploadTurn { _of_namespace, _of_all })
    }

    /// A turn, if there is one now.
    pub(crate) fn try_acquire(&self, namespace: &str) -> Option<UploadTurn> {
        let _of_namespace = self.of(namespace).try_acquire_owned().ok()?;
        let _of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(UploadTurn { _of_namespace, _of_all })
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = namespaces.get(namespace).and_then(Weak::upgrade) {
            return turns;
        }
        namespaces.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(UPLOADS_OF_A_NAMESPACE));
        namespaces.insert(namespace.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_leaves_a_turn_to_others_and_all_together_have_no_more_than_there_are() {
        let turns = UploadTurns::new();
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
        let turns = UploadTurns::new();
        let busy: Vec<_> = (0..3).map(|_| turns.try_acquire("a").unwrap()).collect();
        let waits = tokio::spawn({
            let turns = turns.clone();
            async move { turns.acquire("a").await.unwrap() }
        });
        tokio::task::yield_now().await;
        turns.acquire("b").await.unwrap();
        assert!(!waits.is_finished());
        drop(busy);
        waits.await.unwrap();
    }

    #[test]
    fn namespaces_that_have_ended_are_forgotten() {
        let turns = UploadTurns::new();
        for number in 0..100 {
            turns.try_acquire(&number.to_string()).unwrap();
        }
        assert_eq!(turns.namespaces.lock().unwrap().len(), 1);
    }
}
