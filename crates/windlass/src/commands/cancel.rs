//! `windlass cancel`: asks for the end of jobs.

use std::process::ExitCode;

use crate::cli::Cancel;
use crate::follow::{self, Waited};
use crate::place::Place;
use crate::show;
use crate::terminal::Progress;

pub(crate) async fn cancel(place: &Place, args: &Cancel) -> anyhow::Result<ExitCode> {
    let mut jobs = Vec::new();
    // All are asked before one is waited for.
    for name in &args.jobs {
        jobs.push(place.jobs.cancel(&place.key(name)).await?);
    }
    if args.wait.wait.is_some() {
        for job in &mut jobs {
            match follow::wait(place, &job.key(), &args.wait, Progress::bar_only()).await? {
                Waited::Ended(ended) => *job = *ended,
                Waited::Not(code) => return Ok(code),
            }
        }
    }
    match jobs.as_slice() {
        [job] => show::one(job, args.output)?,
        jobs => show::many(jobs, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}
