//! The one table of routes. The router, the guard and the answer 405 are made from it, and so are
//! the tests of who may do what.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use windlass_core::jobs::Verb;

use crate::{
    Shared, call, envelope, functions, guard, health, jobs, live, metrics, openapi, origin, queues,
    reports,
};

/// Who is let through to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Everybody: the two health checks, which say one word, and what the API is, which is the same for every
    /// server of a version. A browser cannot send a token with a link to its documentation. A bad token is refused here as
    /// everywhere.
    Open,
    /// Who may do this with the jobs of the namespace in the path.
    Jobs(Verb),
    /// A worker: its token is judged together with its report.
    Worker,
    /// Who may read the metrics.
    Metrics,
    /// Another replica of this gateway.
    Peer,
}

/// Who keeps the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The guard, with [`ServerLimits::request`](crate::ServerLimits::request).
    Prompt,
    /// The handler: a part of its answer may take long.
    Own,
}

/// One route.
pub struct Route {
    /// Its method. GET includes HEAD.
    pub method: Method,
    /// Its path, with `{namespace}` and `{name}`.
    pub path: &'static str,
    /// Who is let through.
    pub guard: Guard,
    /// Who keeps the time.
    pub pace: Pace,
    /// Binds the handler to a method.
    handler: fn(MethodFilter) -> MethodRouter<Arc<Shared>>,
}

macro_rules! route {
    ($method:ident $path:literal, $guard:expr, $pace:ident, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            guard: $guard,
            pace: Pace::$pace,
            handler: |method| on(method, $handler),
        }
    };
}

/// All the routes.
pub const ROUTES: &[Route] = &[
    route!(GET "/healthz", Guard::Open, Prompt, health::alive),
    route!(GET "/readyz", Guard::Open, Prompt, health::ready),
    route!(GET "/openapi.json", Guard::Open, Prompt, openapi::json),
    route!(GET "/docs", Guard::Open, Prompt, openapi::docs),
    route!(GET "/metrics", Guard::Metrics, Prompt, metrics::metrics),
    route!(POST "/v1/reports", Guard::Worker, Prompt, reports::report),
    route!(PUT "/v1/reports/{job_uid}/{attempt}/result", Guard::Worker, Own, reports::store),
    route!(POST "/v1/peers/progress", Guard::Peer, Prompt, live::peers::take),
    route!(
        GET "/v1/namespaces/{namespace}/functions",
        Guard::Jobs(Verb::List), Prompt, functions::list
    ),
    route!(
        GET "/v1/namespaces/{namespace}/functions/{name}",
        Guard::Jobs(Verb::Get), Prompt, functions::get
    ),
    route!(
        POST "/v1/namespaces/{namespace}/functions/{name}/call",
        Guard::Jobs(Verb::Create), Own, call::call
    ),
    route!(
        GET "/v1/namespaces/{namespace}/queues",
        Guard::Jobs(Verb::List), Prompt, queues::list
    ),
    route!(
        GET "/v1/namespaces/{namespace}/queues/{name}",
        Guard::Jobs(Verb::Get), Prompt, queues::get
    ),
    route!(
        POST "/v1/namespaces/{namespace}/jobs",
        Guard::Jobs(Verb::Create), Own, jobs::submit::submit
    ),
    route!(
        GET "/v1/namespaces/{namespace}/jobs",
        Guard::Jobs(Verb::List), Prompt, jobs::list::list
    ),
    route!(
        GET "/v1/namespaces/{namespace}/jobs/{name}",
        Guard::Jobs(Verb::Get), Prompt, jobs::get::get
    ),
    route!(
        DELETE "/v1/namespaces/{namespace}/jobs/{name}",
        Guard::Jobs(Verb::Delete), Prompt, jobs::delete::delete
    ),
    route!(
        POST "/v1/namespaces/{namespace}/jobs/{name}/cancel",
        Guard::Jobs(Verb::Patch), Own, jobs::cancel::cancel
    ),
    route!(
        GET "/v1/namespaces/{namespace}/jobs/{name}/result",
        Guard::Jobs(Verb::Get), Prompt, jobs::result::result
    ),
    route!(
        GET "/v1/namespaces/{namespace}/jobs/{name}/explain",
        Guard::Jobs(Verb::Get), Prompt, jobs::explain::explained
    ),
    route!(
        GET "/v1/namespaces/{namespace}/jobs/{name}/logs",
        Guard::Jobs(Verb::Get), Own, jobs::logs::logs
    ),
    route!(
        GET "/v1/namespaces/{namespace}/jobs/{name}/events",
        Guard::Jobs(Verb::Watch), Own, jobs::events::events
    ),
];

/// The route of a method at a path of the table.
pub(crate) fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.path == path && route.method == *method)
}

/// The methods of a path of the table, for `Allow`.
pub(crate) fn methods_of(path: &str) -> String {
    ROUTES
        .iter()
        .filter(|route| route.path == path)
        .map(|route| route.method.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) fn router(shared: Arc<Shared>) -> axum::Router {
    let mut router = axum::Router::new();
    for route in ROUTES {
        let method = MethodFilter::try_from(route.method.clone())
            .expect("the table has only methods of RFC 9110");
        router = router.route(route.path, (route.handler)(method));
    }
    // The guard answers unknown paths and methods itself. The fallback is never run; it is there
    // so that the guard is asked for unknown paths, too.
    router
        .fallback(|| async { crate::refusal::Refusal::no_such_path() })
        // From the inside out.
        .layer(from_fn_with_state(shared.clone(), guard::guard))
        .layer(from_fn_with_state(shared.clone(), origin::check))
        .layer(from_fn_with_state(shared.clone(), envelope::wrap))
        .with_state(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_health_checks_and_the_documentation_are_open() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.guard == Guard::Open)
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/healthz", "/readyz", "/openapi.json", "/docs"]);
    }

    #[test]
    fn a_route_about_jobs_names_their_namespace() {
        for route in ROUTES {
            let names_it = route.path.starts_with("/v1/namespaces/{namespace}/");
            assert_eq!(names_it, matches!(route.guard, Guard::Jobs(_)), "{}", route.path);
        }
    }

    #[test]
    fn what_changes_something_is_no_get() {
        for route in ROUTES {
            let changes = matches!(
                route.guard,
                Guard::Worker
                    | Guard::Peer
                    | Guard::Jobs(Verb::Create | Verb::Patch | Verb::Delete)
            );
            assert_eq!(changes, route.method != Method::GET, "{}", route.path);
        }
    }
}
