//! What the gateway says of itself.

use http::Method;
use windlass_gateway::openapi_document;

use crate::http::{Ask, Server};

#[tokio::test]
async fn everybody_gets_the_document_and_its_page() {
    let server = Server::start().await;
    let answer = server.send(Ask::new(Method::GET, "/openapi.json")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), *openapi_document());
    let page = server.send(Ask::new(Method::GET, "/docs")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn a_browser_may_only_apply_the_style_that_is_in_the_page() {
    let server = Server::start().await;
    let page = server.send(Ask::new(Method::GET, "/docs")).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for forbidden in ["unsafe", "script-src", "http", "*"] {
        assert!(!policy.contains(forbidden), "{policy}");
    }
}

#[tokio::test]
async fn the_page_of_another_host_gets_neither() {
    let server = Server::start_with(|gateway| {
        gateway.allowed_hosts = Some(vec!["localhost:8080".into()]);
    })
    .await;
    for path in ["/openapi.json", "/docs"] {
        let ask = |host: &str| Ask::new(Method::GET, path).header("host", host);
        assert_eq!(server.send(ask("localhost:8080")).await.status, 200);
        server.send(ask("evil.example")).await.problem(421);
        let foreign = ask("localhost:8080").header("origin", "http://evil.example");
        server.send(foreign).await.problem(403);
    }
}
