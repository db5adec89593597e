//! A back end in memory whose calls can be made to fail, who may use it, and where its workers report.

mod access;
mod backend;
mod blobs;
mod changes;
mod jobs;
mod reports;

pub(crate) use access::{
    GOOD, JOB_READER, PEER, READER, Revocable, STRANGER, SUBMITTER, Tokens, UNDECIDED, WORKER,
};
pub(crate) use backend::{FakeBackend, Fault};
pub(crate) use reports::FakeReports;
