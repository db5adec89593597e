//! `windlass call`: a function's result, from wherever jobs are.

use std::path::Path;
use std::process::ExitCode;

use windlass_core::jobs::Submission;
use windlass_core::{Error, Phase};

use crate::cli::Call;
use crate::commands::{self, INTERRUPTED};
use crate::output::Output;
use crate::place::Place;
use crate::terminal::Progress;
use crate::{follow, log, request};

pub(crate) async fn call(place: &Place, args: &Call) -> anyhow::Result<ExitCode> {
    let submission = request::of_function(&args.function, &args.wanted, &place.namespace)?;
    let key = args.idempotency_key.as_deref();
    carry_out(place, submission, key, args.output.as_deref(), Progress::bar_only()).await
}

/// Submits a job, follows it to its end and writes its result. An interrupt cancels it.
pub(crate) async fn carry_out(
    place: &Place,
    submission: Submission,
    key: Option<&str>,
    output: Option<&Path>,
    progress: Progress,
) -> anyhow::Result<ExitCode> {
    // Before the work, so that none is done for a result that cannot be kept.
    let output = Output::open(output)?;
    let job = place.submit(submission, key).await?;
    let job_key = job.key();
    let follow = async {
        let mut changes = place.jobs.watch(&job_key).await?;
        follow::to_end(changes.as_mut(), progress).await
    };
    let job = tokio::select! {
        ended = follow => ended?,
        () = commands::stopped() => {
            let cancelled = place.jobs.cancel(&job_key).await.map(drop);
            log::tell(&interrupted(place.program(), &job_key.name, cancelled));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if job.status.phase == Some(Phase::Succeeded) {
        place.write_result(&job_key, output).await?;
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
