//! What a reconcile decides from: the caches first, and the API server itself where they do not suffice. Caches of different
//! kinds are of different ages.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::plan::{Attempt, needs_cpus, next_attempt_number};
use windlass_core::{Error, Function, Job, QueueSpec};

use super::confirm::fetch_whole;
use super::context::Context;
use super::fetch_attempts::{FetchedAttempts, fetch_attempts};
use super::fetch_failed_create::explain_missing_pod;
use super::fetch_function::{Found, REFUSED_REQUEUE, fetch_function, is_new};
use super::silent_node::explain_silent_node;
use crate::labels::AttemptId;

/// How often is looked whether a pod is gone that no watch shows.
const UNLABELLED_REQUEUE: Duration = Duration::from_secs(2);

/// What is known of one job.
pub(crate) struct Fetched {
    /// Its attempts, in the order of their numbers.
    pub(crate) attempts: Vec<Attempt>,
    /// The attempt that comes after these.
    pub(crate) next_attempt: AttemptId,
    /// Whether it needs CPUs before that attempt can start.
    pub(crate) needs_cpus: bool,
    /// Whether nobody has found yet that it can run.
    pub(crate) is_new: bool,
    /// Its function, if there is one.
    pub(crate) function: Option<Function>,
    /// Whether there is one for all namespaces that its own may not use.
    pub(crate) is_function_refused: bool,
    /// Its ComputeQueue, if there is one.
    pub(crate) queue: Option<QueueSpec>,
    /// The whole job, where it was needed: before a new job is enqueued. `Invalid` when it cannot be read.
    pub(crate) whole: Option<Result<Job, Error>>,
    /// When to look again at the last attempt, of which no watch tells.
    pub(crate) look_again: Option<Duration>,
}

/// Fetches it.
pub(crate) async fn fetch(job: &Job, ctx: &Context, now: Timestamp) -> Result<Fetched, Error> {
    let FetchedAttempts { mut attempts, is_unlabelled } = fetch_attempts(job, ctx, now).await?;
    let missing_pod = explain_missing_pod(job, &mut attempts, ctx, now).await;
    let silent_node = explain_silent_node(&mut attempts, ctx, now).await;
    let unlabelled = is_unlabelled.then_some(UNLABELLED_REQUEUE);
    let next_attempt = next_attempt(job, &attempts);
    let needs_cpus = needs_cpus(job, &attempts, now);
    let function = fetch_function(job, needs_cpus, ctx).await?;
    let is_function_refused = matches!(function, Found::Refused);
    let refused = is_function_refused.then_some(REFUSED_REQUEUE);
    let look_again = [missing_pod, unlabelled, silent_node, refused].into_iter().flatten().min();
    let is_new = is_new(job);
    let whole = if needs_cpus && is_new { Some(fetch_whole(job, ctx).await?) } else { None };
    let queue = ctx.stores.queue_of(job);
    Ok(Fetched {
        attempts,
        next_attempt,
        needs_cpus,
        is_new,
        function: function.into(),
        is_function_refused,
        queue,
        whole,
        look_again,
    })
}

/// The attempt that comes next.
pub(crate) fn next_attempt(job: &Job, attempts: &[Attempt]) -> AttemptId {
    AttemptId {
        job_uid: job.metadata.uid.as_str().into(),
        number: next_attempt_number(job, attempts),
    }
}
