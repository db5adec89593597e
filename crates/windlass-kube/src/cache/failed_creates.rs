//! Why batch Jobs have no pods, as Events tell: a quota of the namespace refuses them, for example.
//!
//! An API server keeps no index of Events: each list reads all of a namespace. So one list serves all jobs of a
//! namespace, and the next is made only when the last one is old.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use tokio::time::Instant;

/// Least age of a list before the next.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The list of a namespace is forgotten when nobody has asked for it for so long.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The latest lists, by namespace.
#[derive(Default)]
pub(crate) struct FailedCreates(Mutex<HashMap<String, EventList>>);

struct EventList {
    /// When the next may be made.
    next: Instant,
    /// By UID of the batch Job.
    failed: HashMap<String, FailedCreate>,
}

/// A pod that the API server has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedCreate {
    /// Since when.
    pub(crate) since: Timestamp,
    /// The API server's words.
    pub(crate) message: String,
}

impl FailedCreates {
    /// Whether it is time for a list of this namespace. If so, the caller makes it: nobody else is told the same for
    /// a second.
    pub(crate) fn is_list_due(&self, namespace: &str) -> bool {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, list| now < list.next + MAX_IDLE);
        let none = || EventList { next: now, failed: HashMap::new() };
        let list = all.entry(namespace.to_owned()).or_insert_with(none);
        let is_due = now >= list.next;
        if is_due {
            list.next = now + MIN_AGE;
        }
        is_due
    }

    /// Keeps the Events of a namespace. The list has taken so long: of an API server that is slow at it, not more than a
    /// tenth of its time is taken.
    pub(crate) fn keep(&self, namespace: &str, events: Vec<Event>, taken: Duration) {
        let failed = events.into_iter().filter_map(failed_create).collect();
        let next = Instant::now() + MIN_AGE.max(taken * 10);
        self.lock().insert(namespace.to_owned(), EventList { next, failed });
    }

    /// Why this batch Job has no pod, if the latest list tells.
    pub(crate) fn get(&self, namespace: &str, batch_job_uid: &str) -> Option<FailedCreate> {
        self.lock().get(namespace)?.failed.get(batch_job_uid).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, EventList>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The UID of the batch Job that an Event is about, and what the Event says.
fn failed_create(event: Event) -> Option<(String, FailedCreate)> {
    let since = event.first_timestamp.map(|time| time.0).or(event.event_time.map(|time| time.0));
    let since = since.or(event.metadata.creation_timestamp.map(|time| time.0))?;
    Some((event.involved_object.uid?, FailedCreate { since, message: event.message? }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_list_serves_all_jobs_of_a_namespace() {
        let lists = FailedCreates::default();
        assert!(lists.is_list_due("n"));
        assert!(!lists.is_list_due("n"), "another makes it");
        assert!(lists.is_list_due("another"));
        let event = json!({ "metadata": {}, "firstTimestamp": Timestamp::UNIX_EPOCH,
            "involvedObject": { "uid": "c" }, "message": "exceeded quota" });
        lists.keep("n", vec![serde_json::from_value(event).unwrap()], Duration::ZERO);
        let message = "exceeded quota".to_owned();
        let expected = FailedCreate { since: Timestamp::UNIX_EPOCH, message };
        assert_eq!(lists.get("n", "c"), Some(expected));
        assert_eq!((lists.get("n", "d"), lists.get("another", "c")), (None, None));
        assert!(!lists.is_list_due("n"), "the list is new");
    }
}
