//! What marks objects of ours: labels and annotations of batch Jobs and pods, and names inside of a pod.

/// Label on batch Jobs and pods: name of the ComputeJob.
pub const LABEL_JOB: &str = "windlass.dev/job";
/// Label on batch Jobs and pods: UID of the ComputeJob.
pub const LABEL_JOB_UID: &str = "windlass.dev/job-uid";
/// Label on batch Jobs and pods: number of the attempt.
pub const LABEL_ATTEMPT: &str = "windlass.dev/attempt";
/// Label on batch Jobs and pods: name of the queue.
pub const LABEL_QUEUE: &str = "windlass.dev/queue";
/// Label on batch Jobs and pods: CPUs granted.
pub const LABEL_CPUS: &str = "windlass.dev/cpus";
/// Annotation on the pod: the input, which the pod reads as a file.
pub const ANNOTATION_INPUT: &str = "windlass.dev/input";
/// Name of the only container.
pub const CONTAINER: &str = "function";
/// Audience of the token with which a worker reports.
pub const AUDIENCE: &str = "windlass";
