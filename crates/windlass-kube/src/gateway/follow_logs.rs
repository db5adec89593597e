//! What a job says, as it says it: from one attempt to the next, until the job has ended.
//!
//! An attempt that runs is read from its pod, see [`logs`](super::logs). One that was over before its pod's log could be
//! opened is read from where [`kept_logs`](super::kept_logs) finds it, so that a short one is not missed.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};
use windlass_core::jobs::Watch;
use windlass_core::kept_log::MAX_KEPT_LOG_BYTES;
use windlass_core::log_tail::{LogRange, LogTail, WantedLog};
use windlass_core::report::has_ended;
use windlass_core::result::ByteStream;
use windlass_core::{AttemptNumber, Error, Job};
use windlass_results::Results;

use super::kept_logs::KeptLogs;
use super::logs::{LOG_LINES, LogStream, end_of, has_no_log, own_pod, read_piece};
use crate::error::within_deadline;

/// When to try again a log that cannot be had now, since its container is being created or its node does not answer: at
/// first, and at most after doubling.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// A log that is silent for so long has sent all that was there: the API server has no sign for it.
const SILENCE: Duration = Duration::from_millis(300);

/// Longest time for reading what is there already, for a function that is never silent.
const READ_TAIL_WITHIN: Duration = Duration::from_secs(2);

/// How long a pod may go on writing after its job has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why the log of a job that has ended breaks off.
const UNREAD: &str = "the end of the log could not be read";

/// What a job that has not ended says. Of an attempt that runs already, the end that `range` asks for is sent first, from
/// memory of twice as many bytes; what follows is sent as it comes, until the job has ended or is gone.
pub(super) fn follow_logs(
    client: Client,
    results: Option<Results>,
    job: Job,
    changes: Box<dyn Watch>,
    range: LogRange,
) -> ByteStream {
    let status = &job.status;
    let runs = status.pod.is_some();
    let follower = LogFollower {
        pods: Api::namespaced(client.clone(), &job.metadata.namespace),
        client,
        results,
        changes,
        range,
        tail: runs.then(|| LogTail::new(range)),
        sent: status.attempt.map_or(0, |latest| latest.saturating_sub(1)),
        job,
        open: None,
        is_partly_read: false,
        pod: None,
        rests: false,
        unreadable_since: None,
        last_read: Instant::now(),
        retry: RETRY[0],
        deadline: None,
    };
    Box::pin(stream::try_unfold(follower, |mut follower| async {
        Ok(follower.next_piece().await?.map(|piece| (piece, follower)))
    }))
}

struct LogFollower {
    client: Client,
    results: Option<Results>,
    pods: Api<Pod>,
    changes: Box<dyn Watch>,
    job: Job,
    range: LogRange,
    /// Bounds what is sent of the first log, which had begun when it was asked for; later logs are sent whole.
    tail: Option<LogTail>,
    /// The last attempt whose log was sent, as far as it can be had.
    sent: AttemptNumber,
    /// The log of the attempt after those that were sent.
    open: Option<LogStream>,
    /// Something of that attempt's log was read, and sent but for what was before the tail.
    is_partly_read: bool,
    /// The pod whose log was read last.
    pod: Option<String>,
    /// Nothing is tried before the next pause is over, or the job changes.
    rests: bool,
    /// Since when what is kept of an attempt cannot be read.
    unreadable_since: Option<Instant>,
    /// When something was read last.
    last_read: Instant,
    /// The pause before the next try to open a log.
    retry: Duration,
    /// When to end, whatever is still open: the job has ended.
    deadline: Option<Instant>,
}

/// What came of the try to open the log of a pod.
enum Opened {
    Log(LogStream),
    /// It may be there later.
    NotNow,
    /// There is no pod, or it has no log: none yet, or none any more.
    Missing,
}

impl LogFollower {
    /// The next bytes; `None` when the job has ended and its log was read, or the job is gone.
    async fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.job.status.is_finished() {
                self.deadline.get_or_insert_with(|| Instant::now() + LAST_WORDS);
            }
            if self.open.is_none()
                && !self.rests
                && let Some(piece) = self.next_log().await?
            {
                return Ok(Some(piece));
            }
            if self.deadline.is_some() && self.is_sent() {
                return Ok(None);
            }
            if self.is_past_deadline() {
                // A pod may go on writing. But what was not read is missing.
                let is_read = self.open.is_some();
                return if is_read { Ok(None) } else { Err(io::Error::other(UNREAD)) };
            }
            // A finished job is not watched any more: it may be deleted at any time.
            let watches = self.deadline.is_none();
            let is_open = self.open.is_some();
            let later = match self.deadline {
                Some(deadline) if is_open => deadline,
                _ => Instant::now() + self.retry,
            };
            tokio::select! {
                piece = piece_of(&mut self.open), if is_open => {
                    if let Some(piece) = self.handle_read(piece) {
                        return Ok(Some(piece));
                    }
                }
                changed = self.changes.next(), if watches => match changed {
                    Ok(job) => {
                        self.job = job;
                        (self.retry, self.rests) = (RETRY[0], false);
                    }
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(io::Error::other(error)),
                },
                () = tokio::time::sleep_until(later), if !is_open || !watches => {
                    (self.retry, self.rests) = ((self.retry * 2).min(RETRY[1]), false);
                }
            }
        }
    }

    /// Whether the log of each attempt was sent, as far as it can be had.
    fn is_sent(&self) -> bool {
        self.open.is_none() && self.job.status.attempt.is_none_or(|latest| self.sent >= latest)
    }

    fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Handles a read of the open log. Gives what was read; `None` at the end of the log.
    fn handle_read(&mut self, piece: io::Result<Bytes>) -> Option<Bytes> {
        match piece {
            Ok(piece) if !piece.is_empty() => {
                self.last_read = Instant::now();
                self.is_partly_read = true;
                return Some(piece);
            }
            Ok(_) => {
                self.open = None;
                // A node that asks too early whether a container runs ends its log with nothing in it.
                if self.is_partly_read {
                    self.go_on();
                } else {
                    self.rests = true;
                }
            }
            // It is opened again, and lines of the last second or two before that come twice.
            Err(error) => {
                tracing::debug!(%error, "a log that is followed broke off");
                (self.open, self.rests) = (None, true);
            }
        }
        None
    }

    /// To the attempt after the one whose log was read.
    fn go_on(&mut self) {
        self.sent += 1;
        self.unreadable_since = None;
        self.is_partly_read = false;
        self.tail = None;
    }

    /// What is kept of the attempts that are over, one by one; else opens the log of the one that runs, and gives what is
    /// there of it.
    async fn next_log(&mut self) -> io::Result<Option<Bytes>> {
        if self.has_another_pod() {
            self.sent -= 1;
        }
        while let Some(latest) = self.job.status.attempt.filter(|latest| self.sent < *latest) {
            let attempt = self.sent + 1;
            let is_over = attempt < latest || has_ended(&self.job.status, attempt);
            if is_over && !self.is_partly_read {
                let Some(said) = self.said_by(attempt).await? else { return Ok(None) };
                self.go_on();
                if !said.is_empty() {
                    return Ok(Some(said));
                }
                continue;
            }
            let opened = if attempt == latest { self.open_log().await } else { Opened::Missing };
            match opened {
                Opened::Log(log) => return self.begin(log).await,
                // The rest of a log that broke off will not come.
                Opened::Missing if is_over => self.go_on(),
                Opened::NotNow | Opened::Missing => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Whether the attempt whose log was read runs in another pod: its batch Job was suspended and goes on.
    fn has_another_pod(&self) -> bool {
        let status = &self.job.status;
        status.attempt == Some(self.sent)
            && !has_ended(status, self.sent)
            && self.pod.is_some()
            && status.pod.is_some()
            && status.pod != self.pod
    }

    /// What an attempt that is over has said; nothing where that is kept nowhere. `None` when that cannot be read now.
    async fn said_by(&mut self, attempt: AttemptNumber) -> io::Result<Option<Bytes>> {
        let kept = KeptLogs { client: &self.client, results: self.results.as_ref() };
        let whole = LogRange { tail: MAX_KEPT_LOG_BYTES, ..self.range };
        let range = if self.tail.is_some() { self.range } else { whole };
        let said = kept.end_of_log(&self.job, WantedLog { attempt: Some(attempt), range }).await;
        match said {
            Ok(said) => Ok(Some(said.into())),
            Err(error @ Error::Gone(_)) => {
                tracing::debug!(%error, attempt, "a log that is followed was not read");
                Ok(Some(Bytes::new()))
            }
            Err(error @ (Error::Unavailable { .. } | Error::Busy { .. })) => {
                let since = *self.unreadable_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= LAST_WORDS || self.is_past_deadline() {
                    return Err(io::Error::other(error));
                }
                self.rests = true;
                Ok(None)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Reads on in a log that was opened. Gives what it has already, where only the end of that is asked for.
    async fn begin(&mut self, mut log: LogStream) -> io::Result<Option<Bytes>> {
        let said = match self.tail.take() {
            None => Bytes::new(),
            Some(tail) => {
                let (said, is_any) = read_tail(&mut log, tail).await?;
                self.is_partly_read |= is_any;
                said
            }
        };
        self.last_read = Instant::now();
        (self.open, self.pod) = (Some(log), self.job.status.pod.clone());
        Ok(Some(said).filter(|said| !said.is_empty()))
    }

    /// The log of the pod of the latest attempt.
    async fn open_log(&mut self) -> Opened {
        let pod = match own_pod(&self.client, &self.job).await {
            Ok(Some(pod)) => pod,
            Ok(None) => return Opened::Missing,
            Err(error) => return unreadable_now(&error),
        };
        match within_deadline(self.pods.log_stream(&pod, &self.log_params())).await {
            Ok(Ok(log)) => Opened::Log(Box::pin(log)),
            Ok(Err(error)) if has_no_log(&error) => Opened::Missing,
            Ok(Err(error)) => unreadable_now(&error),
            // No answer in time.
            Err(error) => unreadable_now(&error),
        }
    }

    /// The tail of the first log; of a log that broke off, what came since; else all of it.
    fn log_params(&self) -> LogParams {
        let timestamps = self.range.timestamps;
        let mut params = LogParams { follow: true, timestamps, ..LogParams::default() };
        if self.tail.is_some() {
            params.tail_lines = Some(LOG_LINES);
        } else if self.is_partly_read {
            let silence = i64::try_from(self.last_read.elapsed().as_secs()).unwrap_or(i64::MAX);
            params.since_seconds = Some(silence.saturating_add(1));
        }
        params
    }
}

/// A log that cannot be had now is tried again later.
fn unreadable_now(error: &dyn std::error::Error) -> Opened {
    tracing::debug!(%error, "a log cannot be followed now");
    Opened::NotNow
}

/// The last bytes of what a log has already, and whether it has any.
async fn read_tail(log: &mut LogStream, mut tail: LogTail) -> io::Result<(Bytes, bool)> {
    let mut is_any = false;
    let until = Instant::now() + READ_TAIL_WITHIN;
    while let Ok(piece) = timeout(SILENCE.min(until - Instant::now()), read_piece(log)).await {
        let piece = piece?;
        if piece.is_empty() {
            break;
        }
        is_any = true;
        tail.push(&piece);
        if Instant::now() >= until {
            break;
        }
    }
    Ok((end_of(tail).into(), is_any))
}

/// The next bytes of the open log; never without one.
async fn piece_of(open: &mut Option<LogStream>) -> io::Result<Bytes> {
    match open {
        Some(log) => read_piece(log).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
