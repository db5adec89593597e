//! What is known of the jobs of which something is estimated.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::arrivals::Arrivals;
use crate::Job;
use crate::admit::Excerpt;
use crate::status::Progress;

/// Who holds CPUs and who waits, and what is known of each.
#[derive(Clone, Debug)]
pub struct Situation<Id> {
    /// Who they are.
    pub excerpt: Excerpt<Id>,
    /// What is known of them. Nothing is told of others.
    pub known: BTreeMap<Id, KnownJob>,
    /// The latest submissions: others like them are to come.
    pub arrivals: Arrivals,
}

/// What is known of a job that waits or runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownJob {
    /// Its name.
    pub name: String,
    /// The function that it calls.
    pub function: String,
    /// Longest run of an attempt, in seconds; 0 where it is not known.
    pub timeout_seconds: u32,
    /// Since when it holds CPUs.
    pub admitted: Option<Timestamp>,
    /// Since when its function runs.
    pub running: Option<Timestamp>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// When it told progress first, where somebody has kept that, and of how many units: what a function does before
    /// it counts says nothing of its rate.
    pub first_progress: Option<(Timestamp, u64)>,
    /// Whether it is to end before its function does: it was cancelled or deleted, or gives way to another job.
    pub is_ending: bool,
}

impl KnownJob {
    /// This job, whose attempts may run so long.
    pub fn from_job(job: &Job, timeout_seconds: u32) -> Self {
        let timeline = &job.status.timeline;
        Self {
            name: job.metadata.name.clone(),
            function: job.spec.function.clone(),
            timeout_seconds,
            admitted: timeline.admitted.or(timeline.started),
            running: timeline.running,
            progress: job.status.progress.clone(),
            first_progress: None,
            is_ending: job.spec.cancel,
        }
    }
}
