//! A server on the user's own machine does not answer to web pages.

use http::Method;

use crate::http::{Ask, Server};

async fn local() -> Server {
    Server::start_with(|gateway| {
        gateway.allowed_hosts = Some(vec!["localhost:8080".into(), "127.0.0.1:8080".into()]);
    })
    .await
}

fn ask(host: &str) -> Ask {
    Ask::good(Method::GET, "/v1/namespaces/default/jobs").header("host", host)
}

#[tokio::test]
async fn a_rebound_name_reaches_nothing_not_even_the_health_checks() {
    let server = local().await;
    assert_eq!(server.send(ask("localhost:8080")).await.status, 200);
    assert_eq!(server.send(ask("127.0.0.1:8080")).await.status, 200);
    for host in ["evil.example:8080", "evil.example", "localhost", "localhost:80"] {
        server.send(ask(host)).await.problem(421);
        let health = Ask::new(Method::GET, "/healthz").header("host", host);
        server.send(health).await.problem(421);
    }
    let none = server.raw(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(none.starts_with("HTTP/1.1 421"), "{none}");
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_even_with_the_token() {
    let server = local().await;
    let with = |origin: &str| ask("localhost:8080").header("origin", origin);
    for origin in ["http://evil.example", "null", "http://localhost:3000", "file://"] {
        server.send(with(origin)).await.problem(403);
    }
    assert_eq!(server.send(with("http://localhost:8080")).await.status, 200);
}

#[tokio::test]
async fn where_an_ingress_signs_in_the_page_says_so_and_other_sites_change_nothing() {
    let plain = Server::start().await;
    let signed_in = Server::start_with(|gateway| gateway.ingress_signs_in = true).await;
    let page = async |server: &Server| {
        let answer = server.send(Ask::new(Method::GET, "/dashboard/")).await;
        let etag = answer.header("etag").unwrap().to_owned();
        (String::from_utf8(answer.body.to_vec()).unwrap(), etag)
    };
    let ((asks, first), (knows, second)) = (page(&plain).await, page(&signed_in).await);
    assert!(!asks.contains("windlass-sign-in") && knows.contains("content=\"ingress\""));
    assert_ne!(first, second);
    let job = serde_json::json!({ "function": "price", "input": {} });
    let submit = |site: &str| {
        let ask = Ask::good(Method::POST, "/v1/namespaces/default/jobs").json(&job);
        ask.header("sec-fetch-site", site)
    };
    for site in ["cross-site", "same-site", "odd"] {
        signed_in.send(submit(site)).await.problem(403);
        let read = Ask::good(Method::GET, "/v1/namespaces/default/jobs");
        assert_eq!(signed_in.send(read.header("sec-fetch-site", site)).await.status, 200);
    }
    assert_eq!(signed_in.send(submit("same-origin")).await.status, 201);
    // Nobody is anybody without a token, whatever an ingress says beside it.
    let user =
        Ask::new(Method::GET, "/v1/namespaces/default/jobs").header("x-forwarded-user", "admin");
    signed_in.send(user).await.problem(401);
}
