//! The one table of routes. The router, the guard, the API document and the answer 405 are made from
//! it, and so are the tests of who may do what.

use std::sync::{Arc, LazyLock};

use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use http::Method;
use windlass_core::jobs::Verb;

use crate::handlers::{
    api_document, assignment, blobs, call, capacity, dashboard, drain, estimates, functions,
    health, history, jobs, login, metrics, peers, queues, reports,
};
use crate::middleware::{guard, origin, response};
use crate::openapi;
use crate::protocol::error::ApiError;
use crate::protocol::login_codes::LoginCodes;
use crate::protocol::rate_limit::RateLimits;
use crate::protocol::route::RouteTable;
use crate::server::shutdown::Shutdown;
use crate::state::{ApiDocument, Gateway, GatewayState};

pub use crate::protocol::route::{Deadline, Guard, Route};

/// Makes the table as data, and the binding of its handlers, from the same rows: method, path, who is
/// let through, who bounds the time, and the handler.
macro_rules! routes {
    ($($method:ident $path:literal, $guard:ident $(($verb:path))?, $deadline:ident => $handler:path;)*) => {
        /// All the routes.
        pub const ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            guard: Guard::$guard $(($verb))?,
            deadline: Deadline::$deadline,
        }),*];

        fn with_handlers(router: axum::Router<Arc<GatewayState>>) -> axum::Router<Arc<GatewayState>> {
            router$(.route($path, on(MethodFilter::$method, $handler)))*
        }
    };
}

routes! {
    GET "/healthz", Open, Request => health::is_alive;
    GET "/readyz", Open, Request => health::is_ready;
    GET "/openapi.json", Open, Request => api_document::describe_api;
    GET "/docs", Open, Request => api_document::read_docs;
    GET "/dashboard", Open, Request => dashboard::read_dashboard;
    GET "/dashboard/", Open, Request => dashboard::read_dashboard;
    GET "/dashboard/app.js", Open, Request => dashboard::read_script;
    GET "/dashboard/app.css", Open, Request => dashboard::read_style;
    GET "/dashboard/parquet.js", Open, Request => dashboard::read_parquet_worker;
    POST "/v1/login-codes", Admin, Request => login::issue_login_code;
    POST "/v1/login", LoginCode, Request => login::redeem_login_code;
    POST "/v1/drain", Admin, Request => drain::drain_server;
    GET "/metrics", Metrics, Request => metrics::read_metrics;
    POST "/v1/reports", Worker, Request => reports::report;
    PUT "/v1/reports/{job_uid}/{attempt}/result", Worker, Handler => reports::store_result;
    PUT "/v1/reports/{job_uid}/{attempt}/log", Worker, Handler => reports::store_log;
    GET "/v1/reports/{job_uid}/{attempt}/blobs/{digest}", Worker, Request => reports::fetch_blob;
    POST "/v1/reports/assignment", Worker, Handler => assignment::assign_attempt;
    POST "/v1/peers/progress", Peer, Request => peers::share_peer_progress;
    GET "/v1/namespaces/{namespace}/functions",
        Functions(Verb::List), Request => functions::list_functions;
    GET "/v1/namespaces/{namespace}/functions/{name}",
        Functions(Verb::Get), Request => functions::get_function;
    POST "/v1/namespaces/{namespace}/functions/{name}/call",
        Jobs(Verb::Create), Handler => call::call_function;
    POST "/v1/namespaces/{namespace}/blobs", Jobs(Verb::Create), Handler => blobs::store_blob;
    PUT "/v1/namespaces/{namespace}/blobs/{digest}",
        Jobs(Verb::Create), Handler => blobs::store_named_blob;
    GET "/v1/namespaces/{namespace}/blobs/{digest}",
        Jobs(Verb::Get), Request => blobs::read_blob;
    GET "/v1/namespaces/{namespace}/queues", Queues(Verb::List), Request => queues::list_queues;
    GET "/v1/namespaces/{namespace}/queues/{name}",
        Queues(Verb::Get), Request => queues::get_queue;
    POST "/v1/namespaces/{namespace}/queues/{name}/hold",
        Queues(Verb::Patch), Request => queues::hold_queue;
    POST "/v1/namespaces/{namespace}/queues/{name}/resume",
        Queues(Verb::Patch), Request => queues::resume_queue;
    GET "/v1/namespaces/{namespace}/capacity", Jobs(Verb::List), Request => capacity::read_capacity;
    GET "/v1/namespaces/{namespace}/history", Jobs(Verb::List), Request => history::read_history;
    GET "/v1/namespaces/{namespace}/estimates",
        Jobs(Verb::List), Request => estimates::read_estimates;
    POST "/v1/namespaces/{namespace}/jobs", Jobs(Verb::Create), Handler => jobs::submit::submit_job;
    GET "/v1/namespaces/{namespace}/jobs", Jobs(Verb::List), Request => jobs::list::list_jobs;
    GET "/v1/namespaces/{namespace}/events",
        Jobs(Verb::Watch), Handler => jobs::changes::follow_jobs;
    GET "/v1/namespaces/{namespace}/jobs/{name}", Jobs(Verb::Get), Request => jobs::get::get_job;
    DELETE "/v1/namespaces/{namespace}/jobs/{name}",
        Jobs(Verb::Delete), Request => jobs::delete::delete_job;
    POST "/v1/namespaces/{namespace}/jobs/{name}/cancel",
        Jobs(Verb::Patch), Handler => jobs::cancel::cancel_job;
    POST "/v1/namespaces/{namespace}/jobs/{name}/retry",
        Jobs(Verb::Create), Handler => jobs::retry::retry_job;
    GET "/v1/namespaces/{namespace}/jobs/{name}/result",
        Jobs(Verb::Get), Request => jobs::result::get_result;
    GET "/v1/namespaces/{namespace}/jobs/{name}/explain",
        Jobs(Verb::Get), Request => jobs::explain::explain_job;
    GET "/v1/namespaces/{namespace}/jobs/{name}/usage",
        Jobs(Verb::Get), Request => jobs::usage::read_usage;
    GET "/v1/namespaces/{namespace}/jobs/{name}/logs",
        Jobs(Verb::Get), Handler => jobs::logs::read_logs;
    GET "/v1/namespaces/{namespace}/jobs/{name}/events",
        Jobs(Verb::Watch), Handler => jobs::events::follow_job;
}

/// The document of the API. It is made at its first use.
pub(crate) static API_DOCUMENT: LazyLock<ApiDocument> =
    LazyLock::new(|| openapi::document::api_document(ROUTES));

/// The router of a gateway that ends when `shutdown` says so.
pub(crate) fn router(gateway: Gateway, shutdown: Shutdown) -> axum::Router {
    let state = Arc::new(GatewayState {
        rate_limits: RateLimits::new(&gateway.limits.rates),
        login_codes: LoginCodes::default(),
        gateway,
        shutdown,
        routes: RouteTable(ROUTES),
        api_document: &API_DOCUMENT,
    });
    // The guard answers unknown paths and methods itself. The fallback never runs; it is there
    // so that the guard runs for unknown paths, too.
    with_handlers(axum::Router::new())
        .fallback(|| async { ApiError::no_such_path() })
        // From the inside out.
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .layer(from_fn_with_state(state.clone(), origin::check_origin))
        .layer(from_fn_with_state(state.clone(), response::finish_response))
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_health_checks_and_pages_that_are_the_same_for_everybody_are_open() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.guard == Guard::Open)
            .map(|route| route.path)
            .collect();
        let checks_and_documentation = ["/healthz", "/readyz", "/openapi.json", "/docs"];
        let dashboard = ["", "/", "/app.js", "/app.css", "/parquet.js"];
        let dashboard = dashboard.map(|file| format!("/dashboard{file}"));
        let expected: Vec<_> =
            checks_and_documentation.iter().map(ToString::to_string).chain(dashboard).collect();
        assert_eq!(open, expected);
    }

    #[test]
    fn a_route_about_jobs_names_their_namespace() {
        for route in ROUTES {
            let names_it = route.path.starts_with("/v1/namespaces/{namespace}/");
            assert_eq!(names_it, route.guard.permission().is_some(), "{}", route.path);
        }
    }

    #[test]
    fn what_changes_something_is_no_get() {
        for route in ROUTES {
            let changes = matches!(
                route.guard,
                Guard::Peer
                    | Guard::Admin
                    | Guard::LoginCode
                    | Guard::Jobs(Verb::Create | Verb::Patch | Verb::Delete)
                    | Guard::Queues(Verb::Patch)
            );
            // What a worker does is read from its path.
            let changes =
                changes || route.guard == Guard::Worker && !route.path.contains("/blobs/");
            assert_eq!(changes, route.method != Method::GET, "{}", route.path);
        }
    }
}
