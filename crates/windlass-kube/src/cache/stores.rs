//! The ComputeJobs, ComputeFunctions, ClusterComputeFunctions and ComputeQueues that the watches have brought.

use std::sync::Arc;

use kube::Resource as _;
use kube::runtime::reflector::{ObjectRef, Store};
use windlass_core::{Function, Job, QueueSpec};

use super::job::WatchedJob;
use crate::crd::{ClusterComputeFunction, ComputeFunction, ComputeQueue};
use crate::labels::AttemptId;

/// The four resources of ours.
pub(crate) struct Stores {
    /// Without their inputs.
    pub(crate) jobs: Store<WatchedJob>,
    /// The functions.
    pub(crate) functions: Store<ComputeFunction>,
    /// Those for all namespaces.
    pub(crate) cluster_functions: Store<ClusterComputeFunction>,
    /// The queues.
    pub(crate) queues: Store<ComputeQueue>,
}

impl Stores {
    /// The function for all namespaces that a job means if its own has none of this name.
    pub(crate) fn cluster_function_of(&self, job: &Job) -> Option<Function> {
        let key = ObjectRef::new(&job.spec.function);
        self.cluster_functions.get(&key).map(|function| function.to_core())
    }

    /// The function of its own namespace that a job names.
    pub(crate) fn function_of(&self, job: &Job) -> Option<Function> {
        let key = ObjectRef::new(&job.spec.function).within(&job.metadata.namespace);
        self.functions.get(&key).map(|function| function.to_core())
    }

    /// The ComputeQueue that a job names.
    pub(crate) fn queue_of(&self, job: &Job) -> Option<QueueSpec> {
        let key = ObjectRef::new(job.spec.queue()).within(&job.metadata.namespace);
        self.queues.get(&key).map(|queue| queue.spec.0.clone())
    }

    /// The job of an attempt.
    pub(crate) fn job_of(&self, attempt: &AttemptId) -> Option<Arc<WatchedJob>> {
        self.jobs.find(|job| job.meta().uid.as_deref() == Some(&attempt.job_uid))
    }

    /// All jobs.
    pub(crate) fn all_jobs(&self) -> Vec<ObjectRef<WatchedJob>> {
        self.jobs.state().iter().map(|job| ObjectRef::from_obj(job.as_ref())).collect()
    }

    /// The jobs that wait for the function of this name, in a namespace or in all.
    pub(crate) fn jobs_without(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Vec<ObjectRef<WatchedJob>> {
        let lacks = |job: &&Arc<WatchedJob>| {
            namespace.is_none_or(|namespace| job.meta().namespace.as_deref() == Some(namespace))
                && job.lacks_function(name)
        };
        let all = self.jobs.state();
        all.iter().filter(lacks).map(|job| ObjectRef::from_obj(job.as_ref())).collect()
    }

    /// The unfinished jobs that name this queue.
    pub(crate) fn unfinished_jobs_in(&self, queue: &ComputeQueue) -> Vec<ObjectRef<WatchedJob>> {
        let namespace = queue.metadata.namespace.as_deref();
        let name = queue.metadata.name.as_deref();
        let all = self.jobs.state().into_iter().filter(|job| {
            job.meta().namespace.as_deref() == namespace
                && Some(job.queue()) == name
                && !job.is_finished()
        });
        all.map(|job| ObjectRef::from_obj(job.as_ref())).collect()
    }
}
