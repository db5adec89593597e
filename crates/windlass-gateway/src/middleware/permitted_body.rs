//! A request's body, which breaks off once its sender may not send it any more: what a key has begun before it was
//! revoked is not finished.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::request::Parts;
use windlass_core::jobs::{Access, Denied, Permission};

use super::path_target::Namespace;
use super::permissions::{denial, permission_revoked, refusal};
use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// Why a body was not read to its end, if its sender may not send it any more.
#[derive(Clone, Default)]
pub(super) struct BrokenOff(Arc<Mutex<Option<(Denied, Right)>>>);

impl BrokenOff {
    /// How its sender is answered.
    pub(super) async fn answer(&self, state: &GatewayState) -> Option<ApiError> {
        let (denied, right) = self.lock().take()?;
        Some(refusal(state, &right.token, denied, &right.namespace).await)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Denied, Right)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a request for which its sender needs this permission. It is asked for again while the body comes, and
/// when all has come.
pub(super) fn permitted_body(
    state: &GatewayState,
    parts: &Parts,
    permission: Option<Permission>,
    body: Body,
) -> (Body, BrokenOff) {
    let broken_off = BrokenOff::default();
    let (token, namespace) = (parts.extensions.get(), parts.extensions.get());
    let (Some(permission), Some(token), Some(Namespace(namespace)), false) =
        (permission, token, namespace, body.is_end_stream())
    else {
        return (body, broken_off);
    };
    let coming = Coming {
        pieces: body.into_data_stream(),
        revoked: permission_revoked(state, token, permission, namespace).boxed(),
        right: Right {
            access: Arc::clone(&state.gateway.access),
            token: token.clone(),
            permission,
            namespace: namespace.clone(),
        },
        broken_off: broken_off.clone(),
    };
    (Body::from_stream(stream::unfold(Some(coming), Coming::next)), broken_off)
}

/// What is yet to come of a body.
struct Coming {
    pieces: BodyDataStream,
    revoked: BoxFuture<'static, Denied>,
    right: Right,
    broken_off: BrokenOff,
}

/// What the sender needs.
#[derive(Clone)]
struct Right {
    access: Arc<dyn Access>,
    token: BearerToken,
    permission: Permission,
    namespace: String,
}

impl Coming {
    async fn next(coming: Option<Self>) -> Option<(io::Result<Bytes>, Option<Self>)> {
        let mut coming = coming?;
        let denied = tokio::select! {
            biased;
            denied = &mut coming.revoked => denied,
            piece = coming.pieces.next() => match piece {
                Some(Ok(piece)) => return Some((Ok(piece), Some(coming))),
                Some(Err(error)) => return Some((Err(io::Error::other(error)), None)),
                None => {
                    let Right { access, token, permission, namespace } = &coming.right;
                    denial(&**access, token, *permission, namespace).await?
                }
            },
        };
        *coming.broken_off.lock() = Some((denied, coming.right.clone()));
        Some((Err(io::ErrorKind::PermissionDenied.into()), None))
    }
}
