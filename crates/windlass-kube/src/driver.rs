//! The controller: observe -> plan -> apply -> tell, once for each ComputeJob that has changed.
//!
//! Every controller watches; the one that leads acts. When it begins to lead, everything is looked at
//! once, and nothing is granted before all that is in use was counted and all that waits has joined
//! the line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::Client;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};
use windlass_core::plan::{
    Admission as Answer, AttemptState, End, Refusal, needs_cpus, plan_invalid,
};
use windlass_core::status::FailureReason;
use windlass_core::{Action, Error, Function, Job, JobKey, Limits, Plan, Problem, Seen, plan};

use crate::admission::{Admission, JobRef};
use crate::apply::{Done, Effects, Told, tell};
use crate::attempt::LABEL_JOB_UID;
use crate::changes;
use crate::lease::Candidate;
use crate::look::{fetch, find_function, observe_attempts, tell_hindrance, unknown_queue};
use crate::malformed::Unreadable;
use crate::metrics::Metrics;
use crate::watched::WatchedJob;
use crate::world::{
    MANY_STARTS_WITHIN, Stores, WAITING_GRACE, World, api, attempt_id, prune_carrier, prune_pod,
};
use crate::{claims, malformed, notices, unseen};

/// Reconciles at the same time. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 32;

/// An attempt that ends within this time of its container's start, which is told in whole seconds, costs
/// no write for having run.
const RUNNING_GRACE: Duration = Duration::from_secs(2);

/// How often a job that waits is looked at although nothing has happened to it.
const WAITING_LOOK: Duration = Duration::from_secs(30);

/// How often the reason is looked for why a batch Job has no pod.
const HINDRANCE_LOOK: Duration = Duration::from_secs(10);

/// When a job is looked at again that somebody else has written: the watch wakes it before, unless it is
/// dead.
const OVERTAKEN: Duration = Duration::from_secs(2);

/// When a job is looked at again that was not found, or something that it needs.
const GONE: Duration = Duration::from_secs(5);

/// How long a job is left alone at which we panicked.
const QUARANTINE: Duration = Duration::from_secs(300);

/// When a job is looked at again whose last write the watch has not brought.
const BEHIND: Duration = Duration::from_secs(5);

/// Longest time that a shutdown waits for reconciles that have begun.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// What the controller is told.
#[derive(Clone)]
pub struct Settings {
    /// Only this namespace; all when absent.
    pub namespace: Option<String>,
    /// Where workers report to, as their pods reach it.
    pub report_url: String,
    /// Namespace of the Lease by which one of several controllers leads; without one this one acts at
    /// once.
    pub lease_namespace: Option<String>,
    /// Who this is among them: the pod's name, for example. Made unique here.
    pub name: String,
    /// Whether a node whose object was deleted is known to run nothing any more. Without this an
    /// attempt that was there when its node was deleted is never taken for dead.
    pub deleted_nodes_are_fenced: bool,
    /// Told each job that this process has seen to end, while it leads. Must return at once.
    pub ended: Option<Ended>,
}

/// Told a job.
pub type Ended = Arc<dyn Fn(&Job) + Send + Sync>;

/// Runs the controller until `shutdown`. Reconciles that have begun are finished, then the Lease is
/// released. `ready` is told whether the watches have brought everything.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    ready: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let identity = format!("{}_{}", settings.name, uuid::Uuid::new_v4().simple());
    let (wake, woken) = mpsc::unbounded_channel();
    let (unreadable, malformed) = mpsc::unbounded_channel();
    let (leads, led) = watch::channel(settings.lease_namespace.is_none());
    let namespace = settings.namespace.clone();

    let (jobs, job_writer) = reflector::store();
    let (functions, function_writer) = reflector::store();
    let (queues, queue_writer) = reflector::store();
    let stores = Stores { jobs: jobs.clone(), functions, queues };
    let admission = Admission::new(identity.clone(), wake);
    let world = Arc::new(World::new(
        client.clone(),
        settings,
        stores,
        admission,
        led,
        metrics,
        unreadable.clone(),
    ));

    let job_events = changes::events(
        api(&client, namespace.as_deref()),
        changes::config(None),
        unreadable.clone(),
        WatchedJob::prune,
    );
    let job_changes = world.follow_jobs(reflector::reflector(job_writer, job_events));
    let others = futures::stream::select_all([
        world.follow_functions(reflector::reflector(
            function_writer,
            changes::events(
                api(&client, namespace.as_deref()),
                changes::config(None),
                unreadable.clone(),
                |_| (),
            ),
        )),
        world.follow_queues(reflector::reflector(
            queue_writer,
            changes::events(
                api(&client, namespace.as_deref()),
                changes::config(None),
                unreadable.clone(),
                |_| (),
            ),
        )),
        world.follow_carriers(changes::events(
            api(&client, namespace.as_deref()),
            changes::config(Some(LABEL_JOB_UID)),
            unreadable.clone(),
            prune_carrier,
        )),
        world.follow_pods(changes::events(
            api(&client, namespace.as_deref()),
            changes::config(Some(LABEL_JOB_UID)),
            unreadable,
            prune_pod,
        )),
        references(woken).boxed(),
        job_changes,
    ]);

    let (stop, stopped) = watch::channel(false);
    let stopping = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    let mut stops = stopped.clone();
    let controller = Controller::for_stream(futures::stream::pending(), jobs)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(others)
        .reconcile_all_on(begins(world.leads.clone()))
        .graceful_shutdown_on(async move { drop(stops.wait_for(|stop| *stop).await) })
        .run(reconcile, on_error, Arc::clone(&world))
        .for_each(async |outcome| match outcome {
            Ok((job, _)) => debug!(job = %job.name, "reconciled"),
            Err(controller::Error::ObjectNotFound(job)) => debug!(job = %job.name, "is gone"),
            // Logged where it was raised.
            Err(controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => warn!(%error, "a watch failed"),
        });
    let elect = async {
        match &world.settings.lease_namespace {
            Some(lease) => {
                let candidate = Candidate::new(client.clone(), lease, identity.clone());
                candidate.run(&leads).await;
            }
            None => std::future::pending().await,
        }
    };
    let mut ends = stopped.clone();
    tokio::select! {
        () = controller => {}
        () = elect => {}
        () = claims::run(&world) => {}
        () = unseen::run(&world) => {}
        () = malformed::tell(malformed, world.leads.clone(), &world.recorder) => {}
        () = world.lead() => {}
        () = world.tell_ready(&ready) => {}
        () = async {
            stopping.await;
            // The controller ends by itself once its reconciles have; this is for those that hang.
            drop(ends.wait_for(|stop| *stop).await);
            tokio::time::sleep(SHUTDOWN).await;
        } => {}
    }
    leads.send_replace(false);
    if let Some(lease) = &world.settings.lease_namespace {
        Candidate::release(client, lease, &identity).await;
    }
    info!("stopped");
    Ok(())
}

/// An item each time that this process begins to lead.
fn begins(mut leads: watch::Receiver<bool>) -> impl Stream<Item = ()> + Send + 'static {
    leads.mark_changed();
    futures::stream::unfold(leads, async |mut leads| {
        loop {
            leads.changed().await.ok()?;
            if *leads.borrow_and_update() {
                return Some(((), leads));
            }
        }
    })
}

fn references(
    woken: mpsc::UnboundedReceiver<JobRef>,
) -> impl Stream<Item = ObjectRef<WatchedJob>> + Send + 'static {
    futures::stream::unfold(woken, async |mut woken| {
        let (namespace, name) = woken.recv().await?;
        Some((WatchedJob::reference(&namespace, &name), woken))
    })
}

async fn reconcile(object: Arc<WatchedJob>, world: Arc<World>) -> Result<Requeue, Error> {
    if !*world.leads.borrow() {
        return Ok(Requeue::await_change());
    }
    let job = object.to_core();
    let began = Instant::now();
    // A panic is a defect of ours on one object; the others go on.
    let look = AssertUnwindSafe(one(&job, &world)).catch_unwind().await;
    let (outcome, next) = after(&job.key(), look);
    if let Some(outcome) = outcome {
        world.metrics.reconciled(outcome, began.elapsed().as_secs_f64());
    }
    next
}

/// What comes after a look at a job, and the word by which it is counted.
fn after(
    job: &JobKey,
    look: std::thread::Result<Result<Requeue, Error>>,
) -> (Option<&'static str>, Result<Requeue, Error>) {
    match look {
        Ok(Ok(requeue)) => (Some("ok"), Ok(requeue)),
        // Somebody else wrote first; the watch brings what they wrote.
        Ok(Err(Error::Conflict(why))) => {
            debug!(%job, why, "overtaken");
            (Some("conflict"), Ok(Requeue::requeue(OVERTAKEN)))
        }
        // The job itself, most likely: then there is no next look.
        Ok(Err(Error::NotFound { .. })) => (None, Ok(Requeue::requeue(GONE))),
        Ok(Err(error)) => {
            let unavailable = matches!(error, Error::Unavailable { .. });
            warn!(%job, %error, "reconcile failed");
            (Some(if unavailable { "unavailable" } else { "error" }), Err(error))
        }
        Err(_) => {
            error!(%job, "reconcile panicked; the job is left alone for {QUARANTINE:?}");
            (Some("panic"), Ok(Requeue::requeue(QUARANTINE)))
        }
    }
}

fn on_error(_: Arc<WatchedJob>, error: &Error, _: Arc<World>) -> Requeue {
    Requeue::requeue(match error {
        Error::Unavailable { retry_after, .. } | Error::Busy { retry_after, .. } => *retry_after,
        _ => Duration::from_secs(15),
    })
}

/// One ComputeJob, once.
async fn one(job: &Job, world: &World) -> Result<Requeue, Error> {
    // Deletion is the garbage collector's work, by owner references.
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Requeue::await_change());
    }
    // After a restart the caches fill one after the other; what is not listed yet is there all the same.
    let mut listed = world.listed.subscribe();
    let all = listed.wait_for(|listed| listed.all()).await;
    drop(all.map_err(|_| Error::unavailable("the watches have ended"))?);
    if world.is_behind(job) {
        // The watch brings it; this is for the case that it does not.
        return Ok(Requeue::requeue(BEHIND));
    }
    let now = world.now();
    let mut attempts = observe_attempts(job, world, now).await?;
    // Events say why, and decide nothing: without them a job can be cancelled all the same.
    let hindered = tell_hindrance(job, &mut attempts, world, now).await.unwrap_or_else(|error| {
        warn!(job = %job.key(), %error, "why it has no pod cannot be asked");
        true
    });
    let function = find_function(job, world).await?;

    let needs = needs_cpus(job, &attempts, now);
    let id = attempt_id(job, &attempts);
    // The whole job, as it is now: before it joins a line for the first time, and before a start.
    let (mut whole, mut verdict) = if needs && job.status.phase.is_none() {
        judge_whole(job, function.as_ref(), world).await?
    } else {
        (None, world.judge(job, function.as_ref(), false))
    };
    let mut admission = Answer::NotAsked;
    if let (Ok(limits), true) = (&verdict, needs) {
        admission = world.admission.ask(job, id, limits, now);
        if matches!(admission, Answer::Granted(_)) && whole.is_none() {
            (whole, verdict) = judge_whole(job, function.as_ref(), world).await?;
        }
        if matches!(admission, Answer::Granted(_))
            && let Some(why) = unknown_queue(job, world).await?
        {
            admission = Answer::Waiting { why, place: None };
        }
    } else if !needs && attempts.iter().all(|attempt| !attempt.is_live()) {
        world.admission.leave(&job.metadata.uid, now);
    }

    // A deep queue is told in peace: meanwhile others may start.
    let mut permit = None;
    // A grant wakes the job; this is for the case that the news is lost.
    let mut soon = (needs && verdict.is_ok()).then_some(WAITING_LOOK);
    if matches!(admission, Answer::Waiting { .. }) {
        let age = job.metadata.creation_timestamp.map(|created| now.duration_since(created));
        if job.status.phase.is_none() && age.is_some_and(|age| age < WAITING_GRACE) {
            admission = Answer::NotAsked;
            soon = Some(Duration::from_secs(2));
        } else {
            match world.telling_waiters.try_acquire() {
                Ok(free) => permit = Some(free),
                Err(_) => {
                    admission = Answer::NotAsked;
                    soon = Some(Duration::from_secs(1));
                }
            }
        }
    }

    let refusal = world.refusals().get(&job.metadata.uid).cloned();
    let seen = Seen { admission, attempts, refusal, running_grace: RUNNING_GRACE };
    let Plan { mut actions, mut status, look_again } = match &verdict {
        Ok(limits) => plan(job, limits, &seen, now),
        Err(why) => plan_invalid(job, why, &seen, now),
    };
    let mut removal = None;
    if world.removal_waits(job, now) {
        let before = actions.len();
        let lives = |number| seen.attempts.iter().any(|a| a.number == number && a.is_live());
        // What still runs holds CPUs.
        actions.retain(|action| match action {
            Action::Remove { attempt } => lives(*attempt),
            Action::Start { .. } | Action::Expire => true,
        });
        removal = (actions.len() < before).then_some(MANY_STARTS_WITHIN.unsigned_abs());
    }
    let starts = actions.iter().any(|action| matches!(action, Action::Start { .. }));
    if starts {
        world.an_attempt_starts(now);
    }
    if needs && !starts && matches!(seen.admission, Answer::Granted(_)) {
        world.admission.leave(&job.metadata.uid, now);
    }
    let orphaned = Limits::without_function(&job.spec);
    let effects = Effects {
        client: &world.client,
        report_url: &world.settings.report_url,
        job: whole.as_ref().unwrap_or(job),
        limits: verdict.as_ref().unwrap_or(&orphaned),
        function: function.as_ref().map(|function| &function.spec),
        traces: &world.traces,
    };
    let mut refused = None;
    for action in &actions {
        match effects.perform(action).await? {
            Done::Done => {}
            Done::Refused { reason, message, is_final } => {
                let known = world.refusals().get(&job.metadata.uid).map(|known| known.since);
                let since = known.unwrap_or(now);
                refused = Some(Refusal { since, reason, message, is_final });
            }
        }
    }
    if starts {
        match &refused {
            Some(refusal) => {
                drop(world.refusals().insert(job.metadata.uid.clone(), refusal.clone()))
            }
            None => drop(world.refusals().remove(&job.metadata.uid)),
        }
    }
    let mut told = tell(&world.client, job, &status).await;
    if let Err(Error::Invalid(problems)) = &told
        && let Some(seen) = without_words(&seen, problems)
    {
        status = plan(job, verdict.as_ref().unwrap_or(&orphaned), &seen, now).status;
        told = tell(&world.client, job, &status).await;
    }
    if let Err(why @ Error::Invalid(_)) = &told {
        // Another definition has let it in than is in force now: nothing can be told in its status.
        world.malformed(Unreadable::of_job(job, &why.to_string()));
        // As if it had been told: it is left alone until somebody writes it.
        let version = job.metadata.resource_version.clone();
        world.replaced().insert(job.metadata.uid.clone(), version);
        return Ok(Requeue::await_change());
    }
    if told? == Told::News {
        let version = job.metadata.resource_version.clone();
        world.replaced().insert(job.metadata.uid.clone(), version);
        if let Some(event) = notices::notice(job, &status) {
            notices::publish(&world.recorder, &notices::reference(job), &event).await;
        }
    }
    drop(permit);
    let pause = match &refused {
        // Told by the next look, then tried again at leisure.
        Some(_) if seen.refusal.is_none() => Some(Duration::ZERO),
        Some(_) => Some(HINDRANCE_LOOK),
        None => look_again,
    };
    let next =
        [pause, soon, removal, hindered.then_some(HINDRANCE_LOOK)].into_iter().flatten().min();
    Ok(next.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// What was seen without what workers said, if one said anything: the API server refuses a status of it.
fn without_words(seen: &Seen, problems: &[Problem]) -> Option<Seen> {
    let mut without = seen.clone();
    let said = without.attempts.iter_mut().filter_map(|attempt| match &mut attempt.state {
        AttemptState::Ended(end @ End::Told(_)) => Some(end),
        _ => None,
    });
    let mut any = false;
    for end in said {
        let at = if let End::Told(ending) = end { ending.finished } else { continue };
        let reason = FailureReason::ResultLost;
        let why = Error::Invalid(problems.to_vec());
        let message = format!("what its worker said of its end cannot be stored: {why}");
        *end = End::Silent { reason, message, at };
        any = true;
    }
    any.then_some(without)
}

/// The whole job and what it is found to be. One that the watch could read may still be malformed where
/// the watch does not look, in its input.
async fn judge_whole(
    job: &Job,
    function: Option<&Function>,
    world: &World,
) -> Result<(Option<Job>, Result<Limits, Error>), Error> {
    match fetch(job, world).await {
        Ok(whole) => {
            let verdict = world.judge(&whole, function, true);
            Ok((Some(whole), verdict))
        }
        Err(malformed @ Error::Invalid(_)) => Ok((None, Err(malformed))),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_quarantines_one_job() {
        let look = async { panic!("a defect") };
        let look = AssertUnwindSafe(look).catch_unwind().await;
        let job = JobKey { namespace: "default".into(), name: "a".into() };
        let (outcome, next) = after(&job, look);
        assert_eq!((outcome, next.unwrap()), (Some("panic"), Requeue::requeue(QUARANTINE)));
    }
}
