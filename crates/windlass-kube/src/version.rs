//! Which of two states of an object is older. Kubernetes compares resource versions as numbers, also those of different
//! objects of one kind.

use kube::core::ObjectMeta;

/// The version of an object as a number. `None` when it has none, or one that is no number: that is taken for new.
pub(crate) fn version_of(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_deref()?.parse().ok()
}

/// Whether a watch that is late, or an old list, shows something older than what is known.
pub(crate) fn is_older(shown: Option<u64>, known: Option<u64>) -> bool {
    shown.zip(known).is_some_and(|(shown, known)| shown < known)
}
