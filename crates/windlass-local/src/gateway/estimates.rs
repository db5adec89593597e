//! When jobs are likely to start and to end, worked out when somebody asks, for all who ask within a second.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;
use windlass_backend::FreshAnswers;
use windlass_core::Error;
use windlass_core::estimate::{Estimates, Situation, estimate};

use crate::config::NAMESPACE;
use crate::controller::Context;
use crate::event::Event;
use crate::store::stopped;

/// Works out estimates of all jobs of this machine.
pub(crate) struct Estimator {
    ctx: Arc<Context>,
    answers: Arc<FreshAnswers<Arc<Estimates>>>,
}

impl Estimator {
    pub(crate) fn new(ctx: Arc<Context>) -> Self {
        Self { ctx, answers: Arc::default() }
    }

    /// Estimates that are at most a second old. They are worked out once at a time.
    pub(crate) async fn latest(&self) -> Result<Arc<Estimates>, Error> {
        let ctx = Arc::clone(&self.ctx);
        self.answers.get_to_its_end(NAMESPACE, async move { work_out(&ctx).await }).await
    }
}

async fn work_out(ctx: &Arc<Context>) -> Result<Arc<Estimates>, Error> {
    let (reply, answer) = oneshot::channel();
    ctx.events.send(Event::EstimatesRequested { reply });
    let mut situation = answer.await.map_err(|_| stopped())?;
    name_all(ctx, &mut situation).await?;
    let ctx = Arc::clone(ctx);
    let worked_out = tokio::task::spawn_blocking(move || {
        let items = estimate(&situation, &ctx.store.run_times(), ctx.clock.now());
        Arc::new(Estimates { since: None, complete: situation.excerpt.is_whole, items })
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
