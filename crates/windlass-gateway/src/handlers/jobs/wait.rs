//! Waiting for the end of a job, for `Prefer: wait=N`.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use windlass_core::jobs::{Permission, Verb};
use windlass_core::{Error, Job};

use crate::middleware::permissions::{is_also_permitted, permission_revoked, refusal};
use crate::protocol::bearer::BearerToken;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::prefer;
use crate::server::connection_limit::ConnectionSlot;
use crate::state::GatewayState;

/// A job that lacks what somebody has to make first, such as its queue, is not waited for any longer: its caller should
/// know soon, and what is being made at the same moment may still come.
const MISSING_PATIENCE: Duration = Duration::from_secs(2);

/// How long the caller wants to wait. Waiting shows what becomes of the job, so a caller who may not
/// watch it is answered at once, the preference not applied.
pub(crate) async fn permitted_wait(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    headers: &HeaderMap,
) -> Result<Option<Duration>, ApiError> {
    let limits = &state.gateway.limits;
    let Some(limit) = prefer::wait_of(headers, limits.wait) else { return Ok(None) };
    let may_watch = is_also_permitted(state, token, Verb::Watch, namespace);
    Ok(within(limits.request, may_watch).await??.then_some(limit))
}

/// A job that was waited for.
pub(crate) struct WaitedJob {
    /// As it ended, or as it was last seen.
    pub(crate) job: Job,
    /// It was deleted before its end.
    pub(crate) is_deleted: bool,
}

/// The job once it has ended, or as it was last seen when `limit` is over, the server is about to end,
/// the client has closed its side for a while, the job lacks what it needs, or it cannot be followed: the job is
/// created, and the caller can follow it at its Location, so none of these is an error. It is one that they may not
/// watch the job any more.
pub(crate) async fn wait_until_finished(
    state: &GatewayState,
    token: &BearerToken,
    job: Job,
    limit: Duration,
    connection: Option<&ConnectionSlot>,
) -> Result<WaitedJob, ApiError> {
    let mut latest = job;
    let mut is_deleted = false;
    if latest.status.is_finished() {
        return Ok(WaitedJob { job: latest, is_deleted });
    }
    let key = latest.key();
    let follow = async {
        // The first item is the job as it is: an end between submit and watch is not missed.
        let mut watch = state.gateway.jobs.watch(&key).await?;
        let mut patience = None;
        while !latest.status.is_finished() {
            let next = watch.next();
            if latest.status.missing_requirement().is_none() {
                patience = None;
                latest = next.await?;
                continue;
            }
            // From when that was first seen: news of another kind may come.
            let until = *patience.get_or_insert_with(|| Instant::now() + MISSING_PATIENCE);
            match tokio::time::timeout_at(until, next).await {
                Ok(next) => latest = next?,
                Err(_) => break,
            }
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        followed = tokio::time::timeout(limit, follow) => {
            if let Ok(Err(error)) = followed {
                is_deleted = matches!(error, Error::NotFound { .. });
                tracing::debug!(%error, "cannot follow a job to its end");
            }
        }
        denied = permission_revoked(state, token, Permission::jobs(Verb::Watch), &key.namespace) => {
            return Err(refusal(state, token, denied, &key.namespace).await);
        }
        () = state.shutdown.clone().started() => {}
        () = closed_for(connection, state.gateway.limits.wait_of_closed) => {}
    }
    Ok(WaitedJob { job: latest, is_deleted })
}

/// Returns when the client has closed its side for so long.
async fn closed_for(connection: Option<&ConnectionSlot>, limit: Duration) {
    match connection {
        Some(connection) => connection.client_closed().await,
        None => std::future::pending().await,
    }
    tokio::time::sleep(limit).await;
}
