//! What the gateway is made of, and what every handler has at hand.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tokio::sync::Notify;
use windlass_core::blobs::Blobs;
use windlass_core::changes::Changes;
use windlass_core::jobs::{Access, Drain, Jobs, Reports};

use crate::live::live_progress::LiveProgress;
use crate::metrics::Meters;
use crate::protocol::limits::ServerLimits;
use crate::protocol::login_codes::LoginCodes;
use crate::protocol::rate_limit::RateLimits;
use crate::protocol::route::RouteTable;
use crate::server::shutdown::Shutdown;
use crate::server::tls::Tls;

/// What the gateway stands in front of.
#[derive(Clone)]
pub struct Gateway {
    /// The back end that runs the jobs.
    pub jobs: Arc<dyn Jobs>,
    /// The same, where it tells what happens to any of them.
    pub changes: Arc<dyn Changes>,
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// Where workers report; `None` on one machine, and then there is no such route.
    pub reports: Option<Arc<dyn Reports>>,
    /// Where inputs go that are no small JSON; `None` on a cluster without an object store, and then there is no such
    /// route.
    pub blobs: Option<Arc<dyn Blobs>>,
    /// What a drain is asked of; `None` on a cluster, and then there is no such route.
    pub drain: Option<Arc<dyn Drain>>,
    /// The `Host` values that are answered, port included, such as `127.0.0.1:8080`. With a list,
    /// every other host is refused, and so is a request with an `Origin` that is not the host
    /// itself: a web page cannot reach the gateway by a name of its own (DNS rebinding). `None`
    /// asks neither.
    pub allowed_hosts: Option<Vec<String>>,
    /// Whether an ingress in front of the gateway signs the users of a browser in: it adds their `Authorization: Bearer`. The
    /// dashboard then asks for no token, and what a page of another site has a browser send changes nothing.
    pub ingress_signs_in: bool,
    /// Bounds of time and size.
    pub limits: ServerLimits,
    /// What is measured.
    pub meters: Arc<Meters>,
    /// With it only TLS is spoken.
    pub tls: Option<Tls>,
    /// Progress between two writes of a status.
    pub live: Arc<LiveProgress>,
    /// Told of each answer that was handed over, and of each connection that was closed.
    pub activity: Arc<Notify>,
}

/// What every handler has at hand.
pub(crate) struct GatewayState {
    pub(crate) gateway: Gateway,
    pub(crate) shutdown: Shutdown,
    pub(crate) rate_limits: RateLimits,
    pub(crate) login_codes: LoginCodes,
    pub(crate) routes: RouteTable,
    pub(crate) api_document: &'static LazyLock<ApiDocument>,
}

/// What the API is, for programs and for people. It is made once from the table of routes.
pub(crate) struct ApiDocument {
    /// The OpenAPI document.
    pub(crate) document: Value,
    /// The same, written.
    pub(crate) json: String,
    /// The same as an HTML page.
    pub(crate) page: String,
    /// The `Content-Security-Policy` of the page.
    pub(crate) page_policy: String,
}
