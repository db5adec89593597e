//! What goes wrong in the back end, and what callers are told of it.

use std::time::Duration;

use http::Method;
use serde_json::json;
use windlass_core::Error;

use crate::fake::Fault;
use crate::http::{Ask, Server};

const JOBS: &str = "/v1/namespaces/default/jobs";

fn list() -> Ask {
    Ask::good(Method::GET, JOBS)
}

#[tokio::test]
async fn a_panic_is_500_and_the_server_lives_on() {
    let server = Server::start().await;
    let submit = Ask::good(Method::POST, JOBS).json(&json!({"function": "price"}));
    for ask in [list(), submit, Ask::new(Method::GET, "/readyz")] {
        server.backend.fail(Fault::Panic);
        let answer = server.send(ask.clone()).await;
        answer.problem(500);
        assert!(!String::from_utf8_lossy(&answer.body).contains("panic of a test"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        server.backend.fail(None);
        assert!(server.send(ask).await.status.is_success());
    }
}

#[tokio::test]
async fn a_defect_is_told_to_the_log_only() {
    let server = Server::start().await;
    server.backend.fail(Fault::Fails(Error::Bug("secret internals".into())));
    let answer = server.send(list()).await;
    let problem = answer.problem(500);
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

#[tokio::test]
async fn what_is_out_of_reach_has_a_time_to_come_back() {
    let server = Server::start().await;
    server.backend.fail(Fault::Fails(Error::Unavailable {
        message: "the store does not answer".into(),
        retry_after: Duration::from_millis(1),
    }));
    let answer = server.send(list()).await;
    assert_eq!(answer.problem(503)["detail"], "the store does not answer");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn what_a_rule_refuses_is_403_with_its_words() {
    let server = Server::start().await;
    let words = "exceeded quota: jobs, requested: count/computejobs.windlass.dev=1";
    server.backend.fail(Fault::Fails(Error::Refused(words.into())));
    let submit = Ask::good(Method::POST, JOBS).json(&json!({"function": "price"}));
    assert_eq!(server.send(submit).await.problem(403)["detail"], words);
}

#[tokio::test]
async fn a_back_end_that_hangs_is_504() {
    let server =
        Server::start_with(|gateway| gateway.limits.request = Duration::from_millis(100)).await;
    server.backend.fail(Fault::Late(Duration::from_secs(3_600)));
    server.send(list()).await.problem(504);
    let submit = Ask::good(Method::POST, JOBS).json(&json!({"function": "price"}));
    server.send(submit).await.problem(504);
    server.send(Ask::good(Method::GET, format!("{JOBS}/a/events"))).await.problem(504);
}

#[tokio::test]
async fn readiness_follows_the_back_end_and_life_does_not() {
    let server = Server::start().await;
    let ready = || Ask::new(Method::GET, "/readyz");
    assert_eq!(server.send(ready()).await.status, 200);
    server.backend.fail(Fault::Fails(Error::unavailable("address of the store")));
    let not = server.send(ready()).await.problem(503);
    assert!(!not.to_string().contains("store"), "{not}");
    assert_eq!(server.send(Ask::new(Method::GET, "/healthz")).await.status, 200);
}

#[tokio::test]
async fn every_answer_has_the_headers_against_browsers() {
    let server = Server::start().await;
    for ask in [list(), Ask::new(Method::GET, "/healthz"), Ask::new(Method::GET, "/x")] {
        let answer = server.send(ask).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}
