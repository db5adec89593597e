//! `windlass submit`: a new job.

use std::process::ExitCode;

use crate::cli::{Shape, Submit};
use crate::follow::{self, Waited};
use crate::place::Place;
use crate::terminal::Progress;
use crate::{request, show};

pub(crate) async fn submit(place: &Place, args: &Submit) -> anyhow::Result<ExitCode> {
    let submission = request::submission(&args.request, &place.namespace, place.is_named)?;
    let job = place.submit(submission, args.idempotency_key.as_deref()).await?;
    // A name is of use at once, the other shapes when there is something to see.
    if args.wait.wait.is_none() || args.output == Shape::Name {
        show::one(&job, args.output)?;
    }
    if args.wait.wait.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    match follow::wait(place, &job.key(), &args.wait, Progress::bar_only()).await? {
        Waited::Ended(job) => {
            if args.output != Shape::Name {
                show::one(&*job, args.output)?;
            }
            Ok(follow::verdict(&job))
        }
        Waited::Not(code) => Ok(code),
    }
}
