//! When a long answer has to end before its job does.

use std::future::{Future, ready};
use std::io;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use windlass_core::jobs::{Permission, Verb};
use windlass_core::result::ByteStream;

use crate::middleware::permissions::permission_revoked;
use crate::protocol::bearer::BearerToken;
use crate::state::GatewayState;

/// Returns when a long answer that begins now is to end: after its time, as the server ends, or
/// when the caller may not have it any more.
pub(crate) fn stream_over(
    state: &GatewayState,
    token: &BearerToken,
    verb: Verb,
    namespace: &str,
) -> impl Future<Output = ()> + Send + 'static {
    let (shutdown, limit) = (state.shutdown.clone(), state.gateway.limits.stream);
    let revoked = permission_revoked(state, token, Permission::jobs(verb), namespace);
    async move {
        tokio::select! {
            () = shutdown.started() => {}
            () = tokio::time::sleep(limit) => {}
            _ = revoked => {}
        }
    }
}

/// What is said, until `over` returns. The answer breaks off then: one that ends has told all.
pub(crate) fn broken_off_by(
    over: impl Future<Output = ()> + Send + 'static,
    said: ByteStream,
) -> impl Stream<Item = io::Result<Bytes>> {
    let broken = || Some(Err(io::Error::other("the answer breaks off before its end")));
    let said = said.map(Some).chain(stream::iter([None]));
    let over = stream::once(Box::pin(over)).map(move |()| broken());
    stream::select(said, over).scan((), |(), piece| ready(piece))
}
