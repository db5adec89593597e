//! What the pods of a job write to their logs: the end of it, or all of it, from one pod to the next, until the job has
//! ended. What is kept longer is in [`kept_logs`](super::kept_logs).

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};
use windlass_core::jobs::Watch;
use windlass_core::log_tail::{LogRange, LogTail};
use windlass_core::result::ByteStream;
use windlass_core::{Error, Job};

use super::worker_identity::is_pod_of;
use crate::error::{call, from_kube, within_deadline};

/// Most lines of a log that are read from a node.
const LOG_LINES: i64 = 10_000;

/// When to try again a log that cannot be had now: its container is being created, or its node does
/// not answer.
const RETRY: Duration = Duration::from_secs(1);

/// A log that is silent for so long has sent all that was there: the API server has no sign for it.
const SILENCE: Duration = Duration::from_millis(300);

/// Longest time for reading what is there already, for a function that is never silent.
const READ_TAIL_WITHIN: Duration = Duration::from_secs(2);

/// How long a pod may go on writing after its job has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

type LogStream = Pin<Box<dyn AsyncBufRead + Send>>;

/// The end of the log of the pod of the job's latest attempt; `None` when there is no pod or it has no log.
pub(super) async fn log_of_pod(
    client: &Client,
    job: &Job,
    range: LogRange,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(pod) = own_pod(client, job).await? else { return Ok(None) };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let params = LogParams {
        tail_lines: Some(LOG_LINES),
        timestamps: range.timestamps,
        ..LogParams::default()
    };
    let read = async {
        let mut log: LogStream = match pods.log_stream(&pod, &params).await {
            Ok(log) => Box::pin(log),
            Err(error) if has_no_log(&error) => return Ok(None),
            Err(error) => return Err(from_kube(error)),
        };
        let mut tail = LogTail::new(range);
        loop {
            let piece = read_piece(&mut log).await;
            let piece =
                piece.map_err(|error| Error::unavailable(format!("the log broke off: {error}")))?;
            if piece.is_empty() {
                return Ok(Some(tail.into_bytes()));
            }
            tail.push(&piece);
        }
    };
    within_deadline(read).await?
}

/// The name of the pod that the status names, if that is the pod of the job's attempt: the status may name any.
async fn own_pod(client: &Client, job: &Job) -> Result<Option<String>, Error> {
    let Some(name) = &job.status.pod else { return Ok(None) };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let Some(pod) = call(pods.get_opt(name)).await? else { return Ok(None) };
    Ok(is_pod_of(client, &pod, job).await?.then(|| name.clone()))
}

/// What the pods of a job that has not ended write, in memory of twice the end that `range` asks for: that end of what is
/// there, then all that follows, until the job has ended or is gone.
pub(super) fn follow_logs(
    client: Client,
    job: Job,
    changes: Box<dyn Watch>,
    range: LogRange,
) -> ByteStream {
    let follower = LogFollower {
        pods: Api::namespaced(client.clone(), &job.metadata.namespace),
        client,
        changes,
        job,
        timestamps: range.timestamps,
        tail: Some(LogTail::new(range)),
        open: None,
        finished_pod: None,
        last_read: Instant::now(),
        deadline: None,
    };
    Box::pin(stream::try_unfold(follower, |mut follower| async {
        Ok(follower.next_piece().await?.map(|piece| (piece, follower)))
    }))
}

struct LogFollower {
    client: Client,
    pods: Api<Pod>,
    changes: Box<dyn Watch>,
    job: Job,
    timestamps: bool,
    /// Bounds what is sent of the first log; later logs are sent whole.
    tail: Option<LogTail>,
    /// The log that is read now, and its pod.
    open: Option<(String, LogStream)>,
    /// The last pod whose log was read to its end.
    finished_pod: Option<String>,
    /// When something was read last.
    last_read: Instant,
    /// When to end, whatever is still open: the job has ended.
    deadline: Option<Instant>,
}

impl LogFollower {
    /// The next bytes; `None` when the job has ended and its log was read, or the job is gone.
    async fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.job.status.is_finished() {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if self.is_read() || Instant::now() >= deadline {
                    return Ok(None);
                }
            }
            if self.open.is_none()
                && let Some(tail) = self.open_log().await?
            {
                return Ok(Some(tail));
            }
            if self.deadline.is_some() && self.is_read() {
                return Ok(None);
            }
            // A finished job is not watched any more: it may be deleted at any time.
            let watches = self.deadline.is_none();
            let later = self.deadline.unwrap_or_else(|| Instant::now() + RETRY);
            let is_open = self.open.is_some();
            tokio::select! {
                piece = piece_of(&mut self.open), if is_open => {
                    if let Some(piece) = self.handle_read(piece) {
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
        self.open.is_none() && self.job.status.pod == self.finished_pod
    }

    /// Handles a read of the open log. Gives what was read; `None` at the end of the log.
    fn handle_read(&mut self, piece: io::Result<Bytes>) -> Option<Bytes> {
        match piece {
            Ok(piece) if !piece.is_empty() => {
                self.last_read = Instant::now();
                return Some(piece);
            }
            Ok(_) => self.finished_pod = self.open.take().map(|(pod, _)| pod),
            // It is opened again where it broke off.
            Err(error) => {
                tracing::debug!(%error, "a log that is followed broke off");
                self.open = None;
            }
        }
        None
    }

    /// Opens the log of the latest pod, if there is one. Gives the tail of the first log.
    async fn open_log(&mut self) -> io::Result<Option<Bytes>> {
        let latest = self.job.status.pod.clone();
        let Some(pod) = latest.filter(|pod| self.finished_pod.as_ref() != Some(pod)) else {
            return Ok(None);
        };
        match own_pod(&self.client, &self.job).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                // No log will come of a job that has ended.
                if self.job.status.is_finished() {
                    self.finished_pod = Some(pod);
                }
                return Ok(None);
            }
            Err(error) => return unreadable_now(&error),
        }
        let params = self.log_params();
        let mut log: LogStream = match within_deadline(self.pods.log_stream(&pod, &params)).await {
            Ok(Ok(log)) => Box::pin(log),
            Ok(Err(error)) if has_no_log(&error) => {
                // No log will come of a job that has ended.
                if self.job.status.is_finished() {
                    self.finished_pod = Some(pod);
                }
                return Ok(None);
            }
            Ok(Err(error)) => return unreadable_now(&error),
            // No answer in time.
            Err(error) => return unreadable_now(&error),
        };
        let tail = match self.tail.take() {
            None => Bytes::new(),
            Some(tail) => read_tail(&mut log, tail).await?,
        };
        self.last_read = Instant::now();
        self.open = Some((pod, log));
        Ok(Some(tail).filter(|tail| !tail.is_empty()))
    }

    /// The tail of the first log. Of a log that broke off, what came since; of a new pod's log, that is all of it.
    fn log_params(&self) -> LogParams {
        let mut params =
            LogParams { follow: true, timestamps: self.timestamps, ..LogParams::default() };
        if self.tail.is_some() {
            params.tail_lines = Some(LOG_LINES);
        } else {
            let silence = i64::try_from(self.last_read.elapsed().as_secs()).unwrap_or(i64::MAX);
            params.since_seconds = Some(silence.saturating_add(1));
        }
        params
    }
}

/// A log that cannot be had now is tried again later.
fn unreadable_now(error: &dyn std::error::Error) -> io::Result<Option<Bytes>> {
    tracing::debug!(%error, "a log cannot be followed now");
    Ok(None)
}

/// Whether a pod has no log: the pod of a job that has ended is deleted, and its log with it; a pod that starts has
/// none yet.
fn has_no_log(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 404))
}

/// The last bytes of what a log has already.
async fn read_tail(log: &mut LogStream, mut tail: LogTail) -> io::Result<Bytes> {
    let until = Instant::now() + READ_TAIL_WITHIN;
    while let Ok(piece) = timeout(SILENCE.min(until - Instant::now()), read_piece(log)).await {
        let piece = piece?;
        if piece.is_empty() {
            break;
        }
        tail.push(&piece);
        if Instant::now() >= until {
            break;
        }
    }
    Ok(tail.into_bytes().into())
}

/// The next bytes of the open log; never without one.
async fn piece_of(open: &mut Option<(String, LogStream)>) -> io::Result<Bytes> {
    match open {
        Some((_, log)) => read_piece(log).await,
        None => std::future::pending().await,
    }
}

/// The next bytes; empty at the end. Nothing is lost when the future is dropped before it is done.
async fn read_piece(log: &mut LogStream) -> io::Result<Bytes> {
    let piece = Bytes::copy_from_slice(log.fill_buf().await?);
    log.consume_unpin(piece.len());
    Ok(piece)
}
