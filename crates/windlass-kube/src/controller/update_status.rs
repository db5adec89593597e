//! Updates the status of a job, and publishes an Event where one is due.

use std::borrow::Cow;

use jiff::Timestamp;
use windlass_core::status::{Failure, FailureReason};
use windlass_core::{Error, Job, JobLimits, plan};

use super::context::Context;
use super::events;
use super::plan::Planned;
use crate::cache::unreadable::Unreadable;
use crate::crd::job_reference;
use crate::status::{StatusWrite, write_status};

/// Updates it. False when the API server takes no status of this job: the job is left alone until somebody writes it.
pub(crate) async fn update_status(
    job: &Job,
    planned: &Planned,
    limits: &JobLimits,
    ctx: &Context,
    now: Timestamp,
) -> Result<bool, Error> {
    let mut status = Cow::Borrowed(&planned.plan.status);
    let mut written = write_status(&ctx.client, job, &status).await;
    if let Err(Error::Invalid(problems)) = &written
        && let Some(observed) = planned.observed.without_reports(&job.status, problems)
    {
        status = Cow::Owned(plan(job, limits, &observed, now).status);
        written = write_status(&ctx.client, job, &status).await;
    }
    let written = match written {
        Err(why @ Error::Invalid(_)) => {
            // The job was created under another definition than is in force now.
            ctx.report_unreadable(Unreadable::of_job(job, &why.to_string()));
            ctx.expectations.expect_newer(job);
            return Ok(false);
        }
        written => written?,
    };
    if written == StatusWrite::Changed {
        ctx.expectations.expect_newer(job);
        if let Some(failure) = &status.failure {
            ctx.failure_events.mark_published(job, failure);
            count_preemption(job, failure, planned, ctx);
        }
        if let Some(event) = events::status_event(job, &status) {
            events::publish(&ctx.recorder, &job_reference(job), &event).await;
        }
    }
    Ok(true)
}

/// Counts an attempt that is ended for another job.
fn count_preemption(job: &Job, failure: &Failure, planned: &Planned, ctx: &Context) {
    let last = planned.observed.attempts.last();
    if failure.reason == FailureReason::Preempted
        && job.status.failure.as_ref() != Some(failure)
        && let Some(queue) = last.and_then(|last| ctx.admission.preempting_queue(job, last))
    {
        ctx.metrics.jobs().preempted(&queue.namespace, &queue.name, 1);
    }
}

/// Publishes the Event of a failure that a gateway has written into the status.
pub(crate) async fn publish_failure(job: &Job, ctx: &Context) {
    if let Some(failure) = &job.status.failure
        && ctx.failure_events.mark_published(job, failure)
    {
        let event = events::failed(failure, &job.status);
        events::publish(&ctx.recorder, &job_reference(job), &event).await;
    }
}
