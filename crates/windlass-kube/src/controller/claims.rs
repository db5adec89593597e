//! Grants become claims: written on the ComputeQueue by compare-and-set before any batch Job is made
//! of them, many with one write.
//!
//! The claim is what makes two controllers at once safe. A grant is decided from what this process
//! has seen; it may be used only once the ComputeQueue, in the version that the decision was made
//! with, names it. Who finds that somebody else made the last claim takes over first: it writes its own
//! name, so that the other's next claim fails, then lists what is there at the API server itself, and
//! decides again. What the other has claimed and not made yet counts, until it is seen or proven over.
//!
//! What is left: a controller that stops between its claim and its batch Job for longer than the other
//! waits before it takes a claim of an ended job for over. It then makes an attempt of a job that has
//! ended, which is removed at once.

use std::time::Duration;

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tracing::{debug, warn};
use windlass_core::Error;

use crate::cache::watch::Change;
use crate::controller::context::World;
use crate::controller::fetch::list;
use crate::crd::{ComputeQueue, QueueStatus};
use crate::error::{from_kube, within_deadline};
use crate::labels::LABEL_QUEUE;
use crate::queueing::admission::{ClaimWrite, QueueKey};

/// How often places are counted.
const TICK: Duration = Duration::from_secs(1);

/// How often the numbers of a queue are told, if they have changed by half.
const NUMBERS: Duration = Duration::from_secs(5);

/// How long a queue waits after a write that failed.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// Claims what the line grants, as long as it runs.
pub(crate) async fn run(world: &World) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = tokio::time::Instant::now();
    loop {
        let mut numbers = false;
        tokio::select! {
            () = world.admission.claims_wanted.notified() => {}
            _ = tick.tick() => {
                world.admission.count_places();
                world.measure_queues();
                numbers = told.elapsed() >= NUMBERS;
            }
        }
        if numbers {
            told = tokio::time::Instant::now();
        }
        while let Some(write) = world.admission.due(numbers, world.now()) {
            if let Err(error) = claim(world, &write).await {
                warn!(queue = %write.queue.name, %error, "a claim failed");
                world.admission.give_back(&write.queue);
                // This queue waits, the others do not.
                world.admission.delay(&write.queue, world.now() + PAUSE);
                world.admission.again(world.now());
            }
        }
    }
}

/// Writes one claim, or takes the queue over from whoever made the last.
async fn claim(world: &World, write: &ClaimWrite) -> Result<(), Error> {
    if !write.may_replace {
        return take_over(world, write).await;
    }
    match put(world, &write.queue, &write.resource_version, &write.status).await {
        Ok(queue) => {
            world.admission.claimed(write, world.now());
            world.queue_changed(&queue);
            Ok(())
        }
        Err(Error::Conflict(_)) => {
            debug!(queue = %write.queue.name, "somebody else wrote");
            world.admission.give_back(&write.queue);
            read_again(world, write).await?;
            world.admission.again(world.now());
            Ok(())
        }
        // The queue was deleted: the watch says so to those who wait in it.
        Err(Error::NotFound { .. }) => {
            world.admission.queue_deleted(&write.queue, &write.uid);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// From now on the other's claims fail; then what it has made is counted.
async fn take_over(world: &World, write: &ClaimWrite) -> Result<(), Error> {
    world.admission.give_back(&write.queue);
    let current = get(world, &write.queue).await?;
    let Some(current) = current else {
        world.admission.queue_deleted(&write.queue, &write.uid);
        return Ok(());
    };
    let told = current.status.clone().unwrap_or_default();
    let status = QueueStatus { holder: write.status.holder.clone(), ..told };
    let version = current.metadata.resource_version.clone().unwrap_or_default();
    let queue = match put(world, &write.queue, &version, &status).await {
        Ok(queue) => queue,
        Err(Error::Conflict(_)) => {
            world.admission.again(world.now());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    count(world, &write.queue).await?;
    world.queue_changed(&queue);
    world.admission.was_counted(&write.queue);
    world.admission.again(world.now());
    Ok(())
}

/// Writes the status in place of this version of the object.
async fn put(
    world: &World,
    key: &QueueKey,
    resource_version: &str,
    status: &QueueStatus,
) -> Result<ComputeQueue, Error> {
    let api: Api<ComputeQueue> = Api::namespaced(world.client.clone(), &key.namespace);
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": resource_version },
        // A merge takes nothing away by itself.
        "status": {
            "holder": status.holder, "granted": status.granted, "waiting": status.waiting,
            "claims": status.claims,
        },
    }));
    let params = PatchParams::default();
    within_deadline(api.patch_status(&key.name, &params, &patch)).await?.map_err(from_kube)
}

async fn get(world: &World, key: &QueueKey) -> Result<Option<ComputeQueue>, Error> {
    let api: Api<ComputeQueue> = Api::namespaced(world.client.clone(), &key.namespace);
    within_deadline(api.get_opt(&key.name)).await?.map_err(from_kube)
}

async fn read_again(world: &World, write: &ClaimWrite) -> Result<(), Error> {
    match get(world, &write.queue).await? {
        Some(queue) => drop(world.queue_changed(&queue)),
        None => world.admission.queue_deleted(&write.queue, &write.uid),
    }
    Ok(())
}

/// Counts the attempts that the API server has, whatever the watches have brought so far.
async fn count(world: &World, queue: &QueueKey) -> Result<(), Error> {
    let labels = format!("{LABEL_QUEUE}={}", queue.name);
    let found = list(world, Some(&queue.namespace), &labels).await?;
    for carrier in found.carriers.into_iter().filter(|carrier| world.traces.is_news(carrier)) {
        carrier.uid().into_iter().for_each(|uid| world.traces.doubt(uid));
        world.carrier_changed(&Change::Applied(carrier));
    }
    for pod in found.pods.into_iter().filter(|pod| world.traces.is_news(pod)) {
        pod.uid().into_iter().for_each(|uid| world.traces.doubt(uid));
        world.body_changed(&Change::Applied(pod));
    }
    Ok(())
}
