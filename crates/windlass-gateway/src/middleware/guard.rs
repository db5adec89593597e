//! The one layer before every handler: who is calling, how often, may they, and what the path is about.
//!
//! It finds the route in the table of routes, and asks the [`permissions`] of its caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use windlass_core::jobs::Caller;
use windlass_core::{JobKey, name};

use super::path_target::Namespace;
use super::permissions;
use super::permitted_body::permitted_body;
use crate::protocol::address::PeerAddress;
use crate::protocol::bearer::BearerToken;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::problem::ProblemKind;
use crate::protocol::rate_table::CountedRequest;
use crate::protocol::route::{Deadline, Guard, Route, RouteTable};
use crate::server::busy_connections::TooManyBusy;
use crate::server::connection_limit::ConnectionSlot;
use crate::state::GatewayState;

/// When to try again after a caller has been refused another busy connection. There is no better estimate.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// What the other replicas are called as one caller. No user has a name with a space.
const REPLICAS: &str = "other replicas";

pub(crate) async fn guard(
    State(state): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Response {
    let limit = state.gateway.limits.request;
    let (mut parts, body) = request.into_parts();
    let mut caller = CallerState {
        address: parts.extensions.get().copied(),
        slot: parts.extensions.get().cloned(),
        ..CallerState::default()
    };
    let authorized = within(limit, authorize(&state, &mut parts, &mut caller)).await;
    let mut response = match authorized.flatten() {
        Ok(route) => {
            let permission = route.guard.permission();
            let (body, broken_off) = permitted_body(&state, &parts, permission, body);
            let run = next.run(Request::from_parts(parts, body));
            let response = match route.deadline {
                Deadline::Request => {
                    within(limit, run).await.unwrap_or_else(ApiError::into_response)
                }
                Deadline::Handler => run.await,
            };
            let refused = broken_off.answer(&state).await;
            refused.map_or(response, ApiError::into_response)
        }
        Err(error) => error.into_response(),
    };
    caller.finish(&state, &mut response);
    response
}

/// What is known of the caller.
#[derive(Default)]
struct CallerState {
    address: Option<PeerAddress>,
    slot: Option<Arc<ConnectionSlot>>,
    /// The token that was checked.
    token: Option<BearerToken>,
    counted: Option<CountedRequest>,
    is_worker: bool,
}

impl CallerState {
    /// The token of the request, unless this address has sent too many bad ones, or this caller too many
    /// requests or too many that are still being answered.
    async fn counted_token(
        &mut self,
        state: &GatewayState,
        headers: &HeaderMap,
    ) -> Result<BearerToken, ApiError> {
        let token = self.uncounted_token(state, headers)?;
        let caller = state.gateway.access.caller(Some(token.as_str())).await?;
        self.counted = state.rate_limits.count_request(&caller.name, Instant::now());
        self.counted.map_or(Ok(()), |counted| counted.check())?;
        self.count_as_busy(caller)?;
        Ok(token)
    }

    /// The counted token, if it is the admin's.
    async fn require_admin(
        &mut self,
        state: &GatewayState,
        headers: &HeaderMap,
    ) -> Result<BearerToken, ApiError> {
        let token = self.counted_token(state, headers).await?;
        state.gateway.access.check_admin(Some(token.as_str())).await?;
        Ok(token)
    }

    /// Keeps the connection for the caller until the answer has arrived.
    fn count_as_busy(&self, caller: Caller) -> Result<(), ApiError> {
        let Some(slot) = &self.slot else { return Ok(()) };
        let detail = match slot.count_as_busy(caller) {
            Ok(()) => return Ok(()),
            Err(TooManyBusy::OfCaller(most)) => {
                format!("a caller may have {most} requests at a time that are being answered")
            }
            Err(TooManyBusy::OfAll) => "too many requests are being answered".to_owned(),
        };
        Err(ApiError::retry_later(ProblemKind::Rate, detail, BUSY_PAUSE))
    }

    /// The same for a worker, whose token is checked with its report.
    fn worker_token(
        &mut self,
        state: &GatewayState,
        headers: &HeaderMap,
    ) -> Result<BearerToken, ApiError> {
        self.is_worker = true;
        let token = self.uncounted_token(state, headers)?;
        let now = Instant::now();
        state.rate_limits.count_worker_request(self.address, token.as_str(), now)?;
        Ok(token)
    }

    /// The same for another replica, which limits its requests itself.
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
        let was_good = was_token_good(response.status(), self.is_worker);
        if let (true, Some(true), Some(slot)) = (self.is_worker, was_good, &self.slot) {
            slot.is_workers();
        }
        if let (Some(token), Some(was_good)) = (&self.token, was_good) {
            state.rate_limits.record_token(self.address, token.as_str(), was_good, Instant::now());
        }
    }
}

/// What an answer tells of the token. A worker's is checked after the request is read: what is wrong with the request
/// tells nothing.
fn was_token_good(status: StatusCode, is_worker: bool) -> Option<bool> {
    match status {
        StatusCode::UNAUTHORIZED => Some(false),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => None,
        status if !is_worker || status.is_success() || status == StatusCode::CONFLICT => Some(true),
        _ => None,
    }
}

/// The route that the caller may use; what its handler needs is put into the extensions.
async fn authorize(
    state: &GatewayState,
    parts: &mut Parts,
    caller: &mut CallerState,
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
            let token = caller.worker_token(state, &parts.headers)?;
            parts.extensions.insert(token);
        }
        Some(Guard::Peer) if state.gateway.reports.is_some() => {
            let token = caller.uncounted_token(state, &parts.headers)?;
            state.gateway.access.check_peer(Some(token.as_str())).await?;
            caller.count_as_busy(Caller { name: REPLICAS.into(), is_admin: false })?;
        }
        Some(Guard::Admin) if state.gateway.drain.is_some() => {
            let token = caller.require_admin(state, &parts.headers).await?;
            parts.extensions.insert(token);
        }
        Some(Guard::LoginCode) if state.gateway.drain.is_some() => {
            let code = caller.uncounted_token(state, &parts.headers)?;
            parts.extensions.insert(code);
        }
        Some(Guard::Metrics) => {
            caller.counted_token(state, &parts.headers).await?;
            permissions::require_metrics_reader(state.gateway.access.as_ref(), &parts.headers)
                .await?;
        }
        Some(guard @ (Guard::Jobs(_) | Guard::Functions(_) | Guard::Queues(_))) => {
            authorize_in_namespace(state, parts, caller, guard).await?;
        }
        Some(Guard::Worker | Guard::Peer | Guard::Admin | Guard::LoginCode) | None => {
            let token = caller.counted_token(state, &parts.headers).await?;
            permissions::require_known_caller(state, &token).await?;
            return Err(match (route, path) {
                (None, Some(path)) => method_not_allowed(state.routes, path),
                // The routes for workers do not exist where no worker reports over HTTP, nor an admin of a cluster.
                _ => ApiError::no_such_path(),
            });
        }
    }
    route.ok_or_else(ApiError::no_such_path)
}

/// The same for a route about the jobs, functions or queues of the namespace in the path.
async fn authorize_in_namespace(
    state: &GatewayState,
    parts: &mut Parts,
    caller: &mut CallerState,
    guard: Guard,
) -> Result<(), ApiError> {
    let token = caller.counted_token(state, &parts.headers).await?;
    let Some((namespace, name)) = names_in_path(parts).await else {
        permissions::require_known_caller(state, &token).await?;
        let why = "the path has a name that nothing can have: names are of lower-case letters, digits and -";
        return Err(ApiError::new(ProblemKind::NotFound, why));
    };
    if let Some(permission) = guard.permission() {
        permissions::require_permission(state, &token, permission, &namespace).await?;
    }
    if let Some(name) = name {
        parts.extensions.insert(JobKey::new(&namespace, name));
    }
    parts.extensions.insert(Namespace(namespace));
    parts.extensions.insert(token);
    Ok(())
}

/// Namespace and name of the path, unless one of them is no name at all.
async fn names_in_path(parts: &mut Parts) -> Option<(String, Option<String>)> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let mut namespace = None;
    let mut named = None;
    // A digest is no name.
    for (key, value) in params.iter().filter(|(key, _)| *key != "digest") {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_token_is_good_only_when_it_was_checked() {
        for (status, of_worker, of_caller) in [
            (204, Some(true), Some(true)),
            (409, Some(true), Some(true)),
            (400, None, Some(true)),
            (413, None, Some(true)),
            (429, None, Some(true)),
            (503, None, None),
            (401, Some(false), Some(false)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(was_token_good(status, true), of_worker, "{status}");
            assert_eq!(was_token_good(status, false), of_caller, "{status}");
        }
    }
}
