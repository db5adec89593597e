//! `windlass cancel`: asks for the end of jobs.

use crate::flags::names::job_name;
use crate::flags::output_form::OutputForm;
use crate::flags::wait::WaitFlags;
use clap::Args;
use std::process::ExitCode;

use crate::backend::follow::{self, Waited};
use crate::backend::resolve::Backend;
use crate::output::objects;
use crate::output::terminal::Progress;

/// Ask for the end of jobs. One that has ended stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Names of jobs
    #[arg(required = true, value_name = "JOB", value_parser = job_name)]
    pub(crate) jobs: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Form of the output
    #[arg(short, long, default_value = "name")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn cancel(backend: &Backend, args: &Cancel) -> anyhow::Result<ExitCode> {
    let mut jobs = Vec::new();
    // All are asked before one is waited for.
    for name in &args.jobs {
        jobs.push(backend.jobs.cancel(&backend.key(name)).await?);
    }
    if args.wait.wait.is_some() {
        for job in &mut jobs {
            match follow::wait(backend, &job.key(), &args.wait, Progress::bar_only()).await? {
                Waited::Ended(ended) => *job = *ended,
                Waited::Not(code) => return Ok(code),
            }
        }
    }
    match jobs.as_slice() {
        [job] => objects::one(job, args.output)?,
        jobs => objects::many(jobs, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}
