//! Which functions are kept warm, from the manifests.

use std::path::Path;
use std::sync::Arc;

use windlass_core::Function;
use windlass_core::assignment::Program;

use super::state::State;
use crate::attempt::build;
use crate::attempt::warm_pool::{WarmFunction, WarmKey};
use crate::config::Config;
use crate::functions::Functions;

/// How a function is started.
pub(super) fn program_of(config: &Config, functions: &Functions, function: &Function) -> Program {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let directory = functions.directory(&function.metadata.name).map(text);
    let hidden = config.hidden().as_deref().map(text);
    build::program(&function.spec, directory, hidden, config.worker.run_as.clone())
}

/// What its processes are told from others by, if it is kept warm.
pub(super) fn key_of(
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

/// Takes over what the manifests say, and starts functions ahead.
pub(super) fn set_functions(state: &mut State) {
    if !state.may_start() {
        return;
    }
    let config = &state.ctx.config;
    let functions = config.functions.current();
    let warm = functions.all().filter_map(|function| {
        let key = key_of(config, &functions, function)?;
        let policy = function.spec.warm.clone()?;
        let memory_bytes = function.spec.memory.bytes(1).unwrap_or(u64::MAX);
        Some((key, WarmFunction { policy, memory_bytes }))
    });
    let warm = warm.collect();
    state.attempts.set_warm(warm);
}
