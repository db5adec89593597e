//! `windlass delete`: ends and forgets jobs.

use crate::flags::names::job_name;
use clap::Args;
use std::process::ExitCode;

use windlass_core::{GROUP, Job};

use crate::backend::resolve::Backend;
use crate::commands::each_name::each_name;
use crate::output::objects;

/// End and forget jobs, with their results and logs.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Names of jobs
    #[arg(required = true, value_name = "JOB", value_parser = job_name)]
    pub(crate) jobs: Vec<String>,
}

pub(crate) async fn delete(backend: &Backend, args: &Delete) -> anyhow::Result<ExitCode> {
    let delete = async |name: &str| {
        backend.jobs.delete(&backend.key(name), None).await?;
        Ok(format!("{}.{GROUP}/{name} deleted\n", Job::KIND.to_ascii_lowercase()))
    };
    let (deleted, missing) = each_name(&args.jobs, delete).await?;
    objects::print(&deleted.concat())?;
    missing.map_or(Ok(ExitCode::SUCCESS), |missing| Err(missing.into()))
}
