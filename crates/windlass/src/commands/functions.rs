//! `windlass functions`: what may run.

use std::process::ExitCode;

use windlass_core::Error;

use crate::backend::resolve::Backend;
use crate::backend::submission::unknown_function;
use crate::flags::bad_usage::BadUsage;
use crate::flags::objects::ObjectsFlags;
use crate::output::objects;

pub(crate) async fn functions(backend: &Backend, args: &ObjectsFlags) -> anyhow::Result<ExitCode> {
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
