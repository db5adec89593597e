//! Which functions are kept warm, from the manifests.

use super::program::warm_key_of;
use super::state::State;
use crate::attempt::warm_pool::WarmFunction;

/// Takes over what the manifests say, and starts functions ahead.
pub(super) fn set_functions(state: &mut State) {
    if !state.may_start() {
        return;
    }
    let config = &state.ctx.config;
    let functions = config.functions.current();
    let warm = functions.all().filter_map(|function| {
        let key = warm_key_of(config, &functions, function)?;
        let policy = function.spec.warm.clone()?;
        let memory_bytes = function.spec.memory.bytes(1).unwrap_or(u64::MAX);
        Some((key, WarmFunction { policy, memory_bytes }))
    });
    let warm = warm.collect();
    state.attempts.set_warm(warm);
}
