//! What marks objects of ours: labels and annotations of batch Jobs and pods, and what they tell. Also the names of the
//! container and of the token's audience.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::{AttemptNumber, Cpus};

/// How the names of our labels and annotations begin.
pub(crate) const OWN_PREFIX: &str = "windlass.dev/";
/// Label on batch Jobs and pods: name of the ComputeJob.
pub(crate) const LABEL_JOB: &str = "windlass.dev/job";
/// Label on batch Jobs and pods: UID of the ComputeJob.
pub(crate) const LABEL_JOB_UID: &str = "windlass.dev/job-uid";
/// Label on batch Jobs and pods: number of the attempt.
pub(crate) const LABEL_ATTEMPT: &str = "windlass.dev/attempt";
/// Label on batch Jobs and pods: name of the queue.
pub(crate) const LABEL_QUEUE: &str = "windlass.dev/queue";
/// Label on batch Jobs and pods: CPUs granted.
pub(crate) const LABEL_CPUS: &str = "windlass.dev/cpus";
/// Annotation on the pod: the input, which the pod reads as a file.
pub(crate) const ANNOTATION_INPUT: &str = "windlass.dev/input";
/// Annotation on a batch Job that our controller manages: the process that makes its pod.
pub(crate) const ANNOTATION_MAKER: &str = "windlass.dev/pod-maker";
/// Label that the Job controller writes on a pod: UID of its batch Job.
pub(crate) const LABEL_CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label on the batch Job and the pod of a standby, claimed or not: name of its function.
pub(crate) const LABEL_STANDBY: &str = "windlass.dev/standby";
/// Label on a standby batch Job: digest of what its pod was made from.
pub(crate) const LABEL_FUNCTION_DIGEST: &str = "windlass.dev/function-digest";
/// Annotation on a standby batch Job that has the name of an attempt: that attempt, as `JOB_UID/NUMBER`.
pub(crate) const ANNOTATION_NAMED_FOR: &str = "windlass.dev/named-for";
/// Annotation beside it: the standby batch Job that is that attempt, as `NAME/UID`.
pub(crate) const ANNOTATION_ATTEMPT_IS: &str = "windlass.dev/attempt-is";
/// Annotation on a claimed standby, batch Job and pod: since when it is an attempt.
pub(crate) const ANNOTATION_CLAIMED: &str = "windlass.dev/claimed";
/// Annotation on the pod of a claimed standby: what its worker is told.
pub(crate) const ANNOTATION_ASSIGNMENT: &str = "windlass.dev/assignment";
/// Annotation on the pod of a claimed standby: since when its function runs, told once it has run for some time.
pub(crate) const ANNOTATION_RUNNING: &str = "windlass.dev/running";
/// Name of the container that runs the function.
pub(crate) const CONTAINER: &str = "function";
/// Audience of the token with which a worker reports.
pub(crate) const AUDIENCE: &str = "windlass";

/// Annotations on every pod of ours whose function says nothing else: what moves pods about to save nodes lets this one run to its end.
pub(crate) fn let_it_run() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(), "false".to_owned()),
        ("karpenter.sh/do-not-disrupt".to_owned(), "true".to_owned()),
    ])
}

/// An attempt of a job, unique over all time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptId {
    /// UID of the job.
    pub job_uid: Arc<str>,
    /// Number of the attempt.
    pub number: AttemptNumber,
}

/// What the labels of a batch Job or a pod of ours tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttemptLabels {
    /// The attempt that the object belongs to.
    pub attempt: AttemptId,
    /// Its namespace.
    pub namespace: String,
    /// Name of the job.
    pub job: String,
    /// Name of the queue.
    pub queue: String,
    /// CPUs granted.
    pub cpus: Cpus,
}

impl AttemptLabels {
    /// Reads the labels of an object; `None` when they are not ours. Anybody can write labels: who needs to know that
    /// the object is ours looks at its owner, too.
    pub(crate) fn read<K: kube::Resource>(object: &K) -> Option<Self> {
        let meta = object.meta();
        let labels = meta.labels.as_ref()?;
        let label = |key| labels.get(key).cloned();
        let number = label(LABEL_ATTEMPT)?.parse().ok().filter(|number| *number > 0)?;
        Some(Self {
            attempt: AttemptId { job_uid: label(LABEL_JOB_UID)?.into(), number },
            namespace: meta.namespace.clone()?,
            job: label(LABEL_JOB)?,
            queue: label(LABEL_QUEUE)?,
            cpus: label(LABEL_CPUS)?.parse().ok()?,
        })
    }
}
