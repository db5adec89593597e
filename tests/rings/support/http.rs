//! A small blocking client: one request, one connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Where to send requests and with which token.
#[derive(Clone)]
pub(crate) struct Client {
    /// Host and port, also the value of the Host header.
    pub(crate) address: String,
    pub(crate) token: String,
    /// Namespace of the jobs.
    pub(crate) namespace: String,
}

impl Client {
    /// Path of the jobs of this client's namespace, with this at its end.
    pub(crate) fn jobs(&self, rest: &str) -> String {
        format!("/v1/namespaces/{}/jobs{rest}", self.namespace)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send("POST", path, headers, body)
    }

    /// Submits a job.
    pub(crate) fn submit(&self, job: &Value) -> Answer {
        self.post(&self.jobs(""), &[], job.to_string().as_bytes())
    }

    /// Submits a job and waits for its end.
    pub(crate) fn run(&self, job: &Value) -> Value {
        let wait = [("Prefer", "wait=60")];
        let answer = self.post(&self.jobs(""), &wait, job.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, path, headers, body).unwrap()
    }

    /// The same, where the server may be gone.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let headers: Vec<_> = headers.iter().chain(&[("Connection", "close")]).copied().collect();
        self.connect()?.send(method, path, &headers, body)
    }

    /// A connection for many requests.
    pub(crate) fn connect(&self) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Connection { client: self.clone(), stream })
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !self.token.is_empty() {
            request += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        if method == "PUT" || method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if method == "POST" && !has_type {
            request += "Content-Type: application/json\r\n";
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request + "\r\n"
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", super::text(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A connection that is kept open.
pub(crate) struct Connection {
    client: Client,
    stream: TcpStream,
}

impl Connection {
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut request = self.client.head(method, path, headers, body).into_bytes();
        // One packet for what is small. A server may refuse before it has read the body.
        if body.len() < 1024 {
            request.extend_from_slice(body);
            self.stream.write_all(&request)?;
        } else {
            self.stream.write_all(&request)?;
            self.stream.write_all(body).unwrap_or_default();
        }
        read(&mut self.stream)
    }
}

/// Reads one answer, to its declared end: a server may keep the connection open for a while.
fn read(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer).unwrap_or_default();
        bytes.extend_from_slice(&buffer[..length]);
        if is_whole(&bytes) || (length == 0 && bytes.windows(4).any(|some| some == b"\r\n\r\n")) {
            return Ok(parse(&bytes));
        }
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = super::text(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => bytes.len() >= end + 4 + length,
        None if head.contains("transfer-encoding: chunked") => bytes.ends_with(b"\r\n0\r\n\r\n"),
        None => head.contains(" 204 "),
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("no head");
    let head = super::text(&bytes[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body);
    }
    answer
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(super::text(&bytes[..end]).trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    whole
}
