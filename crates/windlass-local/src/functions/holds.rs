//! Whether queues are on hold: as their manifests say, or as the REST API has said since.
//!
//! The last word counts. What the API has said is forgotten once the manifest says the same, so that a manifest that is
//! changed later counts again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::manifests::Functions;

/// What holds of all manifests, and what was said since.
#[derive(Debug)]
pub(super) struct Known {
    /// As the manifests say.
    read: Functions,
    /// What the API has said, where that is something else.
    holds: BTreeMap<String, bool>,
    /// Queues whose manifests say by now what the API had said, and what that is.
    settled: Vec<(String, bool)>,
    current: Arc<Functions>,
}

impl Known {
    pub(super) fn new(read: Functions) -> Self {
        let current = Arc::new(read.clone());
        Self { read, holds: BTreeMap::new(), settled: Vec::new(), current }
    }

    pub(super) fn current(&self) -> Arc<Functions> {
        Arc::clone(&self.current)
    }

    /// The manifests were read again.
    pub(super) fn set_read(&mut self, read: Functions) {
        self.read = read;
        self.settle();
    }

    /// What the API had said before this server started.
    pub(super) fn set_holds(&mut self, holds: BTreeMap<String, bool>) {
        self.holds = holds;
        self.settle();
    }

    /// What is to be kept of this word of the API: nothing where the manifest says the same. `None` without such a queue.
    pub(super) fn to_keep(&self, queue: &str, hold: bool) -> Option<Option<bool>> {
        self.read.queue(queue).map(|read| (read.spec.hold != hold).then_some(hold))
    }

    pub(super) fn set_hold(&mut self, queue: &str, hold: Option<bool>) {
        match hold {
            Some(hold) => drop(self.holds.insert(queue.to_owned(), hold)),
            None => drop(self.holds.remove(queue)),
        }
        self.settle();
    }

    /// The queues of which nothing needs to be kept any more.
    pub(super) fn take_settled(&mut self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.settled)
    }

    fn settle(&mut self) {
        let Self { read, holds, settled, current } = self;
        // A queue that is not there now may be there again, and is on hold then.
        holds.retain(|name, hold| {
            let is_settled = read.queue(name).is_some_and(|queue| queue.spec.hold == *hold);
            if is_settled {
                settled.push((name.clone(), *hold));
            }
            !is_settled
        });
        let mut functions = read.clone();
        holds.iter().for_each(|(name, hold)| functions.set_hold(name, *hold));
        *current = Arc::new(functions);
    }
}
