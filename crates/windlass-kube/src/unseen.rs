//! Attempts that nobody sees: claimed and not shown by the watches, or gone before their pods were seen.
//! Whether they are there is asked at the API server, for all of them at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::warn;
use windlass_core::Error;

use crate::attempt::LABEL_JOB_UID;
use crate::look::list;
use crate::observe::AttemptId;
use crate::world::World;

/// How often is asked.
const TICK: Duration = Duration::from_secs(1);

/// How long after a batch Job was deleted by somebody else a Job controller may make a pod of it all the
/// same: its cache may be old, and its requests wait for each other.
const LATE_POD: Duration = Duration::from_secs(5);

/// The same for a job that starts no other attempt.
const LAST_LATE_POD: Duration = Duration::from_secs(1);

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
            .filter(|(attempt, since)| {
                let late = if world.is_last(attempt) { LAST_LATE_POD } else { LATE_POD };
                now - **since >= late
            })
            .map(|(attempt, _)| attempt.clone())
            .collect();
        doubtful.extend(world.unseen_claims());
        for some in doubtful.chunks(MOST_ASKED) {
            match there(world, some).await {
                Ok(there) => {
                    for attempt in some.iter().filter(|attempt| !there.contains(attempt)) {
                        world.is_over(attempt);
                    }
                }
                Err(error) => warn!(%error, "what was not seen cannot be asked for"),
            }
        }
    }
}

/// Those of them that left something at the API server.
async fn there(world: &World, attempts: &[AttemptId]) -> Result<HashSet<AttemptId>, Error> {
    let uids: BTreeSet<&str> = attempts.iter().map(|attempt| &*attempt.job_uid).collect();
    let uids: Vec<_> = uids.into_iter().collect();
    let labels = format!("{LABEL_JOB_UID} in ({})", uids.join(","));
    let found = list(world, None, &labels).await?.traces(world.now());
    let is_there = |attempt: &&AttemptId| found.trace(&attempt.job_uid, attempt.number).is_some();
    Ok(attempts.iter().filter(is_there).cloned().collect())
}
