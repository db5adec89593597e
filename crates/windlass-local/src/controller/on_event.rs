//! What each event changes, before the job is reconciled.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;
use windlass_core::live::{Live, Shown};
use windlass_core::report::{self, Event as ReportEvent, Report};
use windlass_core::{AttemptNumber, Error, Job, JobLimits, JobStatus};

use super::active_jobs::ActiveJob;
use super::admit::enqueue;
use super::apply;
use super::ends::log_attempt;
use super::fetch::fetch_if_readable;
use super::reconcile::reconcile;
use super::situation::situation;
use super::state::State;
use super::update_status::{next_version, update_status};
use super::warm_functions;
use crate::attempt::observe::{self, Exit, Unreported, server_time, server_times};
use crate::event::{Event, Refusal};
use crate::queueing::admission::QueueEntry;

/// Takes in one event.
pub(super) fn on_event(state: &mut State, event: Event) {
    match event {
        Event::Submitted { job, limits, is_stored } => on_submitted(state, job, limits, is_stored),
        Event::NotStored { uid, attempt, refusal } => on_not_stored(state, uid, attempt, refusal),
        Event::Stored { uid, version } => {
            if let Some(active) = state.jobs.get_mut(uid) {
                active.on_stored(&version);
            }
        }
        Event::CancelRequested { uid, reply } => on_cancel(state, uid, reply),
        Event::DeleteRequested { uid, reply } => on_delete(state, uid, reply),
        Event::Reported(report) => on_report(state, &report),
        Event::AttemptEnded { uid, attempt, end, slot, warm } => {
            state.attempts.release_slot(slot);
            state.attempts.release_cpus(uid, attempt, warm.is_some());
            if let Some(worker) = warm {
                state.attempts.keep_warm(*worker);
            }
            on_attempt_ended(state, uid, attempt, end);
            refill(state);
        }
        Event::WarmStarted(worker) => state.attempts.keep_warm(*worker),
        Event::WarmEnded { key, slot, failure } => {
            state.attempts.warm_ended(key, slot, failure);
            refill(state);
        }
        Event::WarmReplaced { key, why } => state.attempts.note_replaced(&key, &why),
        Event::WorkerStarted(worker) => state.attempts.add_worker(worker),
        Event::ManifestsReloaded => {
            set_queues(state);
            warm_functions::set_functions(state);
            on_functions_changed(state);
            state.checks.begin(&state.ctx.config);
        }
        Event::QueuesChanged => set_queues(state),
        Event::QueueStatusRequested { queues, reply } => {
            let statuses = queues.iter().map(|queue| state.admission.queue_status(queue)).collect();
            // Who asked may have gone away.
            drop(reply.send(statuses));
        }
        // Who asked may have gone away.
        Event::LiveAttemptsRequested { reply } => drop(reply.send(state.attempts.ids())),
        Event::EstimatesRequested { reply } => drop(reply.send(situation(state))),
        Event::ExpiryDone => state.expiry.deleted(&state.ctx),
        Event::DrainRequested { reply } => {
            // Who asked may have gone away.
            reply.send(state.draining()).unwrap_or_default();
        }
        Event::Shutdown => state.begin_shutdown(),
    }
}

/// Takes over the queues as they are now.
fn set_queues(state: &mut State) {
    let library = &state.ctx.config.functions;
    for (queue, hold) in library.take_settled_holds() {
        state.ctx.store.settle_hold(queue, hold);
    }
    let changed = state.admission.set_queues(&library.current());
    announce_again(state, &changed);
}

/// The status of the jobs that wait in these queues may say something else now.
fn announce_again(state: &mut State, queues: &BTreeSet<String>) {
    for uid in state.jobs.waiting_in(queues) {
        if state.without_function.contains(&uid) {
            continue;
        }
        enqueue(state, uid);
        state.admission.announce(uid);
    }
}

/// Of the jobs that wait, those whose function has gone leave their queues, and those whose function is there again join
/// them.
fn on_functions_changed(state: &mut State) {
    let functions = state.ctx.config.functions.current();
    let without = state.jobs.waiting_without_function(&functions);
    let changed: Vec<_> = state.without_function.symmetric_difference(&without).copied().collect();
    for uid in changed {
        reconcile(state, uid, None);
    }
}

/// Starts ahead what may be needed at once.
fn refill(state: &mut State) {
    if state.may_start() {
        state.attempts.refill_workers();
        state.attempts.start_ahead();
    }
}

/// Reconciles the jobs whose time has come, and deletes those whose time is over.
pub(super) fn on_time(state: &mut State) {
    let now = Instant::now();
    while let Some(uid) = state.requeued.pop_due(now) {
        reconcile(state, uid, None);
    }
    state.attempts.retire_expired(now);
    if state.expiry.next().is_some_and(|at| at <= now) {
        state.expiry.delete_expired(&state.ctx);
    }
}

fn on_submitted(state: &mut State, job: Arc<Job>, limits: JobLimits, is_stored: bool) {
    let Ok(uid) = Uuid::parse_str(&job.metadata.uid) else { return };
    let entry = QueueEntry {
        queue: job.spec.queue().into(),
        function: job.spec.function.as_str().into(),
        priority: job.spec.priority,
        since: job.metadata.creation_timestamp.unwrap_or_else(|| state.ctx.clock.now()),
    };
    state.admission.record_arrival(&job.spec.function, &entry, &limits);
    let mut active = ActiveJob::new(entry, limits, Some(job));
    // Its place in the backlog was reserved before it was committed.
    active.is_waiting = true;
    active.is_stored = is_stored;
    state.jobs.insert(uid, active);
    reconcile(state, uid, None);
}

/// A job that has begun could not be stored: nothing of it stays, and then its caller is told.
fn on_not_stored(state: &mut State, uid: Uuid, attempt: AttemptNumber, refusal: Refusal) {
    state.ctx.store.forget(uid);
    match state.jobs.get_mut(uid) {
        Some(active) => {
            active.refusal = Some(refusal);
            let last = active.attempts.last();
            // What runs leaves its files when it has ended.
            if let Some(last) = last.filter(|last| last.exit.is_some()) {
                state.ctx.files.remove_job(uid, last.number);
            }
            let_go(state, uid);
        }
        // It has ended already.
        None => {
            state.ctx.files.remove_job(uid, attempt);
            refusal.answer_caller();
        }
    }
}

fn on_cancel(state: &mut State, uid: Uuid, reply: oneshot::Sender<Result<(), Error>>) {
    // A job that is not active has ended.
    let open =
        fetch_if_readable(state, uid).filter(|job| !job.spec.cancel && !job.status.is_finished());
    let Some(job) = open else {
        reply.send(Ok(())).unwrap_or_default();
        return;
    };
    let mut job = Arc::unwrap_or_clone(job);
    job.spec.cancel = true;
    job.metadata.generation = job.metadata.generation.map(|number| number + 1);
    let job = next_version(state, uid, job);
    state.ctx.store.update(job, Some(reply));
    reconcile(state, uid, None);
}

fn on_delete(state: &mut State, uid: Uuid, reply: oneshot::Sender<Result<(), Error>>) {
    let_go(state, uid);
    state.ctx.store.remove(uid, reply);
}

/// A job is one no more: what runs of it is to end.
fn let_go(state: &mut State, uid: Uuid) {
    if let Some(active) = state.jobs.get_mut(uid) {
        active.deleted = true;
        active.job = None;
        let numbers: Vec<_> = active.attempts.iter().map(|attempt| attempt.number).collect();
        numbers.into_iter().for_each(|number| apply::stop(state, uid, number));
    }
    state.forget(uid);
}

fn on_report(state: &mut State, report: &Report) {
    let Report { job_uid, attempt: number, event, sent } = report;
    if matches!(event, ReportEvent::Finished(_)) && state.is_stopping() {
        // Whatever stops this server may have reached the function first, or a part of it that it
        // waited for: how it ended says nothing of the job.
        return;
    }
    let Ok(uid) = Uuid::parse_str(job_uid) else { return };
    let job = fetch_if_readable(state, uid);
    let current = job.as_ref().map(|job| report::check(job, job_uid, *number));
    let (Some(job), Some(Ok(())), Some(active)) = (job, &current, state.jobs.get_mut(uid)) else {
        debug!(%uid, attempt = number, ?current, "a report changes nothing");
        return;
    };
    let now = state.ctx.clock.now();
    let Some(attempt) = active.attempt_mut(*number) else { return };
    match event {
        ReportEvent::Running { running, .. } => {
            attempt.running = Some(server_time(*running, *sent, attempt.created, now));
            reconcile(state, uid, None);
        }
        ReportEvent::Progress { .. } => {
            let Some(live) = Live::from_report(report) else { return };
            attempt.first_progress.get_or_insert((now, live.progress.done));
            let progress = Some(live.progress.clone());
            let status = JobStatus { progress, ..job.status.clone() };
            let job = Arc::new(Job { status, ..Job::clone(&job) });
            active.job = Some(Arc::clone(&job));
            state.ctx.store.show(Shown::new(job, Some(live)));
        }
        // On one machine they are in a file.
        ReportEvent::Usage { .. } => {}
        ReportEvent::Finished(ending) => {
            let ending = server_times(ending, *sent, attempt.created, now);
            attempt.reported = Some(ending.clone());
            log_attempt(&job.metadata.name, attempt);
            // Most calls are over before it is told that they run.
            let attempt = observe::attempt(attempt, &state.ctx.host);
            match report::finish_unshown(&job, &active.limits, &attempt, &ending) {
                Ok(status) => update_status(state, uid, &job, status),
                Err(refused) => warn!(%uid, attempt = number, %refused, "an outcome is refused"),
            }
        }
    }
}

/// Nothing of an attempt runs any more: its CPUs are free.
fn on_attempt_ended(state: &mut State, uid: Uuid, number: AttemptNumber, end: Unreported) {
    let is_stopping = state.is_stopping();
    state.admission.release(&uid);
    let job = fetch_if_readable(state, uid);
    if let Some(active) = state.jobs.get_mut(uid)
        && let Some(attempt) = active.attempt_mut(number)
    {
        let told = attempt.reported.as_ref().and_then(|ending| ending.outcome.result());
        let kept = job.as_ref().and_then(|job| job.status.result.as_ref());
        let is_kept = told.is_some() && told == kept;
        let at = state.ctx.clock.now();
        let end =
            if is_stopping { Unreported::lost("the server stopped while it ran") } else { end };
        attempt.exit = Some(Exit { at, end });
        if attempt.reported.is_none() {
            let name = job.map_or_else(|| uid.to_string(), |job| job.metadata.name.clone());
            log_attempt(&name, attempt);
        }
        state.ctx.files.count_attempt(uid, number, is_kept);
        if active.deleted {
            state.ctx.files.remove_job(uid, number);
        }
    }
    reconcile(state, uid, None);
}
