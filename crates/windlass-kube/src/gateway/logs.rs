//! Following what a job says, from one pod to the next, until it has ended.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::time::{Instant, timeout};
use windlass_core::jobs::Watch;
use windlass_core::result::ByteStream;
use windlass_core::{Error, Job};

use crate::error::within_deadline;
use crate::gateway::jobs::LOG_LINES;

/// When to try again a log that cannot be had now: its container is being created, or its node does
/// not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// A log has told what is there once it is silent for so long: the API server has no sign for it.
const SILENCE: Duration = Duration::from_millis(300);

/// Longest look at what is there, for a function that is never silent.
const GATHER: Duration = Duration::from_secs(2);

/// How long a pod may go on after its job has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Log = Pin<Box<dyn AsyncBufRead + Send>>;

/// What the pods of a job say, in memory of twice `tail`: the last `tail` bytes of what is there, then
/// all that follows, until the job has ended or is gone.
pub(crate) async fn follow(
    pods: Api<Pod>,
    mut changes: Box<dyn Watch>,
    tail: u64,
) -> Result<ByteStream, Error> {
    let job = changes.next().await?;
    let follow = Follow {
        pods,
        changes,
        job,
        tail: Some(usize::try_from(tail).unwrap_or(usize::MAX)),
        log: None,
        read: None,
        heard: Instant::now(),
        over: None,
    };
    Ok(Box::pin(stream::try_unfold(follow, |mut follow| async {
        Ok(follow.next().await?.map(|piece| (piece, follow)))
    })))
}

struct Follow {
    pods: Api<Pod>,
    changes: Box<dyn Watch>,
    job: Job,
    /// Of the first log; of later ones all is told.
    tail: Option<usize>,
    /// Of this pod.
    log: Option<(String, Log)>,
    /// The last pod whose log was read to its end.
    read: Option<String>,
    /// When something was read last.
    heard: Instant,
    /// When to end, whatever is still open: the job has ended.
    over: Option<Instant>,
}

impl Follow {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.job.status.is_finished() {
                let over = *self.over.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if self.is_read() || Instant::now() >= over {
                    return Ok(None);
                }
            }
            if self.log.is_none()
                && let Some(end) = self.open().await?
            {
                return Ok(Some(end));
            }
            if self.over.is_some() && self.is_read() {
                return Ok(None);
            }
            // A finished job is not watched any more: it may be deleted any time.
            let watches = self.over.is_none();
            let later = self.over.unwrap_or_else(|| Instant::now() + PAUSE);
            let is_open = self.log.is_some();
            tokio::select! {
                piece = piece_of(&mut self.log), if is_open => {
                    if let Some(piece) = self.take(piece) {
                        return Ok(Some(piece));
                    }
                }
                changed = self.changes.next(), if watches => match changed {
                    Ok(job) => self.job = job,
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(io::Error::other(error)),
                },
                () = tokio::time::sleep_until(later), if !is_open || !watches => {}
            }
        }
    }

    /// Whether the log of the latest pod was read to its end, or there is none.
    fn is_read(&self) -> bool {
        self.log.is_none() && self.job.status.pod == self.read
    }

    /// What was read of the open log; none at its end.
    fn take(&mut self, piece: io::Result<Bytes>) -> Option<Bytes> {
        match piece {
            Ok(piece) if !piece.is_empty() => {
                self.heard = Instant::now();
                return Some(piece);
            }
            Ok(_) => self.read = self.log.take().map(|(pod, _)| pod),
            // Opened again where it broke off.
            Err(error) => {
                tracing::debug!(%error, "a log that is followed broke off");
                self.log = None;
            }
        }
        None
    }

    /// Opens the log of the latest pod, if there is one; of the first one gives the end.
    async fn open(&mut self) -> io::Result<Option<Bytes>> {
        let Some(pod) = self.job.status.pod.clone().filter(|pod| self.read.as_ref() != Some(pod))
        else {
            return Ok(None);
        };
        let mut params = LogParams { follow: true, ..LogParams::default() };
        if self.tail.is_some() {
            params.tail_lines = Some(LOG_LINES);
        } else {
            // Of a log that broke off, what came since; of a new pod's, that is all.
            let silence = i64::try_from(self.heard.elapsed().as_secs()).unwrap_or(i64::MAX);
            params.since_seconds = Some(silence.saturating_add(1));
        }
        let mut log: Log = match within_deadline(self.pods.log_stream(&pod, &params)).await {
            Ok(Ok(log)) => Box::pin(log),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 404) => {
                // It has no log yet, or not any more.
                if self.job.status.is_finished() {
                    self.read = Some(pod);
                }
                return Ok(None);
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a log cannot be followed now");
                return Ok(None);
            }
            // No answer in time.
            Err(error) => {
                tracing::debug!(%error, "a log cannot be followed now");
                return Ok(None);
            }
        };
        let end = match self.tail.take() {
            None => Bytes::new(),
            Some(tail) => gather(&mut log, tail).await?,
        };
        self.heard = Instant::now();
        self.log = Some((pod, log));
        Ok(Some(end).filter(|end| !end.is_empty()))
    }
}

/// The last `tail` bytes of what a log tells at once, in memory of twice as many.
async fn gather(log: &mut Log, tail: usize) -> io::Result<Bytes> {
    let until = Instant::now() + GATHER;
    let mut end = Vec::new();
    while let Ok(piece) = timeout(SILENCE.min(until - Instant::now()), read(log)).await {
        let piece = piece?;
        if piece.is_empty() {
            break;
        }
        end.extend_from_slice(&piece);
        if end.len() / 2 > tail {
            end.drain(..end.len() - tail);
        }
        if Instant::now() >= until {
            break;
        }
    }
    end.drain(..end.len().saturating_sub(tail));
    Ok(end.into())
}

async fn piece_of(log: &mut Option<(String, Log)>) -> io::Result<Bytes> {
    match log {
        Some((_, log)) => read(log).await,
        None => std::future::pending().await,
    }
}

/// The next bytes; empty at the end. Nothing is lost when it is dropped before it is done.
async fn read(log: &mut Log) -> io::Result<Bytes> {
    let piece = Bytes::copy_from_slice(log.fill_buf().await?);
    log.consume_unpin(piece.len());
    Ok(piece)
}
