//! What a path is about, as the guard hands it to a handler.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::server::connection_limit::ConnectionSlot;
use crate::state::GatewayState;

/// What the caller may do something with: a [`Namespace`], or by its
/// [`JobKey`](windlass_core::JobKey) a job, function or queue.
pub(crate) struct Target<Of> {
    pub(crate) state: Arc<GatewayState>,
    /// From the path.
    pub(crate) of: Of,
    /// The caller's.
    pub(crate) token: BearerToken,
    /// What the request came by.
    pub(crate) connection: Option<Arc<ConnectionSlot>>,
}

/// The namespace of the path.
#[derive(Clone)]
pub(crate) struct Namespace(pub(crate) String);

impl<Of: Clone + Send + Sync + 'static> FromRequestParts<Arc<GatewayState>> for Target<Of> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<GatewayState>,
    ) -> Result<Self, ApiError> {
        let token = parts.extensions.get::<BearerToken>().cloned();
        match (parts.extensions.get::<Of>().cloned(), token) {
            (Some(of), Some(token)) => {
                let connection = parts.extensions.get().cloned();
                Ok(Self { state: Arc::clone(state), of, token, connection })
            }
            // The guard puts both there. One is missing only if a handler wants more than its path has.
            _ => Err(ApiError::internal()),
        }
    }
}
