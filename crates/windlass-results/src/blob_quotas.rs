//! Bounds of the bytes of blobs, and what was last found of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use windlass_core::blobs::Quota;

/// The bounds, and what was found last.
#[derive(Debug, Default)]
pub(crate) struct BlobQuotas {
    pub(crate) namespace: Option<Quota>,
    pub(crate) all: Option<Quota>,
    /// By namespace; with a bound of all there is one list of all, which has no name.
    lists: Mutex<BTreeMap<String, SharedList>>,
}

/// The last list, held by whoever makes the next one.
pub(crate) type SharedList = Arc<AsyncMutex<Option<List>>>;

/// Bytes of blobs by namespace, and when somebody began to count them.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) begun: Instant,
    pub(crate) bytes: Arc<BTreeMap<String, u64>>,
}

impl BlobQuotas {
    pub(crate) fn new(namespace: Option<u64>, all: Option<u64>) -> Self {
        let quota = |name, limit: Option<u64>| limit.map(|limit| Quota { name, limit });
        let (namespace, all) = (quota("namespace-blob-quota", namespace), quota("blob-quota", all));
        Self { namespace, all, lists: Mutex::default() }
    }

    /// Where the list is that has this namespace.
    pub(crate) fn list_of(&self, namespace: &str) -> SharedList {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses or waits for.
        lists.retain(|_, list| Arc::strong_count(list) > 1);
        let name = if self.all.is_some() { "" } else { namespace };
        Arc::clone(lists.entry(name.to_owned()).or_default())
    }
}
