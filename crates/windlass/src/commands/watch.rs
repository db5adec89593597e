//! `windlass watch`: a job, followed to its end.

use crate::flags::names::job_name;
use crate::flags::wait::WaitFlags;
use clap::Args;
use std::process::ExitCode;

use crate::backend::follow::{self, Waited};
use crate::backend::resolve::Backend;
use crate::output::progress::Progress;
use crate::process;

/// Follow a job to its end.
///
/// The exit code is the job's: 0 done, 1 failed, 130 interrupted; an interrupt leaves the job as it is.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
}

pub(crate) async fn watch(backend: &Backend, args: &Watch) -> anyhow::Result<ExitCode> {
    let wait = WaitFlags { wait: None };
    match follow::wait(
        backend,
        &backend.key(&args.job),
        &wait,
        Progress::start(),
        process::stopped(),
    )
    .await?
    {
        Waited::Ended(job) => Ok(follow::verdict(&job)),
        Waited::Not(code) => Ok(code),
    }
}
