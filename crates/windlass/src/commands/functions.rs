//! `windlass functions`: what may run.

use std::process::ExitCode;

use windlass_core::Error;

use crate::cli::{BadUsage, Functions};
use crate::place::Place;
use crate::request::unknown_function;
use crate::show;

pub(crate) async fn functions(place: &Place, args: &Functions) -> anyhow::Result<ExitCode> {
    let (jobs, namespace) = (&place.jobs, &place.namespace);
    if args.names.is_empty() {
        show::many(&jobs.functions(namespace).await?, args.output)?;
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
        [function] => show::one(function, args.output)?,
        functions => show::many(functions, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}
