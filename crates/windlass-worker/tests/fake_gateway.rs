//! A gateway that answers as it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use windlass_core::Report;
use windlass_core::assignment::ReportTo;

use crate::bench::Bench;
use crate::processes::PATIENCE;

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Status(u16),
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

/// A listening gateway.
pub struct Gateway {
    requests: Receiver<Request>,
}

impl Gateway {
    /// Gives the bench a gateway that answers so, one request after the other, and the last for
    /// ever. Its token is in `$DIR/token`.
    pub fn of(bench: &mut Bench, answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/reports", listener.local_addr().unwrap());
        std::fs::write(bench.path("token"), "secret\n").unwrap();
        let token = bench.path("token").to_str().unwrap().to_owned();
        bench.assignment.report = ReportTo::Http { url, token };
        let (sender, requests) = channel();
        let last = *answers.last().unwrap();
        let answers = Vec::from(answers);
        let mut answers = answers.into_iter();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                let Some(request) = read(&connection) else { continue };
                let answer = answers.next().unwrap_or(last);
                if sender.send(request).is_err() {
                    return;
                }
                if let Answer::Status(status) = answer {
                    let head = "content-length: 0\r\nconnection: close";
                    write!(connection, "HTTP/1.1 {status} So\r\n{head}\r\n\r\n")
                        .unwrap_or_default();
                }
            }
        });
        Self { requests }
    }

    /// The next request.
    pub fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request within the patience")
    }

    /// The requests that came since.
    pub fn rest(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut length, mut token) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => token = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let report = serde_json::from_slice(&body).ok()?;
    Some(Request { line: line.trim().to_owned(), token, report })
}
