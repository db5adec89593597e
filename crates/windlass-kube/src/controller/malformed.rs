//! Objects that cannot be read, as they are stored under another version of their definition: nothing
//! is done with them, and each is told so by an Event, where `kubectl describe` shows it.
//!
//! Every controller reads them; the one that leads tells, each version of each object once.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::events::Recorder;
use tokio::sync::{mpsc, watch};
use windlass_core::Job;

use crate::controller::events;

/// So many objects are remembered as told; with more, some may be told again after a new list.
const MOST_TOLD: usize = 10_000;

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    about: ObjectReference,
    why: String,
}

impl Unreadable {
    /// Of this kind; `why` says what is wrong with it.
    pub(crate) fn new<K: Resource<DynamicType = ()>>(meta: ObjectMeta, why: String) -> Self {
        let about = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            resource_version: meta.resource_version,
            ..ObjectReference::default()
        };
        Self { about, why }
    }

    /// A job whose status cannot be told.
    pub(crate) fn of_job(job: &Job, why: &str) -> Self {
        let resource_version = Some(job.metadata.resource_version.clone());
        let about = ObjectReference { resource_version, ..events::reference(job) };
        Self { about, why: why.to_owned() }
    }
}

/// Tells of each object that `found` brings, while this process leads.
pub(crate) async fn tell(
    mut found: mpsc::UnboundedReceiver<Unreadable>,
    mut leads: watch::Receiver<bool>,
    recorder: &Recorder,
) {
    let mut told = Told::default();
    loop {
        tokio::select! {
            next = found.recv() => match next {
                Some(object) => told.found(object),
                None => return,
            },
            changed = leads.changed() => if changed.is_err() {
                return;
            },
        }
        while *leads.borrow_and_update()
            && let Some(object) = told.next()
        {
            events::publish(recorder, &object.about, &events::malformed(&object.why)).await;
        }
    }
}

/// What was told, and what is to be told.
#[derive(Default)]
struct Told {
    /// The versions that were told, by UID.
    versions: HashMap<String, Option<String>>,
    untold: HashMap<String, Unreadable>,
}

impl Told {
    fn found(&mut self, object: Unreadable) {
        let Some(uid) = object.about.uid.clone() else { return };
        if self.versions.get(&uid) != Some(&object.about.resource_version) {
            self.untold.insert(uid, object);
        }
    }

    /// One that is to be told; from now on it counts as told.
    fn next(&mut self) -> Option<Unreadable> {
        let uid = self.untold.keys().next()?.clone();
        let object = self.untold.remove(&uid)?;
        if self.versions.len() >= MOST_TOLD {
            self.versions.clear();
        }
        self.versions.insert(uid, object.about.resource_version.clone());
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::ComputeJob;

    fn unreadable(uid: &str, version: &str) -> Unreadable {
        let meta = ObjectMeta {
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        Unreadable::new::<ComputeJob>(meta, "no function".into())
    }

    #[test]
    fn each_version_of_an_object_is_told_once() {
        let mut told = Told::default();
        let mut next = |uid, version| {
            told.found(unreadable(uid, version));
            told.next().map(|object| object.about.kind.unwrap())
        };
        assert_eq!(next("a", "1").as_deref(), Some("ComputeJob"));
        assert_eq!(next("a", "1"), None);
        assert!(next("b", "1").is_some());
        assert!(next("a", "2").is_some());
        assert_eq!(next("a", "2"), None);
    }
}
