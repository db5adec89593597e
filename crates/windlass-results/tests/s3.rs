//! An S3 server of one test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use windlass_results::Results;

const BUCKET: &str = "results";

/// A server with one bucket. Ended with it.
pub(crate) struct S3 {
    server: Child,
    /// Its address and port.
    address: String,
}

impl S3 {
    pub(crate) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/s3");
        let mut server =
            Command::new(script).arg("127.0.0.1").stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = lines.by_ref().find_map(|line| {
            Some(line.unwrap().split_once("Running on http://")?.1.trim().to_owned())
        });
        // It tells every request, and must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, address: address.expect("the S3 server ended") }
    }

    /// What is stored below this prefix.
    pub(crate) async fn results(&self, prefix: &str) -> Results {
        let made = self.ask("PUT", &format!("/{BUCKET}")).await;
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        results_at(&self.address, prefix, &[])
    }

    /// The multipart uploads that are under way, as the server tells them.
    pub(crate) async fn uploads(&self) -> String {
        self.ask("GET", &format!("/{BUCKET}?uploads")).await
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.address
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// What is stored below this prefix at an address, with further settings.
pub(crate) fn results_at(address: &str, prefix: &str, more: &[(&str, &str)]) -> Results {
    let endpoint = format!("http://{address}");
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("PATH", "/not/for/the/store"),
    ];
    let environment = environment.iter().chain(more);
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Results::open_with(&format!("s3://{BUCKET}/{prefix}"), environment).unwrap()
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.kill().unwrap_or_default();
        self.server.wait().map(drop).unwrap_or_default();
    }
}
