//! The function that a job means: that of its namespace or, where that has none of the name, one for all namespaces.

use std::time::Duration;

use kube::Api;
use windlass_core::status::{ConditionType, reasons};
use windlass_core::{Error, Function, Job, name};

use super::context::Context;
use crate::crd::{ClusterComputeFunction, ComputeFunction};
use crate::error::call;

/// When a right is asked for again that a namespace does not have. No watch tells of it.
pub(super) const REFUSED_REQUEUE: Duration = Duration::from_secs(5);

/// What was found.
pub(super) enum Found {
    /// It.
    Function(Box<Function>),
    /// One for all namespaces, which the job's may not use.
    Refused,
    Nothing,
}

impl From<Found> for Option<Function> {
    fn from(found: Found) -> Self {
        match found {
            Found::Function(function) => Some(*function),
            Found::Refused | Found::Nothing => None,
        }
    }
}

/// Whether nobody has found yet that the job can run. Its status may say that it waits for its function.
pub(super) fn is_new(job: &Job) -> bool {
    let admitted = job.status.condition(ConditionType::Admitted);
    job.status.phase.is_none()
        || job.status.attempt.is_none()
            && admitted.is_some_and(|admitted| admitted.reason == reasons::FUNCTION_NOT_FOUND)
}

/// The function of a job. A cache may lag behind a function that was created a moment ago. What runs already keeps its
/// function: a right is asked for before a start.
pub(super) async fn fetch_function(
    job: &Job,
    needs_cpus: bool,
    ctx: &Context,
) -> Result<Found, Error> {
    if let Some(function) = ctx.stores.function_of(job) {
        return Ok(Found::Function(function.into()));
    }
    let cached = ctx.stores.cluster_function_of(job);
    // A name that nothing can have is not asked for: it may be of any length.
    if job.status.is_finished() || name::problem(&job.spec.function).is_some() {
        return Ok(Found::Nothing);
    }
    if let Some(function) = cached.clone().filter(|_| !needs_cpus) {
        return Ok(Found::Function(function.into()));
    }
    let (namespace, name) = (&job.metadata.namespace, &job.spec.function);
    let may_use = || ctx.function_rights.may_use(&ctx.client, namespace, name);
    // Many jobs may ask again and again. A function of the namespace that has come meanwhile, its watch tells.
    if cached.is_some() && !may_use().await? {
        return Ok(Found::Refused);
    }
    let functions: Api<ComputeFunction> = Api::namespaced(ctx.client.clone(), namespace);
    if let Some(found) = call(functions.get_opt(name)).await? {
        return Ok(Found::Function(found.to_core().into()));
    }
    let for_all = match cached {
        Some(function) => Some(function),
        None => {
            let functions: Api<ClusterComputeFunction> = Api::all(ctx.client.clone());
            call(functions.get_opt(name)).await?.map(|function| function.to_core())
        }
    };
    let Some(function) = for_all else { return Ok(Found::Nothing) };
    Ok(if may_use().await? { Found::Function(function.into()) } else { Found::Refused })
}
