//! `POST /v1/namespaces/{namespace}/jobs/{name}/cancel`: asks for a job's end.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use windlass_core::JobKey;
use windlass_core::jobs::Verb;

use super::{ended_or_accepted, located, waited_for};
use crate::guard::{self, Token, in_time};
use crate::refusal::Refusal;
use crate::{Shared, prefer, wait};

/// 202 with the job that is asked to end, 200 when it has ended. With `Prefer: wait=N` the answer
/// waits for the end.
pub(crate) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let limits = &shared.gateway.limits;
    let waits = match prefer::wait(&headers, limits.wait) {
        Some(limit) => {
            let may = guard::may_also(&shared, &token, Verb::Watch, &key.namespace);
            in_time(limits.request, may).await??.then_some(limit)
        }
        None => None,
    };
    let job = in_time(limits.request, shared.gateway.jobs.cancel(&key)).await??;
    Ok(match waits {
        Some(limit) => waited_for(&wait::until_finished(&shared, &token, job, limit).await?.job),
        None => located(ended_or_accepted(&job), &job),
    })
}
