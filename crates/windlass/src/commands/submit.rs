//! `windlass submit`: a new job.

use std::process::ExitCode;

use clap::Args;
use windlass_core::Job;

use crate::backend::follow::{self, Waited, with_input_of};
use crate::backend::resolve::Backend;
use crate::backend::submission;
use crate::flags::job::NewJobFlags;
use crate::flags::new_job::SubmitFlags;
use crate::flags::output_form::OutputForm;
use crate::output::objects;
use crate::output::progress::Progress;
use crate::output::terminal;
use crate::process;

/// Submit a job, and print its name.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 a job of that name is there, 2 bad usage or input, 3 refused (token, rights,
certificate, full) or no answer. With --wait the code is the job's: 0 done, 1 failed or not ended in
time. An interrupt leaves the job as it is.

Examples:
  windlass get $(windlass submit price --input @examples/longstaff-schwartz.json)
  windlass submit -f job.yaml --wait=60 -o json")]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) request: NewJobFlags,
    #[command(flatten)]
    pub(crate) how: SubmitFlags,
}

pub(crate) async fn submit(backend: &Backend, args: &Submit) -> anyhow::Result<ExitCode> {
    let new = submission::submission(&args.request, &backend.namespace, backend.is_named)?;
    let job = backend.submit(new, args.how.idempotency_key.as_deref()).await?;
    show_new(backend, &job, &args.how).await
}

/// Shows a job that was just submitted, and waits for its end where that is asked for.
pub(crate) async fn show_new(
    backend: &Backend,
    job: &Job,
    SubmitFlags { wait, output, .. }: &SubmitFlags,
) -> anyhow::Result<ExitCode> {
    let output = *output;
    let waits = wait.wait.is_some();
    // Whoever sees its name may interrupt.
    let stopped = process::stopped();
    // A name is of use at once, the other shapes when there is something to see.
    match output {
        None => objects::print(&format!("{}\n", terminal::line(&job.metadata.name)))?,
        Some(OutputForm::Name) => objects::one(job, OutputForm::Name)?,
        Some(shape) if !waits => objects::one(job, shape)?,
        Some(_) => {}
    }
    if !waits {
        return Ok(ExitCode::SUCCESS);
    }
    match follow::wait(backend, &job.key(), wait, Progress::bar_only(), stopped).await? {
        Waited::Ended(ended) => {
            let job = with_input_of(job, *ended);
            if let Some(shape) = output.filter(|shape| *shape != OutputForm::Name) {
                objects::one(&job, shape)?;
            }
            Ok(follow::verdict(&job))
        }
        Waited::Not(code) => Ok(code),
    }
}
