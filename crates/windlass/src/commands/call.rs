//! `windlass call`: a function's result, from wherever jobs are.

use crate::flags::job::JobSpecFlags;
use clap::Args;
use std::path::Path;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::timeout;
use windlass_core::{Error, Job, Phase};

use crate::backend::follow;
use crate::backend::resolve::Backend;
use crate::backend::submission::{self, NewJob};
use crate::output::log;
use crate::output::progress::Progress;
use crate::output::result_file::ResultFile;
use crate::process::{self, INTERRUPTED};

/// How long an interrupted caller waits for the answer that says which job is to be cancelled.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Call a function and print its result: the bytes that it wrote, and nothing else.
///
/// An interrupt cancels the job.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 the job failed, 2 bad usage or input, 3 refused (token, rights,
certificate, full) or no answer, 130 interrupted.

Example:
  windlass call price --input @examples/longstaff-schwartz.json | jq '.prices[0]'")]
pub(crate) struct Call {
    /// Name of the function
    pub(crate) function: String,
    #[command(flatten)]
    pub(crate) spec: JobSpecFlags,
    /// The same key gives the same job again, instead of a second one
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

pub(crate) async fn call(backend: &Backend, args: &Call) -> anyhow::Result<ExitCode> {
    let new = submission::of_function(&args.function, &args.spec, &backend.namespace)?;
    let key = args.idempotency_key.as_deref();
    carry_out(backend, new, key, args.output.as_deref(), Progress::bar_only()).await
}

/// Submits a job, follows it to its end and writes its result. An interrupt cancels it.
pub(crate) async fn carry_out(
    backend: &Backend,
    new: NewJob,
    key: Option<&str>,
    output: Option<&Path>,
    progress: Progress,
) -> anyhow::Result<ExitCode> {
    // Before the work, so that none is done for a result that cannot be kept.
    let output = ResultFile::open(output)?;
    let mut stopped = pin!(process::stopped());
    let mut submitted = pin!(backend.submit(new, key));
    let job = tokio::select! {
        job = &mut submitted => job?,
        // Only the answer says which job is to be cancelled.
        () = &mut stopped => {
            let job = timeout(ANSWER_PATIENCE, submitted).await;
            return cancel_for_interrupt(backend, job.ok().transpose()?).await;
        }
    };
    let job_key = job.key();
    let follow = async {
        let mut changes = backend.jobs.watch(&job_key).await?;
        follow::to_end(changes.as_mut(), progress).await
    };
    let job = tokio::select! {
        ended = follow => ended?,
        () = stopped => return cancel_for_interrupt(backend, Some(job)).await,
    };
    if job.status.phase == Some(Phase::Succeeded) {
        backend.write_result(&job_key, false, output).await?;
    }
    Ok(follow::verdict(&job))
}

/// Cancels the job of a caller who was interrupted, if it is known.
async fn cancel_for_interrupt(backend: &Backend, job: Option<Job>) -> anyhow::Result<ExitCode> {
    let said = match job {
        Some(job) => {
            let cancelled = backend.jobs.cancel(&job.key(), Some(&job.metadata.uid)).await;
            interrupted(backend.program(), &job.metadata.name, cancelled.map(drop))
        }
        None => format!(
            "windlass: interrupted, and the server has not answered: a job may be there; `{} list` shows it",
            backend.program()
        ),
    };
    log::print_line(&said);
    Ok(ExitCode::from(INTERRUPTED))
}

/// What becomes of a job whose caller was interrupted.
fn interrupted(program: &str, name: &str, cancelled: Result<(), Error>) -> String {
    match cancelled {
        Ok(()) => format!("windlass: interrupted; job {name} is cancelled"),
        Err(error) => format!(
            "windlass: interrupted, but job {name} goes on: it cannot be cancelled: {error}\n\
             `{program} cancel {name}`, by somebody with the right to patch jobs, ends it; `{program} \
             watch {name}` follows it"
        ),
    }
}
