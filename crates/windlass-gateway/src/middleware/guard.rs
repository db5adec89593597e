//! The one layer before every handler: who is calling, how often, may they, and what the path is about.
//!
//! It finds the route in the table of routes, and asks the [`permissions`] of its caller.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use windlass_core::{JobKey, name};

use super::permissions;
use super::target::Namespace;
use crate::protocol::bearer::BearerToken;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::problem::ProblemKind;
use crate::protocol::rate_limit::{CountedRequest, PeerAddress};
use crate::protocol::route::{Deadline, Guard, Route, RouteTable};
use crate::state::GatewayState;

pub(crate) async fn guard(
    State(state): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Response {
    let limit = state.gateway.limits.request;
    let (mut parts, body) = request.into_parts();
    let address = parts.extensions.get::<PeerAddress>().copied();
    let mut caller = Caller { address, ..Caller::default() };
    let authorized = within(limit, authorize(&state, &mut parts, &mut caller)).await;
    let mut response = match authorized.flatten() {
        Ok(route) => {
            let run = next.run(Request::from_parts(parts, body));
            match route.deadline {
                Deadline::Request => {
                    within(limit, run).await.unwrap_or_else(ApiError::into_response)
                }
                Deadline::Handler => run.await,
            }
        }
        Err(error) => error.into_response(),
    };
    caller.finish(&state, &mut response);
    response
}

/// What is known of the caller.
#[derive(Default)]
struct Caller {
    address: Option<PeerAddress>,
    /// The token that was checked.
    token: Option<BearerToken>,
    counted: Option<CountedRequest>,
}

impl Caller {
    /// The token of the request, unless this address has sent too many bad ones or this caller too many
    /// requests.
    async fn counted_token(
        &mut self,
        state: &GatewayState,
        headers: &HeaderMap,
    ) -> Result<BearerToken, ApiError> {
        let token = self.uncounted_token(state, headers)?;
        if state.rate_limits.counts_callers() {
            let caller = state.gateway.access.caller(Some(token.as_str())).await?;
            self.counted = state.rate_limits.count_request(&caller, Instant::now());
            self.counted.map_or(Ok(()), |counted| counted.check())?;
        }
        Ok(token)
    }

    /// Lets through whose counted token is the admin's.
    async fn require_admin(
        &mut self,
        state: &GatewayState,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let token = self.counted_token(state, headers).await?;
        Ok(state.gateway.access.check_admin(Some(token.as_str())).await?)
    }

    /// The token of a worker, which is checked with its report, or of another replica. Both limit
    /// their requests themselves.
    fn uncounted_token(
        &mut self,
        state: &GatewayState,
        headers: &HeaderMap,
    ) -> Result<BearerToken, ApiError> {
        let token = BearerToken::from_headers(headers)?;
        state.rate_limits.check_address(self.address, token.as_str(), Instant::now())?;
        self.token = Some(token.clone());
        Ok(token)
    }

    /// Writes what is left of the rate limit, and remembers whether the token was good.
    fn finish(&self, state: &GatewayState, response: &mut Response) {
        if let Some(counted) = &self.counted {
            counted.write_headers(response.headers_mut());
        }
        let was_good = match response.status() {
            StatusCode::UNAUTHORIZED => Some(false),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => None,
            _ => Some(true),
        };
        if let (Some(token), Some(was_good)) = (&self.token, was_good) {
            state.rate_limits.record_token(self.address, token.as_str(), was_good, Instant::now());
        }
    }
}

/// The route that the caller may use; what its handler needs is put into the extensions.
async fn authorize(
    state: &GatewayState,
    parts: &mut Parts,
    caller: &mut Caller,
) -> Result<&'static Route, ApiError> {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let path = path.as_ref().map(MatchedPath::as_str);
    let route = path.and_then(|path| state.routes.find(&parts.method, path));
    match route.map(|route| route.guard) {
        // No token is needed, but a token that is sent must be good, so that its owner learns here that it
        // is not.
        Some(Guard::Open) if !parts.headers.contains_key(header::AUTHORIZATION) => {}
        Some(Guard::Open) => {
            let token = caller.counted_token(state, &parts.headers).await?;
            permissions::require_known_caller(state, &token).await?;
        }
        Some(Guard::Worker) if state.gateway.reports.is_some() => {
            let token = caller.uncounted_token(state, &parts.headers)?;
            parts.extensions.insert(token);
        }
        Some(Guard::Peer) if state.gateway.reports.is_some() => {
            let token = caller.uncounted_token(state, &parts.headers)?;
            state.gateway.access.check_peer(Some(token.as_str())).await?;
        }
        Some(Guard::Admin) if state.gateway.drain.is_some() => {
            caller.require_admin(state, &parts.headers).await?;
        }
        Some(Guard::Metrics) => {
            caller.counted_token(state, &parts.headers).await?;
            permissions::require_metrics_reader(state.gateway.access.as_ref(), &parts.headers)
                .await?;
        }
        Some(Guard::Jobs(verb)) => {
            let token = caller.counted_token(state, &parts.headers).await?;
            let Some((namespace, name)) = names_in_path(parts).await else {
                permissions::require_known_caller(state, &token).await?;
                return Err(ApiError::new(
                    ProblemKind::NotFound,
                    "the path has a name that nothing can have",
                ));
            };
            permissions::require_permission(state, &token, verb, &namespace).await?;
            if let Some(name) = name {
                parts.extensions.insert(JobKey::new(&namespace, name));
            }
            parts.extensions.insert(Namespace(namespace));
            parts.extensions.insert(token);
        }
        Some(Guard::Worker | Guard::Peer | Guard::Admin) | None => {
            let token = caller.counted_token(state, &parts.headers).await?;
            permissions::require_known_caller(state, &token).await?;
            return Err(match (route, path) {
                (None, Some(path)) => method_not_allowed(state.routes, path),
                // The routes for workers do not exist where no worker reports over HTTP, nor a drain of a cluster.
                _ => ApiError::no_such_path(),
            });
        }
    }
    route.ok_or_else(ApiError::no_such_path)
}

/// Namespace and name of the path, unless one of them is no name at all.
async fn names_in_path(parts: &mut Parts) -> Option<(String, Option<String>)> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let mut namespace = None;
    let mut named = None;
    for (key, value) in &params {
        if name::problem(value).is_some() {
            return None;
        }
        match key {
            "namespace" => namespace = Some(value.to_owned()),
            _ => named = Some(value.to_owned()),
        }
    }
    Some((namespace?, named))
}

fn method_not_allowed(routes: RouteTable, path: &str) -> ApiError {
    let allowed = routes.methods_of(path);
    let error = ApiError::new(ProblemKind::Method, format!("this path has {allowed}"));
    match HeaderValue::from_str(&allowed) {
        Ok(allowed) => error.with_header(header::ALLOW, allowed),
        Err(_) => error,
    }
}
