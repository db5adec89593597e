//! Grants become claims: they are written by compare-and-set on the ComputeQueue, or on the ClusterComputeQueue whose
//! CPUs it shares, before any batch Job is created for
//! them, many with one write.
//!
//! The claim is what makes two controllers at once safe. A grant is decided from what this process
//! has observed. It may be used only once the ComputeQueue names it, in the version that the decision was made
//! with. A controller that finds that another one made the last claim takes the queue over first: it writes its own
//! name, so that the other's next claim fails. Then it lists what exists at the API server itself, and
//! decides again. What the other has claimed and not created yet counts, until it is observed or proven over.
//!
//! One case is left. A controller may stop between its claim and its batch Job for longer than the other
//! waits before it takes a claim of an ended job for over. It then creates an attempt of a job that has
//! ended, which is removed at once.

use std::time::Duration;

use jiff::SignedDuration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use serde_json::json;
use tracing::{debug, warn};
use windlass_core::Error;
use windlass_metrics::Totals;

use super::context::Context;
use super::list_live::{list_namespaces, list_objects};
use super::on_watch::{
    batch_job_found, cluster_queue_changed, namespace_changed, pod_found, queue_changed,
};
use crate::crd::{ClusterComputeQueue, ComputeQueue, QueueStatus};
use crate::error::call;
use crate::labels::LABEL_QUEUE;
use crate::queueing::claim_write::ClaimWrite;
use crate::queueing::ledger::LedgerKey;

/// How often places are counted.
const TICK: Duration = Duration::from_secs(1);

/// How often the numbers of a queue are written, if they have changed by half.
const NUMBERS: Duration = Duration::from_secs(5);

/// How long a queue waits after a write that failed.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// Claims what admission grants, as long as it runs.
pub(crate) async fn run(ctx: &Context) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut numbers_written = tokio::time::Instant::now();
    loop {
        let mut numbers = false;
        tokio::select! {
            () = ctx.admission.claims_wanted.notified() => {}
            _ = tick.tick() => {
                ctx.admission.update_places();
                measure_queues(ctx);
                numbers = numbers_written.elapsed() >= NUMBERS;
            }
        }
        if numbers {
            numbers_written = tokio::time::Instant::now();
        }
        while let Some(write) = ctx.admission.next_claim_write(numbers, ctx.now()) {
            if let Err(error) = claim(ctx, &write).await {
                warn!(queue = %write.ledger.name(), %error, "a claim failed");
                ctx.admission.revert_grants(&write.ledger);
                // This queue waits, the others do not.
                ctx.admission.postpone_writes(&write.ledger, ctx.now() + PAUSE);
                ctx.admission.grant_again(ctx.now());
            }
        }
    }
}

/// Writes one claim, or takes the queue over from whoever made the last.
async fn claim(ctx: &Context, write: &ClaimWrite) -> Result<(), Error> {
    if !write.may_replace {
        return take_over(ctx, write).await;
    }
    match write_status(ctx, write, &write.resource_version, &write.status).await {
        Ok(written) => {
            ctx.admission.confirm_claims(write, ctx.now());
            written.observe(ctx);
            Ok(())
        }
        Err(Error::Conflict(_)) => {
            debug!(queue = %write.ledger.name(), "somebody else wrote");
            ctx.admission.revert_grants(&write.ledger);
            match Claimed::fetch(ctx, &write.ledger).await? {
                Some(current) => current.observe(ctx),
                None => deleted(ctx, write),
            }
            ctx.admission.grant_again(ctx.now());
            Ok(())
        }
        Err(Error::NotFound { .. }) => {
            deleted(ctx, write);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// From now on the other controller's claims fail. Then what it has created is counted.
async fn take_over(ctx: &Context, write: &ClaimWrite) -> Result<(), Error> {
    ctx.admission.revert_grants(&write.ledger);
    let Some(current) = Claimed::fetch(ctx, &write.ledger).await? else {
        deleted(ctx, write);
        return Ok(());
    };
    let status = QueueStatus { holder: write.status.holder.clone(), ..current.status() };
    let version = current.meta().resource_version.clone().unwrap_or_default();
    let taken = match write_status(ctx, write, &version, &status).await {
        Ok(taken) => taken,
        Err(Error::Conflict(_)) => {
            ctx.admission.grant_again(ctx.now());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if matches!(write.ledger, LedgerKey::ClusterQueue(_)) {
        // Which namespaces share its CPUs, and whose claims and attempts count, whatever the watch has brought so far.
        for namespace in list_namespaces(ctx).await? {
            namespace_changed(ctx, &namespace);
        }
    }
    count_attempts(ctx, &write.ledger).await?;
    taken.observe(ctx);
    ctx.admission.mark_counted(&write.ledger);
    ctx.admission.grant_again(ctx.now());
    Ok(())
}

/// The object was deleted. The jobs of a ComputeQueue wait until it is there again; those of a ClusterComputeQueue have
/// the quotas of their own queues alone.
fn deleted(ctx: &Context, write: &ClaimWrite) {
    match &write.ledger {
        LedgerKey::Queue(key) => ctx.admission.queue_deleted(key, &write.uid, ctx.now()),
        LedgerKey::ClusterQueue(name) => {
            ctx.admission.cluster_queue_deleted(name, &write.uid, ctx.now());
        }
    }
}

/// The object on which grants are claimed, as the API server has it.
enum Claimed {
    Queue(ComputeQueue),
    ClusterQueue(ClusterComputeQueue),
}

impl Claimed {
    async fn fetch(ctx: &Context, key: &LedgerKey) -> Result<Option<Self>, Error> {
        match key {
            LedgerKey::Queue(key) => {
                let api: Api<ComputeQueue> = Api::namespaced(ctx.client.clone(), &key.namespace);
                Ok(call(api.get_opt(&key.name)).await?.map(Self::Queue))
            }
            LedgerKey::ClusterQueue(name) => {
                let api: Api<ClusterComputeQueue> = Api::all(ctx.client.clone());
                Ok(call(api.get_opt(name)).await?.map(Self::ClusterQueue))
            }
        }
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Queue(queue) => &queue.metadata,
            Self::ClusterQueue(queue) => &queue.metadata,
        }
    }

    fn status(&self) -> QueueStatus {
        match self {
            Self::Queue(queue) => queue.status.clone().unwrap_or_default(),
            Self::ClusterQueue(queue) => queue.status.clone().unwrap_or_default().usage,
        }
    }

    fn observe(&self, ctx: &Context) {
        match self {
            Self::Queue(queue) => drop(queue_changed(ctx, queue)),
            Self::ClusterQueue(queue) => cluster_queue_changed(ctx, queue),
        }
    }
}

/// Writes the status in place of this version of the object.
async fn write_status(
    ctx: &Context,
    write: &ClaimWrite,
    resource_version: &str,
    status: &QueueStatus,
) -> Result<Claimed, Error> {
    let mut patch = json!({
        "metadata": { "resourceVersion": resource_version },
        // A merge takes nothing away by itself.
        "status": {
            "holder": status.holder, "granted": status.granted, "waiting": status.waiting,
            "claims": status.claims,
        },
    });
    if let Some(ready) = &write.ready {
        patch["status"]["observedGeneration"] = json!(ready.observed_generation);
        patch["status"]["conditions"] = json!([ready]);
    }
    let (patch, params) = (Patch::Merge(patch), PatchParams::default());
    match &write.ledger {
        LedgerKey::Queue(key) => {
            let api: Api<ComputeQueue> = Api::namespaced(ctx.client.clone(), &key.namespace);
            call(api.patch_status(&key.name, &params, &patch)).await.map(Claimed::Queue)
        }
        LedgerKey::ClusterQueue(name) => {
            let api: Api<ClusterComputeQueue> = Api::all(ctx.client.clone());
            call(api.patch_status(name, &params, &patch)).await.map(Claimed::ClusterQueue)
        }
    }
}

/// Counts the attempts that the API server has, whatever the watches have brought so far.
async fn count_attempts(ctx: &Context, key: &LedgerKey) -> Result<(), Error> {
    let found = match key {
        LedgerKey::Queue(queue) => {
            let labels = format!("{LABEL_QUEUE}={}", queue.name);
            list_objects(ctx, Some(&queue.namespace), &labels).await?
        }
        LedgerKey::ClusterQueue(_) => list_objects(ctx, None, LABEL_QUEUE).await?,
    };
    found.batch_jobs.into_iter().for_each(|batch_job| batch_job_found(ctx, batch_job));
    found.pods.into_iter().for_each(|pod| pod_found(ctx, pod));
    Ok(())
}

/// What is granted and who waits, for whoever reads the metrics: of the controller that leads.
fn measure_queues(ctx: &Context) {
    if ctx.is_leading() {
        let queues = ctx.admission.queues();
        let waiting = queues.iter().map(|queue| queue.waiting).sum();
        let cpus_in_use = ctx.admission.cpus_in_use();
        ctx.metrics.jobs().set_queues(queues, Totals { waiting, cpus_in_use });
    } else {
        ctx.metrics.jobs().set_queues([], Totals::default());
    }
}
