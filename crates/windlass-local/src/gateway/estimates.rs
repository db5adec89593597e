//! When jobs are likely to start and to end, worked out when somebody asks, for all who ask within a second.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, oneshot};
use uuid::Uuid;
use windlass_core::Error;
use windlass_core::estimate::{Estimates, Situation, estimate};

use crate::controller::Context;
use crate::event::Event;
use crate::store::stopped;

/// How long estimates are told again.
const FRESH: SignedDuration = SignedDuration::from_secs(1);

/// Works out estimates of all jobs of this machine.
pub(crate) struct Estimator {
    ctx: Arc<Context>,
    latest: Arc<Mutex<Option<Arc<Latest>>>>,
}

/// What was worked out last.
pub(crate) struct Latest {
    at: Timestamp,
    pub(crate) estimates: Estimates,
}

impl Estimator {
    pub(crate) fn new(ctx: Arc<Context>) -> Self {
        Self { ctx, latest: Arc::default() }
    }

    /// Estimates that are at most a second old. They are worked out once at a time, and also to their end when who asked
    /// goes away: whoever asks next waits for the same.
    pub(crate) async fn latest(&self) -> Result<Arc<Latest>, Error> {
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        let now = self.ctx.clock.now();
        if let Some(told) = &*latest
            && (SignedDuration::ZERO..FRESH).contains(&now.duration_since(told.at))
        {
            return Ok(Arc::clone(told));
        }
        let ctx = Arc::clone(&self.ctx);
        let worked_out = tokio::spawn(async move {
            let told = Arc::new(work_out(&ctx).await?);
            *latest = Some(Arc::clone(&told));
            Ok(told)
        });
        worked_out.await.map_err(|error| Error::Bug(error.to_string()))?
    }
}

async fn work_out(ctx: &Arc<Context>) -> Result<Latest, Error> {
    let (reply, answer) = oneshot::channel();
    ctx.events.send(Event::EstimatesRequested { reply });
    let mut situation = answer.await.map_err(|_| stopped())?;
    name_all(ctx, &mut situation).await?;
    let ctx = Arc::clone(ctx);
    let worked_out = tokio::task::spawn_blocking(move || {
        let items = estimate(&situation, &ctx.store.run_times(), ctx.clock.now());
        let estimates = Estimates { since: None, complete: situation.excerpt.is_whole, items };
        // Work that takes longer than a second is told again as well.
        Latest { at: ctx.clock.now(), estimates }
    });
    worked_out.await.map_err(|error| Error::Bug(error.to_string()))
}

/// The store knows those that are not in memory.
async fn name_all(ctx: &Arc<Context>, situation: &mut Situation<Uuid>) -> Result<(), Error> {
    let nameless = situation.known.iter().filter(|(_, job)| job.name.is_empty());
    let nameless: Vec<_> = nameless.map(|(uid, _)| *uid).collect();
    for (uid, name, function) in ctx.store.names_and_functions(nameless).await? {
        if let Some(job) = situation.known.get_mut(&uid) {
            (job.name, job.function) = (name, function);
        }
    }
    Ok(())
}
