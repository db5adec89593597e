//! Following what a job says, from one attempt to the next, until it has ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use uuid::Uuid;
use windlass_core::result::ByteStream;
use windlass_core::{AttemptNumber, Error, Job};
use windlass_worker::LogFollower;

use crate::files::Files;
use crate::store::Watcher;

/// How often a log is looked at that says nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Most bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// What the attempts of a job say, in memory of one piece: the last `tail` bytes of what the latest
/// has said already, then all that follows, until the job has ended or is gone.
pub(crate) async fn follow(
    mut changes: Watcher,
    files: Arc<Files>,
    tail: u64,
) -> Result<ByteStream, Error> {
    let job = changes.next().await?.job;
    let uid = crate::jobs::uid(&job)?;
    let follow = Follow { changes, files, uid, job, tail: Some(tail), log: None, read: None };
    Ok(Box::pin(stream::try_unfold(follow, |mut follow| async {
        Ok(follow.next().await?.map(|piece| (piece, follow)))
    })))
}

struct Follow {
    changes: Watcher,
    files: Arc<Files>,
    uid: Uuid,
    job: Arc<Job>,
    /// Of the first log; of later ones all is told.
    tail: Option<u64>,
    log: Option<(AttemptNumber, LogFollower)>,
    /// The last attempt whose log was read to its end.
    read: Option<AttemptNumber>,
}

impl Follow {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Known before the log is read: what was said until then is in it.
            let has_ended = self.job.status.is_finished();
            let latest = self.job.status.attempt;
            if self.log.is_none() {
                self.open(latest).await?;
            }
            if let Some((attempt, log)) = self.log.take() {
                let (log, piece) = in_thread(move || more(log)).await??;
                if !piece.is_empty() {
                    self.log = Some((attempt, log));
                    return Ok(Some(piece.into()));
                }
                if latest.is_some_and(|latest| latest > attempt) {
                    self.read = Some(attempt);
                    continue;
                }
                self.log = Some((attempt, log));
            }
            if has_ended {
                return Ok(None);
            }
            tokio::select! {
                changed = self.changes.next() => match changed {
                    Ok(shown) => self.job = shown.job,
                    // It was deleted: it says nothing any more.
                    Err(_) => return Ok(None),
                },
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Opens the log of the attempt that comes next: the latest one at first.
    async fn open(&mut self, latest: Option<AttemptNumber>) -> io::Result<()> {
        let next = match (self.read, latest) {
            (None, Some(latest)) => latest,
            (Some(read), Some(latest)) if latest > read => read + 1,
            _ => return Ok(()),
        };
        let (path, tail) = (self.files.log(self.uid, next), self.tail.take().unwrap_or(u64::MAX));
        let log = in_thread(move || LogFollower::open(&path, tail)).await??;
        self.log = Some((next, log));
        Ok(())
    }
}

fn more(mut log: LogFollower) -> io::Result<(LogFollower, Vec<u8>)> {
    let piece = log.more(PIECE)?;
    Ok((log, piece))
}

/// A disk may take its time.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
