//! Deletes finished jobs whose time to live is over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, warn};

use super::context::Context;
use crate::event::Event;

/// When the store is asked again that could not be read.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// When the next finished job is to be deleted.
#[derive(Default)]
pub(super) struct Expiry {
    next: Option<Instant>,
    is_deleting: bool,
}

impl Expiry {
    /// When there is something to delete.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A job has finished and is to be deleted at this time.
    pub(super) fn expect(&mut self, at: Timestamp, now: Timestamp) {
        let at = instant(at, now);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Finds out in the store when the next job's time is over.
    pub(super) fn schedule(&mut self, ctx: &Context) {
        self.next = match ctx.store.next_expiry() {
            Ok(next) => next.map(|at| instant(at, ctx.clock.now())),
            Err(error) => {
                warn!(%error, "the store cannot be asked whose time is over");
                Some(Instant::now() + STORE_RETRY)
            }
        };
    }

    /// Deletes the jobs whose time is over, in a task of its own, which sends an event when it is done.
    pub(super) fn delete_expired(&mut self, ctx: &Arc<Context>) {
        self.next = None;
        if std::mem::replace(&mut self.is_deleting, true) {
            return;
        }
        let (ctx, now) = (Arc::clone(ctx), ctx.clock.now());
        tokio::spawn(async move {
            match ctx.store.expire(now).await {
                Ok(expired) => {
                    let files = Arc::clone(&ctx.files);
                    let remove = move || {
                        expired.iter().for_each(|job| files.remove_job(job.uid, job.attempt));
                    };
                    if let Err(error) = spawn_blocking(remove).await {
                        error!(%error, "what expired jobs left cannot be deleted");
                    }
                }
                Err(error) => warn!(%error, "jobs cannot expire"),
            }
            ctx.events.send(Event::ExpiryDone);
        });
    }

    /// A round of deleting is over. One round does not delete everything.
    pub(super) fn deleted(&mut self, ctx: &Context) {
        self.is_deleting = false;
        self.schedule(ctx);
    }
}

fn instant(at: Timestamp, now: Timestamp) -> Instant {
    Instant::now() + Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
