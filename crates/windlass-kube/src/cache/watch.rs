//! What a watch brings, as changes that miss nothing.
//!
//! A watch that breaks begins again with a list. Who only looks at what a list holds does not learn
//! of what was deleted meanwhile; here each object that is not in the list any more, or is another
//! one of the same name, is a deletion.

use std::collections::HashMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::merged_watches::merged;
use super::unreadable::Unreadable;
use crate::watch_backoff::with_pauses;

/// A watch whose server is dead is noticed after this many seconds and 5 more.
const WATCH_SECONDS: u32 = 50;

/// Objects on one page of a list. They may have 128 KiB each.
pub(crate) const PAGE: u32 = 100;

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change<K> {
    /// It is new or another than before.
    Applied(K),
    /// It is gone.
    Deleted(DeletedObject),
    /// Everything that was there when the watch began has been shown.
    Listed,
    /// The watch has failed and begins again.
    Failed,
}

/// What is left of an object that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeletedObject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What this watch asks for.
pub(crate) fn watch_config(labels: Option<&str>) -> watcher::Config {
    let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    match labels {
        Some(labels) => config.labels(labels),
        None => config,
    }
}

/// The events of a watch with back-off, or of several as one. One malformed object is an error of that object: it is
/// logged, sent to `unreadable` and left out. `prune` drops what nobody reads.
pub(crate) fn watch_events<K>(
    apis: Vec<Api<DeserializeGuard<K>>>,
    config: watcher::Config,
    unreadable: mpsc::UnboundedSender<Unreadable>,
    prune: impl Fn(&mut K) + Send + Sync + 'static,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let prune = Arc::new(prune);
    let watches = apis.into_iter().map(|api| {
        let events = with_pauses(watcher(api, config.clone()));
        let prune = Arc::clone(&prune);
        readable_events(events, unreadable.clone())
            .modify(move |object: &mut K| {
                object.meta_mut().managed_fields = None;
                prune(object);
            })
            .boxed()
    });
    merged(watches.collect())
}

/// The changes behind the events of a watch.
fn changes<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> impl Stream<Item = Change<K>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
{
    let mut known = ShownObjects::default();
    events.flat_map(move |event| stream::iter(known.after(event)))
}

/// What follows from the changes behind the events of a watch. A panic on one of them is a defect of ours; the
/// others go on.
pub(crate) fn handle_changes<K, T, I>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    mut step: impl FnMut(Change<K>) -> I + Send + 'static,
) -> impl Stream<Item = T> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
    T: Send + 'static,
    I: IntoIterator<Item = T> + Default + 'static,
    I::IntoIter: Send,
{
    changes(events).flat_map(move |change| {
        let done = catch_unwind(AssertUnwindSafe(|| step(change)));
        stream::iter(done.unwrap_or_else(|_| {
            error!(kind = %K::kind(&()), "a change panicked; it is left out");
            I::default()
        }))
    })
}

/// The objects that were shown, by namespace and name, with their UIDs.
#[derive(Default)]
struct ShownObjects {
    there: HashMap<(String, String), String>,
    /// What a list that has begun has shown so far.
    listed: Option<HashMap<(String, String), String>>,
}

impl ShownObjects {
    fn after<K: Resource<DynamicType = ()> + Clone>(
        &mut self,
        event: watcher::Result<watcher::Event<K>>,
    ) -> Vec<Change<K>> {
        match event {
            Ok(watcher::Event::Apply(object)) => self.applied(object),
            Ok(watcher::Event::Delete(object)) => {
                let (key, uid) = identity(&object);
                self.there.remove(&key);
                vec![deleted(key, uid)]
            }
            Ok(watcher::Event::Init) => {
                self.listed = Some(HashMap::new());
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                let (key, uid) = identity(&object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key, uid);
                }
                self.applied(object)
            }
            Ok(watcher::Event::InitDone) => {
                let listed = self.listed.take().unwrap_or_default();
                let missing: Vec<_> =
                    self.there.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
                let gone_meanwhile = missing.into_iter().filter_map(|key| {
                    let uid = self.there.remove(&key)?;
                    Some(deleted(key, uid))
                });
                gone_meanwhile.chain([Change::Listed]).collect()
            }
            Err(error) => {
                warn!(kind = %K::kind(&()), %error, "a watch failed");
                vec![Change::Failed]
            }
        }
    }

    fn applied<K: Resource<DynamicType = ()>>(&mut self, object: K) -> Vec<Change<K>> {
        let (key, uid) = identity(&object);
        let before = self.there.insert(key.clone(), uid.clone());
        let other = before.filter(|before| *before != uid).map(|before| deleted(key, before));
        other.into_iter().chain([Change::Applied(object)]).collect()
    }
}

fn identity<K: Resource<DynamicType = ()>>(object: &K) -> ((String, String), String) {
    let key = (object.namespace().unwrap_or_default(), object.name_any());
    (key, object.uid().unwrap_or_default())
}

fn deleted<K>((namespace, name): (String, String), uid: String) -> Change<K> {
    Change::Deleted(DeletedObject { namespace, name, uid })
}

/// The events without the objects that cannot be read.
fn readable_events<K: Resource<DynamicType = ()>>(
    events: impl Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<K>>>>,
    unreadable: mpsc::UnboundedSender<Unreadable>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> {
    use watcher::Event;
    events.filter_map(move |event| {
        let readable = |object: DeserializeGuard<K>| match object.0 {
            Ok(object) => Some(object),
            Err(invalid) => {
                let (kind, meta) = (K::kind(&()), &invalid.metadata);
                let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
                warn!(%kind, namespace, name, error = %invalid.error, "an object cannot be read");
                let why = invalid.error.to_string();
                // Nobody listens any more only when the controller ends.
                drop(unreadable.send(Unreadable::new::<K>(invalid.metadata, why)));
                None
            }
        };
        std::future::ready(match event {
            Ok(Event::Apply(object)) => readable(object).map(Event::Apply).map(Ok),
            Ok(Event::InitApply(object)) => readable(object).map(Event::InitApply).map(Ok),
            // What was never known need not be forgotten.
            Ok(Event::Delete(object)) => object.0.ok().map(Event::Delete).map(Ok),
            Ok(Event::Init) => Some(Ok(Event::Init)),
            Ok(Event::InitDone) => Some(Ok(Event::InitDone)),
            Err(error) => Some(Err(error)),
        })
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::watcher::Event;

    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("n".into());
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod
    }

    /// What the changes say: `+uid` and `-uid`.
    fn changes_of(events: Vec<Event<Pod>>) -> Vec<String> {
        let mut known = ShownObjects::default();
        let changes = events.into_iter().flat_map(|event| known.after(Ok(event)));
        changes
            .map(|change| match change {
                Change::Applied(pod) => format!("+{}", pod.metadata.uid.unwrap()),
                Change::Deleted(gone) => format!("-{}", gone.uid),
                Change::Listed => "listed".into(),
                Change::Failed => "failed".into(),
            })
            .collect()
    }

    #[test]
    fn what_a_new_list_lacks_is_deleted() {
        let events = vec![
            Event::Init,
            Event::InitApply(pod("a", "1")),
            Event::InitApply(pod("b", "2")),
            Event::InitDone,
            Event::Apply(pod("c", "3")),
            Event::Init,
            Event::InitApply(pod("b", "2")),
            Event::InitDone,
        ];
        let mut told = changes_of(events);
        // In any order.
        told[5..7].sort();
        assert_eq!(told, ["+1", "+2", "listed", "+3", "+2", "-1", "-3", "listed"]);
    }

    #[test]
    fn another_object_of_the_same_name_is_a_deletion_first() {
        let events = vec![
            Event::Apply(pod("a", "1")),
            Event::Init,
            Event::InitApply(pod("a", "2")),
            Event::InitDone,
            Event::Delete(pod("a", "2")),
        ];
        assert_eq!(changes_of(events), ["+1", "-1", "+2", "listed", "-2"]);
    }
}
