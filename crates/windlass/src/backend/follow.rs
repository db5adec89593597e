//! Following a job to its end, and what that end means for whoever started this command.

use std::process::ExitCode;
use std::time::Duration;

use windlass_core::jobs::Watch;
use windlass_core::{Error, Job, JobKey, Phase};

use crate::backend::resolve::Backend;
use crate::flags::wait::WaitFlags;
use crate::output::log;
use crate::output::progress::Progress;
use crate::output::terminal;
use crate::process::INTERRUPTED;

/// Shows progress until the job has ended.
pub(crate) async fn to_end(changes: &mut dyn Watch, mut progress: Progress) -> Result<Job, Error> {
    loop {
        let job = changes.next().await;
        if let Ok(job) = &job {
            progress.show(job);
            if !job.status.is_finished() {
                continue;
            }
        }
        progress.finish();
        return job;
    }
}

/// 0 for a job that is done; 1 for every other end, which is told.
pub(crate) fn verdict(job: &Job) -> ExitCode {
    match job.status.phase {
        Some(Phase::Succeeded) => ExitCode::SUCCESS,
        _ => {
            log::print_line(&why(job));
            ExitCode::FAILURE
        }
    }
}

fn why(job: &Job) -> String {
    let name = &job.metadata.name;
    match &job.status.failure {
        Some(failure) if job.status.phase == Some(Phase::Failed) => format!(
            "windlass: job {name} failed ({}, attempt {}): {}",
            failure.reason.as_str(),
            failure.attempt,
            terminal::printable(&failure.message)
        ),
        _ => format!("windlass: job {name} was {}", job.status.phase.map_or("", Phase::as_str)),
    }
}

/// A job that was followed, with its input: what a server tells of a job that is followed is without it.
pub(crate) fn with_input_of(known: &Job, mut followed: Job) -> Job {
    if followed.metadata.uid == known.metadata.uid {
        followed.spec.input.clone_from(&known.spec.input);
    }
    followed
}

/// How waiting for a job ended.
pub(crate) enum Waited {
    /// The job has ended.
    Ended(Box<Job>),
    /// It has not: this is the exit code, and whoever waited was told.
    Not(ExitCode),
}

/// Waits for the end of a job as long as was asked for. The job goes on when nobody waits any more.
pub(crate) async fn wait(
    backend: &Backend,
    key: &JobKey,
    wait: &WaitFlags,
    progress: Progress,
    stopped: impl Future<Output = ()>,
) -> anyhow::Result<Waited> {
    let limit = wait.wait.flatten().map(|seconds| Duration::from_secs(seconds.into()));
    let over = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let end = async {
        let mut changes = backend.jobs.watch(key).await?;
        to_end(changes.as_mut(), progress).await
    };
    let (code, why) = tokio::select! {
        // A job that has ended already is seen, however short the limit is.
        biased;
        ended = end => return Ok(Waited::Ended(Box::new(ended?))),
        () = stopped => (INTERRUPTED, "interrupted".to_owned()),
        () = over => (1, format!("not ended within {} s", limit.unwrap_or_default().as_secs())),
    };
    let (program, name) = (backend.program(), &key.name);
    log::print_line(&format!(
        "windlass: {why}; the job goes on: `{program} watch {name}` follows it, `{program} cancel \
         {name}` ends it"
    ));
    Ok(Waited::Not(ExitCode::from(code)))
}
