//! Attempts that no cache shows, or that only a list has shown. Whether they exist is asked at the API server, for all of them
//! at once: claimed and not observed yet, deleted before their pods were seen, or found by a list and by no watch.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Resource as _;
use tokio::time::Instant;
use tracing::warn;
use windlass_core::plan::next_attempt_number;
use windlass_core::report::has_ended;
use windlass_core::{Error, Job};

use super::context::Context;
use super::list_live::list_objects;
use super::on_watch::attempt_changed;
use crate::cache::attempts::AttemptCache;
use crate::cache::job::WatchedJob;
use crate::labels::{AttemptId, LABEL_JOB_UID};

/// How often is asked.
const TICK: Duration = Duration::from_secs(1);

/// How long a claimed attempt may stay unobserved before it is asked for.
const CLAIM_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// How long after somebody else has deleted a batch Job a Job controller may still make a pod of it:
/// its cache may be old, and its requests wait for each other. A batch Job that is to go waits no longer for its suspension.
pub(super) const LATE_POD: Duration = Duration::from_secs(5);

/// Most jobs in one question: their UIDs are in its URL.
const MAX_ASKED: usize = 50;

/// Asks, as long as it runs.
pub(crate) async fn run(ctx: &Context) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut in_doubt_since = HashMap::new();
    loop {
        tick.tick().await;
        let now = Instant::now();
        in_doubt_since = ctx
            .attempts
            .in_doubt()
            .into_iter()
            .map(|attempt| {
                let since = in_doubt_since.get(&attempt).copied().unwrap_or(now);
                (attempt, since)
            })
            .collect::<HashMap<_, _>>();
        let mut doubtful: Vec<_> = in_doubt_since
            .iter()
            .filter(|(_, since)| now - **since >= LATE_POD)
            .map(|(attempt, _)| attempt.clone())
            .collect();
        doubtful.extend(overdue_claims(ctx));
        for some in doubtful.chunks(MAX_ASKED) {
            match list_attempts(ctx, some).await {
                Ok(found) => some.iter().for_each(|attempt| compare(ctx, attempt, &found)),
                Err(error) => warn!(%error, "attempts that no cache shows cannot be asked for"),
            }
        }
    }
}

/// Claims whose attempts were not observed, and that nobody is going to create.
fn overdue_claims(ctx: &Context) -> Vec<AttemptId> {
    let mut claims = ctx.admission.unobserved_claims();
    claims.retain(|(id, _)| ctx.attempts.objects(&id.job_uid, id.number).is_none());
    if claims.is_empty() || !ctx.synced.has_synced() {
        return Vec::new();
    }
    let uids: HashSet<&str> = claims.iter().map(|(attempt, _)| &*attempt.job_uid).collect();
    let is_claimed = |job: &WatchedJob| job.uid().is_some_and(|uid| uids.contains(uid));
    let jobs = ctx.stores.jobs.state().into_iter().filter(|job| is_claimed(job));
    let jobs = jobs.map(|job| job.to_core());
    let jobs: HashMap<_, _> = jobs.map(|job| (job.metadata.uid.clone(), job)).collect();
    let now = ctx.now();
    let is_overdue = |(attempt, since): &(AttemptId, Timestamp)| {
        let job = jobs.get(&*attempt.job_uid);
        // The attempt has ended: it was created and removed. Otherwise whoever claimed it may be about to create it.
        job.is_some_and(|job| has_ended(&job.status, attempt.number))
            || now.duration_since(*since) >= CLAIM_GRACE
                && !job.is_some_and(|job| comes_next(ctx, job, attempt))
    };
    claims.into_iter().filter(is_overdue).map(|(attempt, _)| attempt).collect()
}

/// Whether the next reconcile of the job decides about this attempt.
fn comes_next(ctx: &Context, job: &Job, attempt: &AttemptId) -> bool {
    let attempts = ctx.attempts.attempts(&job.metadata.uid, ctx.now());
    !job.status.is_finished()
        && !job.spec.cancel
        && next_attempt_number(job, &attempts) == attempt.number
        && ctx.admission.is_claimed_where_it_waits(job, attempt)
}

/// What the API server has of the jobs of these attempts.
async fn list_attempts(ctx: &Context, attempts: &[AttemptId]) -> Result<AttemptCache, Error> {
    let uids: BTreeSet<&str> = attempts.iter().map(|attempt| &*attempt.job_uid).collect();
    let uids: Vec<_> = uids.into_iter().collect();
    let labels = format!("{LABEL_JOB_UID} in ({})", uids.join(","));
    Ok(list_objects(ctx, None, &labels).await?.into_cache(ctx.now()))
}

/// Forgets what the API server does not have of this attempt, and has its job reconciled.
fn compare(ctx: &Context, attempt: &AttemptId, found: &AttemptCache) {
    for changed in ctx.attempts.forget_unconfirmed(attempt, found) {
        let job = attempt_changed(ctx, &changed);
        ctx.admission.requeue((job.namespace.unwrap_or_default(), job.name));
    }
    if found.objects(&attempt.job_uid, attempt.number).is_some()
        || !ctx.attempts.forget_if_gone(attempt)
    {
        return;
    }
    ctx.admission.release_attempt(attempt, ctx.now());
    if let Some(job) = ctx.stores.job_of(attempt) {
        let meta = job.meta();
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        ctx.admission.requeue((name(&meta.namespace), name(&meta.name)));
    }
}
