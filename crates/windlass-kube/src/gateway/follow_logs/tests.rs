//! What is sent of logs that come late, end early, or are over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use http::{Request, Response};
use http_body_util::Full;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::kept_logs::tests::{UID, job, store};
use super::*;

const BATCH_JOB: &str = "j-0190b7a2-2";

/// The states that a job is told to be in.
struct Told(mpsc::UnboundedReceiver<Job>);

#[async_trait]
impl Watch for Told {
    async fn next(&mut self) -> Result<Job, Error> {
        self.0.recv().await.ok_or_else(|| Error::no_job("j"))
    }
}

fn owner(version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({ "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true })
}

fn object(name: &str, uid: &str, owner: Value) -> String {
    let metadata =
        json!({ "name": name, "namespace": "n", "uid": uid, "ownerReferences": [owner] });
    json!({ "metadata": metadata }).to_string()
}

/// A node that answers what was written, one answer for each time that a log is asked for, then that there is none.
fn node(answers: &[&'static str]) -> (Client, Arc<Mutex<VecDeque<&'static str>>>) {
    let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
    let left = answers.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path();
        let (code, body) = if let Some(pod) =
            path.strip_prefix("/api/v1/namespaces/n/pods/").filter(|pod| !pod.contains('/'))
        {
            (200, object(pod, "u", owner("batch/v1", "Job", BATCH_JOB, "b")))
        } else if path.ends_with("/jobs/j-0190b7a2-2") {
            (200, object(BATCH_JOB, "b", owner("windlass.dev/v1alpha1", "ComputeJob", "j", UID)))
        } else if path.ends_with("/log")
            && let Some(log) = left.lock().unwrap().pop_front()
        {
            (200, log.to_owned())
        } else {
            (404, json!({ "kind": "Status", "code": 404, "reason": "NotFound" }).to_string())
        };
        let answer = Response::builder().status(code).body(Full::from(body)).unwrap();
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    (Client::new(service, "n"), answers)
}

fn running() -> Job {
    job(UID, &json!({ "phase": "Running", "attempt": 2, "pod": "p" }))
}

fn succeeded() -> Job {
    job(UID, &json!({ "phase": "Succeeded", "attempt": 2, "pod": "p" }))
}

/// What is sent of a job that is first in one state and then told to be in others.
async fn followed(answers: &[&'static str], first: Job, later: &[Job]) -> String {
    followed_from(100, answers, first, later).await
}

/// The same, from so many bytes before the end of what is there.
async fn followed_from(tail: u64, answers: &[&'static str], first: Job, later: &[Job]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (client, left) = node(answers);
    let (tell, told) = mpsc::unbounded_channel();
    let range = LogRange { tail, timestamps: false };
    let results = Some(store(directory.path(), &[b"kept of 1\n", b"kept of 2\n"]).await);
    let log = follow_logs(client, results, first, Box::new(Told(told)), range);
    let read = log.try_collect::<Vec<_>>();
    let end = async {
        // Told once the node was asked as often as the test wants.
        while !left.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        later.iter().for_each(|job| tell.send(job.clone()).unwrap());
    };
    let (said, ()) = tokio::join!(read, end);
    String::from_utf8(said.unwrap().concat()).unwrap()
}

#[tokio::test]
async fn an_attempt_that_was_over_before_its_log_could_be_opened_is_read_from_where_it_is_kept() {
    let starting = job(UID, &json!({ "phase": "Starting", "attempt": 2 }));
    assert_eq!(followed(&[], starting, &[succeeded()]).await, "kept of 2\n");
    // Nothing was told in between: both attempts, in their order.
    assert_eq!(followed(&[], job(UID, &json!({})), &[succeeded()]).await, "kept of 1\nkept of 2\n");
}

#[tokio::test]
async fn a_log_that_ends_with_nothing_in_it_while_its_attempt_runs_is_opened_again() {
    let began = Instant::now();
    let said = followed(&["", "", "of the pod\n"], running(), &[succeeded()]).await;
    assert_eq!(said, "of the pod\n");
    // Not as fast as the node answers.
    assert!(began.elapsed() >= RETRY[0] * 3);
    assert_eq!(followed(&["", ""], running(), &[succeeded()]).await, "kept of 2\n");
}

#[tokio::test]
async fn what_was_read_from_a_pod_is_not_sent_again() {
    assert_eq!(followed(&["of the pod\n"], running(), &[succeeded()]).await, "of the pod\n");
}

#[tokio::test]
async fn what_was_there_before_is_not_sent_where_nobody_asks_for_it() {
    let said = followed_from(0, &["of the pod\n"], running(), &[succeeded()]).await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn an_attempt_that_goes_on_in_another_pod_is_followed_there() {
    let elsewhere = job(UID, &json!({ "phase": "Running", "attempt": 2, "pod": "q" }));
    let (client, left) = node(&["of the pod\n"]);
    let (tell, told) = mpsc::unbounded_channel();
    let range = LogRange { tail: 100, timestamps: false };
    let mut log = follow_logs(client, None, running(), Box::new(Told(told)), range);
    assert_eq!(log.try_next().await.unwrap().unwrap(), "of the pod\n");
    left.lock().unwrap().push_back("of the other\n");
    tell.send(elsewhere).unwrap();
    assert_eq!(log.try_next().await.unwrap().unwrap(), "of the other\n");
}
