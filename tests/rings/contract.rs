//! One list of scenarios over HTTP, the same on one machine and on a cluster.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::{Namespace, kubectl};
use crate::support::eventually;
use crate::support::http::{Answer, Client};
use crate::support::server::Server;

#[test]
fn one_machine_keeps_the_contract() {
    let manifests = tempfile::tempdir().unwrap();
    std::fs::write(manifests.path().join("queue.json"), queue().to_string()).unwrap();
    let server = Server::start(&["--cpus", "2", "--functions", manifests.path().to_str().unwrap()]);
    every_scenario(&server.client);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_cluster_keeps_the_contract() {
    let namespace = Namespace::new("contract");
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &queue().to_string()).unwrap();
    every_scenario(&namespace.client());
}

/// A queue for some of the jobs.
fn queue() -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": "small" }, "spec": { "cpus": 2, "weight": 3 },
    })
}

fn every_scenario(client: &Client) {
    a_submitted_job_gives_its_result(client);
    a_job_can_be_waited_for(client);
    a_job_explains_where_its_time_went(client);
    a_large_result_comes_whole_and_in_parts(client);
    a_name_is_given_once(client);
    jobs_are_listed(client);
    a_repeated_submission_is_the_same_job(client);
    submissions_that_race_are_one_job(client);
    a_function_is_called(client);
    a_call_whose_job_is_cancelled_says_so(client);
    queues_are_shown(client);
    some_fields_are_given_instead_of_all(client);
    a_log_is_followed_to_the_end_of_its_job(client);
    a_cancelled_job_ends_cancelled(client);
    a_deleted_job_is_gone(client);
    bad_input_is_refused_and_nothing_is_created(client);
    who_has_no_token_gets_nothing(client);
    what_is_not_there_is_not_found(client);
}

fn submit(client: &Client, body: &Value) -> Answer {
    client.post(&client.jobs(""), &[], body.to_string().as_bytes())
}

fn wait(client: &Client, body: &Value) -> Value {
    let headers = [("Prefer", "wait=60")];
    let answer = client.post(&client.jobs(""), &headers, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn a_submitted_job_gives_its_result(client: &Client) {
    let answer =
        submit(client, &json!({ "name": "first", "function": "echo", "input": { "a": [1, "b"] } }));
    assert_eq!(answer.status, 201, "{answer:?}");
    let job = answer.json();
    assert_eq!(job["kind"], "ComputeJob");
    assert_eq!(job["metadata"]["name"], "first");
    let location = answer.header("location").unwrap().to_owned();
    let finished = finished(client, &location);
    assert_eq!(finished["status"]["phase"], "Succeeded", "{finished}");
    let result = client.get(&format!("{location}/result"));
    assert_eq!(result.status, 200);
    assert_eq!(result.header("content-type"), Some("application/json"));
    assert_eq!(result.json()["input"], json!({ "a": [1, "b"] }));
    let digest = finished["status"]["result"]["sha256"].as_str().unwrap();
    assert!(result.header("etag").unwrap().contains(digest), "{result:?}");
    // What it said, which is nothing; on a cluster its pod may be gone already.
    let logs = client.get(&format!("{location}/logs"));
    assert_eq!((logs.status, logs.body.as_slice()), (200, &b""[..]), "{logs:?}");
    assert_eq!(logs.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(logs.header("x-content-type-options"), Some("nosniff"));
}

/// Follows the job's events until it has ended.
fn finished(client: &Client, location: &str) -> Value {
    let events = client.get(&format!("{location}/events"));
    assert_eq!(events.status, 200, "{events:?}");
    let text = String::from_utf8(events.body).unwrap();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap();
    serde_json::from_str(last).unwrap()
}

fn a_job_explains_where_its_time_went(client: &Client) {
    let job = wait(client, &json!({ "function": "echo" }));
    let name = job["metadata"]["name"].as_str().unwrap();
    let told = client.get(&client.jobs(&format!("/{name}/explain")));
    assert_eq!(told.status, 200, "{told:?}");
    let told = told.json();
    assert_eq!(told["phase"], "Succeeded", "{told}");
    let parts = told["parts"].as_array().unwrap();
    let seconds: f64 = parts.iter().map(|part| part["seconds"].as_f64().unwrap()).sum();
    let time = |name: &str| -> jiff::Timestamp {
        job["status"]["timeline"][name].as_str().unwrap().parse().unwrap()
    };
    let wall = time("finished").duration_since(time("created")).as_secs_f64();
    assert!((seconds - wall).abs() <= 0.01 * wall, "{seconds} of {wall} s: {told}");
    assert_eq!(parts.last().unwrap()["name"], "running", "{told}");
    assert_eq!(client.get(&client.jobs("/nothing/explain")).status, 404);
}

fn a_job_can_be_waited_for(client: &Client) {
    let job = wait(client, &json!({ "function": "echo", "parallelism": 2 }));
    let status = &job["status"];
    assert_eq!(status["phase"], "Succeeded");
    assert_eq!(status["parallelism"], 2);
    let finished =
        &status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Finished");
    assert_eq!(finished.unwrap()["status"], "True");
    let text: Value = serde_json::from_str(status["result"]["text"].as_str().unwrap()).unwrap();
    // The function itself counted its threads.
    assert_eq!((&text["parallelism"], &text["threads"]), (&json!(2), &json!(2)));
    for moment in ["created", "admitted", "running", "finished"] {
        assert!(status["timeline"][moment].is_string(), "{moment}: {status}");
    }
    assert!(status["usage"]["peakMemoryBytes"].as_u64().unwrap() > 0);
}

fn a_large_result_comes_whole_and_in_parts(client: &Client) {
    let mut input: Value = serde_json::from_str(include_str!("../../examples/scene.json")).unwrap();
    (input["width"], input["height"], input["samples"]) = (json!(256), json!(192), json!(2));
    let job = wait(client, &json!({ "function": "render", "input": input }));
    let result = &job["status"]["result"];
    assert!(result["location"].is_string(), "{result}");
    assert!(result.get("text").is_none() && result.get("base64").is_none(), "{result}");
    let path = client.jobs(&format!("/{}/result", job["metadata"]["name"].as_str().unwrap()));
    let whole = client.get(&path);
    assert_eq!(whole.status, 200);
    assert_eq!(whole.header("content-type"), Some("image/png"));
    assert_eq!(Some(whole.body.len() as u64), result["bytes"].as_u64());
    assert_eq!(result["sha256"], windlass_core::result::sha256(&whole.body));
    let tag = whole.header("etag").unwrap().to_owned();
    let middle = whole.body.len() / 2;
    for (range, expected) in [
        ("bytes=0-7".to_owned(), &whole.body[..8]),
        (format!("bytes={middle}-"), &whole.body[middle..]),
        ("bytes=-1".to_owned(), &whole.body[whole.body.len() - 1..]),
    ] {
        let headers = [("Range", range.as_str()), ("If-Range", tag.as_str())];
        let part = client.send("GET", &path, &headers, b"");
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == expected, "{range}");
    }
    let known = client.send("GET", &path, &[("If-None-Match", tag.as_str())], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
}

fn a_name_is_given_once(client: &Client) {
    let body = json!({ "name": "twice", "function": "echo" });
    assert_eq!(submit(client, &body).status, 201);
    let second = submit(client, &body);
    assert_eq!(second.status, 409);
    assert_eq!(second.header("content-type"), Some("application/problem+json"));
}

fn jobs_are_listed(client: &Client) {
    let all = client.get(&client.jobs("")).json();
    let names: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["metadata"]["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"first") && names.contains(&"twice"), "{names:?}");
    let none = client.get(&client.jobs("?phase=Cancelled")).json();
    assert_eq!(none["items"], json!([]));
    assert_eq!(client.get(&client.jobs("?nonsense=1")).status, 400);
}

fn a_repeated_submission_is_the_same_job(client: &Client) {
    let submit = |key: &str, body: &Value| {
        client.post(&client.jobs(""), &[("Idempotency-Key", key)], body.to_string().as_bytes())
    };
    let body = json!({ "function": "echo", "input": { "n": 1 }, "ttlSecondsAfterFinished": 60 });
    let first = submit("contract-1", &body);
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None), "{first:?}");
    // At least for a day.
    assert_eq!(first.json()["spec"]["ttlSecondsAfterFinished"], 86_400);
    let again = submit("contract-1", &body);
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (200, Some("true")),
        "{again:?}"
    );
    assert_eq!(again.json()["metadata"]["uid"], first.json()["metadata"]["uid"]);
    assert_eq!(again.header("location"), first.header("location"));
    let headers = [("Idempotency-Key", "contract-1"), ("Prefer", "wait=60")];
    let waited = client.post(&client.jobs(""), &headers, body.to_string().as_bytes());
    assert_eq!((waited.status, waited.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(waited.json()["status"]["phase"], "Succeeded", "{waited:?}");

    let other = submit("contract-1", &json!({ "function": "echo", "input": { "n": 2 } }));
    assert_eq!(other.status, 409);
    assert_eq!(other.json()["type"], "/problems/idempotency-key-reused");
    let bad = submit("not a key", &body);
    assert_eq!((bad.status, &bad.json()["type"]), (400, &json!("/problems/idempotency-key")));
    let named = submit("contract-2", &json!({ "function": "echo", "name": "keyed" }));
    assert_eq!((named.status, &named.json()["problems"][0]["pointer"]), (422, &json!("/name")));
    // Once it is deleted, its key is free.
    let location = first.header("location").unwrap();
    assert_eq!(client.send("DELETE", location, &[], b"").status, 204);
    let anew = submit("contract-1", &body);
    assert_eq!(anew.status, 201, "{anew:?}");
    assert_ne!(anew.json()["metadata"]["uid"], first.json()["metadata"]["uid"]);
}

fn submissions_that_race_are_one_job(client: &Client) {
    let race = || {
        let body = json!({ "function": "echo", "input": { "race": true } }).to_string();
        client.post(&client.jobs(""), &[("Idempotency-Key", "race")], body.as_bytes())
    };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        assert_eq!(answer.json()["metadata"]["uid"], answers[0].json()["metadata"]["uid"]);
    }
}

fn a_function_is_called(client: &Client) {
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
    assert_eq!(status("", b"[]"), 422);
    assert_eq!(status("?parallelism=65", b"{}"), 422);
    let missing = path.replace("echo", "nothing");
    assert_eq!(client.post(&missing, &[], b"{}").status, 404);
}

fn a_call_whose_job_is_cancelled_says_so(client: &Client) {
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

fn queues_are_shown(client: &Client) {
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
        (0..2).map(|_| submit(client, &body).header("location").unwrap().to_owned()).collect();
    eventually("one runs and one waits", Duration::from_secs(60), || {
        let one = client.get(&format!("{path}/small")).json();
        (one["status"] == json!({ "granted": 2, "waiting": 1 })).then_some(())
    });
    for job in jobs {
        assert_eq!(client.send("DELETE", &job, &[], b"").status, 204);
    }
}

fn some_fields_are_given_instead_of_all(client: &Client) {
    let job = wait(client, &json!({ "name": "in-small", "function": "echo", "queue": "small" }));
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    let some = json!({ "metadata": { "name": "in-small" }, "status": { "phase": "Succeeded" } });
    let query = "fields=metadata.name,status.phase";
    assert_eq!(client.get(&client.jobs(&format!("/in-small?{query}"))).json(), some);
    let list = client.get(&client.jobs(&format!("?queue=small&{query}"))).json();
    assert_eq!(list["items"], json!([some]));
    // A job that names no queue is of the default one.
    let list = client.get(&client.jobs(&format!("?queue=default&{query}"))).json();
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["metadata"]["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"first") && !names.contains(&"in-small"), "{names:?}");
    assert!(names.is_sorted(), "{names:?}");
    for query in ["?fields=", "?fields=status.nothing", "?queue=A", "/in-small?fields=spec.input.x"]
    {
        assert_eq!(client.get(&client.jobs(query)).status, 400, "{query}");
    }
}

fn a_log_is_followed_to_the_end_of_its_job(client: &Client) {
    let answer = submit(client, &long());
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
    // After the end there is only what was said.
    assert_eq!(client.get(&format!("{location}/logs?follow=true")).status, 200);
    assert_eq!(client.get(&client.jobs("/nothing/logs?follow=true")).status, 404);
    assert_eq!(client.get(&client.jobs("/first/logs?tailBytes=x")).status, 400);
}

/// A job that runs for minutes when nobody ends it.
fn long() -> Value {
    json!({
        "function": "price",
        "parallelism": 1,
        "input": {
            "options": vec![json!({
                "spot": 36, "strike": 40, "rate": 0.06, "volatility": 0.2,
                "maturityYears": 2, "exercisesPerYear": 50 }); 100],
            "paths": 1_000_000, "seed": 1
        }
    })
}

fn a_cancelled_job_ends_cancelled(client: &Client) {
    let answer = submit(client, &long());
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

fn a_deleted_job_is_gone(client: &Client) {
    let answer = submit(client, &json!({ "name": "short-lived", "function": "echo" }));
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(client.send("DELETE", &location, &[], b"").status, 204);
    assert_eq!(client.get(&location).status, 404);
    assert_eq!(client.send("DELETE", &location, &[], b"").status, 404);
}

fn bad_input_is_refused_and_nothing_is_created(client: &Client) {
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

fn who_has_no_token_gets_nothing(client: &Client) {
    for token in ["", "nothing"] {
        let stranger = Client { token: token.into(), ..client.clone() };
        for path in [client.jobs(""), client.jobs("/first"), "/v1/anything".into()] {
            assert_eq!(stranger.get(&path).status, 401, "{path} with {token:?}");
        }
        assert_eq!(submit(&stranger, &json!({ "function": "echo" })).status, 401);
    }
    let elsewhere = Client { namespace: "kube-system".into(), ..client.clone() };
    assert_eq!(elsewhere.get(&elsewhere.jobs("/first")).status, 404);
}

fn what_is_not_there_is_not_found(client: &Client) {
    for rest in ["/nothing", "/nothing/result", "/nothing/events"] {
        let answer = client.get(&client.jobs(rest));
        assert_eq!(answer.status, 404, "{rest}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{rest}");
    }
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(client.get("/readyz").status, 200);
}
