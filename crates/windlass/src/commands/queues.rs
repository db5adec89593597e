//! `windlass queues`: quotas of CPUs, and how much of them is in use.

use std::process::ExitCode;

use windlass_core::{Error, Queue};

use crate::backend::resolve::Backend;
use crate::flags::objects::ObjectsFlags;
use crate::output::log;
use crate::output::objects;

pub(crate) async fn queues(backend: &Backend, args: &ObjectsFlags) -> anyhow::Result<ExitCode> {
    let (jobs, namespace) = (&backend.jobs, &backend.namespace);
    let mut found = Vec::new();
    for name in &args.names {
        let missing = || Error::NotFound { kind: Queue::KIND, name: name.clone() };
        found.push(jobs.queue(namespace, name).await?.ok_or_else(missing)?);
    }
    if let [queue] = found.as_slice() {
        objects::one(queue, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.names.is_empty() {
        found = jobs.queues(namespace).await?;
    }
    objects::many(&found, args.output)?;
    if found.is_empty() {
        log::tell(&format!(
            "windlass: there are no queues in namespace {namespace:?}, and so no quota"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
