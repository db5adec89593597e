//! What a job's function says, from attempt to attempt, as it comes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use uuid::Uuid;
use windlass_core::result::ByteStream;
use windlass_core::{AttemptNumber, Error, Job};
use windlass_worker::LogFollower;

use crate::files::Files;
use crate::store::Watcher;

/// Most bytes of a piece.
const PIECE_BYTES: u64 = 64 * 1024;

/// How often a log is looked at: nobody tells that a worker has written.
const LOOK: Duration = Duration::from_millis(150);

struct Following {
    files: Arc<Files>,
    changes: Watcher,
    uid: Uuid,
    /// The attempt that is read.
    attempt: AttemptNumber,
    /// Away only while it is read, in a thread.
    log: Option<LogFollower>,
    /// Read before the first look.
    said: Vec<u8>,
    job: Arc<Job>,
    /// The job was deleted, and its logs with it.
    gone: bool,
}

/// The last `tail` bytes of the latest attempt, and everything after, until the job has ended.
pub(crate) async fn follow(
    files: Arc<Files>,
    mut changes: Watcher,
    tail: u64,
) -> Result<ByteStream, Error> {
    let job = changes.next().await?.job;
    let uid = Uuid::parse_str(&job.metadata.uid).map_err(|error| Error::Bug(error.to_string()))?;
    let attempt = job.status.attempt.unwrap_or(1);
    let (log, said) = start(&files, uid, attempt, tail)
        .await
        .map_err(|error| Error::Bug(format!("the log of {}: {error}", job.key())))?;
    let log = Some(log);
    let following = Following { files, changes, uid, attempt, log, said, job, gone: false };
    Ok(Box::pin(stream::unfold(Some(following), async |following| {
        let mut following = following?;
        match following.next().await {
            Ok(Some(piece)) => Some((Ok(piece.into()), Some(following))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })))
}

impl Following {
    /// The next piece; none after the last.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.said.is_empty() {
            return Ok(Some(std::mem::take(&mut self.said)));
        }
        loop {
            // Both are looked at before the log is read: what was said by then is in it.
            let ended = self.gone || self.job.status.is_finished();
            let latest = self.job.status.attempt.unwrap_or(self.attempt);
            let said = self.read().await?;
            if !said.is_empty() {
                return Ok(Some(said));
            }
            if latest > self.attempt {
                self.attempt += 1;
                let (log, said) = start(&self.files, self.uid, self.attempt, u64::MAX).await?;
                self.log = Some(log);
                if !said.is_empty() {
                    return Ok(Some(said));
                }
                continue;
            }
            if ended {
                return Ok(None);
            }
            tokio::select! {
                changed = self.changes.next() => match changed {
                    Ok(shown) => self.job = shown.job,
                    Err(_) => self.gone = true,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let Some(mut log) = self.log.take() else { return Ok(Vec::new()) };
        let (log, said) = in_thread(move || {
            let said = log.read(PIECE_BYTES)?;
            Ok((log, said))
        })
        .await?;
        self.log = Some(log);
        Ok(said)
    }
}

async fn start(
    files: &Files,
    uid: Uuid,
    attempt: AttemptNumber,
    tail: u64,
) -> io::Result<(LogFollower, Vec<u8>)> {
    let path = files.log(uid, attempt);
    in_thread(move || LogFollower::start(path, tail)).await
}

async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
