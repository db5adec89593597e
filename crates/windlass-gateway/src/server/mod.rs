//! The server: sockets, their bounds and their end. It serves any router.
//!
//! Not `axum::serve`, which installs no timer (hyper's header timeout is inert without one), has
//! no bound on connections and waits for ever for a stream of events.

pub(crate) mod bind;
pub(crate) mod busy_connections;
mod connection;
pub(crate) mod connection_limit;
pub(crate) mod listener;
pub(crate) mod shutdown;
mod slow_client;
pub(crate) mod tls;
