//! What attempts have used over their time, in the object store.

use std::io;

use futures::TryStreamExt as _;
use windlass_core::usage_over_time::{MAX_USAGE_BYTES, UsageOverTime, usage_location};
use windlass_core::{Error, Job};
use windlass_results::{Failed, Results};

/// Stores the samples of an attempt.
pub(super) async fn write(
    results: &Results,
    location: &str,
    usage: &UsageOverTime,
) -> Result<(), Error> {
    let bytes = serde_json::to_vec(usage).map_err(|error| Error::Bug(error.to_string()))?;
    let content = Box::pin(futures::stream::iter([Ok(bytes.into())]));
    results.put_samples(location, content).await.map_err(|failed| match failed {
        Failed::Store(error) => error,
        Failed::Content(error) => Error::unavailable(format!("they broke off: {error}")),
    })
}

/// What the latest attempt of a job has used. There are no samples where none are stored.
pub(super) async fn read(results: &Results, job: &Job) -> Result<UsageOverTime, Error> {
    let Some(attempt) = job.status.attempt else { return Ok(UsageOverTime::default()) };
    let location = usage_location(&job.metadata.namespace, &job.metadata.uid, attempt);
    let bytes = match results.length(&location).await? {
        Some(bytes @ 1..=MAX_USAGE_BYTES) => bytes,
        _ => return Ok(UsageOverTime::default()),
    };
    let broke_off = |error: io::Error| Error::unavailable(format!("samples broke off: {error}"));
    let pieces = results.stored_at(&location).read(0..bytes).await?;
    let text = pieces.try_fold(Vec::new(), |mut text, piece| async move {
        text.extend_from_slice(&piece);
        Ok(text)
    });
    let text = text.await.map_err(broke_off)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::unavailable(format!("samples cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use windlass_core::usage_over_time::UsageSample;
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    #[tokio::test]
    async fn what_was_stored_of_the_latest_attempt_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::open(&format!("file://{}", directory.path().display())).unwrap();
        let uid = "0190b7a2-1111-7abc-8def-0123456789ab";
        let metadata = Metadata {
            namespace: "team".into(),
            name: "j".into(),
            uid: uid.into(),
            ..Metadata::default()
        };
        let mut job = Job::new(metadata, JobSpec::default());
        assert_eq!(read(&results, &job).await.unwrap(), UsageOverTime::default());
        let mut usage = UsageOverTime::begin(2, 4);
        usage.add(UsageSample { cpus: 3.5, memory_bytes: 7 });
        write(&results, &usage_location("team", uid, 2), &usage).await.unwrap();
        for (attempt, expected) in [(1, UsageOverTime::default()), (2, usage)] {
            job.status.attempt = Some(attempt);
            assert_eq!(read(&results, &job).await.unwrap(), expected, "{attempt}");
        }
        // It goes with the results of its job.
        assert_eq!(results.forget("team", uid).await.unwrap(), 1);
    }
}
