//! `windlass retry`: the same job again.

use std::process::ExitCode;

use clap::Args;

use crate::backend::resolve::Backend;
use crate::commands::submit::show_new;
use crate::flags::names::job_name;
use crate::flags::new_job::SubmitFlags;

/// Submit the same job again, as a new job of the same spec and labels, and print its name.
///
/// The job must have ended. The new one names it in its annotation `windlass.dev/retry-of`. With
/// changes: `windlass submit FUNCTION ... --retry-of JOB`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 the job has not ended yet, 2 bad usage, no such job, or its function refuses it
by now, 3 refused (token, rights, certificate, full) or no answer. With --wait the code is the new
job's: 0 done, 1 failed or not ended in time.

Example:
  windlass retry price-1a2b3c4d --wait")]
pub(crate) struct Retry {
    /// Name of the job
    #[arg(value_name = "JOB", value_parser = job_name)]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) how: SubmitFlags,
}

pub(crate) async fn retry(backend: &Backend, args: &Retry) -> anyhow::Result<ExitCode> {
    let key = args.how.idempotency_key.as_deref();
    let job = backend.retry(&backend.key(&args.job), None, key).await?;
    show_new(backend, &job, &args.how).await
}
