//! Which functions are kept warm, from the manifests.

use std::sync::Arc;

use windlass_core::Function;
use windlass_core::assignment::Program;

use super::state::State;
use crate::attempt::build;
use crate::attempt::warm::WarmFunction;
use crate::attempt::warm_pool::WarmKey;
use crate::config::Config;
use crate::functions::Functions;
use crate::process::Logs;

/// How a function is started.
pub(super) fn program_of(config: &Config, functions: &Functions, function: &Function) -> Program {
    let directory = functions.directory(&function.metadata.name);
    let directory = directory.map(|path| path.to_string_lossy().into_owned());
    let hidden = config.hides_data.then(|| config.data.to_string_lossy().into_owned());
    build::program(&function.spec, directory, hidden, config.run_as.clone())
}

/// What its processes are told from others by, if it is kept warm.
pub(super) fn key_of(
    config: &Config,
    functions: &Functions,
    function: &Function,
) -> Option<Arc<WarmKey>> {
    let is_warm = config.warm_memory_bytes > 0 && function.spec.warm.is_some();
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
        Some(WarmFunction {
            key: key_of(config, &functions, function)?,
            policy: function.spec.warm.clone()?,
            memory_bytes: function.spec.memory.bytes(1).unwrap_or(u64::MAX),
            has_logs: matches!(config.logs, Logs::Files),
        })
    });
    let warm = warm.collect();
    state.attempts.set_warm(warm);
}
