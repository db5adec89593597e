//! What the pod of a job has written to its log, and how it is read. [`follow_logs`](super::follow_logs) reads it as it is
//! written; what is kept longer is in [`kept_logs`](super::kept_logs).

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use windlass_core::log_tail::{LogRange, LogTail};
use windlass_core::{Error, Job};

use super::worker_identity::is_pod_of;
use crate::error::{call, from_kube, within_deadline};

/// Most lines of a log that are read from a node.
pub(super) const LOG_LINES: i64 = 10_000;

pub(super) type LogStream = Pin<Box<dyn AsyncBufRead + Send>>;

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
                return Ok(Some(end_of(tail)));
            }
            tail.push(&piece);
        }
    };
    within_deadline(read).await?
}

/// What is given of lines that were read of a pod: there may have been more of them.
pub(super) fn end_of(mut tail: LogTail) -> Vec<u8> {
    if tail.lines() >= LOG_LINES.unsigned_abs() {
        tail.begin_late();
    }
    tail.into_bytes()
}

/// The name of the pod that the status names, if that is the pod of the job's attempt: the status may name any.
pub(super) async fn own_pod(client: &Client, job: &Job) -> Result<Option<String>, Error> {
    let Some(name) = &job.status.pod else { return Ok(None) };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let Some(pod) = call(pods.get_opt(name)).await? else { return Ok(None) };
    Ok(is_pod_of(client, &pod, job).await?.then(|| name.clone()))
}

/// Whether a pod has no log: the pod of a job that has ended is deleted, and its log with it; a pod that starts has
/// none yet.
pub(super) fn has_no_log(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 404))
}

/// The next bytes; empty at the end. Nothing is lost when the future is dropped before it is done.
pub(super) async fn read_piece(log: &mut LogStream) -> io::Result<Bytes> {
    let piece = Bytes::copy_from_slice(log.fill_buf().await?);
    log.consume_unpin(piece.len());
    Ok(piece)
}
