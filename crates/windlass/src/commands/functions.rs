//! `windlass functions`: what may run.

use crate::flags::names::name;
use crate::flags::output_form::OutputForm;
use clap::Args;
use std::process::ExitCode;

use windlass_core::Error;

use crate::backend::resolve::Backend;
use crate::backend::submission::unknown_function;
use crate::flags::bad_usage::BadUsage;
use crate::output::objects;

/// Show what may run.
#[derive(Debug, Args)]
pub(crate) struct Functions {
    /// Only these [default: all]
    #[arg(value_name = "FUNCTION", value_parser = name)]
    pub(crate) names: Vec<String>,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn functions(backend: &Backend, args: &Functions) -> anyhow::Result<ExitCode> {
    let (jobs, namespace) = (&backend.jobs, &backend.namespace);
    if args.names.is_empty() {
        objects::many(&jobs.functions(namespace).await?, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = Vec::new();
    for name in &args.names {
        match jobs.function(namespace, name).await {
            Ok(function) => found.push(function),
            Err(Error::NotFound { .. }) => {
                let all = jobs.functions(namespace).await?;
                let known = all.iter().map(|known| known.metadata.name.as_str()).collect();
                return Err(BadUsage(unknown_function(name, known)).into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    match found.as_slice() {
        [function] => objects::one(function, args.output)?,
        functions => objects::many(functions, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}
