//! `windlass cancel`: asks for the end of jobs.

use crate::flags::names::job_name;
use crate::flags::output_form::OutputForm;
use crate::flags::wait::WaitFlags;
use clap::Args;
use std::process::ExitCode;

use windlass_core::status::EndSummary;
use windlass_core::{Job, Phase};

use crate::backend::follow::{self, Waited, with_input_of};
use crate::backend::resolve::Backend;
use crate::commands::each_name::each_name;
use crate::output::log;
use crate::output::objects;
use crate::output::progress::Progress;
use crate::process;

/// Ask for the end of jobs. One that has ended stays as it is.
///
/// The exit code is 1 when one of them had ended otherwise before it could be cancelled; how it ended is told.
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
    // All are asked before one is waited for.
    let cancel = async |name: &str| backend.jobs.cancel(&backend.key(name), None).await;
    let (mut jobs, missing) = each_name(&args.jobs, cancel).await?;
    if args.wait.wait.is_some() {
        for job in &mut jobs {
            match follow::wait(
                backend,
                &job.key(),
                &args.wait,
                Progress::bar_only(),
                process::stopped(),
            )
            .await?
            {
                Waited::Ended(ended) => *job = with_input_of(job, *ended),
                Waited::Not(code) => return Ok(code),
            }
        }
    }
    let ended: Vec<String> = jobs.iter().filter_map(ended_before).collect();
    match (args.output, jobs.as_slice()) {
        (_, []) => {}
        // A name alone says that its job is cancelled.
        (OutputForm::Name, _) => {
            jobs.retain(|job| ended_before(job).is_none());
            objects::many(&jobs, args.output)?;
        }
        (shape, [job]) => objects::one(job, shape)?,
        (shape, jobs) => objects::many(jobs, shape)?,
    }
    ended.iter().for_each(|how| log::print_line(how));
    if let Some(missing) = missing {
        return Err(missing.into());
    }
    Ok(if ended.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is told of a job that is not cancelled, because it had ended.
fn ended_before(job: &Job) -> Option<String> {
    let EndSummary { phase, reason, .. } = job.status.summary()?;
    let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let name = &job.metadata.name;
    let is_cancelled = job.status.phase == Some(Phase::Cancelled);
    (!is_cancelled).then(|| format!("windlass: job {name} had already ended: {phase}{why}"))
}
