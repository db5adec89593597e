//! One change of the database: who asks for it, its statements, and what is left to do when it is
//! committed.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;
use uuid::Uuid;
use windlass_core::live::Shown;
use windlass_core::{Error, Job, JobLimits};

use super::holds;
use super::rows::{self, DeletedJob};
use crate::queueing::backlog::Reservation;

/// One change.
pub(super) enum Change {
    Insert {
        new: Box<NewJob>,
        reply: Reply<Arc<Job>>,
    },
    Update {
        job: Arc<Job>,
        reply: Option<Reply<()>>,
    },
    UpdateSoon(Arc<Job>),
    Show(Shown),
    /// Tells the controller once this version of a job is stored.
    Leave {
        uid: Uuid,
        version: String,
    },
    /// Nothing follows any more of a job that could not be stored.
    Forget(Uuid),
    /// Commits what is in no hurry.
    Flush {
        reply: Reply<()>,
    },
    /// Looks whether the files are still there.
    CheckFiles,
    /// Gives memory back.
    ReleaseMemory {
        reply: Reply<()>,
    },
    Remove {
        uid: Uuid,
        reply: Reply<()>,
    },
    /// Keeps whether a queue is on hold, or forgets it.
    Hold {
        queue: String,
        hold: Option<bool>,
        reply: Reply<()>,
    },
    /// Forgets that the API had said this of a queue, if it has said nothing else since.
    SettleHold {
        queue: String,
        hold: bool,
    },
    Expire {
        now: Timestamp,
        reply: Reply<Vec<DeletedJob>>,
    },
}

/// A job that the store does not have yet.
pub(crate) struct NewJob {
    pub(crate) job: Job,
    pub(crate) limits: JobLimits,
    /// Its place in the backlog, which goes to the controller with the job.
    pub(crate) reservation: Reservation,
    /// Its caller waits for its end, so that it may begin before it is committed.
    pub(crate) is_waited_for: bool,
}

/// Who waits for the commit.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What is left to do once the transaction is committed.
pub(super) enum Executed {
    Inserted(Box<NewJob>, Reply<Arc<Job>>),
    /// A new job that the controller has been told of already.
    Begun(Arc<Job>, Reply<Arc<Job>>),
    NameTaken(Reply<Arc<Job>>, Error),
    /// Whether the job was still there.
    Updated(Arc<Job>, bool, Option<Reply<()>>),
    UpdatedSoon(Arc<Job>),
    Shown(Shown),
    Flushed(Reply<()>),
    Held(Reply<()>),
    Left(Uuid, String),
    Nothing,
    Removed(Option<DeletedJob>, Reply<()>),
    Expired(Vec<DeletedJob>, Reply<Vec<DeletedJob>>),
}

impl Change {
    /// Whether it needs no commit of its own.
    pub(super) fn can_wait(&self) -> bool {
        matches!(
            self,
            Self::Show(_)
                | Self::UpdateSoon(_)
                | Self::CheckFiles
                | Self::Forget(_)
                | Self::Leave { .. }
        )
    }

    /// The job that it shows or changes whole.
    pub(super) fn job(&self) -> Option<&Arc<Job>> {
        match self {
            Self::Update { job, .. } | Self::UpdateSoon(job) => Some(job),
            Self::Show(shown) => Some(&shown.job),
            _ => None,
        }
    }

    /// The UID of the job that it replaces whole.
    pub(super) fn updated_uid(&self) -> Option<&str> {
        match self {
            Self::Update { job, .. } => Some(&job.metadata.uid),
            _ => None,
        }
    }

    /// Executes it, unless an earlier one of the transaction has failed. Whatever comes of it, somebody
    /// waits for its end.
    pub(super) fn execute(self, db: &Connection, skip: bool) -> (Executed, rusqlite::Result<()>) {
        match self {
            Self::Insert { new, reply } => insert(db, skip, new, reply),
            Self::Update { job, reply } => {
                let (is_there, result) = run(skip, || rows::update(db, &job));
                (Executed::Updated(job, is_there.unwrap_or(false), reply), result)
            }
            Self::UpdateSoon(job) => (Executed::UpdatedSoon(job), Ok(())),
            Self::Show(shown) => (Executed::Shown(shown), Ok(())),
            Self::Flush { reply } => (Executed::Flushed(reply), Ok(())),
            Self::CheckFiles | Self::Forget(_) => (Executed::Nothing, Ok(())),
            Self::Leave { uid, version } => (Executed::Left(uid, version), Ok(())),
            Self::ReleaseMemory { reply } => {
                let (_, result) = run(skip, || db.release_memory());
                (Executed::Flushed(reply), result)
            }
            Self::Remove { uid, reply } => {
                let (deleted, result) = run(skip, || rows::remove(db, uid));
                (Executed::Removed(deleted.flatten(), reply), result)
            }
            Self::Hold { queue, hold, reply } => {
                let (_, result) = run(skip, || holds::set(db, &queue, hold));
                (Executed::Held(reply), result)
            }
            Self::SettleHold { queue, hold } => {
                let (_, result) = run(skip, || holds::settle(db, &queue, hold));
                (Executed::Nothing, result)
            }
            Self::Expire { now, reply } => {
                let (deleted, result) = run(skip, || rows::expire(db, now));
                (Executed::Expired(deleted.unwrap_or_default(), reply), result)
            }
        }
    }
}

fn insert(
    db: &Connection,
    skip: bool,
    new: Box<NewJob>,
    reply: Reply<Arc<Job>>,
) -> (Executed, rusqlite::Result<()>) {
    let (_, result) = run(skip, || rows::insert(db, &new.job, &new.limits));
    match result {
        // The transaction goes on without it.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            (Executed::NameTaken(reply, Error::job_exists(&new.job.metadata.name)), Ok(()))
        }
        inserted => (Executed::Inserted(new, reply), inserted),
    }
}

/// What statements give, and their error.
fn run<T>(
    skip: bool,
    statements: impl FnOnce() -> rusqlite::Result<T>,
) -> (Option<T>, rusqlite::Result<()>) {
    if skip {
        return (None, Ok(()));
    }
    match statements() {
        Ok(value) => (Some(value), Ok(())),
        Err(error) => (None, Err(error)),
    }
}
