//! `windlass result`: the bytes that a job's function wrote.

use crate::flags::names::job_name;
use crate::flags::wait::WaitFlags;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

use windlass_core::Phase;

use crate::backend::follow::{self, Waited};
use crate::backend::resolve::Backend;
use crate::output::progress::Progress;
use crate::output::result_file::ResultFile;
use crate::process;

/// Print a job's result: the bytes that its function wrote, and nothing else.
///
/// On a terminal, what could steer it is left out.
#[derive(Debug, Args)]
pub(crate) struct ResultOf {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Also of a job that has failed: what it had computed before
    #[arg(long)]
    pub(crate) partial: bool,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

pub(crate) async fn result(backend: &Backend, args: &ResultOf) -> anyhow::Result<ExitCode> {
    let output = ResultFile::open(args.output.as_deref())?;
    let key = backend.key(&args.job);
    if args.wait.wait.is_some() {
        match follow::wait(backend, &key, &args.wait, Progress::bar_only(), process::stopped())
            .await?
        {
            Waited::Ended(job) if job.status.phase == Some(Phase::Succeeded) => {}
            Waited::Ended(job) if args.partial && job.status.result.is_some() => {}
            Waited::Ended(job) => return Ok(follow::verdict(&job)),
            Waited::Not(code) => return Ok(code),
        }
    }
    backend.write_result(&key, args.partial, output).await?;
    Ok(ExitCode::SUCCESS)
}
