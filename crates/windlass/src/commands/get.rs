//! `windlass get`: jobs by their names.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::Job;

use crate::cli::{BadUsage, Get, Shape};
use crate::commands::{self, INTERRUPTED};
use crate::follow::{self, Waited};
use crate::place::Place;
use crate::show::{self, Table};
use crate::terminal::Progress;

pub(crate) async fn get(place: &Place, args: &Get) -> anyhow::Result<ExitCode> {
    if args.watch {
        let [name] = args.jobs.as_slice() else {
            return Err(BadUsage("--watch shows one job".into()).into());
        };
        return watch(place, name, args.output).await;
    }
    let mut jobs = Vec::new();
    for name in &args.jobs {
        let key = place.key(name);
        if args.wait.wait.is_none() {
            jobs.push(place.jobs.get(&key).await?);
            continue;
        }
        match follow::wait(place, &key, &args.wait, Progress::bar_only()).await? {
            Waited::Ended(job) => jobs.push(*job),
            Waited::Not(code) => return Ok(code),
        }
    }
    match jobs.as_slice() {
        [job] => show::one(job, args.output)?,
        jobs => show::many(jobs, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The job each time it has changed, until it has ended.
async fn watch(place: &Place, name: &str, shape: Shape) -> anyhow::Result<ExitCode> {
    let mut changes = place.jobs.watch(&place.key(name)).await?;
    let mut before: Option<Job> = None;
    loop {
        let job = tokio::select! {
            job = changes.next() => job?,
            () = commands::stopped() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        let ended = job.status.is_finished();
        if before.as_ref() != Some(&job) {
            match shape {
                Shape::Table | Shape::Wide => {
                    let mut table = Table::new::<Job>(shape == Shape::Wide);
                    table.add(&job, Timestamp::now());
                    show::print(&table.text(before.is_none()))?;
                }
                Shape::Yaml => show::print(&format!("---\n{}", show::yaml(&job)?))?,
                shape => show::one(&job, shape)?,
            }
            before = Some(job);
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
