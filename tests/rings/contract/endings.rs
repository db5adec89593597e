//! Jobs that are cancelled and deleted, and requests that are refused.

use serde_json::json;

use super::{finished, long};
use crate::support::http::Client;

pub(super) fn a_cancelled_job_ends_cancelled(client: &Client) {
    let answer = client.submit(&long());
    assert_eq!(answer.status, 201, "{answer:?}");
    let location = answer.header("location").unwrap().to_owned();
    let cancel = client.post(&format!("{location}/cancel"), &[], b"");
    assert!(matches!(cancel.status, 200 | 202), "{cancel:?}");
    let job = finished(client, &location);
    assert_eq!(job["status"]["phase"], "Cancelled", "{job}");
    assert_eq!(client.get(&format!("{location}/result")).status, 409);
    // Cancelling again changes nothing.
    assert_eq!(client.post(&format!("{location}/cancel"), &[], b"").status, 200);
}

pub(super) fn a_deleted_job_is_gone(client: &Client) {
    let answer = client.submit(&json!({ "name": "short-lived", "function": "echo" }));
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(client.send("DELETE", &location, &[], b"").status, 204);
    assert_eq!(client.get(&location).status, 404);
    assert_eq!(client.send("DELETE", &location, &[], b"").status, 404);
}

pub(super) fn bad_input_is_refused_and_nothing_is_created(client: &Client) {
    let before = client.get(&client.jobs("")).json()["items"].as_array().unwrap().len();
    let large = json!({ "function": "echo", "input": { "x": "y".repeat(128 * 1024) } });
    let table = [
        (json!({ "function": "nothing" }).to_string(), 422, "/function"),
        (json!({ "function": "echo", "parallelism": 0 }).to_string(), 422, "/parallelism"),
        (json!({ "function": "echo", "parallelism": 65 }).to_string(), 422, "/parallelism"),
        (json!({ "function": "price", "input": { "paths": 7 } }).to_string(), 422, "/input"),
        (json!({ "function": "echo", "cpus": 2 }).to_string(), 422, "/cpus"),
        (json!({ "function": "echo", "name": "A B" }).to_string(), 422, "/name"),
        ("{\"function\":".to_owned(), 400, ""),
        (large.to_string(), 413, ""),
    ];
    for (body, status, pointer) in table {
        let answer = client.post(&client.jobs(""), &[], body.as_bytes());
        let shown = &body[..body.len().min(80)];
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown}");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        if !pointer.is_empty() {
            let problems = problem["problems"].as_array().unwrap();
            let named =
                problems.iter().any(|p| p["pointer"].as_str().unwrap().starts_with(pointer));
            assert!(named, "{shown}: {problem}");
        }
    }
    let form = client.post(&client.jobs(""), &[("Content-Type", "text/plain")], b"{}");
    assert_eq!(form.status, 415);
    let after = client.get(&client.jobs("")).json()["items"].as_array().unwrap().len();
    assert_eq!(before, after, "something was created");
}

pub(super) fn who_has_no_token_gets_nothing(client: &Client) {
    for token in ["", "nothing"] {
        let stranger = Client { token: token.into(), ..client.clone() };
        for path in [client.jobs(""), client.jobs("/first"), "/v1/anything".into()] {
            assert_eq!(stranger.get(&path).status, 401, "{path} with {token:?}");
        }
        assert_eq!(stranger.submit(&json!({ "function": "echo" })).status, 401);
    }
    let elsewhere = Client { namespace: "kube-system".into(), ..client.clone() };
    assert_eq!(elsewhere.get(&elsewhere.jobs("/first")).status, 404);
}

pub(super) fn what_is_not_there_is_not_found(client: &Client) {
    for rest in ["/nothing", "/nothing/result", "/nothing/events"] {
        let answer = client.get(&client.jobs(rest));
        assert_eq!(answer.status, 404, "{rest}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{rest}");
    }
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(client.get("/readyz").status, 200);
}
