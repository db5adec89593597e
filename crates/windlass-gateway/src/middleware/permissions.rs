//! What a caller may do, as [`Access`] says, and how a caller who may not is answered.
//!
//! 401 without a known token; 404 where the caller may not read jobs either, so that nothing is
//! learned about another's namespace; 403 where they may read, because then there is nothing to hide
//! and the reason helps.

use std::future::Future;
use std::sync::Arc;

use http::HeaderMap;
use windlass_core::jobs::{Access, Denied, Permission, Verb};

use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::protocol::problem::ProblemKind;
use crate::state::{Gateway, GatewayState};

/// Lets a caller through who may read the metrics.
pub(crate) async fn require_metrics_reader(
    access: &dyn Access,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let token = BearerToken::from_headers(headers)?;
    Ok(access.check_metrics(Some(token.as_str())).await?)
}

/// Lets a caller through who may do this here.
pub(crate) async fn require_permission(
    state: &GatewayState,
    token: &BearerToken,
    permission: Permission,
    namespace: &str,
) -> Result<(), ApiError> {
    match state.gateway.access.check(Some(token.as_str()), permission, namespace).await {
        Ok(()) => Ok(()),
        Err(denied) => Err(refusal(state, token, denied, namespace).await),
    }
}

/// How a caller is answered who may not do something here.
pub(crate) async fn refusal(
    state: &GatewayState,
    token: &BearerToken,
    denied: Denied,
    namespace: &str,
) -> ApiError {
    let reading = Permission::jobs(Verb::Get);
    match denied {
        Denied::Forbidden(what) if what == reading => hidden(namespace),
        denied @ Denied::Forbidden(_) => {
            match state.gateway.access.check(Some(token.as_str()), reading, namespace).await {
                Ok(()) => denied.into(),
                Err(Denied::Forbidden(_)) => hidden(namespace),
                Err(other) => other.into(),
            }
        }
        other => other.into(),
    }
}

/// Whether the caller may do this, too; for handlers whose answer shows more than they were
/// asked for.
pub(crate) async fn is_also_permitted(
    state: &GatewayState,
    token: &BearerToken,
    verb: Verb,
    namespace: &str,
) -> Result<bool, ApiError> {
    let permission = Permission::jobs(verb);
    match state.gateway.access.check(Some(token.as_str()), permission, namespace).await {
        Ok(()) => Ok(true),
        Err(Denied::Forbidden(_)) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// Returns when the caller may not do this any more. While that cannot be checked, they may.
pub(crate) fn permission_revoked(
    state: &GatewayState,
    token: &BearerToken,
    permission: Permission,
    namespace: &str,
) -> impl Future<Output = Denied> + Send + 'static {
    let Gateway { access, limits, .. } = &state.gateway;
    let (access, pause) = (Arc::clone(access), limits.recheck);
    let (token, namespace) = (token.clone(), namespace.to_owned());
    async move {
        loop {
            tokio::time::sleep(pause).await;
            if let Some(denied) = denial(&*access, &token, permission, &namespace).await {
                return denied;
            }
        }
    }
}

/// Why the caller may not do this any more. While that cannot be checked, they may.
pub(crate) async fn denial(
    access: &dyn Access,
    token: &BearerToken,
    permission: Permission,
    namespace: &str,
) -> Option<Denied> {
    match access.check(Some(token.as_str()), permission, namespace).await {
        Ok(()) | Err(Denied::Unavailable { .. }) => None,
        Err(denied) => Some(denied),
    }
}

/// Lets a caller through who has a known token, whatever it is good for.
pub(crate) async fn require_known_caller(
    state: &GatewayState,
    token: &BearerToken,
) -> Result<(), ApiError> {
    Ok(state.gateway.access.caller(Some(token.as_str())).await.map(|_| ())?)
}

fn hidden(namespace: &str) -> ApiError {
    ApiError::new(
        ProblemKind::NotFound,
        format!("nothing was found in namespace {namespace:?}, or you may not use it"),
    )
}
