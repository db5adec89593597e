//! The program of a function, from its manifest and what the server was started with.

use std::path::Path;
use std::sync::Arc;

use windlass_core::assignment::Program;
use windlass_core::function::EnvVar;
use windlass_core::{Function, FunctionSpec};

use crate::attempt::build_order;
use crate::attempt::warm_pool::WarmKey;
use crate::config::Config;
use crate::functions::Functions;

/// How a function is started.
pub(super) fn program_of(config: &Config, functions: &Functions, function: &Function) -> Program {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let spec = &function.spec;
    let directory = functions.directory(&function.metadata.name).as_deref().map(text);
    let hidden = config.hidden().as_deref().map(text);
    let run_as = config.worker.run_as.clone();
    Program { env: environment_of(spec), ..build_order::program(spec, directory, hidden, run_as) }
}

/// What a function is given of this process's environment, and its own variables.
fn environment_of(spec: &FunctionSpec) -> Vec<EnvVar> {
    // Those that are not UTF-8 were refused with their manifest.
    let passed = spec.pass_env.iter().filter_map(|name| {
        std::env::var(name).ok().map(|value| EnvVar { name: name.clone(), value })
    });
    passed.chain(spec.env.iter().cloned()).collect()
}

/// What its processes are told from others by, if it is kept warm.
pub(super) fn warm_key_of(
    config: &Config,
    functions: &Functions,
    function: &Function,
) -> Option<Arc<WarmKey>> {
    let is_warm = config.bounds.warm_memory_bytes > 0 && function.spec.warm.is_some();
    is_warm.then(|| {
        let program = program_of(config, functions, function);
        Arc::new(WarmKey { function: function.metadata.name.clone(), program })
    })
}
