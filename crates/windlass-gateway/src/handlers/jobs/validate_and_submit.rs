//! Checks a job before it is accepted: against its function and its queue.

use std::time::Duration;

use windlass_core::jobs::Submission;
use windlass_core::validate::{refuse_blobs, validate, validate_name};
use windlass_core::{Error, Function, Job, Problem, Queue, labels, name};

use crate::handlers::functions::{usable_function, usable_functions};
use crate::protocol::bearer::BearerToken;
use crate::state::GatewayState;

/// When to retry after a queue was full. There is no better estimate.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// Checks a job against what is there, all problems at once, and submits it to the back end.
pub(super) async fn validate_and_submit(
    state: &GatewayState,
    token: &BearerToken,
    submission: Submission,
) -> Result<Job, Error> {
    let Submission { namespace, name, spec, labels, retry_of, .. } = &submission;
    let mut problems = labels::problems(labels);
    let mut full = false;
    if let Some(Err(Error::Invalid(found))) = name.as_deref().map(validate_name) {
        problems.extend(found);
    }
    if let Some(named) = retry_of
        && let Some(why) = name::problem(named)
    {
        problems.push(Problem::at("/retryOf", format!("{named:?} {why}")));
    }
    if state.gateway.blobs.is_none() {
        problems.extend(refuse_blobs(spec));
    }
    match find_function(state, token, namespace, &spec.function).await? {
        Err(problem) => problems.push(problem),
        Ok(function) => {
            let queue = match name::problem(spec.queue()) {
                None => state.gateway.jobs.queue(namespace, spec.queue()).await?,
                Some(_) => None, // validate says so
            };
            full = queue.as_ref().is_some_and(is_full);
            let queue = queue.as_ref().map(|queue| &queue.spec);
            match validate(spec, &function.spec, queue) {
                Ok(_) => {}
                Err(Error::Invalid(found)) => problems.extend(found),
                Err(error) => return Err(error),
            }
        }
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    if full {
        let message = format!("queue {:?} is full", spec.queue());
        return Err(Error::Busy { message, retry_after: FULL_PAUSE });
    }
    state.gateway.jobs.submit(submission).await
}

/// Whether as many jobs wait in a queue as may. Where the back end itself keeps the number, it decides.
fn is_full(queue: &Queue) -> bool {
    queue.status.is_some_and(|status| status.waiting >= queue.spec.max_queued)
}

/// The function that a job names, or what is wrong with that name.
pub(crate) async fn find_function(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    named: &str,
) -> Result<Result<Function, Problem>, Error> {
    if let Some(why) = name::problem(named) {
        return Ok(Err(Problem::at("/function", format!("{named:?} {why}"))));
    }
    match usable_function(state, token, namespace, named).await {
        Ok(function) => Ok(Ok(function)),
        Err(Error::NotFound { .. }) => {
            let message = unknown_function(state, token, namespace, named).await?;
            Ok(Err(Problem::at("/function", message)))
        }
        Err(error) => Err(error),
    }
}

/// The message for a caller who names a function that does not exist: it lists those that do.
async fn unknown_function(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    name: &str,
) -> Result<String, Error> {
    /// Most names that are listed.
    const MAX_LISTED: usize = 20;
    let functions = usable_functions(state, token, namespace).await?;
    let mut names: Vec<&str> = functions.iter().map(|f| f.metadata.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MAX_LISTED);
    names.truncate(MAX_LISTED);
    Ok(match (names.is_empty(), more) {
        (true, _) => format!("there is no function {name:?}; there are none in {namespace:?}"),
        (false, 0) => format!("there is no function {name:?}; there are: {}", names.join(", ")),
        (false, more) => format!(
            "there is no function {name:?}; there are: {} and {more} more",
            names.join(", ")
        ),
    })
}
