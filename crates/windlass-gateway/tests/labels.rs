//! Labels of jobs, lists by them, and the same job again.

use http::Method;
use serde_json::{Value, json};
use windlass_core::Phase;

use crate::fake::{READER, SUBMITTER};
use crate::http::{Answer, Ask, Server};

const JOBS: &str = "/v1/namespaces/default/jobs";

fn submit(body: &Value) -> Ask {
    Ask::good(Method::POST, JOBS).json(body)
}

async fn names(server: &Server, query: &str) -> Vec<String> {
    let list = server.send(Ask::good(Method::GET, format!("{JOBS}?{query}"))).await.json();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{query}: {list}"));
    items.iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn retry(name: &str) -> Ask {
    Ask::good(Method::POST, format!("{JOBS}/{name}/retry"))
}

fn type_of(answer: Answer, status: u16) -> Value {
    answer.problem(status)["type"].take()
}

#[tokio::test]
async fn a_job_has_the_labels_of_its_submission_and_is_listed_by_them() {
    let server = Server::start().await;
    for (name, labels) in [
        ("a", json!({"team": "blue", "example.com/stage": "test"})),
        ("b", json!({"team": "red"})),
        ("c", Value::Null),
    ] {
        let body = json!({"function": "price", "name": name, "labels": labels});
        let answer = server.send(submit(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let shown = answer.json()["metadata"]["labels"].take();
        assert_eq!(shown, labels);
    }
    for (selector, expected) in [
        ("team%3Dblue", vec!["a"]),
        ("team%3D%3Dred", vec!["b"]),
        ("team!%3Dblue", vec!["b", "c"]),
        ("team", vec!["a", "b"]),
        ("!team", vec!["c"]),
        ("team+in+(blue,red),!example.com/stage", vec!["b"]),
        ("team%20notin%20(red)", vec!["a", "c"]),
        ("", vec!["a", "b", "c"]),
    ] {
        assert_eq!(
            names(&server, &format!("labelSelector={selector}")).await,
            expected,
            "{selector}"
        );
    }
    for nonsense in [",", "a%3E1", "team%3D%24", "in+(", &"a,".repeat(1025)] {
        let ask = Ask::good(Method::GET, format!("{JOBS}?labelSelector={nonsense}"));
        let problem = server.send(ask).await.problem(400);
        assert_eq!(problem["type"], "/problems/query");
        assert!(problem["detail"].as_str().unwrap().starts_with("labelSelector: "), "{problem}");
    }
}

#[tokio::test]
async fn a_wrong_label_is_named() {
    let server = Server::start().await;
    for (labels, pointers) in [
        (json!({"a b": "x", "c": "d e"}), vec!["/labels/a b", "/labels/c"]),
        (json!({"windlass.dev/job": "x"}), vec!["/labels/windlass.dev~1job"]),
        (json!({"a": 1}), vec!["/labels"]),
        (json!(["a"]), vec!["/labels"]),
    ] {
        let body = json!({"function": "price", "labels": labels});
        assert_eq!(server.send(submit(&body)).await.pointers(422), pointers, "{labels}");
    }
    // Beside what else is wrong.
    let body = json!({"function": "price", "labels": {"-": "x"}, "priority": 2000});
    assert_eq!(server.send(submit(&body)).await.pointers(422), ["/labels/-", "/priority"]);
    assert!(server.backend.names().is_empty());
}

#[tokio::test]
async fn a_call_has_labels_by_its_query() {
    let server = Server::start().await;
    let path = "/v1/namespaces/default/functions/price/call";
    let call = |labels: &str| {
        let ask = Ask::good(Method::POST, format!("{path}?labels={labels}"));
        ask.header("prefer", "wait=0").json(&json!({}))
    };
    let answer = server.send(call("team%3Dblue,stage%3D")).await;
    assert_eq!(answer.json()["metadata"]["labels"], json!({"team": "blue", "stage": ""}));
    server.send(call("team")).await.problem(400);
    server.send(call("-%3Dx")).await.problem(422);
}

#[tokio::test]
async fn another_label_under_the_same_key_is_another_request() {
    let server = Server::start().await;
    let ask = |labels: Value| {
        submit(&json!({"function": "price", "labels": labels})).header("idempotency-key", "k")
    };
    assert_eq!(server.send(ask(json!({"a": "1"}))).await.status, 201);
    assert_eq!(server.send(ask(json!({"a": "1"}))).await.status, 200);
    let other = server.send(ask(json!({"a": "2"}))).await;
    assert_eq!(type_of(other, 409), "/problems/idempotency-key-reused");
}

#[tokio::test]
async fn a_job_that_has_ended_is_submitted_again() {
    let server = Server::start().await;
    let body = json!({"function": "price", "name": "a", "input": {"paths": 7},
                      "parallelism": 2, "labels": {"team": "blue"}});
    assert_eq!(server.send(submit(&body)).await.status, 201);
    assert_eq!(type_of(server.send(retry("a")).await, 409), "/problems/conflict");
    server.backend.change("a", Phase::Failed);
    let answer = server.send(retry("a")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/v1/namespaces/default/jobs/made-up"));
    let (new, old) = (answer.json(), serde_json::to_value(server.backend.job("a")).unwrap());
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["metadata"]["labels"], json!({"team": "blue"}));
    assert_eq!(new["metadata"]["annotations"], json!({"windlass.dev/retry-of": "a"}));
    assert_eq!(new["status"]["phase"], Value::Null);
    server.send(retry("nothing")).await.problem(404);
}

#[tokio::test]
async fn a_submission_may_say_which_job_it_repeats() {
    let server = Server::start().await;
    let annotation =
        |answer: &Value| answer["metadata"]["annotations"]["windlass.dev/retry-of"].clone();
    let body = |retry_of: Value| json!({"function": "price", "retryOf": retry_of});
    let answer = server.send(submit(&body(json!("gone")))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(annotation(&answer.json()), "gone");
    let answer = server.send(submit(&body(Value::Null))).await;
    assert_eq!(annotation(&answer.json()), Value::Null, "{answer:?}");
    for wrong in [json!("No Name"), json!(""), json!("a".repeat(5000)), json!(7)] {
        let problem = server.send(submit(&body(wrong.clone()))).await.problem(422);
        assert_eq!(problem["problems"][0]["pointer"], "/retryOf", "{wrong}");
        assert!(problem.to_string().len() < 2000, "{problem}");
    }
    // Under a key, another one is another request.
    let keyed = |name: &str| submit(&body(json!(name))).header("idempotency-key", "edited");
    assert_eq!(server.send(keyed("a")).await.status, 201);
    assert_eq!(server.send(keyed("a")).await.status, 200);
    assert_eq!(type_of(server.send(keyed("b")).await, 409), "/problems/idempotency-key-reused");
}

#[tokio::test]
async fn a_repeated_retry_is_one_job_also_when_the_first_is_gone() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.change("a", Phase::Succeeded);
    let keyed = |name: &str| retry(name).header("idempotency-key", "again");
    let first = server.send(keyed("a")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(server.send(Ask::good(Method::DELETE, format!("{JOBS}/a"))).await.status, 204);
    let second = server.send(keyed("a")).await;
    assert_eq!(
        (second.status.as_u16(), second.header("idempotency-replayed")),
        (200, Some("true"))
    );
    assert_eq!(second.json()["metadata"], first.json()["metadata"]);
    let other = server.send(keyed("b")).await;
    assert_eq!(type_of(other, 409), "/problems/idempotency-key-reused");
    let body = json!({"function": "price"});
    let other = server.send(submit(&body).header("idempotency-key", "again")).await;
    assert_eq!(type_of(other, 409), "/problems/idempotency-key-reused");
}

#[tokio::test]
async fn who_may_only_submit_or_only_read_may_not_retry() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.change("a", Phase::Succeeded);
    for token in [SUBMITTER, READER] {
        let ask = Ask::new(Method::POST, format!("{JOBS}/a/retry")).token(token);
        server.send(ask).await.problem(403);
    }
    assert_eq!(server.backend.names(), ["a"]);
}
