//! A function called as a function: raw input in, raw result out.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_core::Phase;
use windlass_core::idempotency::Key;
use windlass_core::status::FailureReason;

use crate::fake::SUBMITTER;
use crate::http::{Ask, Server, until};

const CALL: &str = "/v1/namespaces/default/functions/price/call";

fn call(query: &str, input: &Value) -> Ask {
    Ask::good(Method::POST, format!("{CALL}{query}")).json(input)
}

#[tokio::test]
async fn a_call_gives_the_result_as_it_is() {
    let server = Server::start().await;
    let end = async {
        until(|| server.backend.job("made-up").is_some()).await;
        server.backend.change("made-up", Phase::Running);
        server.backend.finish("made-up", b"\x00raw\xff", "image/png");
    };
    let query = "?parallelism=2&minParallelism=1&queue=some&priority=-3&timeoutSeconds=9&retries=0";
    let (answer, ()) = tokio::join!(server.send(call(query, &json!({"paths": 7}))), end);
    answer.assert_is_result("made-up", "image/png", b"\x00raw\xff");
    assert_eq!(answer.header("location"), Some("/v1/namespaces/default/jobs/made-up"));
    let spec = serde_json::to_value(server.backend.job("made-up").unwrap().spec).unwrap();
    for (field, value) in [
        ("function", json!("price")),
        ("input", json!({"paths": 7})),
        ("parallelism", json!(2)),
        ("minParallelism", json!(1)),
        ("queue", json!("some")),
        ("priority", json!(-3)),
        ("timeoutSeconds", json!(9)),
        ("retries", json!(0)),
    ] {
        assert_eq!(spec[field], value, "{field}");
    }
}

#[tokio::test]
async fn a_call_that_takes_longer_than_preferred_gives_the_job() {
    let server = Server::start().await;
    let answer = server.send(call("", &json!({})).header("prefer", "wait=0")).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("location"), Some("/v1/namespaces/default/jobs/made-up"));
    assert_eq!(answer.header("preference-applied"), Some("wait"));
    assert_eq!(answer.json()["metadata"]["name"], "made-up");
    // And one that nobody bounds takes the server's longest wait.
    let short = |gateway: &mut windlass_gateway::Gateway| {
        gateway.limits.wait = Duration::from_millis(50);
    };
    let server = Server::start_with(short).await;
    let answer = server.send(call("", &json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (202, None));
}

#[tokio::test]
async fn a_call_whose_job_lacks_its_queue_is_not_waited_for_and_one_that_waits_for_cpus_is() {
    let server = Server::start().await;
    let lacks = async {
        until(|| server.backend.job("made-up").is_some()).await;
        server.backend.waits("made-up", "QueueNotFound");
    };
    let ask = call("", &json!({})).header("prefer", "wait=50");
    let (answer, ()) = tokio::join!(server.send(ask), lacks);
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["status"]["conditions"][0]["reason"], "QueueNotFound");
    // What it lacks may be there in time.
    let server = Server::start().await;
    let waits = async {
        until(|| server.backend.job("made-up").is_some()).await;
        // The gateway follows it, and sees that it lacks something.
        until(|| server.backend.watchers("made-up") > 0).await;
        server.backend.waits("made-up", "QueueNotFound");
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.backend.waits("made-up", "WaitingForCpus");
        // Longer than what is missing is waited for.
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.backend.finish("made-up", b"{}", "application/json");
    };
    let (answer, ()) = tokio::join!(server.send(call("", &json!({}))), waits);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_end_without_a_result_is_a_problem_that_names_the_job() {
    for (reason, status, kind) in [
        (Some(FailureReason::BadInput), 422, "/problems/input-refused"),
        (Some(FailureReason::FunctionError), 502, "/problems/function-failed"),
        (Some(FailureReason::Crashed), 502, "/problems/function-failed"),
        (Some(FailureReason::Timeout), 502, "/problems/function-failed"),
        (None, 409, "/problems/cancelled"),
    ] {
        let server = Server::start().await;
        let end = async {
            until(|| server.backend.job("made-up").is_some()).await;
            match reason {
                Some(reason) => server.backend.fails("made-up", reason),
                None => server.backend.change("made-up", Phase::Cancelled),
            }
        };
        let (answer, ()) = tokio::join!(server.send(call("", &json!({}))), end);
        let problem = answer.problem(status);
        assert_eq!(problem["type"], kind);
        let path = "/v1/namespaces/default/jobs/made-up";
        assert_eq!(
            (problem["instance"].as_str(), answer.header("location")),
            (Some(path), Some(path))
        );
        match reason {
            Some(reason) => {
                assert_eq!(problem["failure"]["reason"], reason.as_str());
                assert_eq!(problem["failure"]["message"], "the words of the function");
            }
            None => assert!(problem["failure"].is_null()),
        }
    }
}

#[tokio::test]
async fn a_call_whose_job_is_deleted_is_a_problem() {
    let server = Server::start().await;
    let job = "/v1/namespaces/default/jobs/made-up";
    let delete = async {
        until(|| server.backend.job("made-up").is_some()).await;
        server.send(Ask::good(Method::DELETE, job)).await;
    };
    let (answer, ()) = tokio::join!(server.send(call("", &json!({}))), delete);
    let problem = answer.problem(404);
    assert_eq!(
        (&problem["type"], &problem["instance"]),
        (&"/problems/not-found".into(), &job.into())
    );
}

#[tokio::test]
async fn only_a_function_that_is_not_there_is_not_found() {
    let server = Server::start().await;
    let unusable = "/v1/namespaces/default/functions/unusable/call";
    let answer = server.send(Ask::good(Method::POST, unusable).json(&json!({}))).await;
    let problem = answer.problem(422);
    let why = problem["problems"][0]["message"].as_str().unwrap();
    assert!(why.contains("unusable inputSchema"), "{problem}");
}

#[tokio::test]
async fn a_wrong_call_is_told_in_the_words_of_a_call() {
    let server = Server::start().await;
    let pointers =
        async |query: &str, input: Value| server.send(call(query, &input)).await.pointers(422);
    assert_eq!(pointers("", json!({"paths": 0})).await, ["/paths"]);
    assert_eq!(pointers("", json!({"paths": u64::MAX})).await, ["/paths"]);
    assert_eq!(pointers("", json!([1])).await, [""]);
    assert_eq!(pointers("?parallelism=9", json!({})).await, [""]);
    for query in
        ["?cpus=1", "?parallelism=x", "?parallelism=-1", "?queue=A", "?retries=1&retries=2"]
    {
        let problem = server.send(call(query, &json!({}))).await.problem(400);
        assert_eq!(problem["type"], "/problems/query", "{query}");
    }
    let missing = "/v1/namespaces/default/functions/nope/call";
    let problem = server.send(Ask::good(Method::POST, missing).json(&json!({}))).await.problem(404);
    assert!(problem["detail"].as_str().unwrap().contains("price"), "{problem}");
    server.send(Ask::good(Method::POST, CALL).body("{}")).await.problem(415);
    let large = json!({"x": "y".repeat(128 * 1024)});
    server.send(call("", &large)).await.problem(413);
    assert!(server.backend.names().is_empty());
}

#[tokio::test]
async fn a_caller_who_went_away_finds_the_result_by_its_key() {
    let server = Server::start().await;
    let name = Key::parse(b"k").unwrap().job_name();
    let ask = || call("?parallelism=1", &json!({"paths": 7})).header("idempotency-key", "k");
    // The connection is dropped with the future.
    tokio::select! {
        answer = server.send(ask()) => panic!("{answer:?}"),
        () = until(|| server.backend.job(&name).is_some()) => {}
    }
    server.backend.finish(&name, b"42", "text/plain");
    assert!(!server.backend.job(&name).unwrap().spec.cancel);
    let answer = server.send(ask()).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"42"[..]));
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    let other = call("?parallelism=2", &json!({"paths": 7})).header("idempotency-key", "k");
    server.send(other).await.problem(409);
}

#[tokio::test]
async fn who_may_submit_but_not_read_may_not_call() {
    let server = Server::start().await;
    let ask = Ask::new(Method::POST, CALL).token(SUBMITTER).json(&json!({}));
    server.send(ask).await.problem(403);
    assert!(server.backend.names().is_empty());
}
