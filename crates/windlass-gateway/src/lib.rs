//! REST over [`Jobs`], and the reports of workers.
//!
//! In: a listener, a world behind [`Jobs`], who may do what behind [`Access`], and on a cluster
//! the place where workers report, [`Reports`]. Out: HTTP/1.1 with JSON resources, server-sent
//! events, and problem documents (RFC 9457) for everything that is refused.
//!
//! A request goes through [`server`](serve) (sockets and their bounds), the envelope (headers of
//! every answer, panics, the log line), the origin rule, the guard (who may do what, from the one
//! table in [`routes`]) and then one handler. A handler reads, asks core, asks the world and
//! answers; it decides nothing that core can decide.
//!
//! Architecture Invariants: a route that is not in [`routes::ROUTES`] does not exist, and one in
//! the table cannot be reached past its guard. Nothing is read before its size and time are
//! bounded. No token is logged, stored or shown.
//!
//! Deliberately absent: HTTP/2 (an ingress has it), cookies and sessions, CORS,
//! decompression of requests, any word about Kubernetes.

mod body;
mod call;
mod ending;
mod envelope;
mod functions;
mod guard;
mod health;
mod jobs;
mod limits;
mod live;
pub mod metrics;
pub mod openapi;
pub mod operations;
mod origin;
mod prefer;
pub mod problem;
mod query;
mod queues;
mod range;
mod rates;
mod refusal;
mod reports;
pub mod routes;
mod server;
mod wait;

use std::sync::Arc;

use windlass_core::jobs::{Access, Denied, Jobs, Reports, Verb};

pub use limits::ServerLimits;
pub use live::LiveProgress;
pub use live::peers::{Peers, Trusted, tell_peers};
pub use server::{Tls, TlsError, serve};

use ending::Ending;
use guard::Token;

/// What the gateway stands in front of.
#[derive(Clone)]
pub struct Gateway {
    /// The world that runs the jobs.
    pub jobs: Arc<dyn Jobs>,
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// Where workers report; `None` on one machine, and then there is no such route.
    pub reports: Option<Arc<dyn Reports>>,
    /// The `Host` values that are answered, port included, such as `127.0.0.1:8080`. With a list,
    /// every other host is refused, and so is a request with an `Origin` that is not the host
    /// itself: a web page cannot reach the gateway by a name of its own (DNS rebinding). `None`
    /// asks neither.
    pub allowed_hosts: Option<Vec<String>>,
    /// Bounds of time and size.
    pub limits: ServerLimits,
    /// What is measured.
    pub meters: Arc<metrics::Meters>,
    /// With it only TLS is spoken.
    pub tls: Option<Tls>,
    /// Progress between two writes of a status.
    pub live: Arc<LiveProgress>,
}

/// What every handler has at hand.
pub(crate) struct Shared {
    pub(crate) gateway: Gateway,
    pub(crate) ending: Ending,
    pub(crate) rates: rates::Rates,
}

impl Shared {
    /// Returns when a long answer that begins now is to end: after its time, as the server ends, or
    /// when the caller may not have it any more.
    fn stream_over(
        &self,
        token: &Token,
        verb: Verb,
        namespace: &str,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (ending, limit) = (self.ending.clone(), self.gateway.limits.stream);
        let denied = self.denied(token, verb, namespace);
        async move {
            tokio::select! {
                () = ending.begun() => {}
                () = tokio::time::sleep(limit) => {}
                _ = denied => {}
            }
        }
    }

    /// Returns when the caller may not do this any more. As long as nobody can say, they may.
    fn denied(
        &self,
        token: &Token,
        verb: Verb,
        namespace: &str,
    ) -> impl Future<Output = Denied> + Send + 'static {
        let Gateway { access, limits, .. } = &self.gateway;
        let (access, pause) = (Arc::clone(access), limits.recheck);
        let (token, namespace) = (token.clone(), namespace.to_owned());
        async move {
            loop {
                tokio::time::sleep(pause).await;
                match access.check(Some(token.as_str()), verb, &namespace).await {
                    Ok(()) | Err(Denied::Unavailable { .. }) => {}
                    Err(denied) => return denied,
                }
            }
        }
    }
}

/// The routes without a server, for tests that need no socket.
pub fn router(gateway: Gateway) -> axum::Router {
    router_until(gateway, Ending::never())
}

fn router_until(gateway: Gateway, ending: Ending) -> axum::Router {
    let rates = rates::Rates::new(&gateway.limits);
    routes::router(Arc::new(Shared { gateway, ending, rates }))
}
