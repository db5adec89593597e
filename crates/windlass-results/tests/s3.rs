//! An S3 server of one test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use windlass_results::Results;

const BUCKET: &str = "results";

/// A server with one bucket, that everybody may use. Ended with it.
pub(crate) struct S3 {
    server: Child,
    /// What it keeps.
    _directory: TempDir,
    /// Its address and port.
    address: String,
}

impl S3 {
    pub(crate) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/s3");
        let directory = tempfile::tempdir().unwrap();
        // Again where somebody else has taken the port that was free.
        for _ in 0..3 {
            let mut command = Command::new(script);
            command.arg("127.0.0.1").arg(directory.path()).arg(BUCKET);
            let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
            let address = lines.by_ref().find_map(|line| {
                Some(line.unwrap().split_once("Running on http://")?.1.trim().to_owned())
            });
            let Some(address) = address else {
                server.wait().unwrap();
                continue;
            };
            // It must not wait for a reader of what it tells.
            std::thread::spawn(move || lines.for_each(drop));
            return Self { server, _directory: directory, address };
        }
        panic!("the S3 server ended");
    }

    /// What is stored below this prefix.
    pub(crate) fn results(&self, prefix: &str) -> Results {
        results_at(&self.address, prefix, &[])
    }

    /// The multipart uploads that are under way, as the server tells them.
    pub(crate) async fn uploads(&self) -> String {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "GET /{BUCKET}?uploads HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
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
