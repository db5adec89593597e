//! Keeps standbys: as many as each function says wait for jobs, with their workers connected. What is claimed and not
//! followed up is given back. Whoever claims one is in [`claim_standby`](super::claim_standby).

use std::collections::HashMap;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt as _};
use tokio::time::Instant;
use tracing::{info, warn};
use windlass_core::plan::Action;
use windlass_core::report::has_ended;
use windlass_core::warm::Warm;
use windlass_core::{Error, Function};

use super::context::Context;
use super::delete::{deleted, only_of};
use super::list_live::list_pods_of;
use super::wanted_standbys::{Changes, SURPLUS, Wanted, changes, free_numbers};
use crate::attempt::build_standby::StandbyTemplate;
use crate::attempt::standby::Standby;
use crate::cache::standbys::Unanswered;
use crate::error::{call, from_kube, is_status, within_deadline};

/// How often is looked whether as many wait as shall.
const TICK: Duration = Duration::from_millis(500);

/// A claimed standby that does not run its function after this time is given back.
const ANSWER: Duration = Duration::from_secs(10);

/// When a cluster that could not resize pods is asked again. It may have been upgraded.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// How long a function whose standby could not be created, or was asked to go, is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// What is remembered of a function, by namespace and name.
#[derive(Default)]
struct Remembered {
    /// Since when there are too many.
    surplus_since: Option<Instant>,
    /// It is left alone until then.
    paused_until: Option<Instant>,
}

/// Keeps standbys, as long as it runs and this process leads.
pub(crate) async fn run(ctx: &Context) {
    if !ctx.settings.standbys {
        return std::future::pending().await;
    }
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut remembered: HashMap<(String, String), Remembered> = HashMap::new();
    let mut cannot_since = None;
    loop {
        tick.tick().await;
        if !ctx.is_leading() || !ctx.synced.has_synced() {
            continue;
        }
        if !ctx.standbys.is_usable() {
            if cannot_since.is_some_and(|since: Instant| since.elapsed() < ASK_AGAIN) {
                continue;
            }
            match can_resize(ctx).await {
                Ok(true) => ctx.standbys.set_usable(),
                Ok(false) => {
                    warn!("this cluster cannot resize pods: every attempt is started anew");
                    cannot_since = Some(Instant::now());
                }
                Err(error) => warn!(%error, "whether pods can be resized is not known"),
            }
            continue;
        }
        give_back(ctx).await;
        let functions = ctx.stores.functions.state();
        let functions: Vec<_> = functions.iter().map(|function| function.to_core()).collect();
        let key = |function: &Function| {
            (function.metadata.namespace.clone(), function.metadata.name.clone())
        };
        remembered.retain(|of, _| functions.iter().any(|function| key(function) == *of));
        for function in &functions {
            let remembered = remembered.entry(key(function)).or_default();
            if remembered.paused_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            if let Err(error) = keep(ctx, function, remembered).await {
                warn!(function = function.metadata.name, %error, "its standbys cannot be kept");
                remembered.paused_until = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// Whether pods can be resized, without which a standby is of no use.
async fn can_resize(ctx: &Context) -> Result<bool, Error> {
    let resources = call(ctx.client.list_core_api_resources("v1")).await?;
    Ok(resources.resources.iter().any(|resource| resource.name == "pods/resize"))
}

/// Creates and removes standbys of one function.
async fn keep(
    ctx: &Context,
    function: &Function,
    remembered: &mut Remembered,
) -> Result<(), Error> {
    let now = ctx.now();
    let (namespace, name) = (&function.metadata.namespace, &function.metadata.name);
    let all = ctx.standbys.all();
    let is_its = |standby: &&Standby| standby.namespace == *namespace && standby.function == *name;
    let standbys: Vec<_> = all.iter().filter(is_its).cloned().collect();
    let warm = function.spec.warm.as_ref().filter(|warm| warm.min > 0);
    if warm.is_none() && standbys.iter().all(|standby| standby.is_claimed) {
        return Ok(());
    }
    let worker = ctx.worker.source(&ctx.client).await;
    let template = StandbyTemplate::new(function, &ctx.settings.report, worker.as_ref())?;
    let most_seconds = warm.map_or(Warm::default().max_age_seconds, |warm| warm.max_age_seconds);
    let wanted = Wanted {
        min: warm.map_or(0, |warm| warm.min as usize),
        digest: &template.digest,
        not_before: now - SignedDuration::from_secs(i64::from(most_seconds)),
    };
    let Changes { create, remove, surplus } = changes(&wanted, &standbys, now);
    for standby in remove.iter().filter(|standby| may_go(ctx, standby)) {
        delete(ctx, standby).await?;
    }
    remembered.surplus_since = match surplus.is_empty() {
        true => None,
        false => remembered.surplus_since.or_else(|| Some(Instant::now())),
    };
    if remembered.surplus_since.is_some_and(|since| since.elapsed() >= SURPLUS) {
        for standby in surplus.iter().filter(|standby| may_go(ctx, standby)) {
            delete(ctx, standby).await?;
        }
    }
    let in_namespace: Vec<_> = all.into_iter().filter(|s| s.namespace == *namespace).collect();
    for name in free_numbers(create, |number| template.name(number), &in_namespace) {
        create_one(ctx, &template.batch_job(name, None)).await?;
    }
    Ok(())
}

async fn create_one(ctx: &Context, batch_job: &batch::Job) -> Result<(), Error> {
    let namespace = batch_job.metadata.namespace.as_deref().unwrap_or_default();
    let batch_jobs: Api<batch::Job> = Api::namespaced(ctx.client.clone(), namespace);
    match within_deadline(batch_jobs.create(&PostParams::default(), batch_job)).await? {
        Ok(_) => Ok(()),
        // The watch has not brought it yet.
        Err(error) if is_status(&error, 409) => Ok(()),
        Err(error) => Err(from_kube(error)),
    }
}

async fn delete(ctx: &Context, standby: &Standby) -> Result<(), Error> {
    let batch_jobs: Api<batch::Job> = Api::namespaced(ctx.client.clone(), &standby.namespace);
    // Only as it was seen: somebody may claim it at this moment.
    let mut params = only_of(&standby.uid);
    if let Some(preconditions) = &mut params.preconditions {
        preconditions.resource_version = Some(standby.resource_version.clone());
    }
    let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..params };
    match deleted(within_deadline(batch_jobs.delete(&standby.name, &params)).await?) {
        // It has changed meanwhile, and is looked at again.
        Err(Error::Conflict(_)) => Ok(()),
        other => other,
    }
}

/// Whether a standby may be deleted. One that has the name of an attempt keeps that name for as long as the attempt may
/// be started once more under it, by a controller that does not know better.
pub(super) fn may_go(ctx: &Context, standby: &Standby) -> bool {
    let Some(exchange) = &standby.exchange else { return true };
    let job = ctx.stores.job_of(&exchange.attempt);
    let is_settled = job.is_none_or(|job| {
        let job = job.to_core();
        job.status.is_finished() || has_ended(&job.status, exchange.attempt.number)
    });
    is_settled || ctx.attempts.was_deleted(&exchange.uid)
}

/// Takes the removals of standbys whose names are still needed out of what is planned. When to look again, if there is
/// one.
pub(super) fn hold_named_standbys(
    job_uid: &str,
    ctx: &Context,
    actions: &mut Vec<Action>,
) -> Option<Duration> {
    let before = actions.len();
    actions.retain(|action| {
        let Some(attempt) = action.removed() else { return true };
        let objects = ctx.attempts.objects(job_uid, attempt);
        let batch_job = objects.as_ref().and_then(|objects| objects.batch_job.as_ref());
        let is_over = objects.as_ref().is_none_or(|objects| !objects.is_live());
        let standby = batch_job.and_then(|batch_job| ctx.standbys.get(batch_job.uid()));
        let is_needed = |standby: &Standby| {
            let is_own = standby.exchange.as_ref().is_some_and(|e| *e.attempt.job_uid == *job_uid);
            is_over && !is_own && !may_go(ctx, standby)
        };
        !standby.as_ref().is_some_and(is_needed)
    });
    (actions.len() < before).then_some(PAUSE)
}

/// Ends claimed standbys that do not run their functions. Their attempts are lost, and the next ones are started anew.
async fn give_back(ctx: &Context) {
    for unanswered in ctx.standbys.unanswered() {
        let pending = unanswered.pod.as_ref().and_then(|pod| pod.pending_resize.clone());
        if unanswered.waited < ANSWER && pending.is_none() {
            continue;
        }
        let why = pending.unwrap_or_else(|| "its worker has not begun in time".into());
        match end_pod(ctx, &unanswered).await {
            Ok(()) => info!(standby = unanswered.standby.name, why, "a claim is given back"),
            Err(error) => warn!(standby = unanswered.standby.name, %error, "cannot be given back"),
        }
    }
}

async fn end_pod(ctx: &Context, unanswered: &Unanswered) -> Result<(), Error> {
    let standby = &unanswered.standby;
    let pod = match &unanswered.pod {
        Some(pod) => Some((pod.name.clone(), pod.uid.clone())),
        None => {
            let pods = list_pods_of(ctx, &standby.namespace, &standby.uid).await?;
            pods.first().map(|pod| (pod.name_any(), pod.uid().unwrap_or_default()))
        }
    };
    let Some((name, uid)) = pod else { return Ok(()) };
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &standby.namespace);
    deleted(within_deadline(pods.delete(&name, &only_of(&uid))).await?)
}
