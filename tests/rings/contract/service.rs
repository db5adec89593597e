//! Calls of a function, queues, some fields, and a log.

use std::time::Duration;

use serde_json::json;

use super::{finished, long, names};
use crate::support::eventually;
use crate::support::http::Client;

pub(super) fn a_function_is_called(client: &Client) {
    let path = format!("/v1/namespaces/{}/functions/echo/call", client.namespace);
    let call = |headers: &[(&str, &str)]| {
        client.post(&format!("{path}?parallelism=2&retries=0"), headers, br#"{"hello":"world"}"#)
    };
    let answer = call(&[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["input"], json!({ "hello": "world" }));
    assert_eq!(answer.json()["threads"], 2);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    // It is a job like any other.
    let location = answer.header("location").unwrap();
    let result = client.get(&format!("{location}/result"));
    assert_eq!((&result.body, result.header("etag")), (&answer.body, answer.header("etag")));
    // Under a key, once.
    let keyed = [("Idempotency-Key", "call-1")];
    let (first, again) = (call(&keyed), call(&keyed));
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((first.body, first.headers.len() + 1), (again.body, again.headers.len()));

    let status =
        |query: &str, body: &[u8]| client.post(&format!("{path}{query}"), &[], body).status;
    assert_eq!(status("?cpus=2", b"{}"), 400);
    assert_eq!(status("", b"["), 400);
    assert_eq!(status("?parallelism=65", b"{}"), 422);
    let missing = path.replace("echo", "nothing");
    assert_eq!(client.post(&missing, &[], b"{}").status, 404);
}

pub(super) fn a_call_whose_job_is_cancelled_says_so(client: &Client) {
    let path = format!("/v1/namespaces/{}/functions/price/call?parallelism=1", client.namespace);
    let input = long()["input"].to_string();
    let key = ("Idempotency-Key", "call-2");
    let early = client.post(&path, &[key, ("Prefer", "wait=0")], input.as_bytes());
    assert_eq!(early.status, 202, "{early:?}");
    let location = early.header("location").unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.post(&path, &[key], input.as_bytes()));
        assert!(matches!(client.post(&format!("{location}/cancel"), &[], b"").status, 200 | 202));
        let answer = call.join().unwrap();
        assert_eq!(answer.status, 409, "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["type"], "/problems/cancelled");
        assert_eq!(
            (problem["instance"].as_str(), answer.header("location")),
            (Some(location), Some(location))
        );
    });
}

pub(super) fn queues_are_shown(client: &Client) {
    let path = format!("/v1/namespaces/{}/queues", client.namespace);
    let list = client.get(&path);
    assert_eq!((list.status, &list.json()["kind"]), (200, &json!("ComputeQueueList")), "{list:?}");
    let list = list.json();
    let items = list["items"].as_array().unwrap();
    let listed = items.iter().find(|queue| queue["metadata"]["name"] == "small").unwrap();
    assert_eq!((&listed["spec"]["cpus"], &listed["spec"]["weight"]), (&json!(2), &json!(3)));
    let one = client.get(&format!("{path}/small")).json();
    assert_eq!((&one["kind"], &one["spec"]), (&json!("ComputeQueue"), &listed["spec"]));
    assert_eq!(client.get(&format!("{path}/nothing")).status, 404);

    let mut body = long();
    (body["queue"], body["parallelism"]) = (json!("small"), json!(2));
    let jobs: Vec<String> =
        (0..2).map(|_| client.submit(&body).header("location").unwrap().to_owned()).collect();
    eventually("one runs and one waits", Duration::from_secs(60), || {
        let one = client.get(&format!("{path}/small")).json();
        (one["status"] == json!({ "granted": 2, "waiting": 1 })).then_some(())
    });
    for job in jobs {
        assert_eq!(client.send("DELETE", &job, &[], b"").status, 204);
    }
}

pub(super) fn some_fields_are_given_instead_of_all(client: &Client) {
    let job = client.run(&json!({ "name": "in-small", "function": "echo", "queue": "small" }));
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    let some = json!({ "metadata": { "name": "in-small" }, "status": { "phase": "Succeeded" } });
    let query = "fields=metadata.name,status.phase";
    assert_eq!(client.get(&client.jobs(&format!("/in-small?{query}"))).json(), some);
    let list = client.get(&client.jobs(&format!("?queue=small&{query}"))).json();
    assert_eq!(list["items"], json!([some]));
    // A job that names no queue is of the default one.
    let list = client.get(&client.jobs(&format!("?queue=default&{query}"))).json();
    let names = names(&list);
    assert!(names.contains(&"first") && !names.contains(&"in-small"), "{names:?}");
    assert!(names.is_sorted(), "{names:?}");
    for query in ["?fields=", "?fields=status.nothing", "?queue=A", "/in-small?fields=spec.input.x"]
    {
        assert_eq!(client.get(&client.jobs(query)).status, 400, "{query}");
    }
}

pub(super) fn a_log_is_followed_to_the_end_of_its_job(client: &Client) {
    let answer = client.submit(&long());
    let location = answer.header("location").unwrap();
    std::thread::scope(|scope| {
        let path = format!("{location}/logs?follow=true&tailBytes=100");
        let follow = scope.spawn(move || client.get(&path));
        assert!(matches!(client.post(&format!("{location}/cancel"), &[], b"").status, 200 | 202));
        let said = follow.join().unwrap();
        assert_eq!((said.status, said.header("content-length")), (200, None), "{said:?}");
        assert_eq!(said.header("content-type"), Some("text/plain; charset=utf-8"));
    });
    assert_eq!(finished(client, location)["status"]["phase"], "Cancelled");
    // After the end there is only what was said. On a cluster a job that is cancelled may lose that with its pod.
    let said = client.get(&format!("{location}/logs?follow=true"));
    let is_kept = said.status == 200 || said.json()["type"] == "/problems/gone";
    assert!(is_kept, "{said:?}");
    assert_eq!(client.get(&client.jobs("/first/logs?follow=true")).status, 200);
    assert_eq!(client.get(&client.jobs("/nothing/logs?follow=true")).status, 404);
    assert_eq!(client.get(&client.jobs("/first/logs?tailBytes=x")).status, 400);
}
