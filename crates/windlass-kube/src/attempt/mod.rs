//! One attempt of a job as Kubernetes objects: how its batch Job is built, and what is observed of it.

pub(crate) mod build;
pub(crate) mod observe;
