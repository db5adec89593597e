//! The start: what an earlier server left running is ended, and its jobs are taken over.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use uuid::Uuid;
use windlass_core::AttemptNumber;
use windlass_worker::private_files;
use windlass_worker::remove_tree;

use super::active_jobs::ActiveJob;
use super::admit::enqueue;
use super::fetch::fetch_if_readable;
use super::reconcile::reconcile;
use super::state::State;
use crate::attempt::observe::{Exit, TrackedAttempt, Unreported};
use crate::attempt::record;
use crate::data_dir::DataDir;
use crate::process::leftovers;
use crate::queueing::admission::{QueueEntry, lacks_queue};
use crate::store::Unfinished;

/// How long an earlier server's processes may take to be gone.
const LEFTOVERS_PATIENCE: Duration = Duration::from_secs(60);

/// How far a job's version goes on after a kill: by far more than its changes within 200 ms, which may
/// have been shown and not committed.
const VERSIONS_SKIPPED: u64 = 1000;

/// The latest attempt of each job that had one running.
pub(crate) type LostAttempts = HashMap<Uuid, AttemptNumber>;

/// Ends every process of an earlier server's attempts, and gives the attempts that were lost so.
pub(crate) fn end_leftovers(files: &DataDir) -> io::Result<LostAttempts> {
    let attempts = files.attempts();
    let mut lost = LostAttempts::new();
    for record in record::read_all(&attempts)? {
        let last = lost.entry(record.job_uid).or_default();
        *last = record.attempt.max(*last);
    }
    let ended = leftovers::end(&attempts, LEFTOVERS_PATIENCE)?;
    if ended > 0 {
        info!(processes = ended, "ended what an earlier server had left running");
    }
    if let Err(error) = remove_tree(&attempts) {
        // A function that runs as root can make what nobody can remove. It holds up no start.
        let aside = attempts.with_file_name(format!("attempts-{}", Uuid::new_v4()));
        fs::rename(&attempts, &aside)?;
        warn!(path = %aside.display(), %error, "what attempts have left cannot be removed: do it by hand");
    }
    private_files::make_directory(&attempts)?;
    Ok(lost)
}

/// Takes over what an earlier server has left: jobs that wait, and `lost` attempts, of which nothing
/// runs any more.
pub(super) fn recover(state: &mut State, unfinished: Vec<Unfinished>, lost: &LostAttempts) {
    // Many jobs have few queues and functions, whose names are kept once.
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut kept = |name: String| match names.get(name.as_str()) {
        Some(name) => Arc::clone(name),
        None => {
            let name: Arc<str> = name.into();
            names.insert(Arc::clone(&name));
            name
        }
    };
    let functions = state.ctx.config.functions.current();
    for job in unfinished {
        let Unfinished { uid, queue, priority, created, limits, attempt, function } = job;
        let (queue, function) = (kept(queue), kept(function));
        let lacks_queue = lacks_queue(&functions, &queue);
        let lacks_function = functions.get(&function).is_none();
        let entry = QueueEntry { queue, function, priority, since: created };
        state.jobs.insert(uid, ActiveJob::new(entry, limits, None));
        match lost.get(&uid).copied().max(attempt) {
            None if lacks_function => reconcile(state, uid, None),
            None => {
                enqueue(state, uid);
                // Its queue may have gone since its status was written.
                if lacks_queue {
                    state.admission.announce(uid);
                }
            }
            Some(last) => recover_attempt(state, uid, last),
        }
    }
    state.expiry.schedule(&state.ctx);
}

/// A job that was started before: its latest attempt is over, whatever its status says.
fn recover_attempt(state: &mut State, uid: Uuid, number: AttemptNumber) {
    let Some(mut job) = fetch_if_readable(state, uid) else { return };
    // Readers may have seen changes that were not committed: their versions are not used again.
    let version = job.metadata.resource_version.parse::<u64>().unwrap_or(0) + VERSIONS_SKIPPED;
    Arc::make_mut(&mut job).metadata.resource_version = version.to_string();
    let now = state.ctx.clock.now();
    let Some(active) = state.jobs.get_mut(uid) else { return };
    let cpus = job.status.parallelism.unwrap_or(active.limits.parallelism);
    let created = job.status.timeline.admitted.unwrap_or(now);
    let mut attempt = TrackedAttempt::new(number, cpus, created);
    attempt.exit = Some(Exit { at: now, end: Unreported::lost("the server ended while it ran") });
    active.attempts.push(attempt);
    active.job = Some(job);
    // A result that it may have stored counts for nothing: nobody has reported its end.
    state.ctx.files.count_attempt(uid, number, false);
    reconcile(state, uid, None);
}
