//! When a long answer has to end before its job does.

use std::future::Future;
use std::sync::Arc;

use windlass_core::jobs::{Denied, Permission, Verb};

use crate::protocol::bearer::BearerToken;
use crate::state::{Gateway, GatewayState};

/// Returns when a long answer that begins now is to end: after its time, as the server ends, or
/// when the caller may not have it any more.
pub(crate) fn stream_over(
    state: &GatewayState,
    token: &BearerToken,
    verb: Verb,
    namespace: &str,
) -> impl Future<Output = ()> + Send + 'static {
    let (shutdown, limit) = (state.shutdown.clone(), state.gateway.limits.stream);
    let revoked = permission_revoked(state, token, verb, namespace);
    async move {
        tokio::select! {
            () = shutdown.started() => {}
            () = tokio::time::sleep(limit) => {}
            _ = revoked => {}
        }
    }
}

/// Returns when the caller may not do this any more. While that cannot be checked, they may.
pub(crate) fn permission_revoked(
    state: &GatewayState,
    token: &BearerToken,
    verb: Verb,
    namespace: &str,
) -> impl Future<Output = Denied> + Send + 'static {
    let Gateway { access, limits, .. } = &state.gateway;
    let (access, pause) = (Arc::clone(access), limits.recheck);
    let (token, namespace) = (token.clone(), namespace.to_owned());
    async move {
        loop {
            tokio::time::sleep(pause).await;
            match access.check(Some(token.as_str()), Permission::jobs(verb), &namespace).await {
                Ok(()) | Err(Denied::Unavailable { .. }) => {}
                Err(denied) => return denied,
            }
        }
    }
}
