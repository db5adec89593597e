//! One layer before every handler: who is asking, how often, may they, and what is the path about.
//!
//! What the caller may not do is answered so: 401 without a known token; 404 where the caller may
//! not read jobs either, so that nothing is learned about another's namespace; 403 where they may
//! read, because then there is nothing to hide and the reason helps.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use windlass_core::jobs::{Access, Denied, Verb};
use windlass_core::{JobKey, name};

use crate::Shared;
use crate::problem::Kind;
use crate::rates::{Peer, Taken};
use crate::refusal::Refusal;
use crate::routes::{self, Guard, Pace, Route};

/// The namespace of the path.
#[derive(Clone)]
pub(crate) struct Namespace(pub(crate) String);

/// The caller's bearer token. Has no `Debug`: it must reach no log.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let limit = shared.gateway.limits.request;
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    let mut asked = Asked { peer, ..Asked::default() };
    let authorized = in_time(limit, authorize(&shared, &mut parts, &mut asked)).await;
    let mut response = match authorized.flatten() {
        Ok(route) => {
            let run = next.run(Request::from_parts(parts, body));
            match route.pace {
                Pace::Prompt => in_time(limit, run).await.unwrap_or_else(Refusal::into_response),
                Pace::Own => run.await,
            }
        }
        Err(refusal) => refusal.into_response(),
    };
    asked.tell(&shared, &mut response);
    response
}

/// What is known of who asks.
#[derive(Default)]
struct Asked {
    peer: Option<Peer>,
    /// The token that was judged.
    token: Option<Token>,
    taken: Option<Taken>,
}

impl Asked {
    /// The token of the request, unless too many of this address or of this caller were shown.
    async fn token(&mut self, shared: &Shared, headers: &HeaderMap) -> Result<Token, Refusal> {
        let token = self.uncounted(shared, headers)?;
        if shared.rates.counts_callers() {
            let caller = shared.gateway.access.caller(Some(token.as_str())).await?;
            self.taken = shared.rates.take(&caller, Instant::now());
            self.taken.map_or(Ok(()), |taken| taken.verdict())?;
        }
        Ok(token)
    }

    /// The same of a worker, who is judged with its report, or of another replica: they have a pace of
    /// their own.
    fn uncounted(&mut self, shared: &Shared, headers: &HeaderMap) -> Result<Token, Refusal> {
        let token = bearer(headers)?;
        shared.rates.may_show(self.peer, token.as_str(), Instant::now())?;
        self.token = Some(token.clone());
        Ok(token)
    }

    /// Tells the caller what is left, and remembers whether the token was good.
    fn tell(&self, shared: &Shared, response: &mut Response) {
        if let Some(taken) = &self.taken {
            taken.tell(response.headers_mut());
        }
        let judged = match response.status() {
            StatusCode::UNAUTHORIZED => Some(false),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => None,
            _ => Some(true),
        };
        if let (Some(token), Some(was_good)) = (&self.token, judged) {
            shared.rates.shown(self.peer, token.as_str(), was_good, Instant::now());
        }
    }
}

/// The route that the caller may use; what its handler needs is put into the extensions.
async fn authorize(
    shared: &Shared,
    parts: &mut Parts,
    asked: &mut Asked,
) -> Result<&'static Route, Refusal> {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let path = path.as_ref().map(MatchedPath::as_str);
    let route = path.and_then(|path| routes::find(&parts.method, path));
    match route.map(|route| route.guard) {
        // Nothing is needed; but what is shown must be good: who believes to be known learns of it here.
        Some(Guard::Open) if !parts.headers.contains_key(header::AUTHORIZATION) => {}
        Some(Guard::Open) => {
            let token = asked.token(shared, &parts.headers).await?;
            known(shared, &token).await?;
        }
        Some(Guard::Worker) if shared.gateway.reports.is_some() => {
            let token = asked.uncounted(shared, &parts.headers)?;
            parts.extensions.insert(token);
        }
        Some(Guard::Peer) if shared.gateway.reports.is_some() => {
            let token = asked.uncounted(shared, &parts.headers)?;
            shared.gateway.access.check_peer(Some(token.as_str())).await?;
        }
        Some(Guard::Metrics) => {
            asked.token(shared, &parts.headers).await?;
            may_read_metrics(shared.gateway.access.as_ref(), &parts.headers).await?;
        }
        Some(Guard::Jobs(verb)) => {
            let token = asked.token(shared, &parts.headers).await?;
            let Some((namespace, name)) = place(parts).await else {
                known(shared, &token).await?;
                return Err(Refusal::new(
                    Kind::NotFound,
                    "the path has a name that nothing can have",
                ));
            };
            may(shared, &token, verb, &namespace).await?;
            if let Some(name) = name {
                parts.extensions.insert(JobKey::new(&namespace, name));
            }
            parts.extensions.insert(Namespace(namespace));
            parts.extensions.insert(token);
        }
        Some(Guard::Worker | Guard::Peer) | None => {
            let token = asked.token(shared, &parts.headers).await?;
            known(shared, &token).await?;
            return Err(match (route, path) {
                (None, Some(path)) => wrong_method(path),
                // What is for workers is not there where none reports over HTTP.
                _ => Refusal::no_such_path(),
            });
        }
    }
    route.ok_or_else(Refusal::no_such_path)
}

/// Lets a caller through who may read the metrics.
pub(crate) async fn may_read_metrics(
    access: &dyn Access,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let token = bearer(headers)?;
    Ok(access.check_metrics(Some(token.as_str())).await?)
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<Token, Refusal> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().and_then(|line| line.split_once(' ')),
        _ => None,
    };
    token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .map(|token| Token(token.to_owned()))
        .ok_or_else(|| Denied::Unauthenticated.into())
}

/// Namespace and name of the path, unless one of them is no name at all.
async fn place(parts: &mut Parts) -> Option<(String, Option<String>)> {
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

/// Lets a caller through who may do this here.
async fn may(shared: &Shared, token: &Token, verb: Verb, namespace: &str) -> Result<(), Refusal> {
    let access = &shared.gateway.access;
    match access.check(Some(token.as_str()), verb, namespace).await {
        Err(Denied::Forbidden(verb)) if verb != Verb::Get => {
            match access.check(Some(token.as_str()), Verb::Get, namespace).await {
                Ok(()) => Err(Denied::Forbidden(verb).into()),
                Err(Denied::Forbidden(_)) => Err(hidden(namespace)),
                Err(other) => Err(other.into()),
            }
        }
        Err(Denied::Forbidden(_)) => Err(hidden(namespace)),
        other => Ok(other?),
    }
}

/// Whether the caller may do this, too; for handlers whose answer shows more than they were
/// asked for.
pub(crate) async fn may_also(
    shared: &Shared,
    token: &Token,
    verb: Verb,
    namespace: &str,
) -> Result<bool, Refusal> {
    match shared.gateway.access.check(Some(token.as_str()), verb, namespace).await {
        Ok(()) => Ok(true),
        Err(Denied::Forbidden(_)) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// Lets a caller through who has a known token, whatever it is good for.
async fn known(shared: &Shared, token: &Token) -> Result<(), Refusal> {
    Ok(shared.gateway.access.caller(Some(token.as_str())).await.map(|_| ())?)
}

fn hidden(namespace: &str) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        format!("nothing was found in namespace {namespace:?}, or you may not use it"),
    )
}

fn wrong_method(path: &str) -> Refusal {
    let allowed = routes::methods_of(path);
    let refusal = Refusal::new(Kind::Method, format!("this path has {allowed}"));
    match HeaderValue::from_str(&allowed) {
        Ok(allowed) => refusal.with_header(header::ALLOW, allowed),
        Err(_) => refusal,
    }
}

/// What `work` gives within `limit`.
pub(crate) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    tokio::time::timeout(limit, work).await.map_err(|_| {
        let detail = "no answer in time; whether it was done is not known";
        Refusal::new(Kind::Deadline, detail)
    })
}
