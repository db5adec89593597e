//! One route as data: what the guard and the API document need to know of it.

use http::Method;
use windlass_core::jobs::{Permission, Resource, Verb};

/// Who is let through to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Everybody: the two health checks, which say one word, and what the API is, which is the same for every
    /// server of a version. A browser cannot send a token with a link to its documentation. A bad token is refused here as
    /// everywhere.
    Open,
    /// Who may do this with the jobs of the namespace in the path.
    Jobs(Verb),
    /// The same with its functions.
    Functions(Verb),
    /// The same with its queues.
    Queues(Verb),
    /// A worker: its token is checked together with its report.
    Worker,
    /// Who may read the metrics.
    Metrics,
    /// Another replica of this gateway.
    Peer,
    /// The admin of a server on one machine.
    Admin,
    /// Whoever has a login code of a server on one machine: its handler redeems it.
    LoginCode,
}

impl Guard {
    /// What a caller must be allowed to do in the namespace of the path, if the path has one.
    pub fn permission(self) -> Option<Permission> {
        let (resource, verb) = match self {
            Self::Jobs(verb) => (Resource::Jobs, verb),
            Self::Functions(verb) => (Resource::Functions, verb),
            Self::Queues(verb) => (Resource::Queues, verb),
            Self::Open
            | Self::Worker
            | Self::Metrics
            | Self::Peer
            | Self::Admin
            | Self::LoginCode => return None,
        };
        Some(Permission { resource, verb })
    }
}

/// Who bounds the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The guard, with [`ServerLimits::request`](crate::ServerLimits::request).
    Request,
    /// The handler: a part of its answer may take long.
    Handler,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its method. GET includes HEAD.
    pub method: Method,
    /// Its path, with `{namespace}` and `{name}`.
    pub path: &'static str,
    /// Who is let through.
    pub guard: Guard,
    /// Who bounds the time.
    pub deadline: Deadline,
}

/// The table of all routes.
#[derive(Clone, Copy)]
pub(crate) struct RouteTable(pub(crate) &'static [Route]);

impl RouteTable {
    /// The route of a method at a path of the table.
    pub(crate) fn find(self, method: &Method, path: &str) -> Option<&'static Route> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|route| route.path == path && route.method == *method)
    }

    /// The methods of a path of the table, for `Allow`.
    pub(crate) fn methods_of(self, path: &str) -> String {
        self.0
            .iter()
            .filter(|route| route.path == path)
            .map(|route| route.method.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}
