//! Server-sent events, as they come in pieces of a body.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};

/// Longest silence of a stream; a server says something every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest event of a stream, in bytes: a job with its input and result, escaped.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// The next piece of a body; none at its end. A silent server is as good as none.
pub(super) async fn next_piece(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        let next = tokio::time::timeout(SILENCE, body.frame());
        let frame = next.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        match frame {
            None => return Ok(None),
            Some(frame) => {
                // Trailers say nothing to us.
                if let Ok(piece) = frame.map_err(io::Error::other)?.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// The events of a stream (server-sent events, WHATWG HTML 9.2).
pub(super) struct ServerSentEvents {
    body: Incoming,
    parser: Parser,
}

impl ServerSentEvents {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// The next event; none at the end of the stream.
    pub(super) async fn next_event(&mut self) -> io::Result<Option<ServerSentEvent>> {
        loop {
            if let Some(event) = self.parser.events.pop_front() {
                return Ok(Some(event));
            }
            match next_piece(&mut self.body).await? {
                Some(piece) => self.parser.push(&piece)?,
                None => return Ok(None),
            }
        }
    }
}

/// An event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServerSentEvent {
    pub(super) kind: String,
    pub(super) data: Vec<u8>,
}

/// Puts events together from pieces of a stream.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    event: ServerSentEvent,
    events: VecDeque<ServerSentEvent>,
}

impl Parser {
    fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        for &byte in piece {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.event.data.len() > MAX_EVENT_BYTES {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "an endless event"));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.end_line(line.strip_suffix(b"\r").unwrap_or(&line));
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                self.events.push_back(event);
            }
        } else if let Some(data) = value_of(line, b"data:") {
            if !self.event.data.is_empty() {
                self.event.data.push(b'\n');
            }
            self.event.data.extend_from_slice(data);
        } else if let Some(kind) = value_of(line, b"event:") {
            self.event.kind = String::from_utf8_lossy(kind).into_owned();
        }
    }
}

fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(field)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_the_stream_is_cut() {
        let stream = b": hello\n\nevent: job\nid: 7\ndata: {\"a\":\ndata: 1}\n\n:\n\n\
                       event:progress\r\ndata:{}\r\n\r\nevent: job\ndata: cut";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            for piece in stream.chunks(size) {
                parser.push(piece).unwrap();
            }
            let events: Vec<_> = parser.events.into_iter().collect();
            let event = |kind: &str, data: &str| ServerSentEvent {
                kind: kind.into(),
                data: data.as_bytes().into(),
            };
            assert_eq!(events, [event("job", "{\"a\":\n1}"), event("progress", "{}")], "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 64 * 1024];
        let taken = (0..=MAX_EVENT_BYTES / piece.len()).try_for_each(|_| parser.push(&piece));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
