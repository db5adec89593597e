//! What a function that serves says on stdout and stderr: into the log of the job that it has.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe::Receiver;

use crate::log::RotatingLog;
use crate::output_end::{OutputEnd, Stream};
use crate::stdio::{CHUNK_BYTES, write_to_log};

/// The pipes of one process, and where to what comes through them goes.
pub(super) struct ServingRelay {
    /// Each is none once it is closed.
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    /// The log of the job that it has; none where there are no logs: then it goes to this process's own streams.
    log: Option<RotatingLog>,
    /// The end of what was said since the job has begun.
    end: OutputEnd,
    /// Both streams come through pipes: half of a log is not kept.
    hears_both: bool,
    buffer: Vec<u8>,
}

impl ServingRelay {
    pub(super) fn new(stdout: Option<OwnedFd>, stderr: OwnedFd) -> io::Result<Self> {
        let hears_both = stdout.is_some();
        Ok(Self {
            hears_both,
            stdout: stdout.map(Receiver::from_owned_fd).transpose()?,
            stderr: Some(Receiver::from_owned_fd(stderr)?),
            log: None,
            end: OutputEnd::new(None),
            buffer: vec![0; CHUNK_BYTES],
        })
    }

    /// What comes from now on is of another job.
    pub(super) fn begin(&mut self, log: Option<&str>, keep_log_bytes: Option<u64>) {
        self.drain();
        self.end = OutputEnd::new(keep_log_bytes.filter(|_| self.hears_both));
        self.log = log.map(RotatingLog::at);
    }

    /// Waits until something has come, and takes it. Never returns once both pipes are closed.
    pub(super) async fn relay(&mut self) {
        tokio::select! {
            () = readable_pipe(self.stdout.as_ref()) => {}
            () = readable_pipe(self.stderr.as_ref()) => {}
        }
        self.drain();
    }

    /// The end of stderr of the job that has just ended, as text without control characters.
    pub(super) fn last_words(&mut self) -> String {
        self.drain();
        self.end.last_words()
    }

    /// What is to be kept of what that job has said, after its last words. Once.
    pub(super) fn take_log(&mut self) -> Option<Vec<u8>> {
        self.end.take_log()
    }

    /// Takes what is in the pipes.
    fn drain(&mut self) {
        let Self { stdout, stderr, log, end, buffer, .. } = self;
        for (pipe, from) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            take(pipe, buffer, |bytes| {
                end.push(from, bytes);
                write_to_log(log.as_mut(), from, bytes);
            });
        }
    }
}

async fn readable_pipe(pipe: Option<&Receiver>) {
    match pipe {
        // An error shows again when it is read.
        Some(pipe) => pipe.readable().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Reads until there is nothing, at most a few times: who says more than can be read is read on later. A pipe that is
/// closed is forgotten.
fn take(pipe: &mut Option<Receiver>, buffer: &mut [u8], mut with: impl FnMut(&[u8])) {
    const MOST_READS: usize = 16;
    for _ in 0..MOST_READS {
        let Some(open) = pipe else { return };
        match open.try_read(buffer) {
            Ok(length @ 1..) => with(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => *pipe = None,
        }
    }
}
