//! The engine: one data directory, the task that owns its jobs, and their start and end.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use uuid::Uuid;
use windlass_core::Error;
use windlass_core::jobs::{Drain, Draining};

use crate::backup;
use crate::config::Config;
use crate::confine::{self, Cgroups, Cores};
use crate::controller::{self, Context, Controller};
use crate::data_dir::DataDir;
use crate::event::{self, Event};
use crate::functions;
use crate::gateway::estimates::Estimator;
use crate::ownership;
use crate::queueing::backlog::Backlog;
use crate::store::{self, Store, StoreError, StoreFailure, stopped};
use windlass_backend::Clock;
use windlass_worker::stop_signals::heed_children;

/// When to try again at the server that follows one that is drained.
const DRAIN_RETRY: Duration = Duration::from_secs(5);

/// How often it is looked for blobs that nobody needs.
const BLOB_ROUND: Duration = Duration::from_secs(60);

/// An engine that runs.
pub struct Engine {
    pub(crate) ctx: Arc<Context>,
    store_failure: StoreFailure,
    pub(crate) estimator: Estimator,
    controller: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    watching: Vec<JoinHandle<()>>,
    /// Nobody else uses the data directory as long as this is open.
    _lock: fs::File,
}

impl Engine {
    /// Starts the engine on the current runtime: ends what an earlier one has left running, and
    /// goes on with the jobs that it has accepted.
    pub fn start(mut config: Config) -> Result<Arc<Self>, StoreError> {
        let data = config.data.clone();
        let io = |error| StoreError::Io { path: data.clone(), error };
        settle_paths(&mut config).map_err(io)?;
        let config = Arc::new(config);
        // Without its signal a worker that has ended could not be waited for.
        drop(heed_children().map_err(io)?);
        let lock = store::lock_directory(&config.data)?;
        backup::check_whole(&config.data)?;
        let files = Arc::new(DataDir::open(&config.data, config.durable).map_err(io)?);

        let (sender, events) = event::channel();
        let (store, store_failure) = Store::open(&config.data, config.durable, sender.clone())?;
        let holds = store.holds().map_err(|error| io(io::Error::other(error.to_string())))?;
        config.functions.set_holds(holds);
        let id = confine::server_id(&config.data).map_err(io)?;
        confine::thaw_leftovers(&id);
        let lost = controller::end_leftovers(&files).map_err(io)?;
        for directory in [&config.data, &files.attempts()] {
            ownership::let_pass(directory, config.worker.run_as.is_some()).map_err(io)?;
        }
        let cores = Cores::find(config.cpus);
        let cgroups = Cgroups::detect(&id, &cores);
        info!("{cgroups}");
        for note in cgroups.notes() {
            info!(note, "not in use");
        }

        let backlog = Arc::new(Backlog::new(config.bounds.max_queued));
        let (store, clock) = (Arc::new(store), Clock::start());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (is_stopping, is_draining) = (AtomicBool::new(false), AtomicBool::new(false));
        let (metrics, drained) = (config.metrics.clone(), Notify::new());
        let ctx = Arc::new(Context {
            config,
            store,
            files,
            clock,
            host,
            backlog,
            is_stopping,
            is_draining,
            events: sender,
            drained,
            metrics,
        });
        let mut controller = Controller::new(Arc::clone(&ctx), cores, cgroups, events);
        let unfinished =
            ctx.store.unfinished().map_err(|error| io(io::Error::other(error.to_string())))?;
        controller.recover(unfinished, &lost);
        let mut watching = watch_files(&ctx);
        watching.push(tokio::spawn(collect_blobs(Arc::clone(&ctx))));
        let controller = Some(tokio::spawn(controller.run())).into();
        remove_orphans(&ctx);
        let estimator = Estimator::new(Arc::clone(&ctx));
        Ok(Arc::new(Self { ctx, store_failure, estimator, controller, watching, _lock: lock }))
    }

    /// Ends what runs and returns when no process is left. Meanwhile and afterwards no job is
    /// accepted. Jobs that have not ended stay in the store, for the next engine.
    pub async fn shutdown(&self) {
        self.ctx.is_stopping.store(true, Ordering::SeqCst);
        self.ctx.events.send(Event::Shutdown);
        self.watching.iter().for_each(JoinHandle::abort);
        if let Some(controller) = self.controller.lock().await.take()
            && let Err(error) = controller.await
        {
            error!(%error, "the controller ended badly");
        }
        let store = Arc::clone(&self.ctx.store);
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            error!(%error, "the store was not closed");
        }
    }

    /// Resolves when a [drain](Drain) has left nothing that runs.
    pub async fn drained(&self) {
        self.ctx.drained.notified().await;
    }

    /// Resolves, with the reason, when the store has failed: then the process must end, because it
    /// cannot know any more what the disk holds. The next start does.
    pub async fn broken(&self) -> String {
        let mut failure = self.store_failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // It was closed in order.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives memory back that is kept for later: everything in it can be read again.
    pub async fn release_memory(&self) -> Result<(), Error> {
        self.ctx.store.release_memory().await
    }

    /// Bytes that jobs, results, logs and blobs take.
    pub fn stored_bytes(&self) -> u64 {
        self.ctx.stored_bytes()
    }

    /// Waits for the controller and the store's thread to answer, also while the server takes no jobs. It takes as long as
    /// they take.
    pub async fn answers(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.ctx.events.send(Event::QueueStatusRequested { queues: Vec::new(), reply });
        answer.await.map_err(|_| stopped())?;
        self.ctx.store.flush().await
    }

    /// Whether jobs can be accepted.
    pub(crate) fn check_ready(&self) -> Result<(), Error> {
        if let Some(why) = &*self.store_failure.borrow() {
            return Err(Error::unavailable(format!("the store has failed: {why}")));
        }
        if self.ctx.is_stopping.load(Ordering::SeqCst) || self.ctx.events.is_closed() {
            return Err(stopped());
        }
        if self.ctx.is_draining.load(Ordering::SeqCst) {
            return Err(Error::Unavailable {
                message:
                    "the server takes no new jobs and ends when those that run have ended; the \
                          next one takes them"
                        .into(),
                retry_after: DRAIN_RETRY,
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Drain for Engine {
    async fn drain(&self) -> Result<Draining, Error> {
        if !self.ctx.is_draining.swap(true, Ordering::SeqCst) {
            info!("draining: no job is accepted or started; the server ends when nothing runs");
        }
        let (reply, answer) = oneshot::channel();
        self.ctx.events.send(Event::DrainRequested { reply });
        answer.await.map_err(|_| stopped())
    }
}

/// Makes the data directory, and has every path name one place whoever reads it.
fn settle_paths(config: &mut Config) -> io::Result<()> {
    // Before anything is made: reports and orders are JSON, so that no worker could be told of it.
    let data = std::path::absolute(&config.data)?;
    if data.to_str().is_none() {
        let why = "this path is not UTF-8, and functions could not be told of their files in it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    ownership::claim_directory(&data)?;
    // Functions have other working directories than this process; and the processes of an earlier one
    // are known by the directory's one name.
    config.data = fs::canonicalize(&data)?;
    config.worker.program = std::path::absolute(&config.worker.program)?;
    match config.data.to_str() {
        Some(_) => Ok(()),
        None => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it leads to a path that is not UTF-8"))
        }
    }
}

/// Watches the manifests and the data directory. The engine goes on where it cannot.
fn watch_files(ctx: &Context) -> Vec<JoinHandle<()>> {
    let watching = functions::watch(Arc::clone(&ctx.config.functions), ctx.events.clone());
    let watching = watching.unwrap_or_else(|error| {
        warn!(%error, "manifests are not read again when they change");
        None
    });
    let looking = store::watch_files(Arc::clone(&ctx.store), &ctx.config.data);
    let looking = looking.inspect_err(|error| {
        warn!(%error, "a data directory that is removed is noticed at the next change only");
    });
    let closed = ownership::keep_closed(&ctx.config.data);
    let closed = closed.inspect_err(|error| {
        warn!(%error, "a data directory that a function opens to others stays open");
    });
    watching.into_iter().chain(looking.ok()).chain(closed.ok()).collect()
}

/// Deletes blobs that nobody needs any more, again and again.
async fn collect_blobs(ctx: Arc<Context>) {
    loop {
        let round = Arc::clone(&ctx);
        let collected = tokio::task::spawn_blocking(move || {
            let now = round.clock.now();
            round.files.blobs.collect(now, || round.store.named_blobs())
        });
        match collected.await {
            Ok(Ok(0)) => {}
            Ok(Ok(deleted)) => info!(deleted, "blobs that nobody needs are gone"),
            Ok(Err(error)) => warn!(%error, "blobs stay that nobody may need"),
            Err(error) => error!(%error, "looking for blobs that nobody needs has failed"),
        }
        tokio::time::sleep(BLOB_ROUND).await;
    }
}

/// Counts results and logs, and deletes those of no job, in a thread of its own.
fn remove_orphans(ctx: &Arc<Context>) {
    let ctx = Arc::clone(ctx);
    tokio::task::spawn_blocking(move || {
        let exist = |uids: &[Uuid]| match ctx.store.exist(uids) {
            Ok(exist) => Some(exist),
            Err(error) => {
                warn!(%error, "the store cannot be asked whose the results are");
                None
            }
        };
        if let Err(error) = ctx.files.remove_orphans(exist) {
            warn!(%error, "results and logs cannot be counted");
        }
    });
}
