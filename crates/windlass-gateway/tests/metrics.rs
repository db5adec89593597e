//! What is measured, and that nobody can blow it up.

use http::Method;

use crate::fake::{GOOD, READER};
use crate::http::{Ask, Server};

async fn exposition(server: &Server) -> String {
    let answer = server.send(Ask::good(Method::GET, "/metrics")).await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The value of a sample.
fn sample(text: &str, name: &str) -> Option<f64> {
    let line =
        text.lines().find(|line| line.strip_prefix(name).is_some_and(|r| r.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test]
async fn requests_are_counted_by_the_paths_of_the_table() {
    let server = Server::start().await;
    server.backend.put("a");
    for _ in 0..3 {
        server.send(Ask::good(Method::GET, "/v1/namespaces/default/jobs/a")).await;
    }
    for n in 0..50 {
        server.send(Ask::good(Method::GET, format!("/made/up/{n}"))).await;
        let method = Method::from_bytes(format!("MADEUP{n}").as_bytes()).unwrap();
        server.send(Ask::new(method, "/x")).await;
    }
    let text = exposition(&server).await;
    let path = "/v1/namespaces/{namespace}/jobs/{name}";
    let counted =
        format!("windlass_http_requests_total{{method=\"GET\",path=\"{path}\",status=\"200\"}}");
    assert_eq!(sample(&text, &counted), Some(3.0), "{text}");
    let unknown = "windlass_http_requests_total{method=\"GET\",path=\"unknown\",status=\"404\"}";
    assert_eq!(sample(&text, unknown), Some(50.0), "{text}");
    assert!(!text.contains("made") && !text.contains("MADEUP"), "{text}");
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
    assert!(text.lines().count() < 200, "{} lines", text.lines().count());
    assert!(!text.contains(GOOD), "no token");
}

#[tokio::test]
async fn who_may_only_read_jobs_may_not_read_the_metrics_of_all() {
    let server = Server::start().await;
    let answer = server.send(Ask::new(Method::GET, "/metrics").token(READER)).await;
    answer.problem(403);
}
