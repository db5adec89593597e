//! One look at a ComputeJob: what there is of it is observed, CPUs are asked for, then it is planned, done
//! and told.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action as Requeue;
use tokio::sync::SemaphorePermit;
use tracing::warn;
use windlass_core::plan::{
    AdmissionDecision, Attempt, AttemptState, End, Refusal, needs_cpus, next_attempt_number,
    plan_invalid,
};
use windlass_core::report::is_settled;
use windlass_core::status::FailureReason;
use windlass_core::{
    Action, Error, Function, Job, JobLimits, JobStatus, Observed, Plan, Problem, plan,
};

use crate::controller::apply::{Done, Effects, Told, tell};
use crate::controller::context::{MANY_STARTS_WITHIN, WAITING_GRACE, World, attempt_id};
use crate::controller::fetch::{
    fetch, find_function, observe_attempts, told_refusal, unknown_queue,
};
use crate::controller::malformed::Unreadable;
use crate::controller::{events, failed_creates};

/// An attempt that ends within this time of its container's start, which is told in whole seconds, costs
/// no write for having run.
const RUNNING_GRACE: Duration = Duration::from_secs(2);

/// How often a job that waits is looked at although nothing has happened to it.
const WAITING_LOOK: Duration = Duration::from_secs(30);

/// When a job is looked at again that could not be told to wait, as many others are.
const TELLERS_BUSY: Duration = Duration::from_secs(1);

/// How often the reason is looked for why a batch Job has no pod.
const HINDRANCE_LOOK: Duration = Duration::from_secs(10);

/// When a job is looked at again whose last write the watch has not brought.
const BEHIND: Duration = Duration::from_secs(5);

/// Looks at one job, once. Says when to look again.
pub(crate) async fn reconcile(job: &Job, world: &World) -> Result<Requeue, Error> {
    // Deletion is the garbage collector's work, by owner references.
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Requeue::await_change());
    }
    // After a restart the caches fill one after the other; what is not listed yet is there all the same.
    let mut listed = world.listed.subscribe();
    let all = listed.wait_for(|listed| listed.all()).await;
    drop(all.map_err(|_| Error::unavailable("the watches have ended"))?);
    if world.is_behind(job) {
        // The watch brings it; this is for the case that it does not.
        return Ok(Requeue::requeue(BEHIND));
    }
    // What a gateway has told, too.
    if let Some(failure) = &job.status.failure
        && world.announces(job, failure)
    {
        let event = events::failed(failure, &job.status);
        events::publish(&world.recorder, &events::reference(job), &event).await;
    }
    let now = world.now();
    let mut attempts = observe_attempts(job, world, now).await?;
    // Events say why, and decide nothing: without them a job can be cancelled all the same.
    let hindered =
        failed_creates::ask(job, &mut attempts, world, now).await.unwrap_or_else(|error| {
            warn!(job = %job.key(), %error, "why it has no pod cannot be asked");
            true
        });
    let function = find_function(job, world).await?;
    let asked = ask(job, &attempts, function.as_ref(), world, now).await?;

    let next = next_attempt_number(job, &attempts);
    let refusal = world.refusals().get(&job.metadata.uid).cloned();
    let refusal = refusal.filter(|refusal| refusal.attempt == next);
    let refusal = refusal.or_else(|| told_refusal(job, &attempts));
    let seen =
        Observed { admission: asked.answer, attempts, refusal, running_grace: RUNNING_GRACE };
    let Plan { mut actions, status, requeue_after } = match &asked.verdict {
        Ok(limits) => plan(job, limits, &seen, now),
        Err(why) => plan_invalid(job, why, &seen, now),
    };
    let removal = hold_back_removals(job, &seen, &mut actions, world, now);
    let orphaned = JobLimits::without_function(&job.spec);
    let effects = Effects {
        client: &world.client,
        report: &world.settings.report,
        job: asked.whole.as_ref().unwrap_or(job),
        limits: asked.verdict.as_ref().unwrap_or(&orphaned),
        function: function.as_ref().map(|function| &function.spec),
        traces: &world.traces,
    };
    let refused = act(job, &seen, &actions, &effects, world, now).await?;
    if !tell_job(job, &status, &seen, effects.limits, world, now).await? {
        return Ok(Requeue::await_change());
    }
    drop(asked.permit);
    let pause = match &refused {
        // Told by the next look, then tried again at leisure.
        Some(_) if seen.refusal.is_none() => Some(Duration::ZERO),
        Some(_) => Some(HINDRANCE_LOOK),
        None => requeue_after,
    };
    let next = [pause, asked.requeue_after, removal, hindered.then_some(HINDRANCE_LOOK)];
    let next = next.into_iter().flatten().min();
    Ok(next.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// What came of asking for CPUs.
struct Asked<'a> {
    answer: AdmissionDecision,
    /// What the job is found to be.
    verdict: Result<JobLimits, Error>,
    /// The whole job as it is now, where it was needed.
    whole: Option<Job>,
    /// When to ask again.
    requeue_after: Option<Duration>,
    /// To tell the job that it waits.
    permit: Option<SemaphorePermit<'a>>,
}

/// Asks for CPUs, if the job needs some now.
async fn ask<'a>(
    job: &Job,
    attempts: &[Attempt],
    function: Option<&Function>,
    world: &'a World,
    now: Timestamp,
) -> Result<Asked<'a>, Error> {
    let needs = needs_cpus(job, attempts, now);
    if needs
        && job.status.phase.is_some()
        && let Some((reason, why)) = world.lacks(job, function)
    {
        world.admission.leave(&job.metadata.uid, now);
        return Ok(Asked {
            answer: AdmissionDecision::Blocked { reason, why },
            verdict: Ok(JobLimits::without_function(&job.spec)),
            whole: None,
            requeue_after: Some(WAITING_LOOK),
            permit: None,
        });
    }
    // The whole job, as it is now: before it joins a line for the first time, and before a start.
    let (mut whole, mut verdict) = if needs && job.status.phase.is_none() {
        judge_whole(job, function, world).await?
    } else {
        (None, world.judge(job, function, false))
    };
    let (mut answer, mut came) = (AdmissionDecision::NotAsked, false);
    if let (Ok(limits), true) = (&verdict, needs) {
        let is_known = world.admission.has_queue(job);
        answer = world.admission.ask(job, attempt_id(job, attempts), limits, now);
        if matches!(answer, AdmissionDecision::Granted(_)) && whole.is_none() {
            (whole, verdict) = judge_whole(job, function, world).await?;
        }
        if !is_known
            && matches!(answer, AdmissionDecision::Granted(_))
            && let Some(why) = unknown_queue(job, world).await?
        {
            answer = AdmissionDecision::Waiting { why, place: None };
        }
        // It has come meanwhile, and what it has not granted is none.
        came = !is_known && world.admission.has_queue(job);
    } else if !needs && attempts.iter().all(|attempt| !attempt.is_live()) {
        world.admission.leave(&job.metadata.uid, now);
    }
    // A grant wakes the job; this is for the case that the news is lost.
    let mut requeue_after = (needs && verdict.is_ok()).then_some(WAITING_LOOK);
    let mut permit = None;
    if came {
        answer = AdmissionDecision::NotAsked;
        requeue_after = Some(Duration::ZERO);
    } else if matches!(answer, AdmissionDecision::Waiting { .. }) {
        let age = job.metadata.creation_timestamp.map(|created| now.duration_since(created));
        if job.status.phase.is_none() && age.is_some_and(|age| age < WAITING_GRACE) {
            answer = AdmissionDecision::NotAsked;
            requeue_after = Some(WAITING_GRACE.unsigned_abs());
        } else {
            // A deep queue is told in peace: meanwhile others may start.
            match world.telling_waiters.try_acquire() {
                Ok(free) => permit = Some(free),
                Err(_) => {
                    answer = AdmissionDecision::NotAsked;
                    requeue_after = Some(TELLERS_BUSY);
                }
            }
        }
    }
    Ok(Asked { answer, verdict, whole, requeue_after, permit })
}

/// While many jobs are being started, those that have ended are cleaned up a little later. When to look
/// again, if something was left for then.
fn hold_back_removals(
    job: &Job,
    seen: &Observed,
    actions: &mut Vec<Action>,
    world: &World,
    now: Timestamp,
) -> Option<Duration> {
    if !world.removal_waits(job, now) {
        return None;
    }
    let before = actions.len();
    let lives = |number| seen.attempts.iter().any(|a| a.number == number && a.is_live());
    // What still runs holds CPUs.
    actions.retain(|action| match action {
        Action::Remove { attempt } => lives(*attempt),
        Action::Start { .. } | Action::Expire => true,
    });
    (actions.len() < before).then_some(MANY_STARTS_WITHIN.unsigned_abs())
}

/// Does what is planned. Why the next attempt was refused, if it was.
async fn act(
    job: &Job,
    seen: &Observed,
    actions: &[Action],
    effects: &Effects<'_>,
    world: &World,
    now: Timestamp,
) -> Result<Option<Refusal>, Error> {
    let uid = &job.metadata.uid;
    let starts = actions.iter().any(|action| matches!(action, Action::Start { .. }));
    if starts {
        world.an_attempt_starts(now);
    } else if matches!(seen.admission, AdmissionDecision::Granted(_)) {
        world.admission.leave(uid, now);
    }
    let mut refused = None;
    for action in actions {
        match effects.perform(action).await? {
            Done::Done => {}
            Done::Created(cpus) => world.metrics.granted(cpus),
            Done::Refused { reason, message, is_final } => {
                let since = seen.refusal.as_ref().map_or(now, |known| known.since);
                let attempt = next_attempt_number(job, &seen.attempts);
                refused = Some(Refusal { attempt, since, reason, message, is_final });
            }
        }
    }
    if starts {
        let mut refusals = world.refusals();
        match &refused {
            Some(refusal) => drop(refusals.insert(uid.clone(), refusal.clone())),
            None => drop(refusals.remove(uid)),
        }
    }
    Ok(refused)
}

/// Tells the status, and an Event where one is due. False when nothing can be told: the job is left alone
/// until somebody writes it.
async fn tell_job(
    job: &Job,
    status: &JobStatus,
    seen: &Observed,
    limits: &JobLimits,
    world: &World,
    now: Timestamp,
) -> Result<bool, Error> {
    let mut status = Cow::Borrowed(status);
    let mut told = tell(&world.client, job, &status).await;
    if let Err(Error::Invalid(problems)) = &told
        && let Some(seen) = without_words(job, seen, problems)
    {
        status = Cow::Owned(plan(job, limits, &seen, now).status);
        told = tell(&world.client, job, &status).await;
    }
    let told = match told {
        Err(why @ Error::Invalid(_)) => {
            // Another definition has let it in than is in force now.
            world.malformed(Unreadable::of_job(job, &why.to_string()));
            world.was_replaced(job);
            return Ok(false);
        }
        told => told?,
    };
    if told == Told::News {
        world.was_replaced(job);
        if let Some(failure) = &status.failure {
            world.announces(job, failure);
        }
        if let Some(event) = events::notice(job, &status) {
            events::publish(&world.recorder, &events::reference(job), &event).await;
        }
    }
    Ok(true)
}

/// What was seen without what workers said, if one said anything: the API server refuses a status of it.
fn without_words(job: &Job, seen: &Observed, problems: &[Problem]) -> Option<Observed> {
    let mut without = seen.clone();
    let said = without.attempts.iter_mut().filter_map(|attempt| match &mut attempt.state {
        AttemptState::Ended(end @ End::Reported(_)) if !is_settled(&job.status, attempt.number) => {
            Some(end)
        }
        _ => None,
    });
    let mut any = false;
    for end in said {
        let at = if let End::Reported(ending) = end { ending.finished } else { continue };
        let reason = FailureReason::ResultLost;
        let why = Error::Invalid(problems.to_vec());
        let message = format!("what its worker said of its end cannot be stored: {why}");
        *end = End::Unreported { reason, message, at };
        any = true;
    }
    any.then_some(without)
}

/// The whole job and what it is found to be. One that the watch could read may still be malformed where
/// the watch does not look, in its input.
async fn judge_whole(
    job: &Job,
    function: Option<&Function>,
    world: &World,
) -> Result<(Option<Job>, Result<JobLimits, Error>), Error> {
    match fetch(job, world).await {
        Ok(whole) => {
            let verdict = world.judge(&whole, function, true);
            Ok((Some(whole), verdict))
        }
        Err(malformed @ Error::Invalid(_)) => Ok((None, Err(malformed))),
        Err(error) => Err(error),
    }
}
