//! What every part of the controller reaches: the API server, the caches, and what this process remembers. Handles only:
//! each part is a type with a file of its own.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::{Semaphore, mpsc, watch};
use windlass_backend::Clock;

use super::expectations::Expectations;
use super::failure_events::FailureEvents;
use super::function_rights::FunctionRights;
use super::manage_jobs::JobsToManage;
use super::managed_memory::ManagedMemory;
use super::quarantine::Quarantine;
use super::refusals::StartRefusals;
use super::settings::Settings;
use super::slow_starts::SlowStarts;
use super::start_rate::StartRate;
use super::unfinished_jobs::UnfinishedJobs;
use super::worker_injection::WorkerInjection;
use crate::cache::attempts::AttemptCache;
use crate::cache::failed_creates::FailedCreates;
use crate::cache::standbys::StandbyCache;
use crate::cache::stores::Stores;
use crate::cache::synced::Synced;
use crate::cache::unreadable::Unreadable;
use crate::metrics::Metrics;
use crate::queueing::admission::ClusterAdmission;

/// A job that waits for less than this is not told so: it would be a write that nobody sees.
pub(crate) const WAITING_GRACE: SignedDuration = SignedDuration::from_secs(2);

/// Of the reconciles at the same time, so many may write that a job waits: thousands of such writes must not
/// keep other jobs from starting.
const WAITING_WRITES: usize = 4;

/// Channels between the parts of the controller.
pub(crate) struct Channels {
    /// Whether this process leads.
    pub(crate) leads: watch::Receiver<bool>,
    /// Objects that cannot be read.
    pub(crate) unreadable: mpsc::UnboundedSender<Unreadable>,
}

/// The handles.
pub(crate) struct Context {
    /// The API server.
    pub(crate) client: Client,
    /// What the command line sets.
    pub(crate) settings: Settings,
    clock: Clock,
    /// Whether this process leads.
    pub(crate) leads: watch::Receiver<bool>,
    /// What is measured.
    pub(crate) metrics: Metrics,
    /// Publishes Events.
    pub(crate) recorder: Recorder,
    /// Jobs, functions and queues.
    pub(crate) stores: Stores,
    /// Batch Jobs and pods, by attempt.
    pub(crate) attempts: AttemptCache,
    /// Batch Jobs and pods that wait for attempts.
    pub(crate) standbys: StandbyCache,
    /// Why batch Jobs have no pods.
    pub(crate) failed_creates: FailedCreates,
    /// Whether new batch Jobs are managed by this controller.
    pub(crate) manage_jobs: JobsToManage,
    /// What brings the worker to pods.
    pub(crate) worker: WorkerInjection,
    /// What is remembered of those that are.
    pub(crate) managed: ManagedMemory,
    /// Whether the caches are complete.
    pub(crate) synced: Synced,
    /// Which namespaces may use the functions for all.
    pub(crate) function_rights: FunctionRights,
    /// Who may start.
    pub(crate) admission: ClusterAdmission,
    /// What was written and is not in the caches yet.
    pub(crate) expectations: Expectations,
    /// Starts that the API server refuses.
    pub(crate) refusals: StartRefusals,
    /// Starts that take long.
    pub(crate) slow_starts: SlowStarts,
    /// Failures that have Events.
    pub(crate) failure_events: FailureEvents,
    /// Jobs whose end counts when it comes.
    pub(crate) unfinished_jobs: UnfinishedJobs,
    /// Jobs that are left alone.
    pub(crate) quarantine: Quarantine,
    /// Whether many jobs are being started.
    pub(crate) start_rate: StartRate,
    /// One permit for each status write that says that a job waits.
    pub(crate) waiting_writes: Semaphore,
    unreadable: mpsc::UnboundedSender<Unreadable>,
}

impl Context {
    /// With nothing remembered yet.
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        stores: Stores,
        admission: ClusterAdmission,
        metrics: Metrics,
        channels: Channels,
    ) -> Arc<Self> {
        let Channels { leads, unreadable } = channels;
        let reporter = Reporter {
            controller: "windlass.dev/controller".into(),
            instance: Some(settings.name.clone()),
        };
        Arc::new(Self {
            clock: Clock::reading(settings.system_time),
            leads,
            metrics,
            recorder: Recorder::new(client.clone(), reporter),
            stores,
            attempts: AttemptCache::default(),
            standbys: StandbyCache::default(),
            failed_creates: FailedCreates::default(),
            manage_jobs: JobsToManage::new(settings.manage_jobs),
            worker: WorkerInjection::new(settings.worker.clone()),
            managed: ManagedMemory::new(),
            synced: Synced::default(),
            function_rights: FunctionRights::default(),
            admission,
            expectations: Expectations::default(),
            refusals: StartRefusals::default(),
            slow_starts: SlowStarts::default(),
            failure_events: FailureEvents::default(),
            unfinished_jobs: UnfinishedJobs::default(),
            quarantine: Quarantine::default(),
            start_rate: StartRate::default(),
            waiting_writes: Semaphore::new(WAITING_WRITES),
            unreadable,
            client,
            settings,
        })
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether this process leads.
    pub(crate) fn is_leading(&self) -> bool {
        *self.leads.borrow()
    }

    /// An Event is to say that this object cannot be read.
    pub(crate) fn report_unreadable(&self, object: Unreadable) {
        // Nobody listens any more only when the controller ends.
        drop(self.unreadable.send(object));
    }
}
