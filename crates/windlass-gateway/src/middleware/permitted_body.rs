//! A request's body, which breaks off once its sender may not send it any more: what a key has begun before it was
//! revoked is not finished.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::request::Parts;
use windlass_core::jobs::{Access, Denied, Permission};

use super::path_target::Namespace;
use super::permissions::permission_revoked;
use crate::protocol::bearer::BearerToken;
use crate::state::GatewayState;

/// Why a body was not read to its end, if its sender may not send it any more.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<Denied>>>);

impl Refusal {
    pub(super) fn take(&self) -> Option<Denied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn tell(&self, denied: Denied) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(denied);
    }
}

/// The body of a request for which its sender needs this permission. It is asked for again while the body comes, and
/// when all has come.
pub(super) fn permitted_body(
    state: &GatewayState,
    parts: &Parts,
    permission: Option<Permission>,
    body: Body,
) -> (Body, Refusal) {
    let refusal = Refusal::default();
    let (token, namespace) = (parts.extensions.get(), parts.extensions.get());
    let (Some(permission), Some(token), Some(Namespace(namespace)), false) =
        (permission, token, namespace, body.is_end_stream())
    else {
        return (body, refusal);
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
        refusal: refusal.clone(),
    };
    (Body::from_stream(stream::unfold(Some(coming), Coming::next)), refusal)
}

/// What is yet to come of a body.
struct Coming {
    pieces: BodyDataStream,
    revoked: BoxFuture<'static, Denied>,
    right: Right,
    refusal: Refusal,
}

/// What the sender needs.
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
                None => coming.right.denied().await?,
            },
        };
        coming.refusal.tell(denied);
        Some((Err(io::ErrorKind::PermissionDenied.into()), None))
    }
}

impl Right {
    /// Why the sender may not send it any more. While that cannot be checked, they may.
    async fn denied(&self) -> Option<Denied> {
        let token = Some(self.token.as_str());
        match self.access.check(token, self.permission, &self.namespace).await {
            Ok(()) | Err(Denied::Unavailable { .. }) => None,
            Err(denied) => Some(denied),
        }
    }
}
