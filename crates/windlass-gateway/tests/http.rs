//! A server for one test, and a client that hides nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use windlass_gateway::{Gateway, ServerLimits};

use crate::fake::{FakeBackend, FakeReports, GOOD, Tokens};

/// Longest wait of a test for something that should happen at once.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) backend: Arc<FakeBackend>,
    pub(crate) shutdown: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<io::Result<()>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Gateway)) -> Self {
        let backend = Arc::new(FakeBackend::default());
        let mut gateway = Gateway {
            jobs: backend.clone(),
            changes: backend.clone(),
            access: Arc::new(Tokens),
            reports: Some(Arc::new(FakeReports(backend.clone()))),
            blobs: Some(backend.clone()),
            drain: Some(backend.clone()),
            allowed_hosts: None,
            ingress_signs_in: false,
            limits: ServerLimits::default(),
            meters: Arc::default(),
            tls: None,
            live: Arc::default(),
            activity: Arc::default(),
        };
        change(&mut gateway);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let served = tokio::spawn(windlass_gateway::serve(listener, gateway, asked));
        Self { address, backend, shutdown: Some(shutdown), served }
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let response = self.open(ask).await;
        let (head, body) = response.into_parts();
        let body = bounded(body.collect()).await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// The same, without waiting for the body.
    pub(crate) async fn open(&self, ask: Ask) -> http::Response<Incoming> {
        let socket = self.connect().await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let request = ask.request(&self.address.to_string());
        bounded(sender.send_request(request)).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        read_to_close(&mut socket).await
    }
}

pub(crate) async fn read_to_close(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is a close, too.
    bounded(socket.read_to_end(&mut answer)).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work).await.expect("it did not happen in time")
}

/// Waits until something is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    bounded(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// With the token that is good for everything in `default`.
    pub(crate) fn good(method: Method, path: impl Into<String>) -> Self {
        Self::new(method, path).token(GOOD)
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// These bytes with their digest.
    pub(crate) fn content(self, bytes: &[u8]) -> Self {
        let digest = BASE64.encode(Sha256::digest(bytes));
        self.header("content-digest", format!("sha-256=:{digest}:")).body(bytes.to_vec())
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn request(self, host: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", host);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body)).unwrap()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that it is the result of a job, safe to open: no browser runs or shows it.
    pub(crate) fn assert_is_result(&self, job: &str, content_type: &str, bytes: &[u8]) {
        assert_eq!((self.status.as_u16(), &self.body[..]), (200, bytes));
        for (name, value) in [
            ("content-type", content_type),
            ("etag", format!("\"sha256-{}\"", windlass_core::result::sha256(bytes)).as_str()),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("content-disposition", format!("attachment; filename=\"{job}\"").as_str()),
            ("content-length", bytes.len().to_string().as_str()),
        ] {
            assert_eq!(self.header(name), Some(value), "{name}");
        }
    }

    /// The problem document, after a look at its shape.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].is_string(), "{problem}");
        }
        problem
    }

    /// The pointers of the problems.
    pub(crate) fn pointers(&self, status: u16) -> Vec<String> {
        let problem = self.problem(status);
        let problems = problem["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().map(|p| p["pointer"].as_str().unwrap().to_owned()).collect()
    }
}
