//! The step `apply`: carries out what core has planned, and decides nothing. Each action may be
//! repeated.

use std::io;

use tracing::{info, warn};
use uuid::Uuid;
use windlass_core::assignment::{Inputs, SourceFile};
use windlass_core::status::MAX_INLINE_RESULT_BYTES;
use windlass_core::{Action, AttemptNumber, BlobRef, Cpus, Job, JobSpec};

use super::program::{program_of, warm_key_of};
use super::state::State;
use crate::attempt::build_order::{self, Placement};
use crate::attempt::observe::{Exit, TrackedAttempt, Unreported};
use crate::blobs::BlobDirectory;
use crate::process::Logs;

/// Carries out the actions on one job.
pub(super) fn apply(state: &mut State, uid: Uuid, job: &Job, actions: &[Action]) {
    for action in actions {
        match action {
            Action::Start { attempt, cpus } => start(state, uid, job, *attempt, *cpus),
            Action::Remove { attempt } => stop(state, uid, *attempt),
            // The store deletes what has expired, many jobs at once.
            Action::Expire => {}
        }
    }
}

/// Starts an attempt. When that fails, the attempt has ended, and core decides what comes next.
fn start(state: &mut State, uid: Uuid, job: &Job, number: AttemptNumber, cpus: Cpus) {
    if let Some(active) = state.jobs.get_mut(uid) {
        active.leave_backlog(&state.ctx.backlog);
    }
    // Before the worker can say when it started.
    let mut attempt = TrackedAttempt::new(number, cpus, state.ctx.clock.now());
    match start_worker(state, uid, job, number, cpus) {
        Ok(()) => {
            state.ctx.metrics.granted(cpus);
            info!(job = %job.metadata.name, attempt = number, cpus, "attempt started");
        }
        Err(error) => {
            let name = &job.metadata.name;
            warn!(job = %name, attempt = number, %error, "an attempt cannot be started");
            let why = format!("its worker cannot be started: {error}");
            attempt.exit = Some(Exit { at: attempt.created, end: Unreported::lost(why) });
        }
    }
    if let Some(active) = state.jobs.get_mut(uid) {
        active.attempts.push(attempt);
    }
}

/// Takes CPUs and a control group, and gives the order to a worker.
fn start_worker(
    state: &mut State,
    uid: Uuid,
    job: &Job,
    attempt: AttemptNumber,
    cpus: Cpus,
) -> io::Result<()> {
    let ctx = &state.ctx;
    let name = &job.spec.function;
    let functions = ctx.config.functions.current();
    let function = functions.get(name).ok_or_else(|| io::Error::other("its function is gone"))?;
    let active = state.jobs.get(uid).ok_or_else(|| io::Error::other("the job is gone"))?;
    let mut limits = active.limits.clone();
    // What does not fit on the disk is refused as any result that is too large.
    let room = ctx.config.bounds.max_stored_bytes.saturating_sub(ctx.stored_bytes());
    limits.max_result_bytes = limits.max_result_bytes.min(room.max(MAX_INLINE_RESULT_BYTES));
    let log = match ctx.config.worker.logs {
        Logs::Files => Some(ctx.files.log(uid, attempt).to_string_lossy().into_owned()),
        Logs::Stderr | Logs::Pipe(_) => None,
    };
    let memory_bytes = function.spec.memory.bytes(cpus).unwrap_or(u64::MAX);
    let warm = warm_key_of(&ctx.config, &functions, function);
    let program = match &warm {
        Some(key) => key.program.clone(),
        None => program_of(&ctx.config, &functions, function),
    };
    let allocation = state.attempts.allocate(cpus, memory_bytes, warm.as_deref());
    let placement = Placement {
        results: ctx.files.results().to_string_lossy().into_owned(),
        log,
        confinement: allocation.confinement(),
    };
    let function = (&function.spec, program);
    let mut order = build_order::order(job, &limits, function, attempt, cpus, placement);
    order.assignment.disk_bytes = ctx.config.bounds.attempt_disk_bytes;
    order.serves = warm.is_some();
    order.assignment.inputs = inputs_of(&job.spec, &ctx.files.blobs);
    state.attempts.start(uid, order, &job.spec.input_bytes(), allocation, warm)
}

/// The blobs that an attempt reads, if it reads any.
fn inputs_of(spec: &JobSpec, blobs: &BlobDirectory) -> Option<Inputs> {
    spec.blobs().next()?;
    let source = |blob: &BlobRef| {
        let path = blobs.path(&blob.sha256).to_string_lossy().into_owned();
        SourceFile { path: Some(path), blob: blob.clone() }
    };
    let files = spec.files.iter().map(|(name, blob)| (name.clone(), source(blob))).collect();
    Some(Inputs { input: spec.input_blob.as_ref().map(source), files })
}

/// Asks for the end of an attempt. When it is gone, nothing happens.
pub(super) fn stop(state: &mut State, uid: Uuid, number: AttemptNumber) {
    if let Some(active) = state.jobs.get_mut(uid)
        && let Some(attempt) = active.attempt_mut(number)
    {
        attempt.stopping = true;
        state.attempts.stop(uid, number);
    }
}
