//! Who gets near a `windlass serve` at all: its listeners, its host names, its origins.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http::Client;
use crate::support::server::Server;
use crate::support::{checkout, eventually, run, text};

/// Sends these bytes and gives the status of the answer.
fn raw(address: &str, request: &str) -> u16 {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).map(drop).unwrap_or_default();
    let answer = text(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{request}\n{answer:?}"))
}

#[test]
fn web_pages_of_others_reach_nothing_on_loopback() {
    let server = Server::start(&["--cpus", "1"]);
    let (address, token) = (&server.client.address, &server.client.token);
    let port = address.rsplit_once(':').unwrap().1;
    let get = |target: &str, host: &str, more: &str| {
        raw(
            address,
            &format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
                 Authorization: Bearer {token}\r\n{more}\r\n"
            ),
        )
    };
    let jobs = "/v1/namespaces/default/jobs";
    let localhost = format!("localhost:{port}");
    assert_eq!(get(jobs, address, ""), 200);
    assert_eq!(get(jobs, &localhost, ""), 200);
    // DNS rebinding: a name of somebody else that leads here.
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost.:{port}"),
        format!("127.0.0.1.:{port}"),
        format!("[::1]:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.1:{port}"),
        format!("user@localhost:{port}"),
        "localhost".to_owned(),
    ] {
        assert_eq!(get(jobs, &host, ""), 421, "{host}");
        assert_eq!(get("/healthz", &host, ""), 421, "{host}");
    }
    // A request line with a host of its own.
    assert_eq!(get(&format!("http://{address}{jobs}"), address, ""), 200);
    for target in ["http://evil.example", "http://localhost:1"] {
        assert_eq!(get(&format!("{target}{jobs}"), address, ""), 421, "{target}");
    }
    // A page of another origin, even with the token.
    for origin in ["http://evil.example", "null", "http://localhost:1", "https://localhost", ""] {
        let line = format!("Origin: {origin}\r\n");
        assert_eq!(get(jobs, &localhost, &line), 403, "{origin}");
    }
    assert_eq!(get(jobs, &localhost, &format!("Origin: http://{localhost}\r\n")), 200);
    // What a form or a page without a preflight may send.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let body = r#"{"function":"echo"}"#;
        let length = body.len();
        let post = format!(
            "POST {jobs} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(raw(address, &post), 415, "{kind}");
    }
    assert_eq!(server.client.get(jobs).json()["items"], serde_json::json!([]));
}

#[test]
fn a_revoked_key_is_refused_within_a_second() {
    let server = Server::start(&["--cpus", "1"]);
    let data = server.data().to_str().unwrap().to_owned();
    let made = run(&["keys", "create", "web", "--verbs", "list", "--data", &data]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mut client = server.client.clone();
    client.token = text(&made.stdout).trim().to_owned();
    let jobs = client.jobs("");
    eventually("the key is good", Duration::from_secs(1), || {
        (client.get(&jobs).status == 200).then_some(())
    });
    assert_eq!(client.get(&client.jobs("/a")).status, 404, "it may list, not get");
    assert_eq!(client.get("/metrics").status, 403);
    let listed = run(&["keys", "list", "--data", &data]);
    assert!(text(&listed.stdout).contains("web"), "{}", text(&listed.stdout));
    assert!(!text(&listed.stdout).contains(&client.token[3..]));
    let revoked = run(&["keys", "revoke", "web", "--data", &data]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    let began = Instant::now();
    eventually("the key is refused", Duration::from_secs(1), || {
        (client.get(&jobs).status == 401).then_some(())
    });
    println!("refused {:?} after its revocation", began.elapsed());
    assert_eq!(run(&["keys", "revoke", "web", "--data", &data]).status.code(), Some(2));
}

#[test]
fn a_key_for_no_server_is_told_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("nothing");
    let data = data.to_str().unwrap();
    let list = run(&["keys", "list", "--data", data]);
    assert!(text(&list.stderr).contains("no server has used"), "{}", text(&list.stderr));
    assert_eq!(run(&["keys", "revoke", "web", "--data", data]).status.code(), Some(2));
    assert!(!std::path::Path::new(data).exists(), "only a new key makes the directory");
    let made = run(&["keys", "create", "web", "--data", data]);
    let said = text(&made.stderr);
    assert!(made.status.success(), "{said}");
    let serve = format!("windlass serve --data {data}");
    assert!(said.contains("no server has used") && said.contains(&serve), "{said}");
    let server = Server::start(&["--cpus", "1"]);
    let data = server.data().to_str().unwrap();
    let made = run(&["keys", "create", "web", "--data", data]);
    assert!(!text(&made.stderr).contains("no server"), "{}", text(&made.stderr));
}

#[test]
fn only_tls_is_served_beyond_loopback() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let certificates = checkout().join("crates/windlass-gateway/tests/certificates");
    let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let (cert, key, other) = (file("first.crt"), file("first.key"), file("second.key"));
    let all = ["--listen", "0.0.0.0:0", "--data", data];
    let refused: [(&[&str], &str); 4] = [
        (&[], "--tls-cert"),
        (&["--tls-cert", &cert], "--tls-key"),
        (&["--tls-cert", &cert, "--tls-key", &key], "--host"),
        (&["--tls-cert", &cert, "--tls-key", &other, "--host", "a.example"], "TLS"),
    ];
    for (arguments, expected) in refused {
        let arguments: Vec<_> = [&["serve"][..], &all, arguments].concat();
        let output = run(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let gateway = run(&["gateway", "--listen", "0.0.0.0:0"]);
    assert_eq!(gateway.status.code(), Some(2), "{}", text(&gateway.stderr));
    assert!(text(&gateway.stderr).contains("--plain-http"));
}

#[test]
fn who_is_trusted_inside_a_cluster_must_be_said_and_good() {
    let certificates = checkout().join("crates/windlass-gateway/tests/certificates");
    let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("first.crt"), file("first.key"));
    let https = ["controller", "--report-url", "https://gateway/v1/reports"];
    let http = ["controller", "--report-url", "http://gateway/v1/reports"];
    let tls = ["gateway", "--tls-cert", &cert, "--tls-key", &key];
    let peers = ["--peers", "others:7070", "--peer-token", "token"];
    let replica = [&tls[..], &peers].concat();
    let bad = ["--peer-ca", &cert, "--peer-host", "no name"];
    let refused: [(Vec<&str>, &str); 6] = [
        (https.to_vec(), "needs --report-ca"),
        ([&https[..], &["--report-ca", "/nowhere/ca.crt"]].concat(), "/nowhere/ca.crt"),
        ([&https[..], &["--report-ca", &key]].concat(), "no certificate"),
        ([&http[..], &["--report-ca", &cert]].concat(), "for an https"),
        (replica.clone(), "--peer-ca and --peer-host"),
        ([&replica[..], &bad].concat(), "--peers"),
    ];
    for (arguments, expected) in refused {
        let output = run(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_caller_that_asks_too_often_is_told_when_to_come_again() {
    let server = Server::start(&["--cpus", "1", "--rate-limit", "5"]);
    let client = &server.client;
    let first = client.get(&client.jobs(""));
    assert_eq!(first.header("ratelimit-policy"), Some("\"caller\";q=10;w=2"));
    assert_eq!(first.header("ratelimit"), Some("\"caller\";r=9;t=1"));
    let answers: Vec<_> = (0..30).map(|_| client.get(&client.jobs(""))).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("nothing was refused");
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert_eq!(refused.json()["type"], "/problems/rate");
    // Who shows no token has no allowance to use up.
    let nobody = Client { token: String::new(), ..client.clone() };
    assert_eq!(nobody.get("/healthz").status, 200);
}
