//! Waiting for the end of a job, for `Prefer: wait`.

use std::time::Duration;

use windlass_core::jobs::Verb;
use windlass_core::{Error, Job};

use crate::Shared;
use crate::guard::Token;
use crate::refusal::Refusal;

/// A job that was waited for.
pub(crate) struct Waited {
    /// As it ended, or as it was last seen.
    pub(crate) job: Job,
    /// It was deleted before its end.
    pub(crate) is_deleted: bool,
}

/// The job once it has ended, or as it was last seen when `limit` is over, the server is about to
/// end, or the job cannot be followed: the caller has been told of an accepted job and can follow
/// it at its Location, so none of these is an error. That they may not watch it any more is one.
pub(crate) async fn until_finished(
    shared: &Shared,
    token: &Token,
    job: Job,
    limit: Duration,
) -> Result<Waited, Refusal> {
    let mut latest = job;
    let mut is_deleted = false;
    if latest.status.is_finished() {
        return Ok(Waited { job: latest, is_deleted });
    }
    let key = latest.key();
    let follow = async {
        // The first item is the job as it is: an end between submit and watch is not missed.
        let mut watch = shared.gateway.jobs.watch(&key).await?;
        while !latest.status.is_finished() {
            latest = watch.next().await?;
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
        denied = shared.denied(token, Verb::Watch, &key.namespace) => return Err(denied.into()),
        () = shared.ending.clone().begun() => {}
    }
    Ok(Waited { job: latest, is_deleted })
}
