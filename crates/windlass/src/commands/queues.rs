//! `windlass queues`: quotas of CPUs, and how much of them is in use.

use std::process::ExitCode;

use windlass_core::{Error, Queue};

use crate::cli::Queues;
use crate::place::Place;
use crate::{log, show};

pub(crate) async fn queues(place: &Place, args: &Queues) -> anyhow::Result<ExitCode> {
    let (jobs, namespace) = (&place.jobs, &place.namespace);
    let mut found = Vec::new();
    for name in &args.names {
        let missing = || Error::NotFound { kind: Queue::KIND, name: name.clone() };
        found.push(jobs.queue(namespace, name).await?.ok_or_else(missing)?);
    }
    if let [queue] = found.as_slice() {
        show::one(queue, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.names.is_empty() {
        found = jobs.queues(namespace).await?;
    }
    show::many(&found, args.output)?;
    if found.is_empty() {
        log::tell(&format!(
            "windlass: there are no queues in namespace {namespace:?}, and so no quota"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
