//! What happens to any job of a namespace is told to whoever follows all of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Client;

/// A stream of all jobs, line by line.
struct AllJobs(BufReader<TcpStream>);

impl AllJobs {
    /// It has begun when this returns: its first bytes have come.
    fn follow(client: &Client) -> Self {
        let Client { address, token, namespace } = client;
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let query = "fields=metadata.name,metadata.uid,spec.input,status.phase";
        let request = format!(
            "GET /v1/namespaces/{namespace}/events?{query} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(socket));
        while stream.line() != ":" {}
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// Reads up to an event of this kind whose data is as wanted.
    fn until(&mut self, kind: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if self.line() != format!("event: {kind}") {
                continue;
            }
            let line = self.line();
            let data = line.strip_prefix("id: ").map_or(line.clone(), |_| self.line());
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            if is_wanted(&data) {
                return data;
            }
        }
    }
}

pub(super) fn all_jobs_are_followed(client: &Client) {
    let mut streams = [AllJobs::follow(client), AllJobs::follow(client)];
    let job = json!({ "name": "followed", "function": "echo", "input": { "secret": 1 } });
    let uid = client.run(&job)["metadata"]["uid"].clone();
    for stream in &mut streams {
        let ended = stream.until("job", |job| {
            job["metadata"]["name"] == "followed" && job["status"]["phase"] == "Succeeded"
        });
        assert_eq!(ended["metadata"]["uid"], uid);
        assert_eq!(ended["spec"], json!({ "input": {} }));
    }
    // Not at once: of what happens within a moment the last is told.
    assert_eq!(client.send("DELETE", &client.jobs("/followed"), &[], b"").status, 204);
    for stream in &mut streams {
        let gone = stream.until("deleted", |_| true);
        assert_eq!(gone, json!({ "name": "followed", "uid": uid }));
    }
}
