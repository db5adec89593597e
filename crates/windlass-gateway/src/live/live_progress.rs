//! All that the gateway keeps of progress on its way.

use std::sync::Arc;

use windlass_core::live::Live;
use windlass_core::report::{Event, Report};

use super::namespace_watch::NamespaceWatches;
use super::outbox::Outboxes;
use super::progress_cache::ProgressCache;
use super::shared_watch::SharedWatches;
use super::usage_cache::UsageCache;

/// Progress on its way.
#[derive(Default)]
pub struct LiveProgress {
    pub(crate) cache: Arc<ProgressCache>,
    pub(crate) usage: UsageCache,
    pub(crate) watches: Arc<SharedWatches>,
    pub(crate) namespaces: Arc<NamespaceWatches>,
    pub(crate) outboxes: Outboxes,
}

impl LiveProgress {
    /// Takes a report that was accepted from a worker here.
    pub(crate) fn record(&self, report: Report) {
        match &report.event {
            Event::Progress { .. } | Event::Usage { .. } => {
                if self.hear(&report) {
                    self.outboxes.post(&report);
                }
            }
            Event::Finished(_) => {
                self.cache.remove(&report.job_uid);
                if let Some(last) = self.usage.end(&report.job_uid, report.attempt) {
                    self.outboxes.post(&last);
                }
            }
            Event::Running { .. } => {}
        }
    }

    /// Takes what was reported here or to another replica; whether it is news.
    pub(crate) fn hear(&self, report: &Report) -> bool {
        match &report.event {
            Event::Usage { .. } => self.usage.update(report),
            _ => Live::from_report(report)
                .is_some_and(|live| self.cache.update(&report.job_uid, live)),
        }
    }
}
