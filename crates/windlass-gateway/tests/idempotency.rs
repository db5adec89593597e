//! A request that is sent again is one job.

use http::Method;
use serde_json::{Value, json};
use windlass_core::Phase;
use windlass_core::idempotency::Key;

use crate::fake::SUBMITTER;
use crate::http::{Answer, Ask, Server, until};

const JOBS: &str = "/v1/namespaces/default/jobs";

fn submit(key: &str, body: &Value) -> Ask {
    Ask::good(Method::POST, JOBS).header("idempotency-key", key).json(body)
}

fn name_of(key: &str) -> String {
    Key::parse(key.as_bytes()).unwrap().job_name()
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn a_repeated_submission_is_the_same_job() {
    let server = Server::start().await;
    let body = json!({"function": "price", "input": {"paths": 7, "strike": 1.5}});
    let first = server.send(submit("order-17", &body)).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.header("idempotency-replayed"), None);
    let location = format!("{JOBS}/{}", name_of("order-17"));
    assert_eq!(first.header("location"), Some(location.as_str()));

    // What it says counts, not how it is written.
    let rewritten = r#" {"input":{"strike":1.5,"paths":7}, "function":"price"}"#;
    let again = Ask::good(Method::POST, JOBS)
        .header("idempotency-key", "order-17")
        .header("content-type", "application/json")
        .body(rewritten);
    let again = server.send(again).await;
    assert_eq!((again.status.as_u16(), is_replay(&again)), (200, true), "{again:?}");
    assert_eq!(again.header("location"), Some(location.as_str()));
    assert_eq!(again.json()["metadata"], first.json()["metadata"]);

    assert_eq!(server.send(submit("order-18", &body)).await.status, 201);
    assert_eq!(server.backend.names().len(), 2);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let server = Server::start().await;
    let body = json!({"function": "price", "input": {"paths": 7}});
    assert_eq!(server.send(submit("k", &body)).await.status, 201);
    for other in [
        json!({"function": "price", "input": {"paths": 8}}),
        json!({"function": "price", "input": {"paths": 7}, "priority": 1}),
        json!({"function": "price"}),
    ] {
        let problem = server.send(submit("k", &other)).await.problem(409);
        assert_eq!(problem["type"], "/problems/idempotency-key-reused");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("job \"key-") && detail.contains("delete that job"), "{detail}");
    }
    // Nor is a job of that name which no key has made.
    server.backend.put(&name_of("squatted"));
    server.send(submit("squatted", &body)).await.problem(409);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let server = Server::start().await;
    let body = json!({"function": "price"});
    for key in ["", "a b", "\u{e4}", &"x".repeat(256)] {
        let problem = server.send(submit(key, &body)).await.problem(400);
        assert_eq!(problem["type"], "/problems/idempotency-key");
    }
    let twice = submit("a", &body).header("idempotency-key", "b");
    server.send(twice).await.problem(400);
    let named = json!({"function": "price", "name": "a"});
    assert_eq!(server.send(submit("k", &named)).await.pointers(422), ["/name"]);
    assert!(server.backend.names().is_empty());
}

#[tokio::test]
async fn requests_that_race_are_one_job() {
    let server = Server::start().await;
    let body = json!({"function": "price"});
    let sent = (0..16).map(|_| server.send(submit("k", &body)));
    let answers = futures::future::join_all(sent).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    let replayed = answers.iter().filter(|answer| answer.status == 200 && is_replay(answer));
    assert_eq!(replayed.count(), 15);
    assert_eq!(server.backend.names(), [name_of("k")]);
}

#[tokio::test]
async fn a_job_whose_reply_was_lost_is_found_again() {
    let server = Server::start().await;
    let body = json!({"function": "price"});
    *server.backend.loses_replies.lock().unwrap() = true;
    server.send(submit("k", &body)).await.problem(503);
    let again = server.send(submit("k", &body)).await;
    assert_eq!((again.status.as_u16(), is_replay(&again)), (200, true));
    assert_eq!(server.backend.names(), [name_of("k")]);
}

#[tokio::test]
async fn a_repetition_can_be_waited_for() {
    let server = Server::start().await;
    let body = json!({"function": "price"});
    server.send(submit("k", &body)).await;
    let name = name_of("k");
    let early = server.send(submit("k", &body).header("prefer", "wait=0")).await;
    assert_eq!((early.status.as_u16(), is_replay(&early)), (202, true));
    let finish = async {
        until(|| server.backend.watchers(&name) > 0).await;
        server.backend.finish(&name, b"{}", "application/json");
    };
    let ask = submit("k", &body).header("prefer", "wait=60");
    let (answer, ()) = tokio::join!(server.send(ask), finish);
    assert_eq!((answer.status.as_u16(), is_replay(&answer)), (200, true));
    assert_eq!(answer.json()["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn a_job_under_a_key_is_kept_for_a_day() {
    let server = Server::start().await;
    let body = json!({"function": "price", "ttlSecondsAfterFinished": 1});
    let job = server.send(submit("k", &body)).await.json();
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86_400);
    assert_eq!(server.send(submit("k", &body)).await.status, 200);
    // Without a key, what was asked for.
    let job = server.send(Ask::good(Method::POST, JOBS).json(&body)).await.json();
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 1);
}

#[tokio::test]
async fn who_may_submit_but_not_read_learns_nothing_by_repeating() {
    let server = Server::start().await;
    let ask_for = |input: Value| {
        Ask::new(Method::POST, JOBS)
            .token(SUBMITTER)
            .header("idempotency-key", "k")
            .json(&json!({"function": "price", "input": input}))
    };
    let ask = || ask_for(json!({"paths": 6}));
    let first = server.send(ask()).await.json();
    server.backend.change(&name_of("k"), Phase::Running);
    let path = format!("{JOBS}/{}", name_of("k"));
    let cancelled = server.send(Ask::good(Method::POST, format!("{path}/cancel"))).await;
    assert_eq!(cancelled.json()["spec"]["cancel"], true);
    let again = server.send(ask()).await;
    assert_eq!((again.status.as_u16(), is_replay(&again)), (200, true));
    let again = again.json();
    assert_eq!((&again["spec"], &again["status"]), (&first["spec"], &first["status"]));
    for (field, value) in again["metadata"].as_object().unwrap() {
        assert_eq!(value, &first["metadata"][field], "{field}");
    }
    for changing in ["resourceVersion", "generation"] {
        assert!(again["metadata"][changing].is_null(), "{again}");
    }
    // Another's key is taken, as a name would be, and no more is said.
    let problem = server.send(ask_for(json!({"paths": 7}))).await.problem(409);
    assert_eq!(problem["type"], "/problems/idempotency-key-reused");
    assert!(problem.get("failure").is_none() && problem.get("instance").is_none(), "{problem}");
}
