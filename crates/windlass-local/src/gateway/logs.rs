//! The logs of a job, followed from one attempt to the next until the job has ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use uuid::Uuid;
use windlass_core::log_tail::LogRange;
use windlass_core::result::ByteStream;
use windlass_core::{AttemptNumber, Error, Job};
use windlass_worker::LogFollower;

use crate::data_dir::DataDir;
use crate::store::{JobWatcher, job_uid};

/// How often a log that does not grow is read again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Most bytes that are read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// The logs of a job's attempts, with one chunk of them in memory: the end of what the latest
/// attempt has written already that `range` asks for, then all that follows, until the job has ended or is deleted.
pub(super) async fn follow(
    mut changes: JobWatcher,
    files: Arc<DataDir>,
    range: LogRange,
) -> Result<ByteStream, Error> {
    let job = changes.changed().await?.job;
    let uid = job_uid(&job)?;
    let logs = LogStream { changes, files, uid, job, range, log: None, read: None };
    Ok(Box::pin(stream::try_unfold(logs, |mut logs| async {
        Ok(logs.next_chunk().await?.map(|chunk| (chunk, logs)))
    })))
}

struct LogStream {
    changes: JobWatcher,
    files: Arc<DataDir>,
    uid: Uuid,
    job: Arc<Job>,
    /// Of the first log. Later ones are read from their beginning.
    range: LogRange,
    log: Option<(AttemptNumber, LogFollower)>,
    /// The last attempt whose log was read to its end.
    read: Option<AttemptNumber>,
}

impl LogStream {
    async fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Known before the log is read, so that the log has all that was written until then.
            let has_ended = self.job.status.is_finished();
            let latest = self.job.status.attempt;
            if self.log.is_none() {
                self.open_next(latest).await?;
            }
            if let Some((attempt, log)) = self.log.take() {
                let (log, chunk) = in_thread(move || read_chunk(log)).await??;
                if !chunk.is_empty() {
                    self.log = Some((attempt, log));
                    return Ok(Some(chunk.into()));
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
                changed = self.changes.changed() => match changed {
                    Ok(shown) => self.job = shown.job,
                    // It was deleted, and its logs with it.
                    Err(_) => return Ok(None),
                },
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Opens the log of the attempt that comes next: the latest one at first.
    async fn open_next(&mut self, latest: Option<AttemptNumber>) -> io::Result<()> {
        let next = match (self.read, latest) {
            (None, Some(latest)) => latest,
            (Some(read), Some(latest)) if latest > read => read + 1,
            _ => return Ok(()),
        };
        let (path, range) = (self.files.log(self.uid, next), self.range);
        self.range.tail = u64::MAX;
        let log = in_thread(move || LogFollower::open(&path, range)).await??;
        self.log = Some((next, log));
        Ok(())
    }
}

fn read_chunk(mut log: LogFollower) -> io::Result<(LogFollower, Vec<u8>)> {
    let chunk = log.more(CHUNK_BYTES)?;
    Ok((log, chunk))
}

/// A disk may take its time.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
