//! Asks for CPUs, if the job needs some now.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::SemaphorePermit;
use windlass_core::plan::AdmissionDecision;
use windlass_core::status::{ConditionType, reasons};
use windlass_core::{Error, Job, JobLimits, Queue, validate};

use super::context::{Context, WAITING_GRACE};
use super::fetch::{Fetched, fetch_uncached_queue, fetch_whole};
use super::validate::{Validated, limits};

/// How often a waiting job is reconciled although nothing has happened to it.
const WAITING_REQUEUE: Duration = Duration::from_secs(30);

/// When a job is reconciled again that could not be told to wait, as many others are.
const WAITING_WRITES_BUSY: Duration = Duration::from_secs(1);

/// What came of asking for CPUs.
pub(crate) struct Admitted<'a> {
    /// What admission says.
    pub(crate) decision: AdmissionDecision,
    /// The bounds of the job, or why it cannot run.
    pub(crate) limits: Result<JobLimits, Error>,
    /// The whole job as it is now, where it was fetched.
    pub(crate) whole: Option<Job>,
    /// When to ask again.
    pub(crate) requeue_after: Option<Duration>,
    /// Held while the status is written that says that the job waits.
    pub(crate) permit: Option<SemaphorePermit<'a>>,
}

impl Admitted<'_> {
    /// Nothing is asked of admission.
    fn not_asked(limits: Result<JobLimits, Error>, whole: Option<Job>) -> Self {
        let decision = AdmissionDecision::NotAsked;
        Self { decision, limits, whole, requeue_after: None, permit: None }
    }

    /// The job waits for something that it needs and that is not there.
    fn blocked(job: &Job, (reason, why): (&'static str, String)) -> Self {
        let limits = Ok(JobLimits::without_function(&job.spec));
        let decision = AdmissionDecision::Blocked { reason, why, place: None };
        let requeue_after = Some(WAITING_REQUEUE);
        Self { decision, requeue_after, ..Self::not_asked(limits, None) }
    }

    fn is_granted(&self) -> bool {
        matches!(self.decision, AdmissionDecision::Granted(_))
    }

    /// Whether the status is to say that the job waits for CPUs, or for its queue.
    fn waits(&self) -> bool {
        matches!(
            self.decision,
            AdmissionDecision::Waiting { .. } | AdmissionDecision::Blocked { .. }
        )
    }
}

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
        return Ok(Admitted::blocked(job, missing));
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
        confirm_grant(job, fetched, &mut admitted, queue_was_cached, ctx).await?;
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

/// Asks the API server whether what was granted is right: the whole job is fetched, and a queue that no cache has, but
/// that exists, lets nobody pass.
async fn confirm_grant(
    job: &Job,
    fetched: &Fetched,
    admitted: &mut Admitted<'_>,
    queue_was_cached: bool,
    ctx: &Context,
) -> Result<(), Error> {
    if admitted.whole.is_none() {
        match fetch_whole(job, ctx).await? {
            Ok(whole) => {
                let queue = ctx.stores.queue_of(job);
                let function = fetched.function.as_ref();
                admitted.limits = limits(&whole, function, queue.as_ref(), validate);
                admitted.whole = Some(whole);
            }
            Err(malformed) => admitted.limits = Err(malformed),
        }
    }
    if !queue_was_cached && let Some(why) = fetch_uncached_queue(job, ctx).await? {
        admitted.decision = AdmissionDecision::Waiting { why, place: None };
    }
    Ok(())
}

/// Asks the API server whether the queue is missing that no cache has. Others hear of a queue that comes from its watch.
/// A new job that is not held by a deleted queue waits for as long as for a start.
async fn confirm_missing_queue(
    job: &Job,
    admitted: &mut Admitted<'_>,
    is_held: bool,
    ctx: &Context,
    now: Timestamp,
) -> Result<(), Error> {
    let is_told = job.status.condition(ConditionType::Admitted);
    let is_told = is_told.is_some_and(|admitted| admitted.reason == reasons::QUEUE_NOT_FOUND);
    let created = job.metadata.creation_timestamp.unwrap_or(now);
    let longest = admitted.limits.as_ref().map_or(SignedDuration::ZERO, JobLimits::start_deadline);
    let is_over = !is_held && now.duration_since(created) >= longest;
    if is_told && !is_over {
        return Ok(());
    }
    if let Some(why) = fetch_uncached_queue(job, ctx).await? {
        admitted.decision = AdmissionDecision::Waiting { why, place: None };
    } else if is_over {
        let name = job.spec.queue().to_owned();
        admitted.limits = Err(Error::NotFound { kind: Queue::KIND, name });
        admitted.decision = AdmissionDecision::NotAsked;
    }
    Ok(())
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
