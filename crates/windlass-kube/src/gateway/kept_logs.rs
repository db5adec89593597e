//! What an attempt has said, also when its pod is gone.
//!
//! Its worker has sent the end of it before it reported the end of the attempt, see [`windlass_core::kept_log`]. Where that
//! is missing, there may still be the pod.

use futures::TryStreamExt as _;
use kube::Client;
use windlass_core::kept_log::{MAX_KEPT_LOG_BYTES, log_location, without_times};
use windlass_core::log_tail::{LogRange, LogTail, WantedLog, wanted_attempt};
use windlass_core::report::has_ended;
use windlass_core::status::FailureReason;
use windlass_core::{AttemptNumber, Error, Job};
use windlass_results::Results;

use super::logs::log_of_pod;

/// Where logs are, once their pods are gone.
pub(super) struct KeptLogs<'a> {
    pub(super) client: &'a Client,
    pub(super) results: Option<&'a Results>,
}

impl KeptLogs<'_> {
    /// The end of what an attempt has said, or the latest; nothing when there was none. `Gone` where it is not kept.
    pub(super) async fn end_of_log(
        &self,
        job: &Job,
        WantedLog { attempt: asked, range }: WantedLog,
    ) -> Result<Vec<u8>, Error> {
        let Some(attempt) = wanted_attempt(job, asked)? else { return Ok(Vec::new()) };
        let is_latest = job.status.attempt == Some(attempt);
        let is_over = !is_latest || has_ended(&job.status, attempt);
        if is_over {
            if is_latest && has_said_nothing(job) {
                return Ok(Vec::new());
            }
            if let Some(kept) = self.read(job, attempt, range).await? {
                return Ok(kept);
            }
        }
        let of_pod = if is_latest { log_of_pod(self.client, job, range).await? } else { None };
        match of_pod {
            Some(log) => Ok(log),
            None if is_over => Err(self.gone(job, attempt)),
            None => Ok(Vec::new()),
        }
    }

    /// What the worker has sent, if it is there.
    async fn read(
        &self,
        job: &Job,
        attempt: AttemptNumber,
        range: LogRange,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(results) = self.results else { return Ok(None) };
        let location = log_location(&job.metadata.namespace, &job.metadata.uid, attempt);
        let Some(bytes) = results.length(&location).await? else { return Ok(None) };
        let whole = LogRange { tail: MAX_KEPT_LOG_BYTES, timestamps: true };
        let mut kept = LogTail::new(whole);
        if bytes > 0 {
            let mut content = results.stored_at(&location).read(0..bytes).await?;
            let broke_off = |error| Error::unavailable(format!("the log broke off: {error}"));
            while let Some(piece) = content.try_next().await.map_err(broke_off)? {
                kept.push(&piece);
            }
        }
        let mut kept = kept.into_bytes();
        if !range.timestamps {
            kept = without_times(&kept);
        }
        let mut tail = LogTail::new(range);
        tail.push(&kept);
        Ok(Some(tail.into_bytes()))
    }

    /// Why nothing is left of what an attempt has said.
    fn gone(&self, job: &Job, attempt: AttemptNumber) -> Error {
        let status = &job.status;
        let usage = status.usage.as_ref().filter(|_| status.attempt == Some(attempt));
        let is_sent = usage.is_some_and(|usage| usage.log_bytes.is_some());
        let failure = status.failure.as_ref().filter(|failure| failure.attempt == attempt);
        let why = match (self.results, failure) {
            (Some(_), _) if is_sent => "it was deleted from the store".to_owned(),
            (None, _) if is_sent => "only a gateway can read the store that has it".to_owned(),
            (None, _) => "only the latest attempt is read from its pod while that is there, and this server has no \
                          store that would keep it: the chart's results.url names one"
                .to_owned(),
            (Some(_), Some(failure)) if usage.is_none() => format!(
                "its pod is not read any more, and its worker was ended before it could send it ({})",
                failure.reason.as_str()
            ),
            _ => "it said nothing, or its worker could not send it, and its pod is not read any more".to_owned(),
        };
        Error::Gone(format!("nothing is kept of what attempt {attempt} has said: {why}"))
    }
}

/// Whether it is known that the function of the latest attempt has said nothing: its worker counted no bytes, or there was
/// no function. A shell whose last command is missing cannot be started, too, by its exit code: then there is usage.
fn has_said_nothing(job: &Job) -> bool {
    let status = &job.status;
    let failure = status.failure.as_ref().filter(|failure| Some(failure.attempt) == status.attempt);
    let never_ran = failure.is_some_and(|failure| {
        matches!(
            failure.reason,
            FailureReason::Invalid
                | FailureReason::CannotStart
                | FailureReason::StartDeadline
                | FailureReason::Unschedulable
        )
    });
    never_ran && status.usage.is_none()
        || status.usage.as_ref().is_some_and(|usage| usage.log_bytes == Some(0))
}

#[cfg(test)]
pub(super) mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::{Value, json};
    use windlass_core::kept_log::LogEnd;

    use super::*;
    use crate::crd::ComputeJob;

    pub(in super::super) const UID: &str = "0190b7a2-1111-7abc-8def-0123456789ab";
    const BATCH_JOB: &str = "j-0190b7a2-1";
    const PLAIN: LogRange = LogRange { tail: MAX_KEPT_LOG_BYTES, timestamps: false };

    /// A client of an API server that has the pod of the first attempt, or nothing.
    fn client(has_pod: bool) -> Client {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p",
            "namespace": "n", "uid": "u", "ownerReferences": [{ "apiVersion": "batch/v1",
            "kind": "Job", "name": BATCH_JOB, "uid": "b", "controller": true }] } });
        let service = tower::service_fn(move |request: Request<Body>| {
            let missing = json!({ "kind": "Status", "code": 404, "reason": "NotFound" });
            let (code, body) = match request.uri().path() {
                path if has_pod && path.ends_with("/pods/p") => (200, pod.to_string()),
                path if has_pod && path.ends_with("/pods/p/log") => {
                    (200, "of the pod\n".to_owned())
                }
                _ => (404, missing.to_string()),
            };
            let answer = Response::builder().status(code).body(Full::from(body)).unwrap();
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        Client::new(service, "n")
    }

    pub(in super::super) fn job(uid: &str, status: &Value) -> Job {
        let object = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": "j", "namespace": "n", "uid": uid },
            "spec": { "function": "f" }, "status": status });
        serde_json::from_value::<ComputeJob>(object).unwrap().to_core()
    }

    fn failure(attempt: u32, reason: &str) -> Value {
        json!({ "reason": reason, "message": "m", "attempt": attempt, "time": "2026-01-01T00:00:00Z" })
    }

    fn used(log_bytes: Value) -> Value {
        json!({ "cpuSeconds": 0.0, "peakMemoryBytes": 0, "efficiency": 0.0, "logBytes": log_bytes })
    }

    /// A store with the logs of this job's first attempts.
    pub(in super::super) async fn store(directory: &std::path::Path, said: &[&[u8]]) -> Results {
        let results = Results::open(&format!("file://{}", directory.display())).unwrap();
        for (attempt, said) in (1..).zip(said) {
            let mut end = LogEnd::new(MAX_KEPT_LOG_BYTES);
            end.push(said, "2026-01-02T03:04:05Z".parse().unwrap());
            let content = futures::stream::iter([Ok(Bytes::from(end.into_bytes()))]);
            results.put_log(&log_location("n", UID, attempt), Box::pin(content)).await.unwrap();
        }
        results
    }

    async fn read(
        results: Option<&Results>,
        has_pod: bool,
        job: &Job,
        attempt: Option<u32>,
    ) -> Result<Vec<u8>, String> {
        let logs = KeptLogs { client: &client(has_pod), results };
        match logs.end_of_log(job, WantedLog { attempt, range: PLAIN }).await {
            Err(Error::Gone(why)) => Err(why),
            other => Ok(other.unwrap()),
        }
    }

    #[tokio::test]
    async fn what_is_stored_is_read_also_of_an_earlier_attempt_and_of_no_other_job() {
        let directory = tempfile::tempdir().unwrap();
        let said = b"odd \0\xff\nbytes";
        let results = store(directory.path(), &[said]).await;
        let failed = json!({ "phase": "Failed", "attempt": 1, "failure": failure(1, "Crashed") });
        let again = json!({ "phase": "Running", "attempt": 2, "failure": failure(1, "Crashed") });
        assert_eq!(read(Some(&results), false, &job(UID, &failed), None).await.unwrap(), said);
        assert_eq!(read(Some(&results), false, &job(UID, &again), Some(1)).await.unwrap(), said);
        // The attempt that runs has said nothing yet.
        assert!(read(Some(&results), false, &job(UID, &again), None).await.unwrap().is_empty());
        // Another job that has the name by now.
        let other = job("0190b7a2-2222-7abc-8def-0123456789ab", &failed);
        let why = read(Some(&results), false, &other, Some(1)).await.unwrap_err();
        assert!(why.contains("before it could send it (Crashed)"), "{why}");
        // With times, and the end of it.
        let logs = KeptLogs { client: &client(false), results: Some(&results) };
        let ask = async |tail, timestamps| {
            let range = LogRange { tail, timestamps };
            logs.end_of_log(&job(UID, &failed), WantedLog { attempt: None, range }).await.unwrap()
        };
        assert_eq!(ask(7, false).await, b"\xff\nbytes");
        let timed = ask(MAX_KEPT_LOG_BYTES, true).await;
        assert!(timed.starts_with(b"2026-01-02T03:04:05.000000Z odd \0\xff\n2026-"), "{timed:?}");
    }

    #[tokio::test]
    async fn while_there_is_a_pod_its_log_is_as_good() {
        let directory = tempfile::tempdir().unwrap();
        let empty = Results::open(&format!("file://{}", directory.path().display())).unwrap();
        let status = |phase: &str| json!({ "phase": phase, "attempt": 1, "pod": "p" });
        // Its batch Job is gone: only then is the pod of a job that has ended believed.
        for results in [None, Some(&empty)] {
            let ended = job(UID, &status("Succeeded"));
            assert_eq!(read(results, true, &ended, None).await.unwrap(), b"of the pod\n");
        }
        assert!(read(None, false, &job(UID, &status("Running")), None).await.unwrap().is_empty());
        assert!(read(None, false, &job(UID, &json!({})), None).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_lost_says_why_and_silence_is_no_loss() {
        let directory = tempfile::tempdir().unwrap();
        let empty = Results::open(&format!("file://{}", directory.path().display())).unwrap();
        let ended = |failure: Value, usage: Value| {
            job(
                UID,
                &json!({ "phase": "Failed", "attempt": 2, "failure": failure, "usage": usage }),
            )
        };
        let plain = ended(failure(2, "Crashed"), used(Value::Null));
        let lost = ended(failure(2, "Lost"), Value::Null);
        let sent = ended(failure(2, "Crashed"), used(json!(7)));
        for (results, job, expected) in [
            (None, &plain, "the chart's results.url"),
            (None, &sent, "only a gateway can read"),
            (Some(&empty), &plain, "it said nothing, or"),
            (Some(&empty), &lost, "its worker was ended before it could send it (Lost)"),
            (Some(&empty), &sent, "deleted from the store"),
        ] {
            let why = read(results, false, job, None).await.unwrap_err();
            assert!(why.contains("attempt 2") && why.contains(expected), "{why}");
        }
        let earlier = read(Some(&empty), false, &plain, Some(1)).await.unwrap_err();
        assert!(earlier.contains("attempt 1 has said: it said nothing, or"), "{earlier}");
        let silent = ended(failure(2, "Crashed"), used(json!(0)));
        let never = ended(failure(2, "StartDeadline"), Value::Null);
        // `echo; exit 127`.
        let shell = ended(failure(2, "CannotStart"), used(json!(7)));
        let why = read(Some(&empty), false, &shell, None).await.unwrap_err();
        assert!(why.contains("deleted from the store"), "{why}");
        for job in [silent, never] {
            assert!(read(None, false, &job, None).await.unwrap().is_empty());
        }
        for beyond in [0, 3] {
            let logs = KeptLogs { client: &client(false), results: None };
            let wanted = WantedLog { attempt: Some(beyond), range: PLAIN };
            let error = logs.end_of_log(&plain, wanted).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { kind: "attempt", .. }), "{error}");
        }
    }
}
