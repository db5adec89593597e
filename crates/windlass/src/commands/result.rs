//! `windlass result`: the bytes that a job's function wrote.

use std::process::ExitCode;

use windlass_core::Phase;

use crate::cli::ResultOf;
use crate::follow::{self, Waited};
use crate::output::Output;
use crate::place::Place;
use crate::terminal::Progress;

pub(crate) async fn result(place: &Place, args: &ResultOf) -> anyhow::Result<ExitCode> {
    let output = Output::open(args.output.as_deref())?;
    let key = place.key(&args.job);
    if args.wait.wait.is_some() {
        match follow::wait(place, &key, &args.wait, Progress::bar_only()).await? {
            Waited::Ended(job) if job.status.phase == Some(Phase::Succeeded) => {}
            Waited::Ended(job) => return Ok(follow::verdict(&job)),
            Waited::Not(code) => return Ok(code),
        }
    }
    place.write_result(&key, output).await?;
    Ok(ExitCode::SUCCESS)
}
