//! How long a batch Job that is suspended before it is deleted waits for the word of its Job controller. Pure.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::Job;
use windlass_core::plan::Action;

use super::context::Context;
use super::resync::LATE_POD;
use crate::attempt::objects::AttemptObjects;

/// When to reconcile again although no watch may tell anything: a Job controller may never answer.
pub(super) fn suspended_too_long(
    job: &Job,
    actions: &[Action],
    ctx: &Context,
    now: Timestamp,
) -> Option<Duration> {
    let removed = actions.iter().filter_map(|action| match action {
        Action::Remove { attempt } => ctx.attempts.objects(&job.metadata.uid, *attempt),
        Action::Start { .. } | Action::Expire => None,
    });
    let waits = removed.filter(AttemptObjects::may_get_late_pod);
    waits.filter_map(|objects| left(objects.removal_asked.unwrap_or(now), now)).min()
}

/// How long a batch Job that is to go since then may still wait.
pub(super) fn left(asked: Timestamp, now: Timestamp) -> Option<Duration> {
    LATE_POD.checked_sub(now.duration_since(asked).unsigned_abs()).filter(|left| !left.is_zero())
}
