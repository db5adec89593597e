//! What a path is about, as the guard hands it to a handler.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::Extensions;
use http::request::Parts;
use windlass_core::JobKey;

use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// A job, function or queue that the caller may do something with.
pub(crate) struct Target {
    pub(crate) state: Arc<GatewayState>,
    /// Namespace and name of the path.
    pub(crate) key: JobKey,
    /// The caller's.
    pub(crate) token: BearerToken,
}

/// A namespace that the caller may do something in.
pub(crate) struct TargetNamespace {
    pub(crate) state: Arc<GatewayState>,
    pub(crate) namespace: String,
    /// The caller's.
    pub(crate) token: BearerToken,
}

/// The namespace of the path.
#[derive(Clone)]
pub(super) struct Namespace(pub(super) String);

impl FromRequestParts<Arc<GatewayState>> for Target {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<GatewayState>,
    ) -> Result<Self, ApiError> {
        let (key, token) = (put_by_guard(&parts.extensions)?, put_by_guard(&parts.extensions)?);
        Ok(Self { state: Arc::clone(state), key, token })
    }
}

impl FromRequestParts<Arc<GatewayState>> for TargetNamespace {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<GatewayState>,
    ) -> Result<Self, ApiError> {
        let Namespace(namespace) = put_by_guard(&parts.extensions)?;
        let token = put_by_guard(&parts.extensions)?;
        Ok(Self { state: Arc::clone(state), namespace, token })
    }
}

/// What the guard has put there. It is missing only if a handler wants more than its path has.
fn put_by_guard<T: Clone + Send + Sync + 'static>(extensions: &Extensions) -> Result<T, ApiError> {
    extensions.get::<T>().cloned().ok_or_else(ApiError::internal)
}
