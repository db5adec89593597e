//! Progress on its way from workers to streams, without the store in between.
//!
//! In: progress that a worker has told, here or to another replica, and the changes of the jobs that
//! somebody follows. Out: [`frame`]s for the streams, and batches for the other replicas. What is
//! heard goes onto the [`board`]; a [`feed`] for each job that is followed puts it together with the
//! job; [`peers`] hands on what was heard here.
//!
//! Deliberately absent: any promise. A report that is lost on its way is in the status within seconds.

pub(crate) mod board;
pub(crate) mod feed;
pub(crate) mod frame;
pub(crate) mod peers;

use std::sync::Arc;

use windlass_core::live::Live;
use windlass_core::report::{Event, Report};

use board::Board;
use feed::Feeds;
use peers::Outboxes;

/// Progress on its way.
#[derive(Default)]
pub struct LiveProgress {
    pub(crate) board: Arc<Board>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) outboxes: Outboxes,
}

impl LiveProgress {
    /// A report that a worker was right to make.
    pub(crate) fn hear(&self, report: Report) {
        match &report.event {
            Event::Progress { .. } => {
                if self.hear_of(&report) {
                    self.outboxes.post(&report);
                }
            }
            Event::Finished(_) => self.board.forget(&report.job_uid),
            Event::Running { .. } => {}
        }
    }

    /// Progress that another replica has heard of a worker; whether it is news.
    pub(crate) fn hear_of(&self, report: &Report) -> bool {
        Live::of(report).is_some_and(|live| self.board.hear(&report.job_uid, live))
    }
}
