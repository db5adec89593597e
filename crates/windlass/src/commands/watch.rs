//! `windlass watch`: a job, followed to its end.

use std::process::ExitCode;

use crate::cli::{Wait, Watch};
use crate::follow::{self, Waited};
use crate::place::Place;
use crate::terminal::Progress;

pub(crate) async fn watch(place: &Place, args: &Watch) -> anyhow::Result<ExitCode> {
    let wait = Wait { wait: None };
    match follow::wait(place, &place.key(&args.job), &wait, Progress::start()).await? {
        Waited::Ended(job) => Ok(follow::verdict(&job)),
        Waited::Not(code) => Ok(code),
    }
}
