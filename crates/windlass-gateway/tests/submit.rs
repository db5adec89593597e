//! What is accepted, what is refused with which words, and how a submit waits.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_core::Phase;

use crate::fake::SUBMITTER;
use crate::http::{Answer, Ask, Server, bounded, until};

const JOBS: &str = "/v1/namespaces/default/jobs";

fn submit(body: &Value) -> Ask {
    Ask::good(Method::POST, JOBS).json(body)
}

/// Submits job `a` and waits for its end, while something else is done to the new job.
async fn submit_meanwhile<T>(server: &Server, work: impl Future<Output = T>) -> (Answer, T) {
    let ask = submit(&json!({"function": "price", "name": "a"})).header("prefer", "wait=60");
    let meanwhile = async {
        until(|| server.backend.job("a").is_some()).await;
        work.await
    };
    tokio::join!(server.send(ask), meanwhile)
}

#[tokio::test]
async fn accepted_job_is_shown_whole_and_has_a_location() {
    let server = Server::start().await;
    let body = json!({"name": "a", "function": "price", "input": {"paths": 7}, "parallelism": 2});
    let answer = server.send(submit(&body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/v1/namespaces/default/jobs/a"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("preference-applied"), None);
    let job = answer.json();
    assert_eq!(job["apiVersion"], "windlass.dev/v1alpha1");
    assert_eq!(job["kind"], "ComputeJob");
    assert_eq!(job["metadata"]["name"], "a");
    assert_eq!(job["spec"]["input"], json!({"paths": 7}));
    assert_eq!(server.backend.names(), ["a"]);
}

#[tokio::test]
async fn a_name_is_made_up_where_none_is_given_and_taken_only_once() {
    let server = Server::start().await;
    let anonymous = server.send(submit(&json!({"function": "price"}))).await;
    assert_eq!(anonymous.json()["metadata"]["name"], "made-up");
    let again = json!({"function": "price", "name": "made-up"});
    server.send(submit(&again)).await.problem(409);
}

#[tokio::test]
async fn an_integer_that_would_become_a_float_is_refused() {
    let server = Server::start().await;
    let body = r#"{"function": "price", "input": {"seeds": [1, 18446744073709551616]}}"#;
    let ask = Ask::good(Method::POST, JOBS).header("content-type", "application/json").body(body);
    assert_eq!(server.send(ask).await.pointers(422), ["/input/seeds/1"]);
    // What reads to the last digit on one machine would be a float on a cluster.
    let body = json!({"function": "price", "input": {"seed": u64::MAX}});
    assert_eq!(server.send(submit(&body)).await.pointers(422), ["/input/seed"]);
    assert!(server.backend.names().is_empty());
    let body = json!({"function": "price", "input": {"seed": i64::MIN, "far": 1e30}});
    assert_eq!(server.send(submit(&body)).await.json()["spec"]["input"], body["input"]);
}

#[tokio::test]
async fn every_problem_of_a_wrong_job_is_named_and_nothing_is_created() {
    let server = Server::start().await;
    for (body, pointers) in [
        (json!({"function": "price", "parallelism": 0}), vec!["/parallelism"]),
        (json!({"function": "price", "parallelism": 5}), vec!["/parallelism"]),
        (json!({"function": "price", "parallelism": 4, "queue": "small"}), vec!["/parallelism"]),
        (json!({"function": "price", "queue": "Not A Name"}), vec!["/queue"]),
        (json!({"function": "price", "parallelism": -1}), vec!["/parallelism"]),
        (json!({"function": "price", "parallelism": "two"}), vec!["/parallelism"]),
        (json!({"function": "price", "cpus": 2, "nodes": 1}), vec!["/cpus", "/nodes"]),
        (
            json!({"function": "price", "input": {"paths": 0, "strike": "x"}, "priority": 2000}),
            vec!["/priority", "/input/paths", "/input/strike"],
        ),
        (json!({"function": "price", "input": []}), vec!["/input"]),
        (json!({"function": "nope"}), vec!["/function"]),
        (json!({"function": "../../etc"}), vec!["/function"]),
        (json!({"function": "nope", "name": "A"}), vec!["/name", "/function"]),
        (json!({"function": "price", "name": "A", "retries": 101}), vec!["/name", "/retries"]),
        (json!({"function": "price", "name": 7}), vec!["/name"]),
        (json!({"input": {}}), vec![""]),
        (json!(["price"]), vec![""]),
        (json!("price"), vec![""]),
    ] {
        let answer = server.send(submit(&body)).await;
        assert_eq!(answer.pointers(422), pointers, "{body}\n{answer:?}");
    }
    assert!(server.backend.names().is_empty());
}

#[tokio::test]
async fn an_unknown_function_is_answered_with_those_that_exist() {
    let server = Server::start().await;
    let answer = server.send(submit(&json!({"function": "nope"}))).await;
    let message = answer.problem(422)["problems"][0]["message"].to_string();
    assert!(message.contains("nope") && message.contains("price"), "{message}");
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let server = Server::start().await;
    let deep = "[".repeat(100_000);
    for body in ["", "{", "{\"function\":\"price\"", "function=price", "\u{feff}{}", &deep] {
        let ask = Ask::good(Method::POST, JOBS).header("content-type", "application/json");
        let problem = server.send(ask.body(body.to_owned())).await.problem(400);
        assert_eq!(problem["type"], "/problems/malformed");
    }
    assert!(server.backend.names().is_empty());
}

#[tokio::test]
async fn only_uncompressed_json_is_read() {
    let server = Server::start().await;
    let body = json!({"function": "price"}).to_string();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let ask = Ask::good(Method::POST, JOBS).header("content-type", wrong);
        server.send(ask.body(body.clone())).await.problem(415);
    }
    server.send(Ask::good(Method::POST, JOBS).body(body.clone())).await.problem(415);
    let packed = submit(&json!({"function": "price"})).header("content-encoding", "gzip");
    server.send(packed).await.problem(415);
    assert!(server.backend.names().is_empty());
    let ask = Ask::good(Method::POST, JOBS)
        .header("content-type", "Application/JSON; charset=utf-8")
        .body(body);
    assert_eq!(server.send(ask).await.status, 201);
}

#[tokio::test]
async fn an_input_of_128_kib_is_taken_and_one_byte_more_is_413() {
    let server = Server::start().await;
    let overhead = json!({"x": ""}).to_string().len();
    let fits = "x".repeat(128 * 1024 - overhead);
    let body = json!({"function": "price", "name": "fits", "input": {"x": fits}});
    assert_eq!(server.send(submit(&body)).await.status, 201);
    for more in [1, 60 * 1024, 1024 * 1024] {
        let large = format!("{fits}{}", "x".repeat(more));
        let body = json!({"function": "price", "input": {"x": large}});
        let problem = server.send(submit(&body)).await.problem(413);
        assert_eq!(problem["type"], "/problems/too-large");
        // However large it is, its sender is told what to do.
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("by PUT to .../blobs/sha256:DIGEST"), "{detail}");
    }
    assert_eq!(server.backend.names(), ["fits"]);
}

#[tokio::test]
async fn prefer_wait_answers_with_the_finished_job() {
    let server = Server::start().await;
    let finish = async {
        server.backend.change("a", Phase::Running);
        server.backend.finish("a", b"{}", "application/json");
    };
    let (answer, ()) = submit_meanwhile(&server, finish).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"]["phase"], "Succeeded");
    assert_eq!(answer.header("preference-applied"), Some("wait"));
}

#[tokio::test]
async fn prefer_wait_gives_the_location_when_the_time_is_over() {
    let server = Server::start().await;
    for (wait, name) in [("wait=0", "a"), ("wait=1", "b")] {
        let ask = submit(&json!({"function": "price", "name": name})).header("prefer", wait);
        let answer = server.send(ask).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json()["metadata"]["name"], name);
        let location = format!("/v1/namespaces/default/jobs/{name}");
        assert_eq!(answer.header("location"), Some(location.as_str()));
        assert_eq!(answer.header("preference-applied"), Some("wait"));
    }
}

#[tokio::test]
async fn a_deletion_while_waiting_is_no_error_of_the_submit() {
    let server = Server::start().await;
    let delete = server.send(Ask::good(Method::DELETE, format!("{JOBS}/a")));
    let (answer, deleted) = submit_meanwhile(&server, delete).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn who_may_submit_but_not_watch_is_answered_at_once() {
    let server = Server::start().await;
    let ask = Ask::new(Method::POST, JOBS)
        .token(SUBMITTER)
        .header("prefer", "wait=60")
        .json(&json!({"function": "price"}));
    let answer = server.send(ask).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("preference-applied"), None);
}

#[tokio::test]
async fn a_wait_may_last_longer_than_a_request() {
    let server =
        Server::start_with(|gateway| gateway.limits.request = Duration::from_millis(200)).await;
    let finish = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        server.backend.finish("a", b"", "text/plain");
    };
    let (answer, ()) = bounded(submit_meanwhile(&server, finish)).await;
    assert_eq!(answer.status, 200);
}
