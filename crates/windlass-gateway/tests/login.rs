//! A browser gets the token of whoever opened it.

use http::{HeaderMap, Method, header};
use serde_json::Value;

use crate::fake::{GOOD, READER};
use crate::http::{Answer, Ask, Server};

async fn redeem(server: &Server, code: &str) -> Answer {
    server.send(Ask::new(Method::POST, "/v1/login".to_owned()).token(code)).await
}

/// A code for the token that is good for everything.
pub(crate) async fn login_code(server: &Server) -> String {
    let issued = server.send(Ask::good(Method::POST, "/v1/login-codes")).await;
    assert_eq!(issued.status, 201);
    let issued: Value = serde_json::from_slice(&issued.body).unwrap();
    issued["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_code_is_the_admins_token_once() {
    let server = Server::start().await;
    let readers = Ask::new(Method::POST, "/v1/login-codes").token(READER);
    assert_eq!(server.send(readers).await.status, 403);
    let code = login_code(&server).await;
    let redeemed = redeem(&server, &code).await;
    assert_eq!(redeemed.status, 200);
    assert_eq!(redeemed.headers[header::CACHE_CONTROL], "no-store");
    let login: Value = serde_json::from_slice(&redeemed.body).unwrap();
    assert_eq!(login["token"], GOOD);
    // Neither the code again nor a token itself is a code.
    for used in [code.as_str(), GOOD] {
        assert_eq!(redeem(&server, used).await.status, 401);
    }
}

#[tokio::test]
async fn a_cluster_has_no_codes() {
    let server = Server::start_with(|gateway| gateway.drain = None).await;
    assert_eq!(redeem(&server, GOOD).await.status, 404);
}

#[tokio::test]
async fn the_dashboard_is_bounded_by_its_policy_and_known_by_its_version() {
    let server = Server::start().await;
    let get = |path: &str| Ask::new(Method::GET, path.to_owned());
    let value = |headers: &HeaderMap, name| headers[name].to_str().unwrap().to_owned();
    let page = server.send(get("/dashboard/")).await;
    assert_eq!(page.status, 200);
    let policy = value(&page.headers, header::CONTENT_SECURITY_POLICY);
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "trusted-types parquet",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let worker = server.send(get("/dashboard/parquet.js")).await;
    assert_eq!(value(&worker.headers, header::CONTENT_SECURITY_POLICY), "default-src 'none'");
    for file in ["", "/", "/app.js", "/app.css", "/parquet.js"] {
        let path = &format!("/dashboard{file}");
        let first = server.send(get(path)).await;
        let etag = value(&first.headers, header::ETAG);
        assert_eq!(first.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(first.headers[header::CACHE_CONTROL], "no-cache");
        let again = server.send(get(path).header("if-none-match", &etag)).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        let named = server.send(get(&format!("{path}?{}", etag.trim_matches('"')))).await;
        assert!(value(&named.headers, header::CACHE_CONTROL).contains("immutable"), "{path}");
    }
}
