//! Why a batch Job has no pod: a quota of the namespace refuses it one, for example. Only Events say so.
//!
//! An API server keeps no index of Events: each list reads all of a namespace. So one list serves all jobs of
//! a namespace, and the next is made only when this one is old.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use windlass_core::plan::{Attempt, AttemptState};
use windlass_core::status::reasons;
use windlass_core::{Error, Job};

use crate::controller::context::{WAITING_GRACE, World};
use crate::error::{exceeds_quota, from_kube, within_deadline};

/// Least age of a list before the next.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// The list of a namespace is forgotten when nobody has asked for so long.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The latest lists, by namespace.
#[derive(Default)]
pub(crate) struct Hindrances(Mutex<HashMap<String, Listed>>);

struct Listed {
    /// When the next may be made.
    next: Instant,
    /// By UID of the batch Job.
    refused: HashMap<String, Refused>,
}

/// A pod that was refused.
struct Refused {
    since: Timestamp,
    message: String,
}

impl Hindrances {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time for a list of this namespace; then it is the caller's to make it.
    fn is_due(&self, namespace: &str) -> bool {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, listed| now < listed.next + FORGOTTEN);
        let none = || Listed { next: now, refused: HashMap::new() };
        let listed = all.entry(namespace.to_owned()).or_insert_with(none);
        let is_due = now >= listed.next;
        if is_due {
            listed.next = now + LEAST_AGE;
        }
        is_due
    }
}

/// Puts the reason for which a batch Job has had no pod for some time into its attempt. Whether there is such
/// an attempt: it is to be asked about again.
pub(crate) async fn ask(
    job: &Job,
    attempts: &mut [Attempt],
    world: &World,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(attempt) = attempts.last_mut() else { return Ok(false) };
    let AttemptState::Starting { reason: reason @ None, message } = &mut attempt.state else {
        return Ok(false);
    };
    let waited = now.duration_since(attempt.created);
    if attempt.pod.is_some() || waited < WAITING_GRACE || job.status.is_finished() {
        return Ok(false);
    }
    let trace = world.traces.trace(&job.metadata.uid, attempt.number);
    let Some(carrier) = trace.and_then(|trace| trace.carrier) else { return Ok(false) };
    let namespace = &job.metadata.namespace;
    if world.hindrances.is_due(namespace) {
        list(world, namespace).await?;
    }
    let all = world.hindrances.lock();
    if let Some(refused) = all.get(namespace).and_then(|all| all.refused.get(carrier.uid())) {
        let quota = exceeds_quota(&refused.message);
        let word = if quota { reasons::QUOTA_EXCEEDED } else { reasons::FAILED_CREATE };
        *reason = Some(word.into());
        *message = refused.message.clone();
        // Before that nobody had got round to it.
        attempt.startable_since = Some(refused.since);
    }
    Ok(true)
}

async fn list(world: &World, namespace: &str) -> Result<(), Error> {
    let began = Instant::now();
    let events: Api<Event> = Api::namespaced(world.client.clone(), namespace);
    let params = ListParams::default().fields("involvedObject.kind=Job,reason=FailedCreate");
    let found = within_deadline(events.list(&params)).await?.map_err(from_kube)?;
    let refused = found.items.into_iter().filter_map(refusal).collect();
    // Of a server that is slow at it not more than a tenth of its time is taken.
    let next = Instant::now() + LEAST_AGE.max(began.elapsed() * 10);
    world.hindrances.lock().insert(namespace.to_owned(), Listed { next, refused });
    Ok(())
}

/// The batch Job of an Event, and what it says.
fn refusal(event: Event) -> Option<(String, Refused)> {
    let since = event.first_timestamp.map(|time| time.0).or(event.event_time.map(|time| time.0));
    let since = since.or(event.metadata.creation_timestamp.map(|time| time.0))?;
    Some((event.involved_object.uid?, Refused { since, message: event.message? }))
}
