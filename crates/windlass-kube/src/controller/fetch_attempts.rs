//! The attempts of a job: from the cache, and from the API server where the cache may be behind.

use jiff::Timestamp;
use windlass_core::plan::Attempt;
use windlass_core::report::is_settled;
use windlass_core::{AttemptNumber, Error, Job};

use super::context::Context;
use super::list_live::list_attempts_of;
use super::lost_attempt::check_lost_attempt;
use super::unschedulable::gives_back;
use crate::attempt::observe;

/// The attempts of a job.
pub(super) struct FetchedAttempts {
    /// In the order of their numbers.
    pub(super) attempts: Vec<Attempt>,
    /// Whether the last one has a pod that no watch shows.
    pub(super) is_unlabelled: bool,
}

/// The attempts as far as they are known. A lost attempt counts as lost only if its Node object exists, or if deleted
/// nodes are fenced.
pub(super) async fn fetch_attempts(
    job: &Job,
    ctx: &Context,
    now: Timestamp,
) -> Result<FetchedAttempts, Error> {
    let mut attempts = ctx.attempts.attempts(&job.metadata.uid, now);
    let mut is_unlabelled = false;
    if job.status.is_finished() {
        return Ok(FetchedAttempts { attempts, is_unlabelled });
    }
    // A watch of pods that is behind, or down, has not shown the pod of an attempt whose batch Job or status is known.
    // One whose pod has a node by now does not give its CPUs back.
    // One that may get another pod still counts as alive, until its removal has seen to that.
    let is_settled_pause =
        |attempt: &Attempt| is_settled_pause(job, attempt) && !may_get_late_pod(job, attempt, ctx);
    let may_lack = |attempt| {
        lacks_its_pod(job, attempt)
            || is_settled_pause(attempt)
            || gives_back(job, attempt, ctx, now)
    };
    let reported = job.status.attempt;
    let is_missing = |number| attempts.iter().all(|attempt| attempt.number != number);
    if attempts.last().is_some_and(may_lack) || reported.is_some_and(is_missing) {
        let is_empty = |number| {
            let objects = ctx.attempts.objects(&job.metadata.uid, number);
            objects.is_some_and(|objects| objects.is_empty())
        };
        let doubtful = doubtful(attempts, reported, is_empty);
        attempts = list_attempts_of(job, ctx, now).await?;
        add_unlisted(&mut attempts, doubtful);
    }
    // What has failed does not go on, whoever resumes its batch Job.
    for attempt in attempts.iter_mut().filter(|attempt| is_settled_pause(attempt)) {
        attempt.state = observe::lost_pod(now);
    }
    if let Some(number) = reported {
        observe::add_reported(job, number, &mut attempts, now);
    }
    if let Some(attempt) = attempts.last_mut() {
        is_unlabelled = check_lost_attempt(job, attempt, ctx, now).await?;
    }
    Ok(FetchedAttempts { attempts, is_unlabelled })
}

/// The attempts after the one that the status names whose batch Jobs somebody else has just deleted, and whose pods were never
/// seen. A Job controller whose cache is old may still make a pod of one, so that no list says it is over: resync does,
/// after a while.
fn doubtful(
    cached: Vec<Attempt>,
    reported: Option<AttemptNumber>,
    is_empty: impl Fn(AttemptNumber) -> bool,
) -> Vec<Attempt> {
    let is_doubtful = |attempt: &Attempt| {
        reported.is_none_or(|reported| attempt.number > reported) && is_empty(attempt.number)
    };
    cached.into_iter().filter(is_doubtful).collect()
}

/// Adds what a list has not shown, in the order of the numbers.
fn add_unlisted(listed: &mut Vec<Attempt>, doubtful: Vec<Attempt>) {
    for attempt in doubtful {
        if listed.iter().all(|listed| listed.number != attempt.number) {
            listed.push(attempt);
        }
    }
    listed.sort_by_key(|attempt| attempt.number);
}

/// Whether no pod of this attempt was ever seen here, though there must have been one; or a pod has ended whose batch
/// Job was not seen, so that it is not believed.
fn lacks_its_pod(job: &Job, attempt: &Attempt) -> bool {
    let is_reported = job.status.attempt == Some(attempt.number) && job.status.pod.is_some();
    !is_settled(&job.status, attempt.number)
        && match &attempt.pod {
            None => attempt.is_present && (is_reported || !attempt.is_live()),
            Some(_) => attempt.job.is_none() && !attempt.is_live(),
        }
}

/// Whether this attempt may get a pod that was not seen yet.
fn may_get_late_pod(job: &Job, attempt: &Attempt, ctx: &Context) -> bool {
    let objects = ctx.attempts.objects(&job.metadata.uid, attempt.number);
    objects.is_some_and(|objects| objects.may_get_late_pod())
}

/// Whether the status tells the failure of this attempt, and its batch Job is suspended.
fn is_settled_pause(job: &Job, attempt: &Attempt) -> bool {
    is_settled(&job.status, attempt.number) && observe::is_suspended(&attempt.state)
}

#[cfg(test)]
mod tests {
    use windlass_core::plan::AttemptState;

    use super::*;

    fn attempt(number: AttemptNumber) -> Attempt {
        Attempt {
            number,
            cpus: 1,
            created: Timestamp::UNIX_EPOCH,
            startable_since: None,
            unschedulable_since: None,
            job: None,
            pod: None,
            node: None,
            state: AttemptState::Starting { reason: None, message: String::new() },
            is_present: true,
            stopping: false,
            may_restart: false,
        }
    }

    #[test]
    fn a_new_attempt_whose_batch_job_was_deleted_outlasts_a_list_without_it() {
        let after = |reported, deleted: &[AttemptNumber], listed: &[AttemptNumber]| {
            let cached = vec![attempt(1), attempt(2)];
            let mut all: Vec<_> = listed.iter().map(|number| attempt(*number)).collect();
            let doubtful = doubtful(cached, reported, |number| deleted.contains(&number));
            add_unlisted(&mut all, doubtful);
            all.iter().map(|attempt| attempt.number).collect::<Vec<_>>()
        };
        // The status still names the first, which was removed; the second may yet have a pod.
        assert_eq!(after(Some(1), &[1, 2], &[]), [2]);
        assert_eq!(after(Some(1), &[2], &[1]), [1, 2]);
        assert_eq!(after(Some(1), &[2], &[1, 2]), [1, 2]);
        // What the status names was seen to run: its list is believed.
        assert_eq!(after(Some(2), &[1, 2], &[]), [0; 0]);
        assert_eq!(after(Some(1), &[], &[1]), [1]);
        assert_eq!(after(None, &[1], &[2]), [1, 2]);
    }
}
