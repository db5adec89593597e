//! Asks for CPUs, if the job needs some now.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::plan::AdmissionDecision;
use windlass_core::{Error, Job};

use super::admitted::{Admitted, WAITING_REQUEUE};
use super::confirm::{confirm_grant, confirm_missing_queue};
use super::context::{Context, WAITING_GRACE};
use super::fetch::Fetched;
use super::validate::Validated;

/// When a job is reconciled again that could not be told to wait, as many others are.
const WAITING_WRITES_BUSY: Duration = Duration::from_secs(1);

/// Asks for CPUs. A grant has the whole job fetched, which proves that the job is as it was when the decision was made.
pub(crate) async fn admit<'a>(
    job: &Job,
    fetched: &Fetched,
    validated: Validated,
    ctx: &'a Context,
    now: Timestamp,
) -> Result<Admitted<'a>, Error> {
    let Validated { limits, whole, missing } = validated;
    if let Some(missing) = missing {
        ctx.admission.withdraw(&job.metadata.uid, now);
        return Ok(Admitted::blocked(limits, missing));
    }
    let mut admitted = Admitted::not_asked(limits, whole);
    if !fetched.needs_cpus {
        if let Some(last) = fetched.attempts.last().filter(|last| last.is_live()) {
            ctx.admission.observe_running(job, last, now);
        }
        if fetched.attempts.iter().all(|attempt| !attempt.is_live()) {
            ctx.admission.withdraw(&job.metadata.uid, now);
        }
        return Ok(admitted);
    }
    let Ok(limits) = &admitted.limits else { return Ok(admitted) };
    let queue_was_cached = ctx.admission.has_queue(job);
    let attempt = fetched.next_attempt.clone();
    admitted.decision = ctx.admission.request_cpus(job, attempt, limits, now);
    if admitted.is_granted() {
        confirm_grant(job, fetched.function.as_ref(), &mut admitted, queue_was_cached, ctx).await?;
    } else if let AdmissionDecision::Blocked { place, .. } = &admitted.decision {
        let is_held = place.is_some() || job.status.attempt.is_some();
        confirm_missing_queue(job, &mut admitted, is_held, ctx, now).await?;
    }
    if !queue_was_cached && ctx.admission.has_queue(job) {
        // The queue has come meanwhile, and has granted nothing.
        admitted.decision = AdmissionDecision::NotAsked;
        admitted.requeue_after = Some(Duration::ZERO);
        return Ok(admitted);
    }
    // A grant has the job reconciled; this is for the case that the news is lost.
    admitted.requeue_after = admitted.limits.is_ok().then_some(WAITING_REQUEUE);
    if admitted.waits() {
        limit_waiting_writes(job, &mut admitted, ctx, now);
    }
    Ok(admitted)
}

/// A long queue is reported at leisure: meanwhile other jobs may start.
fn limit_waiting_writes<'a>(
    job: &Job,
    admitted: &mut Admitted<'a>,
    ctx: &'a Context,
    now: Timestamp,
) {
    let requeue_after = if job.status.phase.is_none() && is_young(job, now) {
        WAITING_GRACE.unsigned_abs()
    } else if let Ok(permit) = ctx.waiting_writes.try_acquire() {
        admitted.permit = Some(permit);
        return;
    } else {
        WAITING_WRITES_BUSY
    };
    admitted.decision = AdmissionDecision::NotAsked;
    admitted.requeue_after = Some(requeue_after);
}

fn is_young(job: &Job, now: Timestamp) -> bool {
    let created = job.metadata.creation_timestamp;
    created.is_some_and(|created| now.duration_since(created) < WAITING_GRACE)
}
