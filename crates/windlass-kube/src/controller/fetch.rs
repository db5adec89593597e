//! One look at a job: the caches first, and the API server itself where they do not suffice, as they are
//! of different ages.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::Api;
use kube::api::ListParams;
use windlass_core::plan::{Attempt, AttemptState, Refusal, next_attempt_number};
use windlass_core::report::is_settled;
use windlass_core::status::{ConditionType, Truth, reasons};
use windlass_core::{AttemptNumber, Error, Function, Job, Phase, Problem, name};

use crate::attempt::observe;
use crate::cache::attempts::Traces;
use crate::cache::watch::Change;
use crate::controller::context::{World, api};
use crate::crd::{ComputeFunction, ComputeJob, ComputeQueue};
use crate::error::{from_kube, within_deadline};
use crate::labels::LABEL_JOB_UID;

/// The job with its input, if it is still as the watch has shown it. A cache may be old: the job may
/// have ended and its attempts been removed, so that their names are free again. `Invalid` when it cannot be
/// read.
pub(crate) async fn fetch(job: &Job, world: &World) -> Result<Job, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(world.client.clone(), &job.metadata.namespace);
    let found = within_deadline(jobs.get_opt(&job.metadata.name)).await?;
    let found = found.map_err(|error| match error {
        kube::Error::SerdeError(why) => Error::Invalid(vec![Problem::at("", why.to_string())]),
        error => from_kube(error),
    })?;
    let found = found.ok_or_else(|| Error::no_job(&job.metadata.name))?.to_core();
    if found.metadata.uid == job.metadata.uid
        && found.metadata.resource_version == job.metadata.resource_version
    {
        Ok(found)
    } else {
        Err(Error::Conflict("the job has changed since it was read".into()))
    }
}

/// The attempts of a job as far as they are known: those that are lost only if their nodes are.
pub(crate) async fn observe_attempts(
    job: &Job,
    world: &World,
    now: Timestamp,
) -> Result<Vec<Attempt>, Error> {
    let mut attempts = world.traces.attempts(&job.metadata.uid, now);
    if job.status.is_finished() {
        return Ok(attempts);
    }
    // A watch of pods that is behind, or down, has not shown the pod whose batch Job or status is known already.
    if attempts.last().is_some_and(|attempt| lacks_its_pod(job, attempt)) {
        attempts = list_attempts(job, world, now).await?;
    }
    if let Some(number) = job.status.attempt {
        attempts = with_the_named(job, number, attempts, world, now).await?;
    }
    if let Some(attempt) = attempts.last_mut() {
        doubt_deleted_node(job, attempt, world, now).await?;
    }
    Ok(attempts)
}

/// Whether no pod of this attempt was ever seen here, though there must have been one.
fn lacks_its_pod(job: &Job, attempt: &Attempt) -> bool {
    let is_told = job.status.attempt == Some(attempt.number) && job.status.pod.is_some();
    !is_settled(&job.status, attempt.number)
        && attempt.is_present
        && attempt.pod.is_none()
        && (is_told || !attempt.is_live())
}

/// The attempts in the caches. One that the status names and no cache shows is looked for at the API
/// server: caches of different kinds are of different ages.
async fn with_the_named(
    job: &Job,
    number: AttemptNumber,
    mut attempts: Vec<Attempt>,
    world: &World,
    now: Timestamp,
) -> Result<Vec<Attempt>, Error> {
    let is_named = |attempt: &Attempt| attempt.number == number;
    if !attempts.iter().any(is_named) {
        attempts = list_attempts(job, world, now).await?;
        if !attempts.iter().any(is_named) {
            attempts.push(observe::vanished(job, number, now));
            attempts.sort_by_key(|attempt| attempt.number);
        }
    }
    let had_pod = job.status.pod.is_some();
    if let Some(attempt) = attempts.iter_mut().find(|attempt| is_named(attempt))
        && had_pod
        && attempt.is_present
        && attempt.pod.is_none()
        && matches!(attempt.state, AttemptState::Starting { .. })
    {
        attempt.state = observe::gone(now);
    }
    Ok(attempts)
}

/// An attempt that left no word is not known to be over while its node's object is deleted.
async fn doubt_deleted_node(
    job: &Job,
    attempt: &mut Attempt,
    world: &World,
    now: Timestamp,
) -> Result<(), Error> {
    let trace = world.traces.trace(&job.metadata.uid, attempt.number);
    if world.settings.deleted_nodes_are_fenced
        || is_settled(&job.status, attempt.number)
        || !observe::is_gone_without_a_word(attempt, trace.as_ref())
    {
        return Ok(());
    }
    // It may have been seen before this process began to look.
    if job.status.attempt == Some(attempt.number) {
        attempt.pod = attempt.pod.take().or_else(|| job.status.pod.clone());
        attempt.node = attempt.node.take().or_else(|| job.status.node.clone());
    }
    if let Some(node) = attempt.node.as_deref()
        && !node_is_there(world, node).await?
    {
        let message = format!(
            "node {node:?} was deleted while the attempt ran there: it starts again when the node \
             is back, or when the job is cancelled and submitted again"
        );
        attempt.state = AttemptState::Unreachable { message, since: now };
    }
    Ok(())
}

/// What the API server itself has of a job's attempts.
async fn list_attempts(job: &Job, world: &World, now: Timestamp) -> Result<Vec<Attempt>, Error> {
    let (namespace, uid) = (&job.metadata.namespace, &job.metadata.uid);
    let labels = format!("{LABEL_JOB_UID}={uid}");
    let found = list(world, Some(namespace), &labels).await?.traces(now);
    Ok(found.attempts(uid, now))
}

/// Batch Jobs and pods of ours, as the API server itself has them.
pub(crate) struct Found {
    pub(crate) carriers: Vec<batch::Job>,
    pub(crate) pods: Vec<core_v1::Pod>,
}

impl Found {
    /// What they are traces of.
    pub(crate) fn traces(self, now: Timestamp) -> Traces {
        let traces = Traces::default();
        for carrier in self.carriers {
            traces.carrier_changed(&Change::Applied(carrier));
        }
        for pod in self.pods {
            traces.body_changed(&Change::Applied(pod), now);
        }
        traces
    }
}

/// Lists batch Jobs, then pods, with these labels in one namespace or in all that this process serves. In
/// this order: of a batch Job that is gone no pod is made.
pub(crate) async fn list(
    world: &World,
    namespace: Option<&str>,
    labels: &str,
) -> Result<Found, Error> {
    let params = ListParams::default().labels(labels);
    let namespace = namespace.or(world.settings.namespace.as_deref());
    let carriers = api::<batch::Job>(&world.client, namespace);
    let pods = api::<core_v1::Pod>(&world.client, namespace);
    let carriers = within_deadline(carriers.list(&params)).await?.map_err(from_kube)?.items;
    let pods = within_deadline(pods.list(&params)).await?.map_err(from_kube)?.items;
    Ok(Found { carriers, pods })
}

async fn node_is_there(world: &World, node: &str) -> Result<bool, Error> {
    let nodes: Api<core_v1::Node> = Api::all(world.client.clone());
    let found = within_deadline(nodes.get_metadata_opt(node)).await?.map_err(from_kube)?;
    Ok(found.is_some())
}

/// That the next attempt is refused, as an earlier look has told it: this process may be a new one.
pub(crate) fn told_refusal(job: &Job, attempts: &[Attempt]) -> Option<Refusal> {
    let status = &job.status;
    let running = status.condition(ConditionType::Running)?;
    let all_settled = attempts.iter().all(|attempt| is_settled(status, attempt.number));
    let is_refused = status.phase == Some(Phase::Starting)
        && status.attempt.is_none_or(|number| is_settled(status, number))
        && all_settled
        && running.status == Truth::False
        && running.reason != reasons::STARTING;
    // It may not have run for longer than it has been refused, since it failed before.
    let admitted = status.condition(ConditionType::Admitted)?;
    is_refused.then(|| Refusal {
        attempt: next_attempt_number(job, attempts),
        since: running.last_transition_time.max(admitted.last_transition_time),
        reason: running.reason.clone(),
        message: running.message.clone(),
        is_final: false,
    })
}

/// Why a job must not pass by a queue of which the watch has brought nothing: it is new, or it cannot be
/// read. `None` when there is no such queue.
pub(crate) async fn unknown_queue(job: &Job, world: &World) -> Result<Option<String>, Error> {
    let queue = job.spec.queue();
    if name::problem(queue).is_some() {
        return Ok(None);
    }
    let queues: Api<ComputeQueue> = Api::namespaced(world.client.clone(), &job.metadata.namespace);
    match within_deadline(queues.get_opt(queue)).await? {
        Ok(None) => Ok(None),
        Ok(Some(_)) => Ok(Some(format!("queue {queue:?} was created a moment ago"))),
        Err(kube::Error::SerdeError(why)) => {
            Ok(Some(format!("queue {queue:?} cannot be read: {why}")))
        }
        Err(error) => Err(from_kube(error)),
    }
}

/// The function of a job. A cache may lag behind a function that was created a moment ago.
pub(crate) async fn find_function(job: &Job, world: &World) -> Result<Option<Function>, Error> {
    if let Some(function) = world.function_in_cache(job) {
        return Ok(Some(function));
    }
    // A name that nothing can have is not asked for: it may be of any length.
    if job.status.is_finished() || name::problem(&job.spec.function).is_some() {
        return Ok(None);
    }
    let functions: Api<ComputeFunction> =
        Api::namespaced(world.client.clone(), &job.metadata.namespace);
    let found = within_deadline(functions.get_opt(&job.spec.function)).await?.map_err(from_kube)?;
    Ok(found.map(|function| function.to_core()))
}

#[cfg(test)]
mod tests {
    use windlass_core::plan::{End, plan};
    use windlass_core::status::FailureReason;
    use windlass_core::{JobLimits, JobSpec, Metadata, Observed};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_refusal_that_was_told_is_remembered_by_whoever_reads_it() {
        let mut job = Job::new(Metadata::default(), JobSpec::default());
        let limits = JobLimits { retries: 3, ..JobLimits::without_function(&job.spec) };
        assert_eq!(told_refusal(&job, &[]), None);
        // The first attempt ran, and failed long ago.
        let end = End::Unreported { reason: FailureReason::Killed, message: "".into(), at: at(0) };
        let mut first = observe::vanished(&job, 1, at(0));
        first.state = AttemptState::Ended(end);
        let attempts = vec![first];
        let failed = Observed { attempts: attempts.clone(), ..Observed::default() };
        job.status = plan(&job, &limits, &failed, at(0)).status;
        assert_eq!((job.status.phase, told_refusal(&job, &attempts)), (Some(Phase::Queued), None));
        // The second is refused.
        let refusal = Refusal {
            attempt: 2,
            since: at(7_200),
            reason: reasons::QUOTA_EXCEEDED.into(),
            message: "exceeded quota".into(),
            is_final: false,
        };
        let admission = windlass_core::plan::AdmissionDecision::Granted(1);
        let refused = Observed { admission, refusal: Some(refusal.clone()), ..failed };
        job.status = plan(&job, &limits, &refused, at(7_201)).status;
        assert_eq!(told_refusal(&job, &attempts), Some(refusal));
    }
}
