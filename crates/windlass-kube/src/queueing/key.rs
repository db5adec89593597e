//! How queues and jobs are named here.

use windlass_core::Job;

/// Namespace and name of a ComputeQueue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Namespace and name of a ComputeJob.
pub(crate) type JobRef = (String, String);

impl QueueKey {
    /// The queue that a job names.
    pub(super) fn of_job(job: &Job) -> Self {
        Self { namespace: job.metadata.namespace.clone(), name: job.spec.queue().to_owned() }
    }

    /// The name by which core's admission knows the queue: unique among all namespaces.
    pub(super) fn scheduler_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The namespace and name of a job.
pub(super) fn reference(job: &Job) -> JobRef {
    (job.metadata.namespace.clone(), job.metadata.name.clone())
}
