//! Functions of a back end by their names.

use windlass_core::{Error, Function};

use super::resolve::Backend;
use super::submission::unknown_function;
use crate::flags::bad_usage::BadUsage;

/// The functions of these names.
pub(crate) async fn named_functions(
    backend: &Backend,
    names: &[String],
) -> anyhow::Result<Vec<Function>> {
    let (jobs, namespace) = (&backend.jobs, &backend.namespace);
    let mut found = Vec::new();
    for name in names {
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
    Ok(found)
}
