//! The worker's socket: lines of JSON, read without a thread of its own.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::RecvFlags;
use serde_json::Value;
use windlass_contract::MAX_SERVE_LINE_BYTES;

use crate::coarse_clock;

/// Shortest time between two looks at the socket during a job. Nobody notices a cancel that is 10 ms late.
const INTERVAL_NANOSECONDS: u64 = 10_000_000;

/// The socket that the worker listens on.
pub(crate) struct Connection {
    socket: UnixStream,
    /// What was read and is not taken yet. Held while somebody reads.
    buffer: Mutex<Vec<u8>>,
    /// When the next look is due, in nanoseconds of the coarse clock.
    due: AtomicU64,
    closed: AtomicBool,
}

impl Connection {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        Ok(Self {
            socket,
            buffer: Mutex::default(),
            due: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// Says one line. The socket has room for it: the worker waits for each.
    pub(crate) fn say(&self, line: &Value) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&self.socket).write_all(&text)
    }

    /// Waits for the next line; `None` is the end of the socket.
    pub(crate) fn next_line(&self) -> io::Result<Option<Value>> {
        let mut buffer = self.buffer();
        let mut part = [0; 4096];
        loop {
            if let Some(line) = take_line(&mut buffer)? {
                return Ok(Some(line));
            }
            match (&self.socket).read(&mut part) {
                // The worker may be killed at any time.
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => buffer.extend_from_slice(&part[..count]),
            }
        }
    }

    /// Looks, if that is due, whether the worker wants this job to end, and does not wait.
    #[inline]
    pub(crate) fn wants_end(&self, job: Option<&str>) -> bool {
        let now = coarse_clock::nanoseconds();
        let due = self.due.load(Relaxed);
        now >= due && self.poll_cancel(job, due, now)
    }

    /// Whether the worker was seen to have gone during a job.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// One thread wins the exchange and looks; the others go on computing.
    #[cold]
    fn poll_cancel(&self, job: Option<&str>, due: u64, now: u64) -> bool {
        let next = now + INTERVAL_NANOSECONDS;
        if self.due.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return false;
        }
        let Ok(mut buffer) = self.buffer.try_lock() else { return false };
        let mut part = [0; 4096];
        match rustix::net::recv(&self.socket, &mut part[..], RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => buffer.extend_from_slice(&part[..count]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // Nobody waits for this job any more.
            Ok(_) | Err(_) => {
                self.closed.store(true, Relaxed);
                return true;
            }
        }
        // A line that is none, or another job, is what the main thread finds after this one.
        match first_line(&buffer) {
            Some((length, Ok(line))) if line.get("cancel").is_some() => {
                buffer.drain(..length);
                line["cancel"].as_str() == job
            }
            _ => false,
        }
    }

    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first whole line, and how long it is with its end.
fn first_line(buffer: &[u8]) -> Option<(usize, serde_json::Result<Value>)> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    Some((end + 1, serde_json::from_slice(&buffer[..end])))
}

/// Takes the first line out, if there is a whole one.
fn take_line(buffer: &mut Vec<u8>) -> io::Result<Option<Value>> {
    if let Some((length, line)) = first_line(buffer) {
        buffer.drain(..length);
        return Ok(Some(line?));
    }
    if buffer.len() > MAX_SERVE_LINE_BYTES {
        return Err(io::Error::other(format!(
            "the worker said a line of more than {MAX_SERVE_LINE_BYTES} bytes"
        )));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection, UnixStream) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let (connection, mut worker) = pair();
        worker.write_all(b"{\"a\": 1}\n{\"b\"").unwrap();
        assert_eq!(connection.next_line().unwrap().unwrap()["a"], 1);
        let later = std::thread::spawn(move || worker.write_all(b": 2}\n").map(|()| worker));
        assert_eq!(connection.next_line().unwrap().unwrap()["b"], 2);
        drop(later.join().unwrap().unwrap());
        assert!(connection.next_line().unwrap().is_none(), "the end");
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_memory() {
        let (connection, worker) = pair();
        let writer = std::thread::spawn(move || {
            // Fails once the other end has had enough.
            (&worker).write_all(&vec![b' '; 1 << 20]).unwrap_or_default();
        });
        assert!(connection.next_line().is_err());
        drop(connection);
        writer.join().unwrap();
    }

    #[test]
    fn a_cancel_is_for_its_job_alone_and_the_next_line_stays() {
        let (connection, mut worker) = pair();
        assert!(!connection.poll_cancel(Some("b"), 0, 1), "nothing said");
        worker.write_all(b"{\"cancel\": \"a\"}\n{\"cancel\": \"b\"}\n{\"job\": \"c\"}\n").unwrap();
        let look = || {
            let due = connection.due.load(Relaxed);
            connection.poll_cancel(Some("b"), due, due)
        };
        assert_eq!([look(), look(), look()], [false, true, false]);
        assert_eq!(connection.next_line().unwrap().unwrap()["job"], "c");
        drop(worker);
        let due = connection.due.load(Relaxed);
        assert!(connection.poll_cancel(Some("b"), due, due) && connection.is_closed());
    }
}
