//! What a job's function says, read from the nodes of its pods.
//!
//! A node tells of each line when it was said, and can be asked for what was said since: so what follows is
//! joined to what was read before without a gap, and nothing is shown twice.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use windlass_core::jobs::Watch;
use windlass_core::result::ByteStream;
use windlass_core::{Error, Job};

use crate::error::from_kube;

/// Most lines of a log that are read from a node of what was said before.
const LINES: i64 = 10_000;

/// Pause before a node is asked again for the log of a pod that starts, or that was cut off.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a node may be silent about a job that has ended before there is nothing more to come.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longest time of a line in a log, in bytes, that is looked for at its start.
const MAX_STAMP_BYTES: usize = 40;

/// The end of a log.
#[derive(Default)]
pub(crate) struct End {
    /// What was said.
    pub(crate) bytes: Vec<u8>,
    /// When the last line of it was.
    last: Option<String>,
}

type Lines = Box<dyn AsyncBufRead + Send + Unpin>;

/// The last `limit` bytes of a pod's log, whatever they are, in memory of twice as many. Nothing of a pod
/// that is gone, as that of a job that has ended is, or that starts.
pub(crate) async fn end(pods: &Api<Pod>, pod: &str, limit: u64) -> Result<End, Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let params = LogParams { tail_lines: Some(LINES), timestamps: true, ..LogParams::default() };
    let Some(mut log) = open(pods, pod, &params).await? else { return Ok(End::default()) };
    let mut stamped = Stamped::after(None);
    let mut end = VecDeque::new();
    loop {
        let broken = |error| Error::unavailable(format!("the log broke off: {error}"));
        let piece = log.fill_buf().await.map_err(broken)?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        end.extend(stamped.read(piece));
        log.consume_unpin(length);
        if end.len() / 2 > limit {
            end.drain(..end.len() - limit);
        }
    }
    end.drain(..end.len().saturating_sub(limit));
    Ok(End { bytes: end.into(), last: stamped.last })
}

/// The log of a pod; none while it has none, or any more.
async fn open(pods: &Api<Pod>, pod: &str, params: &LogParams) -> Result<Option<Lines>, Error> {
    match pods.log_stream(pod, params).await {
        Ok(log) => Ok(Some(Box::new(Box::pin(log)))),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => Ok(None),
        Err(error) => Err(from_kube(error)),
    }
}

struct Following {
    pods: Api<Pod>,
    changes: Box<dyn Watch>,
    job: Job,
    /// The job is deleted.
    gone: bool,
    /// The pod that is read, by its name.
    pod: Option<String>,
    log: Option<(Lines, Stamped)>,
    /// When the last line was said that was read of this pod.
    last: Option<String>,
    /// Read before it was followed.
    said: Vec<u8>,
}

/// The last `tail` bytes of the latest attempt's pod, and everything after, until the job has ended.
pub(crate) async fn follow(
    pods: Api<Pod>,
    mut changes: Box<dyn Watch>,
    tail: u64,
) -> Result<ByteStream, Error> {
    let job = changes.next().await?;
    let pod = job.status.pod.clone();
    let End { bytes, last } = match &pod {
        Some(pod) => end(&pods, pod, tail).await?,
        None => End::default(),
    };
    let following =
        Following { pods, changes, job, gone: false, pod, log: None, last, said: bytes };
    Ok(Box::pin(stream::unfold(Some(following), async |following| {
        let mut following = following?;
        match following.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(following))),
            Ok(None) => None,
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })))
}

impl Following {
    /// The next piece; none after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.said.is_empty() {
            return Ok(Some(std::mem::take(&mut self.said).into()));
        }
        loop {
            if self.log.is_none() {
                self.open().await?;
            }
            let ended = self.gone || self.job.status.is_finished();
            let Some((log, stamped)) = &mut self.log else {
                if ended {
                    return Ok(None);
                }
                self.look_again().await;
                continue;
            };
            let piece = tokio::select! {
                piece = log.fill_buf() => piece,
                changed = self.changes.next(), if !ended => {
                    match changed {
                        Ok(job) => self.job = job,
                        Err(_) => self.gone = true,
                    }
                    continue;
                }
                () = tokio::time::sleep(LAST_WORDS), if ended => return Ok(None),
            };
            match piece {
                Ok(piece) if !piece.is_empty() => {
                    let length = piece.len();
                    let said = stamped.read(piece);
                    log.consume_unpin(length);
                    if !said.is_empty() {
                        return Ok(Some(said.into()));
                    }
                }
                // Its container has ended, or the node is out of reach: the next look tells.
                Ok(_) | Err(_) => {
                    self.last = stamped.last.take().or(self.last.take());
                    self.log = None;
                    if ended {
                        return Ok(None);
                    }
                    self.look_again().await;
                }
            }
        }
    }

    /// Opens the log of the pod that the job names now, after what was read of it.
    async fn open(&mut self) -> Result<(), Error> {
        if self.job.status.pod.is_some() && self.pod != self.job.status.pod {
            self.pod = self.job.status.pod.clone();
            self.last = None;
        }
        let Some(pod) = &self.pod else { return Ok(()) };
        let since_time = self.last.as_deref().and_then(|last| last.parse::<Timestamp>().ok());
        let params = LogParams {
            follow: true,
            timestamps: true,
            since_time,
            // One that was not read before is read from its beginning.
            tail_lines: None,
            ..LogParams::default()
        };
        self.log = open(&self.pods, pod, &params)
            .await?
            .map(|log| (log, Stamped::after(self.last.clone())));
        Ok(())
    }

    async fn look_again(&mut self) {
        tokio::select! {
            changed = self.changes.next() => match changed {
                Ok(job) => self.job = job,
                Err(_) => self.gone = true,
            },
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Takes the times off the lines of a log, and leaves out those that were read before. Times have nine digits
/// after the second and one zone, so that their texts are in their order.
struct Stamped {
    after: Option<String>,
    last: Option<String>,
    line: Line,
}

enum Line {
    /// Its time, as far as it was read.
    Stamp(Vec<u8>),
    /// What was said.
    Said { shown: bool },
}

impl Stamped {
    fn after(after: Option<String>) -> Self {
        Self { after, last: None, line: Line::Stamp(Vec::new()) }
    }

    /// What was said in this piece.
    fn read(&mut self, mut piece: &[u8]) -> Vec<u8> {
        let mut said = Vec::with_capacity(piece.len());
        while let Some(&byte) = piece.first() {
            match &mut self.line {
                Line::Stamp(stamp) => {
                    piece = &piece[1..];
                    if byte != b' ' && byte != b'\n' && stamp.len() < MAX_STAMP_BYTES {
                        stamp.push(byte);
                        continue;
                    }
                    let stamp = String::from_utf8_lossy(stamp).into_owned();
                    let shown = self.after.as_ref().is_none_or(|after| stamp > *after);
                    self.last = Some(stamp);
                    self.line = Line::Said { shown };
                    if byte == b'\n' {
                        self.line = Line::Stamp(Vec::new());
                    }
                }
                Line::Said { shown } => {
                    let end = piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                    let (line, rest) = piece.split_at(end.unwrap_or(piece.len()));
                    if *shown {
                        said.extend_from_slice(line);
                    }
                    piece = rest;
                    if end.is_some() {
                        self.line = Line::Stamp(Vec::new());
                    }
                }
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] =
        b"2026-01-02T03:04:05.000000001Z one\n2026-01-02T03:04:05.000000002Z two \xff\n\
        2026-01-02T03:04:05.000000003Z \n2026-01-02T03:04:05.000000004Z four";

    #[test]
    fn the_times_of_lines_are_taken_off_wherever_a_piece_ends() {
        for size in 1..LOG.len() {
            let mut stamped = Stamped::after(None);
            let said: Vec<u8> = LOG.chunks(size).flat_map(|piece| stamped.read(piece)).collect();
            assert_eq!(said, b"one\ntwo \xff\n\nfour", "{size}");
            assert_eq!(stamped.last.as_deref(), Some("2026-01-02T03:04:05.000000004Z"));
        }
    }

    #[test]
    fn what_was_read_before_is_left_out() {
        let mut stamped = Stamped::after(Some("2026-01-02T03:04:05.000000002Z".into()));
        assert_eq!(stamped.read(LOG), b"\nfour");
    }
}
