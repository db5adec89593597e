//! Windlass on one machine: the same jobs, in processes of this machine.
//!
//! In: jobs through [`Jobs`](windlass_core::Jobs), manifests of functions and queues, and the
//! reports of workers. Out: one worker process an attempt, and the status of jobs. Deciding is
//! core's: the file names follow a job as they do on a cluster, [`observe`] -> core `plan` ->
//! [`apply`] -> status, told once and last, by the one task in [`driver`] that owns the state.
//!
//! What was accepted is in the [`store`] and survives the process. What an earlier process has left
//! running is found by [`leftovers`] and ended before anything starts.
//!
//! Deliberately absent: HTTP (the gateway's), and any second process that must be there.

mod admission;
mod apply;
mod attempt;
mod confine;
mod driver;
mod files;
mod follow;
pub mod functions;
mod jobs;
mod leftovers;
mod observe;
mod reload;
mod store;

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use windlass_core::{AttemptNumber, Cpus};

pub use functions::{Functions, Library};
pub use jobs::NAMESPACE;
pub use store::StoreError;

/// How long an earlier server's processes may take to be gone at the start.
const LEFTOVERS: Duration = Duration::from_secs(60);

/// What an engine is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// CPUs to grant.
    pub cpus: Cpus,
    /// Functions and queues.
    pub functions: Arc<Library>,
    /// Directory of everything that is kept. It is made when it is not there; one engine at a time
    /// uses it.
    pub data: PathBuf,
    /// Whether what is accepted must survive a loss of power. A job that lives no longer than its
    /// caller needs no waits for the disk.
    pub durable: bool,
    /// Most jobs that wait for CPUs, all queues together.
    pub max_queued: u32,
    /// Most bytes of jobs, results and logs that are kept. Beyond it submissions are refused.
    pub max_stored_bytes: u64,
    /// The windlass program, which is started as `PROGRAM worker`.
    pub program: PathBuf,
    /// Where functions write what is neither result nor progress.
    pub logs: Logs,
    /// How long a function may take to stop, before it is killed.
    pub grace: Duration,
}

/// Where functions write what is neither result nor progress.
#[derive(Clone, Debug)]
pub enum Logs {
    /// To this process's standard error.
    Stderr,
    /// To a pipe that somebody reads.
    Pipe(Arc<OwnedFd>),
    /// To a file for each attempt, which is kept as long as the job.
    Files,
}

/// An engine that runs.
pub struct Engine {
    config: Arc<Config>,
    store: Arc<store::Store>,
    files: Arc<files::Files>,
    clock: Arc<windlass_clock::Clock>,
    places: Arc<admission::Places>,
    driver: mpsc::UnboundedSender<driver::Event>,
    broken: store::Broken,
    /// A shutdown has begun: no job is accepted any more.
    ending: AtomicBool,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    watching: Option<JoinHandle<()>>,
    /// Nobody else uses the data directory as long as this is open.
    _lock: fs::File,
}

impl Engine {
    /// Starts the engine on the current runtime: ends what an earlier one has left running, and
    /// goes on with the jobs that it has accepted.
    pub fn start(mut config: Config) -> Result<Arc<Self>, StoreError> {
        let data = config.data.clone();
        let io = |error| StoreError::Io { path: data.clone(), error };
        fs::create_dir_all(&config.data).map_err(io)?;
        // Functions have other working directories than this process; and the processes of an
        // earlier one are known by the directory's one name.
        config.data = fs::canonicalize(&config.data).map_err(io)?;
        config.program = std::path::absolute(&config.program).map_err(io)?;
        let config = Arc::new(config);
        let lock = store::lock_directory(&config.data)?;
        let files = Arc::new(files::Files::open(&config.data).map_err(io)?);

        let (sender, events) = mpsc::unbounded_channel();
        let (store, broken) = store::Store::open(&config.data, config.durable, sender.clone())?;
        let store = Arc::new(store);
        let lost = end_leftovers(&files).map_err(io)?;
        let cores = confine::Cores::find(config.cpus);
        let id = confine::id(&config.data).map_err(io)?;
        let ladder = confine::Ladder::find(&id, &cores);
        info!("{ladder}");
        for note in ladder.notes() {
            info!(note, "not in use");
        }

        let clock = Arc::new(windlass_clock::Clock::start());
        let places = Arc::new(admission::Places::new(config.max_queued));
        let mut driver = driver::Driver::new(driver::Parts {
            config: Arc::clone(&config),
            store: Arc::clone(&store),
            files: Arc::clone(&files),
            library: Arc::clone(&config.functions),
            clock: Arc::clone(&clock),
            places: Arc::clone(&places),
            cores,
            ladder,
            events,
            sender: sender.clone(),
        });
        let unreadable = |error: windlass_core::Error| io(std::io::Error::other(error.to_string()));
        driver.recover(store.unfinished().map_err(unreadable)?, &lost);
        let watching = reload::watch(Arc::clone(&config.functions), sender.clone());
        let watching = watching.unwrap_or_else(|error| {
            warn!(%error, "manifests are not read again when they change");
            None
        });
        let task = tokio::spawn(driver.run());
        tidy(&store, &files);
        Ok(Arc::new(Self {
            config,
            store,
            files,
            clock,
            places,
            driver: sender,
            broken,
            ending: AtomicBool::new(false),
            task: Some(task).into(),
            watching,
            _lock: lock,
        }))
    }

    /// Ends what runs and returns when no process is left. Meanwhile and afterwards no job is
    /// accepted. Jobs that have not ended stay in the store, for the next engine.
    pub async fn shutdown(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.send(driver::Event::Shutdown);
        if let Some(watching) = &self.watching {
            watching.abort();
        }
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            error!(%error, "the driver ended badly");
        }
        let store = Arc::clone(&self.store);
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            error!(%error, "the store was not closed");
        }
    }

    /// Resolves, with the reason, when the store has failed: then the process must end, because it
    /// cannot know any more what the disk holds. The next start does.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.clone();
        match broken.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // It was closed in order.
            Err(_) => std::future::pending().await,
        }
    }

    fn send(&self, event: driver::Event) {
        if self.driver.send(event).is_err() {
            tracing::debug!("the driver has ended");
        }
    }
}

/// Ends every process of an earlier server's attempts, and gives the latest attempt of each job that
/// had one running.
fn end_leftovers(files: &files::Files) -> std::io::Result<HashMap<uuid::Uuid, AttemptNumber>> {
    let mut lost: HashMap<uuid::Uuid, AttemptNumber> = HashMap::new();
    for record in attempt::records(files)? {
        let last = lost.entry(record.job_uid).or_default();
        *last = record.attempt.max(*last);
    }
    let attempts = files.attempts();
    let ended = leftovers::end(&attempts, LEFTOVERS)?;
    if ended > 0 {
        info!(processes = ended, "ended what an earlier server had left running");
    }
    fs::remove_dir_all(&attempts)?;
    fs::create_dir(&attempts)?;
    Ok(lost)
}

/// Counts results and logs, and deletes those of no job, in a thread of its own.
fn tidy(store: &Arc<store::Store>, files: &Arc<files::Files>) {
    let (store, files) = (Arc::clone(store), Arc::clone(files));
    tokio::task::spawn_blocking(move || {
        let known = |uids: &[uuid::Uuid]| match store.known(uids) {
            Ok(known) => Some(known),
            Err(error) => {
                warn!(%error, "the store cannot be asked whose the results are");
                None
            }
        };
        if let Err(error) = files.tidy(known) {
            warn!(%error, "results and logs cannot be counted");
        }
    });
}
