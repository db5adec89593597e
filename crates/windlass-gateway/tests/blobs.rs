//! Bytes that are sent beside jobs, and a back end that keeps none.

use http::Method;
use serde_json::{Value, json};
use windlass_core::result::sha256;

use crate::fake::READER;
use crate::http::{Ask, Server, until};

const BLOBS: &str = "/v1/namespaces/default/blobs";
const CALL: &str = "/v1/namespaces/default/functions/any/call";

fn put(bytes: &[u8]) -> Ask {
    Ask::good(Method::PUT, format!("{BLOBS}/sha256:{}", sha256(bytes))).content(bytes)
}

#[tokio::test]
async fn a_blob_is_told_with_its_place() {
    let server = Server::start().await;
    let place = format!("{BLOBS}/sha256:{}", sha256(b"bytes"));
    let told = json!({"sha256": sha256(b"bytes"), "bytes": 5});
    for (ask, status) in [
        (Ask::good(Method::POST, BLOBS).content(b"bytes"), 201),
        (put(b"bytes"), 200),
        // It is not asked for what is there.
        (put(b"bytes").header("expect", "100-continue"), 200),
    ] {
        let answer = server.send(ask).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, told.clone()));
        assert_eq!(answer.header("location"), Some(place.as_str()));
    }
    let read = Ask::new(Method::GET, &place).token(READER).header("range", "bytes=1-2");
    let part = server.send(read).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"yt"[..]));
    let encoded = put(b"zip").header("content-encoding", "gzip");
    assert_eq!(server.send(encoded).await.problem(415)["type"], "/problems/media-type");
    let wrong = Ask::good(Method::GET, format!("{BLOBS}/sha256:00"));
    assert_eq!(server.send(wrong).await.pointers(422), ["/sha256"]);
}

#[tokio::test]
async fn a_call_of_a_type_that_is_taken_names_a_blob() {
    let server = Server::start().await;
    let call = |media_type: &str, bytes: &[u8]| {
        let ask = Ask::good(Method::POST, CALL).header("prefer", "wait=0");
        ask.header("content-type", media_type).content(bytes)
    };
    let answer = server.send(call("image/png", b"picture")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let expected = json!({"sha256": sha256(b"picture"), "bytes": 7, "mediaType": "image/png"});
    assert_eq!(answer.json()["spec"]["inputBlob"], expected);
    for (media_type, bytes, status) in [
        ("text/csv", &b"a,b"[..], 415),
        ("no type", b"", 415),
        ("image/png", &[7; 101], 413),
        ("application/json", br#"{"a":1,"a":2}"#, 400),
    ] {
        server.send(call(media_type, bytes)).await.problem(status);
    }
    assert_eq!(server.backend.names().len(), 1);
}

#[tokio::test]
async fn a_back_end_without_blobs_names_what_it_does_not_take() {
    let server = Server::start_with(|gateway| gateway.blobs = None).await;
    server.send(put(b"bytes")).await.problem(404);
    let picture = Ask::good(Method::POST, CALL).header("content-type", "image/png");
    server.send(picture.content(b"picture")).await.problem(415);
    let blob = json!({"sha256": sha256(b"x"), "bytes": 1});
    let job: Value = json!({"function": "any", "files": {"a": blob}, "inputBlob": blob});
    let submit = Ask::good(Method::POST, "/v1/namespaces/default/jobs").json(&job);
    let pointers = server.send(submit).await.pointers(422);
    assert_eq!(pointers[..2], ["/inputBlob", "/files"], "{pointers:?}");
    // What is small JSON goes as before.
    let call = Ask::good(Method::POST, CALL).header("prefer", "wait=0").json(&json!({"a": 1}));
    let ended = async {
        until(|| !server.backend.names().is_empty()).await;
    };
    let (answer, ()) = tokio::join!(server.send(call), ended);
    assert_eq!(answer.status, 202, "{answer:?}");
}
