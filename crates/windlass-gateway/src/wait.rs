//! Waiting for the end of a job, for `Prefer: wait`.

use std::time::Duration;

use windlass_core::Job;

use crate::Shared;

/// The job once it has ended, or as it was last seen when `limit` is over, the server is about to
/// end, or the job cannot be followed: the caller has been told of an accepted job and can follow
/// it at its Location, so none of these is an error.
pub(crate) async fn until_finished(shared: &Shared, job: Job, limit: Duration) -> Job {
    let mut latest = job;
    if latest.status.is_finished() {
        return latest;
    }
    let follow = async {
        // The first item is the job as it is: an end between submit and watch is not missed.
        let mut watch = shared.gateway.jobs.watch(&latest.key()).await?;
        while !latest.status.is_finished() {
            latest = watch.next().await?;
        }
        Ok::<_, windlass_core::Error>(())
    };
    tokio::select! {
        followed = tokio::time::timeout(limit, follow) => {
            if let Ok(Err(error)) = followed {
                tracing::debug!(%error, "cannot follow a job to its end");
            }
        }
        () = shared.ending.clone().begun() => {}
    }
    latest
}
