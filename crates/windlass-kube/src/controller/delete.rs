//! Deletions that hit the right object and may be repeated.

use kube::api::{DeleteParams, Preconditions};
use windlass_core::Error;

use crate::error::{from_kube, is_status};

/// Deletes only the object of this UID, not another one that has its name by now.
pub(crate) fn only_of(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

/// An object that is gone already is deleted. If another has its name by now, the next reconcile shows it.
pub(crate) fn deleted<T>(answer: Result<T, kube::Error>) -> Result<(), Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if is_status(&error, 404) => Ok(()),
        Err(error) => Err(from_kube(error)),
    }
}
