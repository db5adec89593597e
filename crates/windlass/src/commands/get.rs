//! `windlass get`: jobs by their names.

use crate::flags::names::job_name;
use crate::flags::output_form::OutputForm;
use crate::flags::wait::WaitFlags;
use clap::Args;
use std::process::ExitCode;

use windlass_core::{Error, Job, JobKey, Phase};

use crate::backend::follow::{self, Waited, with_input_of};
use crate::backend::resolve::Backend;
use crate::commands::waiting;
use crate::flags::bad_usage::BadUsage;
use crate::output::objects;
use crate::output::progress::Progress;
use crate::process::{self, INTERRUPTED};

/// Show jobs by their names.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Names of jobs; `cjob/NAME` is taken as well
    #[arg(required = true, value_name = "JOB", value_parser = job_name)]
    pub(crate) jobs: Vec<String>,
    /// Show it again each time it has changed, until its end; of one job
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn get(backend: &Backend, args: &Get) -> anyhow::Result<ExitCode> {
    if args.watch {
        let [name] = args.jobs.as_slice() else {
            return Err(BadUsage("--watch shows one job".into()).into());
        };
        return watch(backend, name, args.output).await;
    }
    let mut jobs = Vec::new();
    for name in &args.jobs {
        let key = backend.key(name);
        if args.wait.wait.is_none() {
            jobs.push(backend.jobs.get(&key).await?);
            continue;
        }
        let known = known(backend, &key, args.output).await?;
        match follow::wait(backend, &key, &args.wait, Progress::bar_only(), process::stopped())
            .await?
        {
            Waited::Ended(job) => jobs.push(whole(known.as_ref(), *job)),
            Waited::Not(code) => return Ok(code),
        }
    }
    waiting::place(backend, &mut jobs, args.output).await;
    match jobs.as_slice() {
        [job] => objects::one(job, args.output)?,
        jobs => objects::many(jobs, args.output)?,
    }
    let is_waited_for = args.wait.wait.is_some();
    let has_no_result = |job: &&Job| job.status.phase != Some(Phase::Succeeded);
    let without_result = jobs.iter().filter(|job| is_waited_for && has_no_result(job));
    Ok(without_result.map(follow::verdict).fold(ExitCode::SUCCESS, |_, verdict| verdict))
}

/// The job before it is followed, if it is to be shown with its input.
async fn known(backend: &Backend, key: &JobKey, shape: OutputForm) -> Result<Option<Job>, Error> {
    match shape {
        OutputForm::Json | OutputForm::Yaml => backend.jobs.get(key).await.map(Some),
        OutputForm::Table | OutputForm::Wide | OutputForm::Name => Ok(None),
    }
}

fn whole(known: Option<&Job>, followed: Job) -> Job {
    match known {
        Some(known) => with_input_of(known, followed),
        None => followed,
    }
}

/// The job each time it has changed, until it has ended.
async fn watch(backend: &Backend, name: &str, shape: OutputForm) -> anyhow::Result<ExitCode> {
    let key = backend.key(name);
    let known = known(backend, &key, shape).await?;
    let mut changes = backend.jobs.watch(&key).await?;
    let mut before: Option<Job> = None;
    loop {
        let job = tokio::select! {
            job = changes.next() => whole(known.as_ref(), job?),
            () = process::stopped() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        let ended = job.status.is_finished();
        if before.as_ref() != Some(&job) {
            objects::some(&[&job], shape, before.is_none())?;
            before = Some(job);
        }
        if let Some(job) = before.as_ref().filter(|_| ended) {
            return Ok(follow::verdict(job));
        }
    }
}
