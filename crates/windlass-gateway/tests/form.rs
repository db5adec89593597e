//! Forms: an input and files in one request.

use http::Method;
use serde_json::{Value, json};
use windlass_core::result::sha256;

use crate::http::{Answer, Ask, Server};

const CALL: &str = "/v1/namespaces/default/functions/any/call";
const JOBS: &str = "/v1/namespaces/default/jobs";

/// A part: its disposition, further head lines, its bytes.
type Part<'a> = (&'a str, &'a str, &'a [u8]);

fn form(path: &str, parts: &[Part<'_>]) -> Ask {
    let mut body = Vec::new();
    for (disposition, head, bytes) in parts {
        let line = format!("--edge\r\nContent-Disposition: form-data; {disposition}\r\n{head}\r\n");
        body.extend([line.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    let ask = Ask::good(Method::POST, path).header("prefer", "wait=0");
    ask.header("content-type", "multipart/form-data; boundary=edge").body(body)
}

async fn sent(server: &Server, path: &str, parts: &[Part<'_>]) -> Answer {
    server.send(form(path, parts)).await
}

fn blob(bytes: &[u8], media_type: &str) -> Value {
    json!({"sha256": sha256(bytes), "bytes": bytes.len(), "mediaType": media_type})
}

const PNG: &str = "Content-Type: image/png\r\n";

#[tokio::test]
async fn a_form_is_an_input_and_files() {
    let server = Server::start().await;
    let picture = vec![0xff; 90];
    let parts: &[Part<'_>] = &[
        ("name=\"input\"; filename=\"p.png\"", PNG, &picture),
        (
            "name=\"data\"; filename=\"../../big.csv\"",
            "Content-Type: text/csv\r\n",
            b"a,b\r\n--edg",
        ),
        ("name=\"raw\"; filename=\"raw\"", "", b""),
        ("name=\"note\"", "", b"text"),
    ];
    let answer = sent(&server, CALL, parts).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let spec = &answer.json()["spec"];
    assert_eq!(spec["inputBlob"], blob(&picture, "image/png"));
    let files = json!({
        "data": blob(b"a,b\r\n--edg", "text/csv"),
        "raw": blob(b"", "application/octet-stream"),
        "note": blob(b"text", "text/plain"),
    });
    assert_eq!(spec["files"], files);
    assert_eq!(server.backend.blobs.lock().unwrap().len(), 4);
    // JSON that is small stays in the job.
    let server = Server::start().await;
    let json_part = ("name=\"input\"", "Content-Type: application/json\r\n", &b"{\"a\":1}"[..]);
    let answer = sent(&server, CALL, &[json_part]).await;
    assert_eq!(answer.json()["spec"]["input"], json!({"a": 1}), "{answer:?}");
}

#[tokio::test]
async fn a_job_in_a_form_comes_first() {
    let server = Server::start().await;
    let job = br#"{"function":"any","name":"mine","input":{"a":1}}"#;
    let file: Part<'_> = ("name=\"x\"; filename=\"x\"", PNG, b"png");
    let answer = sent(&server, JOBS, &[("name=\"job\"", "", job), file]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["metadata"]["name"], "mine");
    assert_eq!(answer.json()["spec"]["files"], json!({"x": blob(b"png", "image/png")}));
    let late = sent(&server, JOBS, &[file, ("name=\"job\"", "", job)]).await;
    assert_eq!(late.pointers(422), ["/job"]);
    let input: Part<'_> = ("name=\"input\"", "Content-Type: application/json\r\n", b"{}");
    let both = sent(&server, JOBS, &[("name=\"job\"", "", job), input]).await;
    assert_eq!(both.pointers(422), ["/input"]);
    let unknown = br#"{"function":"nope"}"#;
    let missing = sent(&server, JOBS, &[("name=\"job\"", "", unknown), file]).await;
    assert_eq!(missing.pointers(422), ["/function"]);
}

#[tokio::test]
async fn a_wrong_form_is_refused_by_name() {
    let server = Server::start().await;
    let part = |name: &str| (format!("name=\"{name}\"; filename=\"x\""), PNG, &b"x"[..]);
    for (names, pointer) in [(&["a/b"][..], "/files"), (&[".."], "/files"), (&["a", "a"], "/a")] {
        let parts: Vec<_> = names.iter().map(|name| part(name)).collect();
        let parts: Vec<Part<'_>> = parts.iter().map(|(a, b, c)| (a.as_str(), *b, *c)).collect();
        assert_eq!(sent(&server, CALL, &parts).await.pointers(422), [pointer], "{names:?}");
    }
    let many: Vec<_> = (0..65).map(|n| part(&format!("f{n}"))).collect();
    let many: Vec<Part<'_>> = many.iter().map(|(a, b, c)| (a.as_str(), *b, *c)).collect();
    assert_eq!(sent(&server, CALL, &many).await.pointers(422), ["/files"]);
    let large = vec![0; 101];
    for (part, status) in [
        (("name=\"input\"", "Content-Type: text/csv\r\n", &b"a"[..]), 415),
        (("name=\"input\"", PNG, &large), 413),
        (("name=\"a\"", "", &large), 413),
        (("filename=\"nameless\"", "", b"x"), 400),
        (("name=\"input\"", "Content-Type: application/json\r\n", b"{\"a\":1,\"a\":2}"), 400),
        (("name=\"a\"", "Content-Type: none\r\n", b"x"), 422),
    ] {
        sent(&server, CALL, &[part]).await.problem(status);
    }
    let endless = format!("--edge\r\nX: {}", "y".repeat(8 << 20));
    let ask =
        Ask::good(Method::POST, CALL).header("content-type", "multipart/form-data; boundary=edge");
    server.send(ask.body(endless)).await.problem(400);
    let ask = Ask::good(Method::POST, CALL).header("content-type", "multipart/form-data");
    server.send(ask.body("x")).await.problem(415);
    assert!(server.backend.names().is_empty());
}
