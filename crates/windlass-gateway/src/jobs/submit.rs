//! `POST /v1/namespaces/{namespace}/jobs`: a new job.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use windlass_core::jobs::Verb;
use windlass_core::parse;

use super::accept::{self, Accepted, Wanted};
use super::{located, replayed, waited_for};
use crate::guard::{self, Namespace, Token, in_time};
use crate::limits::MAX_SUBMIT_BYTES;
use crate::refusal::Refusal;
use crate::{Shared, body, prefer, wait};

/// 201 with the job as it was accepted. With `Prefer: wait=N`, 200 with the finished job, or 202
/// when it has not finished by then. Waiting shows what becomes of the job, so a caller who may
/// submit but not watch is answered at once, the preference not applied.
///
/// With an `Idempotency-Key` that a job has already, 200 with that job as it is and
/// `Idempotency-Replayed: true`; it can be waited for as well.
pub(crate) async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let limits = &shared.gateway.limits;
    let key = accept::key(&headers)?;
    let bytes = body::json(&headers, body, MAX_SUBMIT_BYTES, limits.body).await?;
    let wanted = Wanted::read(parse::submitted(&bytes)?, key.as_ref())?;
    let waits = match prefer::wait(&headers, limits.wait) {
        Some(limit) => {
            let may = guard::may_also(&shared, &token, Verb::Watch, &namespace);
            in_time(limits.request, may).await??.then_some(limit)
        }
        None => None,
    };
    let accepted = in_time(limits.request, wanted.accept(&shared, &token, &namespace));
    let Accepted { job, is_replay } = accepted.await??;
    let answer = match waits {
        Some(limit) => waited_for(&wait::until_finished(&shared, &token, job, limit).await?.job),
        None if is_replay => located(StatusCode::OK, &job),
        None => located(StatusCode::CREATED, &job),
    };
    Ok(if is_replay { replayed(answer) } else { answer })
}
