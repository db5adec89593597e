//! A gateway that answers as it is told.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};
use windlass_core::assignment::{InputDigest, ReportTo, StandbyAssignment};
use windlass_core::{Assignment, Report};

use crate::bench::Bench;
use crate::processes::PATIENCE;

/// For `localhost`, signed by itself.
const FIRST: &str = include_str!("../../windlass-gateway/tests/certificates/first.crt");
const FIRST_KEY: &str = include_str!("../../windlass-gateway/tests/certificates/first.key");
/// Another.
pub const SECOND: &str = include_str!("../../windlass-gateway/tests/certificates/second.crt");

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum CannedAnswer {
    Status(u16),
    /// Has stored what it was sent, here.
    Stored(&'static str),
    /// Tells a worker that waits of the bench's attempt, with this input.
    Assigned(&'static str),
    /// The same, once the function has said in `$DIR/ready` that it is ready.
    AssignedWhenReady(&'static str),
    /// Sends this blob.
    Blob(&'static str),
    /// Begins to send a blob, and breaks off.
    Half(&'static str),
    /// Closes the connection without a word.
    Drop,
}

/// What a worker sent.
#[derive(Debug)]
pub struct Request {
    pub line: String,
    pub token: String,
    pub report: Report,
}

/// A large result that a worker sent.
#[derive(Debug)]
pub struct Upload {
    pub line: String,
    pub token: String,
    pub digest: String,
    pub bytes: Vec<u8>,
}

/// With or without TLS.
trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

enum Sent {
    Report(Box<Request>),
    Upload(Upload),
    /// What to do, or for a blob.
    Question(String),
}

/// Waits until a file is there; not for ever: whoever waits for an answer says then that there is none.
fn await_file(path: &Path) {
    let until = Instant::now() + Duration::from_secs(30);
    while !path.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A listening gateway.
pub struct FakeGateway {
    requests: Receiver<Request>,
    uploads: Receiver<Upload>,
    questions: Receiver<String>,
}

impl FakeGateway {
    /// Gives the bench a gateway that answers so, one request after the other, and the last for
    /// ever. Its token is in `$DIR/token`.
    pub fn plain(bench: &mut Bench, answers: &[CannedAnswer]) -> Self {
        Self::start(bench, answers, None)
    }

    /// The same with TLS and the first certificate, which the worker is told to trust.
    pub fn with_tls(bench: &mut Bench, answers: &[CannedAnswer]) -> Self {
        let certificate = CertificateDer::from_pem_slice(FIRST.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(FIRST_KEY.as_bytes()).unwrap();
        let config =
            ServerConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
                .unwrap();
        Self::start(bench, answers, Some(Arc::new(config)))
    }

    fn start(bench: &mut Bench, answers: &[CannedAnswer], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{port}/v1/reports");
        std::fs::write(bench.path("token"), "secret\n").unwrap();
        let token = bench.path("token").to_str().unwrap().to_owned();
        let authorities = tls.as_ref().map(|_| FIRST.to_owned());
        bench.assignment.report = ReportTo::Http { url, token, authorities };
        let (assignment, ready) = (bench.assignment.clone(), bench.path("ready"));
        let (report, requests) = channel();
        let (upload, uploads) = channel();
        let (question, questions) = channel();
        let last = *answers.last().unwrap();
        let answers = Vec::from(answers);
        let mut answers = answers.into_iter();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let mut connection: Box<dyn Stream> = match &tls {
                    Some(config) => {
                        let tls = ServerConnection::new(Arc::clone(config)).unwrap();
                        Box::new(StreamOwned::new(tls, connection))
                    }
                    None => Box::new(connection),
                };
                let Some(sent) = read(&mut *connection) else { continue };
                let answer = answers.next().unwrap_or(last);
                let taken = match sent {
                    Sent::Report(request) => report.send(*request).is_ok(),
                    Sent::Upload(sent) => upload.send(sent).is_ok(),
                    Sent::Question(line) => question.send(line).is_ok(),
                };
                if !taken {
                    return;
                }
                if matches!(answer, CannedAnswer::AssignedWhenReady(_)) {
                    await_file(&ready);
                }
                let (status, body) = match answer {
                    CannedAnswer::Status(413) => {
                        (413, r#"{"detail": "at most 7 bytes"}"#.to_owned())
                    }
                    CannedAnswer::Status(409) => {
                        (409, r#"{"detail": "the gateway says no"}"#.to_owned())
                    }
                    CannedAnswer::Status(status) => (status, String::new()),
                    CannedAnswer::Stored(location) => {
                        (201, format!(r#"{{"location": "{location}"}}"#))
                    }
                    CannedAnswer::Assigned(input) | CannedAnswer::AssignedWhenReady(input) => {
                        let assignment = Assignment {
                            input_digest: Some(InputDigest::of_bytes(input.as_bytes())),
                            on_standby: true,
                            ..assignment.clone()
                        };
                        let told = StandbyAssignment { assignment, input: input.to_owned() };
                        (200, serde_json::to_string(&told).unwrap())
                    }
                    CannedAnswer::Blob(bytes) | CannedAnswer::Half(bytes) => {
                        (200, bytes.to_owned())
                    }
                    CannedAnswer::Drop => continue,
                };
                let more = usize::from(matches!(answer, CannedAnswer::Half(_)));
                let head = format!("content-length: {}\r\nconnection: close", body.len() + more);
                write!(connection, "HTTP/1.1 {status} So\r\n{head}\r\n\r\n{body}")
                    .unwrap_or_default();
            }
        });
        Self { requests, uploads, questions }
    }

    /// The next request.
    pub fn next_request(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request within the patience")
    }

    /// The next large result.
    pub fn upload(&self) -> Upload {
        self.uploads.recv_timeout(PATIENCE).expect("an upload within the patience")
    }

    /// The uploads that came since.
    pub fn uploads_so_far(&self) -> Vec<Upload> {
        self.uploads.try_iter().collect()
    }

    /// What was asked for since.
    pub fn questions(&self) -> Vec<String> {
        self.questions.try_iter().collect()
    }

    /// The requests that came since.
    pub fn rest(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

fn read(connection: &mut dyn Stream) -> Option<Sent> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut length, mut token, mut digest) = (0, String::new(), String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-digest" => digest = value.to_owned(),
            "authorization" => token = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim().to_owned();
    if line.contains("/assignment ") || line.contains("/blobs/") {
        return Some(Sent::Question(line));
    }
    if line.starts_with("PUT") {
        return Some(Sent::Upload(Upload { line, token, digest, bytes: body }));
    }
    let report = serde_json::from_slice(&body).ok()?;
    Some(Sent::Report(Box::new(Request { line, token, report })))
}
