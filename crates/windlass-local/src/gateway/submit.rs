//! Takes a new job in: validated, with a place in its queue, and committed.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;
use windlass_core::jobs::Submission;
use windlass_core::plan::Observed;
use windlass_core::validate::{validate_labels, validate_name};
use windlass_core::{Cpus, Error, Job, JobLimits, Metadata, name, plan};

use super::blobs;
use crate::config::NAMESPACE;
use crate::controller::{Context, job_limits};
use crate::engine::Engine;
use crate::functions::Functions;
use crate::queueing::admission::why_it_waits;
use crate::store::NewJob;

/// Tries at a name that is made up.
const MAX_NAME_TRIES: u32 = 5;

/// Commits a new job, or says why it is refused.
pub(super) async fn submit(engine: &Engine, submission: Submission) -> Result<Job, Error> {
    if submission.namespace != NAMESPACE {
        return Err(Error::NotFound { kind: "Namespace", name: submission.namespace });
    }
    if let Some(name) = &submission.name {
        validate_name(name)?;
    }
    validate_labels(&submission.labels)?;
    if let Err(refused) = engine.check_ready() {
        return Err(match &submission.name {
            // Whoever repeats a request hears of the job that it has made.
            Some(name) if engine.ctx.store.get(name).await.is_ok() => Error::job_exists(name),
            _ => refused,
        });
    }
    let Context { config, store, clock, backlog, .. } = &*engine.ctx;
    let functions = config.functions.current();
    let limits = job_limits(&functions, config.cpus, &submission.spec)?;
    engine.ctx.check_room()?;
    blobs::hold(&engine.ctx, &submission.spec).await?;
    let max_queued = functions.queue(submission.spec.queue()).map(|queue| queue.spec.max_queued);
    let (is_named, is_waited_for) = (submission.name.is_some(), submission.is_waited_for);
    let mut job = new_job(submission, &functions, &limits, config.cpus, clock.now());
    let mut tries = 1;
    loop {
        let reservation = backlog.reserve(job.spec.queue(), max_queued)?;
        let (job_now, limits) = (job.clone(), limits.clone());
        let new = NewJob { job: job_now, limits, reservation, is_waited_for };
        match store.insert(new).await {
            // Two of some ten thousand names that were made up may be the same.
            Err(Error::Conflict(_)) if !is_named && tries < MAX_NAME_TRIES => {
                job.metadata.name = generated_name(&job.spec.function);
                tries += 1;
            }
            inserted => return inserted.map(Arc::unwrap_or_clone),
        }
    }
}

/// The job of a submission. Its status says from the start that it waits, so that a deep queue costs
/// one write a job.
fn new_job(
    submission: Submission,
    functions: &Functions,
    limits: &JobLimits,
    cpus: Cpus,
    now: Timestamp,
) -> Job {
    let annotations = submission.annotations();
    let Submission { name, spec, labels, .. } = submission;
    let metadata = Metadata {
        name: name.unwrap_or_else(|| generated_name(&spec.function)),
        namespace: NAMESPACE.into(),
        uid: Uuid::now_v7().to_string(),
        resource_version: "1".into(),
        generation: Some(1),
        creation_timestamp: Some(now),
        labels,
        annotations,
        ..Metadata::default()
    };
    let mut job = Job::new(metadata, spec);
    let admission = why_it_waits(functions, job.spec.queue(), limits, cpus);
    let observed = Observed { admission, ..Observed::default() };
    job.status = plan(&job, limits, &observed, now).status;
    job
}

/// A name for a job that was given none.
fn generated_name(function: &str) -> String {
    name::generated(function, &Uuid::new_v4().simple().to_string())
}
