//! Inputs of any size, and files, which are sent before their job.

use serde_json::{Value, json};
use windlass_core::result::sha256;

use crate::inputs::{call, is_sent_once_and_read, pointers, sent};
use crate::support::http::Client;

pub(super) fn bytes_that_are_sent_are_there_and_read(client: &Client) {
    let path = is_sent_once_and_read(client, b"one");
    let part = client.send("GET", &path, &[("Range", "bytes=1-1")], b"");
    assert_eq!((part.status, &part.body[..]), (206, &b"n"[..]));
    let nameless = client.post(&path[..path.rfind('/').unwrap()], &[], b"nameless");
    assert_eq!((nameless.status, &nameless.json()["sha256"]), (201, &json!(sha256(b"nameless"))));
    let three = path.replace(&sha256(b"one"), &sha256(b"three"));
    assert_eq!(pointers(&client.send("PUT", &three, &[], b"other")), ["/sha256"]);
    assert_eq!(client.get(&three).status, 404);
    let elsewhere = path.replace(&client.namespace, "kube-public");
    assert_eq!(client.get(&elsewhere).status, 404);
}

pub(super) fn a_job_names_what_was_sent(client: &Client) {
    let file = sent(client, b"1,2", "text/csv");
    let files = json!({ "a.csv": file, "b": file });
    let job = client.run(&json!({ "function": "echo", "input": { "c": 1 }, "files": files }));
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    assert_eq!(job["spec"]["files"], files);
    let refused = |spec: Value| pointers(&client.submit(&spec));
    let missing = json!({ "sha256": sha256(b"missing"), "bytes": 7 });
    let mut longer = file.clone();
    longer["bytes"] = json!(4);
    let files = json!({ "a": missing, "b": longer, "c": file });
    assert_eq!(
        refused(json!({ "function": "echo", "files": files })),
        ["/files/a/sha256", "/files/b/bytes"]
    );
    assert_eq!(refused(json!({ "function": "echo", "inputBlob": file })), ["/inputBlob/mediaType"]);
}

pub(super) fn a_call_is_of_a_type_that_its_function_takes(client: &Client) {
    let large = json!({ "x": "z".repeat(200_000) }).to_string();
    // It has an `inputSchema`.
    assert_eq!(call(client, "echo", "application/json", large.as_bytes()).status, 413);
    assert_eq!(call(client, "echo", "text/csv", b"1,2").status, 415);
    let form = "--edge\r\nContent-Disposition: form-data; name=\"input\"\r\nContent-Type: application/json\r\n\r\n\
                {\"b\":1}\r\n--edge\r\nContent-Disposition: form-data; name=\"a.csv\"; filename=\"a.csv\"\r\n\r\n1,2\r\n--edge--\r\n";
    let answer = call(client, "echo", "multipart/form-data; boundary=edge", form.as_bytes());
    assert_eq!((answer.status, &answer.json()["input"]), (200, &json!({ "b": 1 })));
}
