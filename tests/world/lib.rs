//! A cluster as the tests of scale and of outages see it: what they say to its API server, what they see
//! come of it, and the nodes and controllers that they start.
//!
//! - [`api`]: requests with plain JSON, many at a time;
//! - [`watch`]: the objects of one kind, and when what was first true of each;
//! - [`audit`]: what the API server has written down of every write;
//! - [`cluster`]: a run of `tests/cluster/up`, its components and nodes of kwok;
//! - [`controller`]: `windlass controller` as a process of this machine;
//! - [`proxy`]: an API server as it is in bad times.

pub mod api;
pub mod audit;
pub mod cluster;
pub mod controller;
pub mod proxy;
pub mod watch;

pub use api::Api;
pub use audit::Audit;
pub use cluster::Cluster;
pub use controller::Controller;
pub use proxy::Proxy;
pub use watch::Watch;
