//! Reading, cancelling, deleting; the bytes of results.

use http::Method;
use serde_json::{Value, json};
use windlass_core::Phase;

use crate::fake::{GOOD, READER, SUBMITTER};
use crate::http::{Answer, Ask, Server};

const JOBS: &str = "/v1/namespaces/default/jobs";

async fn get(server: &Server, path: &str) -> Answer {
    server.send(Ask::good(Method::GET, path)).await
}

#[tokio::test]
async fn one_job_is_read_cancelled_and_deleted() {
    let server = Server::start().await;
    server.backend.put("a");
    let path = format!("{JOBS}/a");
    assert_eq!(get(&server, &path).await.json()["metadata"]["name"], "a");

    let cancelled = server.send(Ask::good(Method::POST, format!("{path}/cancel"))).await;
    assert_eq!(cancelled.status, 202);
    assert_eq!(cancelled.json()["spec"]["cancel"], true);
    server.backend.change("a", Phase::Cancelled);
    let again = server.send(Ask::good(Method::POST, format!("{path}/cancel"))).await;
    assert_eq!(again.status, 200);

    let deleted = server.send(Ask::good(Method::DELETE, &path)).await;
    assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
    get(&server, &path).await.problem(404);
    server.send(Ask::good(Method::DELETE, &path)).await.problem(404);
}

#[tokio::test]
async fn nothing_is_done_to_another_job_of_the_name() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.finish("a", b"1", "text/plain");
    let path = format!("{JOBS}/a");
    let uid = get(&server, &path).await.json()["metadata"]["uid"].as_str().unwrap().to_owned();
    let asks =
        [(Method::POST, "/cancel", 200), (Method::POST, "/retry", 201), (Method::DELETE, "", 204)];
    for (method, rest, done) in asks {
        let ask = |query: &str| Ask::good(method.clone(), format!("{path}{rest}?{query}"));
        let refused = server.send(ask("uid=another")).await.problem(409);
        assert!(
            refused["detail"].as_str().unwrap().contains("was deleted and made again"),
            "{refused}"
        );
        server.send(ask("uid=")).await.problem(400);
        server.send(ask("uid=a&uid=a")).await.problem(400);
        server.send(ask("other=a")).await.problem(400);
        assert_eq!(server.send(ask(&format!("uid={uid}"))).await.status, done, "{rest}");
    }
}

#[tokio::test]
async fn lists_are_filtered_and_come_by_pages() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.backend.put(name);
    }
    server.backend.change("b", Phase::Running);
    let names = |answer: Answer| -> Vec<String> {
        let list = answer.json();
        assert_eq!(list["kind"], "ComputeJobList", "{list}");
        let items = list["items"].as_array().unwrap();
        items.iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(get(&server, JOBS).await), ["a", "b", "c"]);
    assert_eq!(names(get(&server, &format!("{JOBS}?phase=Running")).await), ["b"]);
    assert_eq!(names(get(&server, &format!("{JOBS}?function=other")).await), [""; 0]);
    assert_eq!(names(get(&server, &format!("{JOBS}?queue=default")).await), ["a", "b", "c"]);
    assert_eq!(names(get(&server, &format!("{JOBS}?queue=other")).await), [""; 0]);
    let first = get(&server, &format!("{JOBS}?limit=2&function=price")).await;
    let more = first.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    assert_eq!(names(first), ["a", "b"]);
    let rest = get(&server, &format!("{JOBS}?limit=2&continue={more}")).await;
    assert!(rest.json()["metadata"]["continue"].is_null());
    assert_eq!(names(rest), ["c"]);
}

#[tokio::test]
async fn some_fields_are_given_instead_of_all() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.change("a", Phase::Running);
    let query = "fields=metadata.name,status.phase,status.result.text";
    let some = json!({ "metadata": { "name": "a" }, "status": { "phase": "Running" } });
    assert_eq!(get(&server, &format!("{JOBS}/a?{query}")).await.json(), some);
    let list = get(&server, &format!("{JOBS}?{query}")).await.json();
    assert_eq!((&list["kind"], &list["items"]), (&json!("ComputeJobList"), &json!([some])));
}

#[tokio::test]
async fn a_wrong_query_is_refused_not_ignored() {
    let server = Server::start().await;
    for query in [
        "phase=Done",
        "phase=",
        "limit=0",
        "limit=1&limit=2",
        "limit=1&limit=1",
        "phase=Failed&%70hase=Failed",
        "x=1&x=2",
        "limit=501",
        "limit=x",
        "function=A",
        "x=1",
        "queue=A",
        "fields=",
        "fields=nope",
    ] {
        get(&server, &format!("{JOBS}?{query}")).await.problem(400);
    }
    server.backend.put("a");
    for query in ["x=1", "fields=", "fields=spec.input.a", "fields=metadata.name,,"] {
        get(&server, &format!("{JOBS}/a?{query}")).await.problem(400);
    }
}

/// The list of these resources, which has this kind; one that nobody has is not found.
async fn list_of(server: &Server, path: &str, kind: &str) -> Value {
    get(server, &format!("{path}/nope")).await.problem(404);
    let list = get(server, path).await.json();
    assert_eq!(list["kind"], kind);
    list
}

#[tokio::test]
async fn functions_are_shown() {
    let server = Server::start().await;
    let path = "/v1/namespaces/default/functions";
    let list = list_of(&server, path, "ComputeFunctionList").await;
    assert_eq!(list["items"][0]["metadata"]["name"], "price");
    assert_eq!(get(&server, &format!("{path}/price")).await.json()["kind"], "ComputeFunction");
}

#[tokio::test]
async fn the_values_of_a_functions_variables_are_shown_to_its_writers_alone() {
    let server = Server::start().await;
    let path = "/v1/namespaces/default/functions";
    for (token, value) in [(GOOD, "hunter2"), (READER, "(hidden)")] {
        let ask = |path: &str| Ask::new(Method::GET, path).token(token);
        let (list, one) =
            (server.send(ask(path)).await, server.send(ask(&format!("{path}/price"))).await);
        let variables = json!([{ "name": "PASSWORD", "value": value }]);
        assert_eq!(list.json()["items"][0]["spec"]["env"], variables);
        assert_eq!(one.json()["spec"]["env"], variables);
        assert_eq!(String::from_utf8_lossy(&one.body).contains("hunter2"), token == GOOD);
        let templated = server.send(ask(&format!("{path}/any"))).await;
        assert_eq!(String::from_utf8_lossy(&templated.body).contains("hunter3"), token == GOOD);
    }
}

#[tokio::test]
async fn a_function_for_all_is_there_for_those_who_may_use_it() {
    let server = Server::start().await;
    let path = "/v1/namespaces/default/functions";
    for (token, status) in [(GOOD, 200), (READER, 404)] {
        let ask = |path: &str| Ask::new(Method::GET, path).token(token);
        let list = server.send(ask(path)).await.json();
        let names = list["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]);
        assert_eq!(names.filter(|name| **name == "shared").count(), usize::from(status == 200));
        let one = server.send(ask(&format!("{path}/shared"))).await;
        assert_eq!(one.status, status);
        if status == 200 {
            assert_eq!(one.json()["kind"], "ClusterComputeFunction");
            // Not even for whoever may write those of the namespace.
            assert_eq!(one.json()["spec"]["env"][0]["value"], "(hidden)");
        }
    }
    let job = json!({ "function": "shared" });
    let ask = |token| Ask::new(Method::POST, JOBS).token(token).json(&job);
    assert_eq!(server.send(ask(GOOD)).await.status, 201);
    let refused = server.send(ask(SUBMITTER)).await.problem(422);
    let problem = json!({ "pointer": "/function",
        "message": "there is no function \"shared\"; there are: price" });
    assert_eq!(refused["problems"], json!([problem]));
}

#[tokio::test]
async fn queues_are_shown() {
    let server = Server::start().await;
    let path = "/v1/namespaces/default/queues";
    let list = list_of(&server, path, "ComputeQueueList").await;
    assert_eq!(list["items"][0]["spec"]["cpus"], 2);
    let one = get(&server, &format!("{path}/small")).await.json();
    assert_eq!(one, list["items"][0]);
}

#[tokio::test]
async fn what_a_machine_has_is_told() {
    let server = Server::start().await;
    let capacity = get(&server, "/v1/namespaces/default/capacity").await.json();
    assert_eq!(capacity, json!({ "cpus": 8 }));
}

#[tokio::test]
async fn a_queue_is_held_and_resumed_by_whoever_may_patch_queues() {
    let server = Server::start().await;
    let path = |name: &str, what: &str| format!("/v1/namespaces/default/queues/{name}/{what}");
    for (what, hold) in [("hold", true), ("resume", false)] {
        let ask = |name: &str| Ask::good(Method::POST, path(name, what));
        assert_eq!(server.send(ask("small")).await.json()["spec"]["hold"], hold);
        server.send(ask("none")).await.problem(404);
        let reader = Ask::new(Method::POST, path("small", what)).token(READER);
        server.send(reader).await.problem(403);
    }
}

#[tokio::test]
async fn the_last_hour_and_day_are_told() {
    let server = Server::start().await;
    let history = get(&server, "/v1/namespaces/default/history").await.json();
    let window = |seconds: u32, from: &str| {
        let all = json!({ "from": from, "succeeded": 0, "failed": 0, "cancelled": 0, "failures": {}, "started": 0 });
        json!({ "slotSeconds": seconds, "all": all, "slots": [] })
    };
    let (hour, day) = (window(60, "1970-01-02T02:47:00Z"), window(900, "1970-01-01T04:00:00Z"));
    assert_eq!(history, json!({ "hour": hour, "day": day }));
}

#[tokio::test]
async fn a_result_is_its_bytes_and_hostile() {
    let server = Server::start().await;
    let page = b"<script>alert(1)</script>\xff\x00";
    server.backend.put("a");
    let path = format!("{JOBS}/a/result");
    get(&server, &path).await.problem(409);
    server.backend.finish("a", page, "text/html");

    let answer = get(&server, &path).await;
    answer.assert_is_result("a", "text/html", page);
    let tag = answer.header("etag").unwrap().to_owned();
    let known = Ask::good(Method::GET, &path).header("if-none-match", &tag);
    let unchanged = server.send(known).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));

    let head = server.send(Ask::good(Method::HEAD, &path)).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("27"));
}

#[tokio::test]
async fn a_result_comes_in_parts() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.finish("a", b"0123456789", "text/plain");
    let ask = || Ask::good(Method::GET, format!("{JOBS}/a/result"));
    let part = server.send(ask().header("range", "bytes=2-4")).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"234"[..]));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let outside = server.send(ask().header("range", "bytes=10-")).await;
    outside.problem(416);
    assert_eq!(outside.header("content-range"), Some("bytes */10"));
}

#[tokio::test]
async fn a_result_that_is_not_what_its_digest_says_is_never_whole() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.finish("a", b"0123456789", "text/plain");
    for stored in [&b"012345678X"[..], b"0123456"] {
        server.backend.damage("a", stored);
        let head = format!(
            "GET {JOBS}/a/result HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {GOOD}\r\n\r\n"
        );
        let answer = server.raw(head.as_bytes()).await;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < 10, "{answer}");
        // Nor is a part that is not there.
        let part = Ask::good(Method::GET, format!("{JOBS}/a/result")).header("range", "bytes=0-3");
        assert_eq!(&server.send(part).await.body[..], b"0123");
    }
}

#[tokio::test]
async fn an_empty_result_and_an_unusable_media_type_are_served() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.finish("a", b"", "text/\nplain");
    let answer = get(&server, &format!("{JOBS}/a/result")).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn names_that_nothing_can_have_are_not_found() {
    let server = Server::start().await;
    for path in [
        "/v1/namespaces/default/jobs/A",
        "/v1/namespaces/default/jobs/a%2Fb",
        "/v1/namespaces/default/jobs/..%2f..%2fetc",
        "/v1/namespaces/default/jobs/%ff",
        "/v1/namespaces/De%20fault/jobs",
        "/v1/namespaces/default/jobs/",
        "/v1/namespaces//jobs",
    ] {
        get(&server, path).await.problem(404);
        server.send(Ask::new(Method::GET, path)).await.problem(401);
    }
}

#[tokio::test]
async fn cancel_waits_for_the_end_when_asked_to() {
    let server = Server::start().await;
    server.backend.put("a");
    let ask = Ask::good(Method::POST, format!("{JOBS}/a/cancel")).header("prefer", "wait=60");
    let end = async {
        crate::http::until(|| server.backend.job("a").unwrap().spec.cancel).await;
        server.backend.change("a", Phase::Cancelled);
    };
    let (answer, ()) = tokio::join!(server.send(ask), end);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"]["phase"], json!("Cancelled"));
}
