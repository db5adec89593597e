"""What the server answers, as Python objects. Written by clients/python/generate from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from windlass._model import Model


@dataclass(frozen=True, repr=False)
class Metadata(Model):
    """The part of an object's metadata that Windlass reads or shows."""

    name: str
    """Name, unique in its namespace: a DNS label of at most 63 characters."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What Windlass keeps beside the job. Of other annotations none is shown."""
    creation_timestamp: str | None = None
    """When it was accepted."""
    deletion_timestamp: str | None = None
    """When its deletion was asked for."""
    generation: int | None = None
    """Counts the changes of the spec."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The caller's labels."""
    namespace: str | None = None
    """Namespace. On one machine always `default`."""
    resource_version: str | None = None
    """Changes with every write of the object."""
    uid: str | None = None
    """Unique over all time: a job that is deleted and created again has another one."""


@dataclass(frozen=True, repr=False)
class BlobRef(Model):
    """Bytes that were sent before the job that names them."""

    bytes: int
    """Their length."""
    media_type: str
    """Their media type. Default `application/octet-stream`."""
    sha256: str
    """SHA-256 of the bytes: 64 hexadecimal digits in lower case."""


@dataclass(frozen=True, repr=False)
class JobSpec(Model, input_blob=BlobRef):
    """One request: a function, its input and the CPUs wanted. Cannot be changed once created, but for `cancel`, and
    for `queue` and `priority` while it has not started.
    """

    cancel: bool
    """Set to true to cancel. Cannot be taken back."""
    function: str
    """Name of a ComputeFunction in the same namespace or, where that has none, of a ClusterComputeFunction."""
    input: Mapping[str, Any]
    """What the function reads: a JSON object that meets the function's `inputSchema`. At most 128 KiB, its integers
    from -2^63 to 2^63 - 1. Default `{}`.
    """
    priority: int
    """Higher starts first. From -1000 to 1000, default 0."""
    ttl_seconds_after_finished: int
    """How long the finished job and its result are kept, in seconds. Default 86400 (one day)."""
    files: Mapping[str, Any] = field(default_factory=dict)
    """Files beside the input, by name: at most 64. They were sent before. A name has letters, digits, dots,
    underscores and hyphens, at most 128.
    """
    input_blob: BlobRef | None = None
    """The input when it is larger, no object, or no JSON. It was sent before. The function's `inputTypes` and
    `maxInputBytes` say what is taken.
    """
    min_parallelism: int | None = None
    """Fewest CPUs the job may start with, when `parallelism` are not free. Default: `parallelism`."""
    parallelism: int | None = None
    """CPUs wanted: threads of the function and CPU request and limit of its pod. Default and maximum are the
    function's.
    """
    queue: str | None = None
    """Name of a ComputeQueue in the same namespace, for which the job waits if it is not there. Default `default`,
    which may be missing where there is no queue at all: then there is no quota.
    """
    retries: int | None = None
    """Further attempts after the first one failed, also with `FunctionError`. Default: the function's, else 2, and
    none after a `FunctionError`.
    """
    timeout_seconds: int | None = None
    """How long one attempt may run, in seconds. Default and maximum are the function's."""


Truth = Literal[
    "True",
    "False",
    "Unknown",
]
"""Truth of a condition."""


ConditionType = Literal[
    "Admitted",
    "Running",
    "Finished",
    "Reconciling",
    "Stalled",
]
"""What a condition is about."""


@dataclass(frozen=True, repr=False)
class Condition(Model):
    """One condition, in the shape that `kubectl wait --for=condition=...` reads."""

    last_transition_time: str
    """When `status` last changed."""
    message: str
    """A sentence for a person."""
    reason: str
    """One word for why."""
    status: Truth
    """Whether it is so."""
    type: ConditionType
    """What it is about."""


FailureReason = Literal[
    "Invalid",
    "BadInput",
    "FunctionError",
    "Crashed",
    "Killed",
    "OutOfMemory",
    "DiskExceeded",
    "NoOutput",
    "ResultTooLarge",
    "ResultLost",
    "Timeout",
    "CannotStart",
    "StartDeadline",
    "Unschedulable",
    "Preempted",
    "Lost",
]
"""Why an attempt failed."""


@dataclass(frozen=True, repr=False)
class Failure(Model):
    """Why an attempt failed, and with the last one the job."""

    attempt: int
    """The attempt that failed; 0 when none was made."""
    message: str
    """What happened, with the end of the function's stderr."""
    reason: FailureReason
    """One word."""
    time: str
    """When it ended."""
    exit_code: int | None = None
    """Exit code of the function, where it exited by itself."""
    refused_since: str | None = None
    """Since when its attempts, one after the other, have found no node, or only nodes that refused to start them. The
    time in which it waited for CPUs meanwhile is left out.
    """


Phase = Literal[
    "Queued",
    "Starting",
    "Running",
    "Succeeded",
    "Failed",
    "Cancelled",
]
"""One word for where a job is."""


@dataclass(frozen=True, repr=False)
class Progress(Model):
    """How far an attempt is, as its function tells."""

    done: int
    """Units done."""
    fraction: float
    """`done / total`, from 0 to 1, rounded down to whole thousandths."""
    percent: str
    """`fraction` for a table, such as `42%`."""
    total: int
    """Units in all, at least `done`."""
    estimated_remaining_seconds: int | None = None
    """Seconds until the end, from the rate since the function started. Absent before 1 %."""
    message: str | None = None
    """What the function says it does."""


@dataclass(frozen=True, repr=False)
class JobResult(Model):
    """The bytes that the function wrote, unchanged, or where they are."""

    bytes: int
    """Length in bytes."""
    content_type: str
    """Media type, from the function."""
    sha256: str
    """SHA-256 of the bytes, in 64 lower-case hex digits."""
    base64: str | None = None
    """The bytes in base64, when they are not UTF-8 and at most 32 KiB."""
    location: str | None = None
    """Where larger bytes are, in the object store that the operator set up."""
    text: str | None = None
    """The bytes, when they are UTF-8 and at most 32 KiB."""


@dataclass(frozen=True, repr=False)
class Earlier(Model):
    """An attempt that failed and was followed by another."""

    admitted: str
    """When its CPUs were granted."""
    attempt: int
    """Its number, 1 for the first."""
    ended: str
    """When it had failed."""
    exit_code: int | None = None
    """Exit code of its function, where that exited by itself."""
    reason: FailureReason | None = None
    """Why it failed, in one word. Absent where an earlier version of Windlass has written it."""


@dataclass(frozen=True, repr=False)
class Timeline(Model, earlier=Earlier):
    """When the job passed from one phase to the next, for its latest attempt."""

    admitted: str | None = None
    """CPUs granted: its batch Job or process was created."""
    created: str | None = None
    """Accepted."""
    earlier: tuple[Earlier, ...] = ()
    """The attempts before the latest, in their order. At most 8: of more, the oldest are told as one."""
    finished: str | None = None
    """Ended."""
    running: str | None = None
    """The function's process started."""
    started: str | None = None
    """The worker of the attempt started."""


@dataclass(frozen=True, repr=False)
class Usage(Model):
    """What an attempt used, from the kernel's accounting of the function's process and its children."""

    cpu_seconds: float
    """User and system time, in seconds."""
    efficiency: float
    """`cpuSeconds / (running time * parallelism)`: 1 is every granted CPU busy all the time."""
    peak_memory_bytes: int
    """Largest resident memory of one process, in bytes."""
    log_bytes: int | None = None
    """Bytes of its log that are kept with its result: 0 when the function said nothing. Absent where none are
    kept.
    """


@dataclass(frozen=True, repr=False)
class Place(Model):
    """The place of a job in the line of its queue."""

    position: int
    """1 for the job that starts next."""
    estimated_start: str | None = None
    """When it is likely to start: the position by the rate at which jobs of this queue have started lately. Absent
    while there is no such rate.
    """


@dataclass(frozen=True, repr=False)
class JobStatus(
    Model,
    conditions=Condition,
    failure=Failure,
    progress=Progress,
    result=JobResult,
    timeline=Timeline,
    usage=Usage,
    waiting=Place,
):
    """What is known of a job."""

    timeline: Timeline
    """When the job passed from one phase to the next."""
    attempt: int | None = None
    """Number of the latest attempt that was seen, 1 for the first."""
    conditions: tuple[Condition, ...] = ()
    """Admitted, Running and Finished. Finished is True for every end, its reason says which. Reconciling is there
    until the end, and Stalled after a failure: kstatus, and so Helm and Flux, read these two.
    """
    failure: Failure | None = None
    """Why the job, or its latest failed attempt, failed."""
    job: str | None = None
    """Name of the `batch/v1` Job of the latest attempt. Absent on one machine."""
    node: str | None = None
    """Node of the pod; the host's name on one machine."""
    observed_generation: int | None = None
    """The generation of the spec that this status tells about. Until a cluster's controller has seen the job, -1 in
    its object.
    """
    parallelism: int | None = None
    """CPUs granted to the latest attempt."""
    phase: Phase | None = None
    """One word for where the job is. Absent until it was first seen."""
    pod: str | None = None
    """Name of its pod. Absent on one machine."""
    progress: Progress | None = None
    """How far the latest attempt is."""
    result: JobResult | None = None
    """The result, once there is one. Of a job that has failed what it had computed before, where its function has
    left that.
    """
    retries: int | None = None
    """Failed attempts that counted against `spec.retries`. An evicted or preempted one does not."""
    usage: Usage | None = None
    """What the latest attempt used."""
    waiting: Place | None = None
    """Its place in the line, while it waits for CPUs of its queue. Told coarsely: again when the place has changed by
    half. Absent on one machine and where there is no ComputeQueue.
    """


@dataclass(frozen=True, repr=False)
class Job(Model, metadata=Metadata, spec=JobSpec, status=JobStatus):
    """A ComputeJob object: the same JSON in every answer, in both worlds."""

    api_version: str
    """Always `windlass.dev/v1alpha1`."""
    kind: str
    """Always `ComputeJob`."""
    metadata: Metadata
    """Name, namespace, UID, versions."""
    spec: JobSpec
    """What is wanted."""
    status: JobStatus
    """What is told."""


@dataclass(frozen=True, repr=False)
class EnvVar(Model):
    """One environment variable."""

    name: str
    """Name of the variable."""
    value: str
    """Its value, as it is; nothing is expanded."""


@dataclass(frozen=True, repr=False)
class Memory(Model):
    """Memory of one attempt, as Kubernetes quantities (`64Mi`, `1Gi`)."""

    base: str
    """Independent of the parallelism. Default `128Mi`."""
    per_cpu: str
    """For each CPU. Default `128Mi`."""


@dataclass(frozen=True, repr=False)
class Parallelism(Model):
    """Bounds of a job's parallelism."""

    default: int
    """CPUs of a job that does not say. Default 1."""
    max: int
    """Most CPUs a job may ask for. Default 64."""


@dataclass(frozen=True, repr=False)
class PodTemplate(Model):
    """Metadata and specification of the function's pods, as in a Deployment. Its container `function` is the one that
    Windlass completes. It is read by the controller alone, which knows Kubernetes' types: their schema would make
    this definition too large to be applied with kubectl.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Labels and annotations."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """A PodSpec, without what Windlass says."""


@dataclass(frozen=True, repr=False)
class Timeout(Model):
    """Bounds of the running time of one attempt, in seconds."""

    default: int
    """For a job that does not say. Default 3600."""
    max: int
    """Most a job may ask for. Default 86400."""


@dataclass(frozen=True, repr=False)
class Warm(Model):
    """How many processes of a function stay between jobs, and for how long. The function must follow version 2 of the
    worker contract: it is started once and serves one job after another. Each process has one job at a time and is
    of one namespace for life.
    """

    idle_seconds: int
    """A process beyond `min` that has waited so long, in seconds, is ended. Default 300."""
    max: int
    """Most processes that wait for a job; those that have ended theirs beyond it are ended. At least `min`. Default
    8.
    """
    max_age_seconds: int
    """Age in seconds at which a process gets no further job. Default 3600."""
    max_jobs: int
    """Jobs after which a process is replaced. Default 1000."""
    min: int
    """Processes that wait for a job when there is none. Default 1."""


@dataclass(frozen=True, repr=False)
class FunctionSpec(
    Model,
    env=EnvVar,
    memory=Memory,
    parallelism=Parallelism,
    pod_template=PodTemplate,
    timeout_seconds=Timeout,
    warm=Warm,
):
    """A program that requests may name. It follows the worker contract: reads its input from the file in
    `WINDLASS_INPUT`, uses `WINDLASS_PARALLELISM` threads and writes its result to the file in `WINDLASS_OUTPUT`.
    """

    command: tuple[str, ...]
    """Program and first arguments; never a shell string. A relative path is resolved from the `workingDirectory`."""
    content_type: str
    """Media type of the result, or `*/*` for what it is found to be: JSON, text or bytes. Default
    `application/json`.
    """
    max_result_bytes: int
    """Largest result in bytes; a larger one fails the job with `ResultTooLarge`. Default 1 GiB, and never more than
    where the result goes can hold.
    """
    memory: Memory
    """Memory of one attempt: `base + perCpu * parallelism`."""
    parallelism: Parallelism
    """How many CPUs a job of this function gets."""
    start_deadline_seconds: int
    """Longest time from a grant to a running function, in seconds: scheduling, image pull and quota of the namespace
    included. What has not started by then fails, with the reason. Default 600. Ignored on one machine.
    """
    timeout_seconds: Timeout
    """How long one attempt may run."""
    args: tuple[str, ...] = ()
    """Further arguments."""
    description: str | None = None
    """One line for a list of functions."""
    env: tuple[EnvVar, ...] = ()
    """Environment of the function beside the contract's. Names that begin with `WINDLASS_` are refused."""
    image: str | None = None
    """Container image. Needed on a cluster, ignored on one machine. Any image will do where the controller brings the
    worker to it; otherwise it must have the `windlass` program on its PATH.
    """
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema (draft 2020-12) that a job's `input` must meet. Default: any JSON object."""
    input_types: tuple[str, ...] = ()
    """Media types of the input that are taken, such as `image/png`, `image/*` or `*/*`. Default
    `application/json`.
    """
    max_input_bytes: int | None = None
    """Most bytes of an input that is no inline JSON, and of each file. Default 1 GiB."""
    pass_env: tuple[str, ...] = ()
    """Variables of the server's environment that the function gets on one machine, by their names. One that is not
    set there is not set here. On a cluster nobody looks at it.
    """
    pod_template: PodTemplate | None = None
    """What the function's pods are on a cluster, beside what Windlass says of them. Ignored on one machine."""
    retries: int | None = None
    """Further attempts after the first one failed, for jobs that do not say. Default 2."""
    warm: Warm | None = None
    """Processes that stay between jobs. Absent for a process of its own for each attempt. On a cluster this needs
    standbys, which are off by default.
    """
    working_directory: str | None = None
    """Directory in which the function starts. On one machine a relative one is below the manifest's directory, which
    is the default. On a cluster it is the container's `workingDir` and must be absolute; the default is an empty
    directory.
    """


@dataclass(frozen=True, repr=False)
class Function(Model, metadata=Metadata, spec=FunctionSpec):
    """A ComputeFunction object."""

    api_version: str
    """Always `windlass.dev/v1alpha1`."""
    kind: str
    """`ComputeFunction`, or `ClusterComputeFunction` of one that is for all namespaces."""
    metadata: Metadata
    """Name, and namespace of one that has one."""
    spec: FunctionSpec
    """The program and its bounds."""


Preemption = Literal[
    "none",
    "lowerPriority",
    "reclaim",
]
"""Whose running attempts a queue may end for a job of it that waits."""


@dataclass(frozen=True, repr=False)
class QueueSpec(Model):
    """A quota of CPUs that jobs share. A job that names a queue which is not there waits for it."""

    cpus: int
    """CPUs that may be granted at the same time to the jobs of this queue. With 0 its jobs wait."""
    hold: bool
    """Whether its jobs wait: nothing new starts, and what runs goes on. Default false."""
    max_queued: int
    """Jobs that may wait. Beyond it a submission is refused (429) until some have started. Default 10000."""
    weight: int
    """Share of free CPUs beside other queues: a queue of weight 2 gets twice what one of weight 1 gets while both
    have jobs waiting. Default 1.
    """
    guaranteed_cpus: int | None = None
    """CPUs that others may use while this queue leaves them idle. While its jobs hold less, they start before those
    of queues that hold what is guaranteed to them, whatever their priority. Default 0.
    """
    max_parallelism_per_job: int | None = None
    """Most CPUs for one job of this queue. Default: no other limit than the function's."""
    preemption: Preemption | None = None
    """Whose running attempts are ended for a job of this queue that waits: `none`; `lowerPriority`, those of this
    queue with a lower priority; `reclaim`, these and, while this queue holds less than what is guaranteed to it,
    those of other queues that hold more than what is guaranteed to them. Default `none`.
    """


@dataclass(frozen=True, repr=False)
class QueueStatus(Model):
    """How much of a queue is in use, told coarsely."""

    granted: int
    """CPUs that its jobs hold."""
    waiting: int
    """Jobs that wait in it."""


@dataclass(frozen=True, repr=False)
class Queue(Model, metadata=Metadata, spec=QueueSpec, status=QueueStatus):
    """A ComputeQueue object."""

    api_version: str
    """Always `windlass.dev/v1alpha1`."""
    kind: str
    """Always `ComputeQueue`."""
    metadata: Metadata
    """Name and namespace."""
    spec: QueueSpec
    """The quota."""
    status: QueueStatus | None = None
    """What is in use of it: as it was told last on a cluster, as it is now on one machine."""


@dataclass(frozen=True, repr=False)
class Estimate(Model):
    """What is estimated of one job, that waits for CPUs or holds some."""

    name: str
    """Name of the job."""
    earliest_completion_time: str | None = None
    """It is likely to end after this."""
    earliest_start_time: str | None = None
    """It is likely to start after this."""
    estimated_completion_time: str | None = None
    """When it is likely to end: as likely before as after."""
    estimated_start_time: str | None = None
    """When it is likely to start: as likely before as after."""
    latest_completion_time: str | None = None
    """It is likely to end before this."""
    latest_start_time: str | None = None
    """It is likely to start before this."""
    not_told: str | None = None
    """Why something of that is not told, in a sentence."""
    position: int | None = None
    """Its position in the line of its queue, 1 for the first, while it waits. On a cluster it is what the controller
    has told last in the job's status.
    """
    queue: str | None = None
    """The queue in whose line it is, while it waits."""


PartName = Literal[
    "queued",
    "earlier",
    "starting",
    "preparing",
    "running",
]
"""What a job was for some time."""


@dataclass(frozen=True, repr=False)
class Part(Model):
    """A part of a job's time."""

    from_: str
    """When it began."""
    name: PartName
    """One word."""
    seconds: float
    """How long that is."""
    to: str
    """When it was over, or now."""
    attempt: int | None = None
    """Of an earlier attempt its number. Where there were more than eight, the first part is all up to that one."""
    exit_code: int | None = None
    """Of an earlier attempt the exit code of its function, where that exited by itself."""
    reason: FailureReason | None = None
    """Of an earlier attempt why it failed, in one word."""


@dataclass(frozen=True, repr=False)
class Explanation(Model, estimate=Estimate, parts=Part):
    """Where a job's time went."""

    attempts: int
    """Attempts so far."""
    parts: tuple[Part, ...]
    """What it was, one after the other. Their seconds sum to `wallSeconds`."""
    wall_seconds: float
    """From its acceptance to its end, or to now, in seconds."""
    advice: str | None = None
    """What helps a job that waits or has failed; absent where there is nothing to do."""
    estimate: Estimate | None = None
    """When it is likely to start and to end, while it waits for CPUs or holds some."""
    failure: str | None = None
    """Why the last attempt that failed did, in a sentence."""
    phase: Phase | None = None
    """The job's phase; absent until it was first seen."""
    waits_for: str | None = None
    """What it waits for now, in a sentence; absent when it runs or has ended."""


@dataclass(frozen=True, repr=False)
class Problem(Model):
    """One thing that is wrong with what somebody wrote."""

    message: str
    """What is wrong and what is allowed. At most 1 KiB."""
    pointer: str
    """Where, as a JSON pointer (RFC 6901) into the document that was sent, for example `/parallelism` or
    `/input/options/3/spot`. Empty for the whole document.
    """


__all__ = [
    "BlobRef",
    "Condition",
    "ConditionType",
    "Earlier",
    "EnvVar",
    "Estimate",
    "Explanation",
    "Failure",
    "FailureReason",
    "Function",
    "FunctionSpec",
    "Job",
    "JobResult",
    "JobSpec",
    "JobStatus",
    "Memory",
    "Metadata",
    "Parallelism",
    "Part",
    "PartName",
    "Phase",
    "Place",
    "PodTemplate",
    "Preemption",
    "Problem",
    "Progress",
    "Queue",
    "QueueSpec",
    "QueueStatus",
    "Timeline",
    "Timeout",
    "Truth",
    "Usage",
    "Warm",
]
