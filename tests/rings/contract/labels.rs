//! Labels of jobs, lists by them, and the same job again.

use serde_json::json;

use super::{long, names};
use crate::support::http::Client;

pub(super) fn jobs_are_found_by_their_labels(client: &Client) {
    for (name, stage) in [("label-a", "test"), ("label-b", "live"), ("label-c", "test")] {
        let labels = json!({ "contract": "labels", "example.com/stage": stage });
        let answer = client.submit(&json!({ "name": name, "function": "echo", "labels": labels }));
        assert_eq!((answer.status, &answer.json()["metadata"]["labels"]), (201, &labels));
        let read = client.get(answer.header("location").unwrap()).json();
        assert_eq!(read["metadata"]["labels"], labels);
    }
    let select = |selector: &str| {
        let escaped = selector.replace('=', "%3D").replace('>', "%3E").replace(' ', "%20");
        client.get(&client.jobs(&format!("?labelSelector={escaped}")))
    };
    for (selector, expected) in [
        ("contract=labels", vec!["label-a", "label-b", "label-c"]),
        ("contract==labels,example.com/stage!=test", vec!["label-b"]),
        ("contract,example.com/stage in (test, nothing)", vec!["label-a", "label-c"]),
        ("contract in (labels),example.com/stage notin (test)", vec!["label-b"]),
        ("contract=labels,!example.com/stage", vec![]),
        ("contract=", vec![]),
    ] {
        let list = select(selector).json();
        assert_eq!(names(&list), expected, "{selector}: {list}");
    }
    assert!(!names(&select("!contract").json()).contains(&"label-a"));
    // Full pages, whatever lies between.
    let path = client.jobs("?labelSelector=example.com/stage%3Dtest&limit=1");
    let first = client.get(&path).json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{path}&continue={token}")).json();
    assert_eq!([names(&first), names(&second)], [["label-a"], ["label-c"]]);
    for nonsense in [",", "a>1", "a in (", "a=(b)", "-"] {
        let answer = select(nonsense);
        assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("/problems/query")));
    }
    let wrong = json!({ "function": "echo", "labels": { "windlass.dev/a": "b", "c": "d e" } });
    let wrong = client.submit(&wrong);
    let problems = wrong.json()["problems"].as_array().unwrap().clone();
    let pointers: Vec<_> = problems.iter().map(|problem| &problem["pointer"]).collect();
    assert_eq!((wrong.status, pointers.len()), (422, 2), "{wrong:?}");
    assert!(pointers.contains(&&json!("/labels/windlass.dev~1a")), "{pointers:?}");
}

pub(super) fn a_job_is_submitted_again(client: &Client) {
    let body = json!({ "name": "once", "function": "echo", "input": { "n": 7 }, "parallelism": 2,
                       "labels": { "contract": "retry" } });
    let once = client.run(&body);
    let retry = |headers: &[(&str, &str)]| client.post(&client.jobs("/once/retry"), headers, b"");
    let again = retry(&[("Prefer", "wait=60")]);
    assert_eq!(again.status, 200, "{again:?}");
    let again = again.json();
    assert_eq!((&again["spec"], &again["status"]["phase"]), (&once["spec"], &json!("Succeeded")));
    assert_eq!(again["status"]["result"]["sha256"], once["status"]["result"]["sha256"]);
    assert_eq!(again["metadata"]["labels"], json!({ "contract": "retry" }));
    assert_eq!(again["metadata"]["annotations"]["windlass.dev/retry-of"], "once");
    assert_ne!(again["metadata"]["name"], "once");
    // It says so to whoever reads it later, and its own retry says that it is of it.
    let name = again["metadata"]["name"].as_str().unwrap();
    let read = client.get(&client.jobs(&format!("/{name}"))).json();
    assert_eq!(read["metadata"]["annotations"]["windlass.dev/retry-of"], "once");
    // With edits, it says so itself.
    let edited = client.run(&json!({ "function": "echo", "input": { "n": 8 }, "retryOf": "once" }));
    assert_eq!(edited["metadata"]["annotations"]["windlass.dev/retry-of"], "once");
    let wrong = client.submit(&json!({ "function": "echo", "retryOf": "../once" }));
    assert_eq!((wrong.status, &wrong.json()["problems"][0]["pointer"]), (422, &json!("/retryOf")));
    // Under a key, once.
    let key = [("Idempotency-Key", "retry-1")];
    let (first, second) = (retry(&key), retry(&key));
    assert_eq!((first.status, second.status), (201, 200), "{first:?} {second:?}");
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.json()["metadata"]["uid"], second.json()["metadata"]["uid"]);
    let list = client.get(&client.jobs("?labelSelector=contract%3Dretry")).json();
    assert_eq!(names(&list).len(), 3, "{list}");

    let answer = client.submit(&long());
    let location = answer.header("location").unwrap();
    let early = client.post(&format!("{location}/retry"), &[], b"");
    assert_eq!((early.status, &early.json()["type"]), (409, &json!("/problems/conflict")));
    assert_eq!(client.send("DELETE", location, &[], b"").status, 204);
    assert_eq!(client.post(&client.jobs("/nothing/retry"), &[], b"").status, 404);
}
