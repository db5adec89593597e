//! `windlass queues`: quotas of CPUs, and how much of them is in use.

use crate::flags::names::name;
use crate::flags::output_form::OutputForm;
use clap::Args;
use std::process::ExitCode;

use windlass_core::{Error, Queue};

use crate::backend::resolve::Backend;
use crate::output::log;
use crate::output::objects;

/// Show quotas of CPUs, and how much of them is in use.
#[derive(Debug, Args)]
pub(crate) struct Queues {
    /// Only these [default: all]
    #[arg(value_name = "QUEUE", value_parser = name)]
    pub(crate) names: Vec<String>,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn queues(backend: &Backend, args: &Queues) -> anyhow::Result<ExitCode> {
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
