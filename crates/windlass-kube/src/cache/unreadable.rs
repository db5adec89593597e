//! Objects that cannot be read: they were stored under another version of their definition. Nothing is done with them,
//! and whoever looks at one with `kubectl describe` is told so by an Event.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::core::ObjectMeta;
use windlass_core::Job;

use crate::crd::job_reference;

/// So many objects are remembered as reported; with more, some may be reported again after a new list.
const MAX_REPORTED: usize = 10_000;

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    /// Which object.
    pub(crate) about: ObjectReference,
    /// What is wrong with it.
    pub(crate) why: String,
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

    /// A job whose status the API server refuses.
    pub(crate) fn of_job(job: &Job, why: &str) -> Self {
        let resource_version = Some(job.metadata.resource_version.clone());
        let about = ObjectReference { resource_version, ..job_reference(job) };
        Self { about, why: why.to_owned() }
    }
}

/// The unreadable objects that are not reported yet. Each version of an object is reported once.
#[derive(Default)]
pub(crate) struct UnreportedObjects {
    /// The versions that were reported, by UID.
    versions: HashMap<String, Option<String>>,
    unreported: HashMap<String, Unreadable>,
}

impl UnreportedObjects {
    pub(crate) fn add(&mut self, object: Unreadable) {
        let Some(uid) = object.about.uid.clone() else { return };
        if self.versions.get(&uid) != Some(&object.about.resource_version) {
            self.unreported.insert(uid, object);
        }
    }

    /// An object that is to be reported; from now on it counts as reported.
    pub(crate) fn take_next(&mut self) -> Option<Unreadable> {
        let uid = self.unreported.keys().next()?.clone();
        let object = self.unreported.remove(&uid)?;
        if self.versions.len() >= MAX_REPORTED {
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
    fn each_version_of_an_object_is_reported_once() {
        let mut unreported = UnreportedObjects::default();
        let mut next = |uid, version| {
            unreported.add(unreadable(uid, version));
            unreported.take_next().map(|object| object.about.kind.unwrap())
        };
        assert_eq!(next("a", "1").as_deref(), Some("ComputeJob"));
        assert_eq!(next("a", "1"), None);
        assert!(next("b", "1").is_some());
        assert!(next("a", "2").is_some());
        assert_eq!(next("a", "2"), None);
    }
}
