//! Jobs that are submitted, waited for and listed, and what they give.

use serde_json::{Value, json};

use super::{finished, names};
use crate::support::http::{Answer, Client};

pub(super) fn a_submitted_job_gives_its_result(client: &Client) {
    let answer =
        client.submit(&json!({ "name": "first", "function": "echo", "input": { "a": [1, "b"] } }));
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

pub(super) fn a_job_explains_where_its_time_went(client: &Client) {
    let job = client.run(&json!({ "function": "echo" }));
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

pub(super) fn a_job_can_be_waited_for(client: &Client) {
    let job = client.run(&json!({ "function": "echo", "parallelism": 2 }));
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

pub(super) fn a_large_result_comes_whole_and_in_parts(client: &Client) {
    let mut input: Value =
        serde_json::from_str(include_str!("../../../examples/scene.json")).unwrap();
    (input["width"], input["height"], input["samples"]) = (json!(256), json!(192), json!(2));
    let job = client.run(&json!({ "function": "render", "input": input }));
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

pub(super) fn a_name_is_given_once(client: &Client) {
    let body = json!({ "name": "twice", "function": "echo" });
    assert_eq!(client.submit(&body).status, 201);
    let second = client.submit(&body);
    assert_eq!(second.status, 409);
    assert_eq!(second.header("content-type"), Some("application/problem+json"));
}

pub(super) fn jobs_are_listed(client: &Client) {
    let all = client.get(&client.jobs("")).json();
    let names = names(&all);
    assert!(names.contains(&"first") && names.contains(&"twice"), "{names:?}");
    let none = client.get(&client.jobs("?phase=Cancelled")).json();
    assert_eq!(none["items"], json!([]));
    assert_eq!(client.get(&client.jobs("?nonsense=1")).status, 400);
}

pub(super) fn a_repeated_submission_is_the_same_job(client: &Client) {
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

pub(super) fn submissions_that_race_are_one_job(client: &Client) {
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
