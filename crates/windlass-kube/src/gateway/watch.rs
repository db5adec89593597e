//! The changes of one job, from a Kubernetes watch of one object.

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::runtime::watcher;
use windlass_core::jobs::Watch;
use windlass_core::{Error, Job};

use crate::crd::ComputeJob;
use crate::watch_backoff::with_pauses;

pub(super) struct JobWatch {
    /// The job as it was read before the watch began: the first answer.
    first: Option<Job>,
    uid: String,
    name: String,
    /// A list has begun and has not shown the job yet.
    listing: bool,
    events: BoxStream<'static, watcher::Result<watcher::Event<ComputeJob>>>,
}

impl JobWatch {
    /// Of this job, which was just read.
    pub(super) fn new(jobs: Api<ComputeJob>, first: Job) -> Self {
        let (uid, name) = (first.metadata.uid.clone(), first.metadata.name.clone());
        let config =
            watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(50);
        let events = with_pauses(watcher(jobs, config)).boxed();
        Self { first: Some(first), uid, name, listing: false, events }
    }
}

#[async_trait]
impl Watch for JobWatch {
    async fn next(&mut self) -> Result<Job, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            let event = match self.events.try_next().await {
                Ok(Some(event)) => event,
                // The watcher backs off by itself.
                Err(error) => {
                    tracing::debug!(%error, "a watch of one job failed");
                    continue;
                }
                Ok(None) => return Err(Error::unavailable("the watch has ended")),
            };
            match event {
                watcher::Event::Apply(job) | watcher::Event::InitApply(job) => {
                    self.listing = false;
                    if job.metadata.uid.as_ref() != Some(&self.uid) {
                        return Err(Error::no_job(&self.name));
                    }
                    return Ok(job.to_core());
                }
                watcher::Event::Init => self.listing = true,
                // A list without the job: it was deleted while the watch was broken.
                watcher::Event::InitDone if self.listing => return Err(Error::no_job(&self.name)),
                watcher::Event::InitDone => {}
                watcher::Event::Delete(_) => return Err(Error::no_job(&self.name)),
            }
        }
    }
}
