//! `windlass call`: a function's result, from wherever jobs are.

use crate::flags::job::JobSpecFlags;
use clap::Args;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use windlass_core::{Error, Phase};

use crate::backend::follow;
use crate::backend::resolve::Backend;
use crate::backend::submission::{self, NewJob};
use crate::output::log;
use crate::output::progress::Progress;
use crate::output::result_file::ResultFile;
use crate::process::{self, INTERRUPTED};

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
    let job = backend.submit(new, key).await?;
    let job_key = job.key();
    let follow = async {
        let mut changes = backend.jobs.watch(&job_key).await?;
        follow::to_end(changes.as_mut(), progress).await
    };
    let job = tokio::select! {
        ended = follow => ended?,
        () = process::stopped() => {
            let cancelled = backend.jobs.cancel(&job_key, Some(&job.metadata.uid)).await.map(drop);
            log::print_line(&interrupted(backend.program(), &job_key.name, cancelled));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if job.status.phase == Some(Phase::Succeeded) {
        backend.write_result(&job_key, false, output).await?;
    }
    Ok(follow::verdict(&job))
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
