//! Attempts that nobody sees: claimed and not shown by the watches, gone before their pods were seen, or told
//! by a list and by no watch. Whether they are there is asked at the API server, for all of them at once.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tracing::warn;
use windlass_core::Error;

use crate::attempt::observe::AttemptId;
use crate::cache::attempts::Traces;
use crate::controller::context::World;
use crate::controller::fetch::list;
use crate::labels::LABEL_JOB_UID;

/// How often is asked.
const TICK: Duration = Duration::from_secs(1);

/// How long after a batch Job was deleted by somebody else a Job controller may make a pod of it all the
/// same: its cache may be old, and its requests wait for each other.
const LATE_POD: Duration = Duration::from_secs(5);

/// Most jobs in one question: their UIDs are in its URL.
const MOST_ASKED: usize = 50;

/// Asks, as long as it runs.
pub(crate) async fn run(world: &World) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut vanished = HashMap::new();
    loop {
        tick.tick().await;
        let now = Instant::now();
        let in_doubt = world.traces.in_doubt().into_iter();
        let since = |attempt: AttemptId| {
            let since = vanished.get(&attempt).copied().unwrap_or(now);
            (attempt, since)
        };
        vanished = in_doubt.map(since).collect::<HashMap<_, _>>();
        let mut doubtful: Vec<_> = vanished
            .iter()
            .filter(|(_, since)| now - **since >= LATE_POD)
            .map(|(attempt, _)| attempt.clone())
            .collect();
        doubtful.extend(world.unseen_claims());
        for some in doubtful.chunks(MOST_ASKED) {
            match ask(world, some).await {
                Ok(found) => some.iter().for_each(|attempt| world.was_asked(attempt, &found)),
                Err(error) => warn!(%error, "what was not seen cannot be asked for"),
            }
        }
    }
}

/// What the API server has of their jobs.
async fn ask(world: &World, attempts: &[AttemptId]) -> Result<Traces, Error> {
    let uids: BTreeSet<&str> = attempts.iter().map(|attempt| &*attempt.job_uid).collect();
    let uids: Vec<_> = uids.into_iter().collect();
    let labels = format!("{LABEL_JOB_UID} in ({})", uids.join(","));
    Ok(list(world, None, &labels).await?.traces(world.now()))
}
