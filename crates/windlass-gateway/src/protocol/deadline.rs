//! The longest time of one request's work.

use std::future::Future;
use std::time::Duration;

use super::error::ApiError;
use super::problem::ProblemKind;

/// What `work` gives within `limit`, or 504.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, ApiError> {
    tokio::time::timeout(limit, work).await.map_err(|_| {
        let detail = "no answer in time; whether it was done is not known";
        ApiError::new(ProblemKind::Deadline, detail)
    })
}
