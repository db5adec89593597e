//! `windlass submit`: a new job.

use std::process::ExitCode;

use crate::cli::{Shape, Submit};
use crate::follow::{self, Waited};
use crate::place::Place;
use crate::terminal::{self, Progress};
use crate::{request, show};

pub(crate) async fn submit(place: &Place, args: &Submit) -> anyhow::Result<ExitCode> {
    let submission = request::submission(&args.request, &place.namespace, place.is_named)?;
    let job = place.submit(submission, args.idempotency_key.as_deref()).await?;
    let waits = args.wait.wait.is_some();
    // A name is of use at once, the other shapes when there is something to see.
    match args.output {
        None => show::print(&format!("{}\n", terminal::line(&job.metadata.name)))?,
        Some(Shape::Name) => show::one(&job, Shape::Name)?,
        Some(shape) if !waits => show::one(&job, shape)?,
        Some(_) => {}
    }
    if !waits {
        return Ok(ExitCode::SUCCESS);
    }
    match follow::wait(place, &job.key(), &args.wait, Progress::bar_only()).await? {
        Waited::Ended(job) => {
            if let Some(shape) = args.output.filter(|shape| *shape != Shape::Name) {
                show::one(&*job, shape)?;
            }
            Ok(follow::verdict(&job))
        }
        Waited::Not(code) => Ok(code),
    }
}
