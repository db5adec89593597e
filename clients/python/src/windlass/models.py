"""What the server answers, as Python objects. Written by clients/python/generate from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast


@dataclass(frozen=True)
class Metadata:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metadata:
        """From its JSON object."""
        return cls(
            annotations=value.get("annotations") or {},
            creation_timestamp=value.get("creationTimestamp"),
            deletion_timestamp=value.get("deletionTimestamp"),
            generation=value.get("generation"),
            labels=value.get("labels") or {},
            name=value["name"],
            namespace=value.get("namespace"),
            resource_version=value.get("resourceVersion"),
            uid=value.get("uid"),
        )


@dataclass(frozen=True)
class JobSpec:
    """One request: a function, its input and the CPUs wanted. Cannot be changed once created, but for `cancel`."""

    cancel: bool
    """Set to true to cancel. Cannot be taken back."""
    function: str
    """Name of a ComputeFunction in the same namespace."""
    input: Mapping[str, Any]
    """What the function reads: a JSON object that meets the function's `inputSchema`. At most 128 KiB, its integers
    from -2^63 to 2^63 - 1. Default `{}`.
    """
    priority: int
    """Higher starts first. From -1000 to 1000, default 0."""
    ttl_seconds_after_finished: int
    """How long the finished job and its result are kept, in seconds. Default 86400 (one day)."""
    min_parallelism: int | None = None
    """Fewest CPUs the job may start with, when `parallelism` are not free. Default: `parallelism`."""
    parallelism: int | None = None
    """CPUs wanted: threads of the function and CPU request and limit of its pod. Default and maximum are the
    function's.
    """
    queue: str | None = None
    """Name of a ComputeQueue in the same namespace. Default `default`. Without such an object there is no quota."""
    retries: int | None = None
    """Further attempts after the first one failed. Default: the function's, else 2."""
    timeout_seconds: int | None = None
    """How long one attempt may run, in seconds. Default and maximum are the function's."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobSpec:
        """From its JSON object."""
        return cls(
            cancel=value["cancel"],
            function=value["function"],
            input=value["input"],
            min_parallelism=value.get("minParallelism"),
            parallelism=value.get("parallelism"),
            priority=value["priority"],
            queue=value.get("queue"),
            retries=value.get("retries"),
            timeout_seconds=value.get("timeoutSeconds"),
            ttl_seconds_after_finished=value["ttlSecondsAfterFinished"],
        )


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
]
"""What a condition is about."""


@dataclass(frozen=True)
class Condition:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Condition:
        """From its JSON object."""
        return cls(
            last_transition_time=value["lastTransitionTime"],
            message=value["message"],
            reason=value["reason"],
            status=cast(Truth, value["status"]),
            type=cast(ConditionType, value["type"]),
        )


FailureReason = Literal[
    "Invalid",
    "BadInput",
    "Crashed",
    "Killed",
    "OutOfMemory",
    "NoOutput",
    "ResultTooLarge",
    "ResultLost",
    "Timeout",
    "CannotStart",
    "StartDeadline",
    "Lost",
]
"""Why an attempt failed."""


@dataclass(frozen=True)
class Failure:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Failure:
        """From its JSON object."""
        return cls(
            attempt=value["attempt"],
            exit_code=value.get("exitCode"),
            message=value["message"],
            reason=cast(FailureReason, value["reason"]),
            time=value["time"],
        )


Phase = Literal[
    "Queued",
    "Starting",
    "Running",
    "Succeeded",
    "Failed",
    "Cancelled",
]
"""One word for where a job is."""


@dataclass(frozen=True)
class Progress:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Progress:
        """From its JSON object."""
        return cls(
            done=value["done"],
            estimated_remaining_seconds=value.get("estimatedRemainingSeconds"),
            fraction=value["fraction"],
            message=value.get("message"),
            percent=value["percent"],
            total=value["total"],
        )


@dataclass(frozen=True)
class JobResult:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobResult:
        """From its JSON object."""
        return cls(
            base64=value.get("base64"),
            bytes=value["bytes"],
            content_type=value["contentType"],
            location=value.get("location"),
            sha256=value["sha256"],
            text=value.get("text"),
        )


@dataclass(frozen=True)
class Earlier:
    """An attempt that failed and was followed by another."""

    admitted: str
    """When its CPUs were granted."""
    attempt: int
    """Its number, 1 for the first."""
    ended: str
    """When it had failed."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Earlier:
        """From its JSON object."""
        return cls(
            admitted=value["admitted"],
            attempt=value["attempt"],
            ended=value["ended"],
        )


@dataclass(frozen=True)
class Timeline:
    """When the job passed from one phase to the next, for its latest attempt."""

    admitted: str | None = None
    """CPUs granted: its carrier (`batch/v1` Job or process) was created."""
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Timeline:
        """From its JSON object."""
        return cls(
            admitted=value.get("admitted"),
            created=value.get("created"),
            earlier=tuple(Earlier.from_json(each) for each in (value.get("earlier") or ())),
            finished=value.get("finished"),
            running=value.get("running"),
            started=value.get("started"),
        )


@dataclass(frozen=True)
class Usage:
    """What an attempt used, from the kernel's accounting of the function's process and its children."""

    cpu_seconds: float
    """User and system time, in seconds."""
    efficiency: float
    """`cpuSeconds / (running time * parallelism)`: 1 is every granted CPU busy all the time."""
    peak_memory_bytes: int
    """Largest resident memory of one process, in bytes."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Usage:
        """From its JSON object."""
        return cls(
            cpu_seconds=value["cpuSeconds"],
            efficiency=value["efficiency"],
            peak_memory_bytes=value["peakMemoryBytes"],
        )


@dataclass(frozen=True)
class Place:
    """The place of a job in the line of its queue."""

    position: int
    """1 for the job that starts next."""
    estimated_start: str | None = None
    """When it is likely to start: the position by the rate at which jobs of this queue have started lately. Absent
    while there is no such rate.
    """

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Place:
        """From its JSON object."""
        return cls(
            estimated_start=value.get("estimatedStart"),
            position=value["position"],
        )


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job."""

    timeline: Timeline
    """When the job passed from one phase to the next."""
    attempt: int | None = None
    """Number of the latest attempt that was seen, 1 for the first."""
    conditions: tuple[Condition, ...] = ()
    """Admitted, Running and Finished. Finished is True for every end, its reason says which."""
    failure: Failure | None = None
    """Why the job, or its latest failed attempt, failed."""
    job: str | None = None
    """Name of the `batch/v1` Job of the latest attempt. Absent on one machine."""
    node: str | None = None
    """Node of the pod; the host's name on one machine."""
    observed_generation: int | None = None
    """The generation of the spec that this status tells about. What is changed after the end changes nothing, and is
    not told.
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
    """The result, once there is one."""
    retries: int | None = None
    """Failed attempts that counted against `spec.retries`. An evicted or preempted one does not."""
    usage: Usage | None = None
    """What the latest attempt used."""
    waiting: Place | None = None
    """Its place in the line, while it waits for CPUs of its queue. Told coarsely: again when the place has changed by
    half. Absent on one machine and where there is no ComputeQueue.
    """

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobStatus:
        """From its JSON object."""
        return cls(
            attempt=value.get("attempt"),
            conditions=tuple(Condition.from_json(each) for each in (value.get("conditions") or ())),
            failure=None if value.get("failure") is None else Failure.from_json(value["failure"]),
            job=value.get("job"),
            node=value.get("node"),
            observed_generation=value.get("observedGeneration"),
            parallelism=value.get("parallelism"),
            phase=cast("Phase | None", value.get("phase")),
            pod=value.get("pod"),
            progress=None if value.get("progress") is None else Progress.from_json(value["progress"]),
            result=None if value.get("result") is None else JobResult.from_json(value["result"]),
            retries=value.get("retries"),
            timeline=Timeline.from_json(value["timeline"]),
            usage=None if value.get("usage") is None else Usage.from_json(value["usage"]),
            waiting=None if value.get("waiting") is None else Place.from_json(value["waiting"]),
        )


@dataclass(frozen=True)
class Job:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        """From its JSON object."""
        return cls(
            api_version=value["apiVersion"],
            kind=value["kind"],
            metadata=Metadata.from_json(value["metadata"]),
            spec=JobSpec.from_json(value["spec"]),
            status=JobStatus.from_json(value["status"]),
        )


@dataclass(frozen=True)
class EnvVar:
    """One environment variable."""

    name: str
    """Name of the variable."""
    value: str
    """Its value, as it is; nothing is expanded."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EnvVar:
        """From its JSON object."""
        return cls(
            name=value["name"],
            value=value["value"],
        )


@dataclass(frozen=True)
class Memory:
    """Memory of one attempt, as Kubernetes quantities (`64Mi`, `1Gi`)."""

    base: str
    """Independent of the parallelism. Default `128Mi`."""
    per_cpu: str
    """For each CPU. Default `128Mi`."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Memory:
        """From its JSON object."""
        return cls(
            base=value["base"],
            per_cpu=value["perCpu"],
        )


@dataclass(frozen=True)
class Parallelism:
    """Bounds of a job's parallelism."""

    default: int
    """CPUs of a job that does not say. Default 1."""
    max: int
    """Most CPUs a job may ask for. Default 64."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Parallelism:
        """From its JSON object."""
        return cls(
            default=value["default"],
            max=value["max"],
        )


@dataclass(frozen=True)
class Toleration:
    """A taint that pods accept, as in a pod's `tolerations`."""

    effect: str | None = None
    """`NoSchedule`, `PreferNoSchedule` or `NoExecute`; absent for all."""
    key: str | None = None
    """Key of the taint; absent for all."""
    operator: str | None = None
    """`Exists` or `Equal`. Default `Equal`."""
    value: str | None = None
    """Value of the taint."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Toleration:
        """From its JSON object."""
        return cls(
            effect=value.get("effect"),
            key=value.get("key"),
            operator=value.get("operator"),
            value=value.get("value"),
        )


@dataclass(frozen=True)
class PodOptions:
    """What the function's pods need of their node."""

    image_pull_secrets: tuple[str, ...] = ()
    """Secrets with the registry's credentials, in the function's namespace."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels that the node must have."""
    priority_class_name: str | None = None
    """PriorityClass of the pods."""
    runtime_class_name: str | None = None
    """RuntimeClass of the pods."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the pods accept."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PodOptions:
        """From its JSON object."""
        return cls(
            image_pull_secrets=tuple(value.get("imagePullSecrets") or ()),
            node_selector=value.get("nodeSelector") or {},
            priority_class_name=value.get("priorityClassName"),
            runtime_class_name=value.get("runtimeClassName"),
            tolerations=tuple(Toleration.from_json(each) for each in (value.get("tolerations") or ())),
        )


@dataclass(frozen=True)
class Timeout:
    """Bounds of the running time of one attempt, in seconds."""

    default: int
    """For a job that does not say. Default 3600."""
    max: int
    """Most a job may ask for. Default 86400."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Timeout:
        """From its JSON object."""
        return cls(
            default=value["default"],
            max=value["max"],
        )


@dataclass(frozen=True)
class FunctionSpec:
    """A program that requests may name. It follows the worker contract: reads its input from the file in
    `WINDLASS_INPUT`, uses `WINDLASS_PARALLELISM` threads and writes its result to the file in `WINDLASS_OUTPUT`.
    """

    command: tuple[str, ...]
    """Program and first arguments; never a shell string. On one machine a relative path is resolved from the
    directory of the manifest.
    """
    content_type: str
    """Media type of the result. Default `application/json`."""
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
    """Container image. Needed on a cluster, ignored on one machine. It must have the `windlass` program on its PATH."""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema (draft 2020-12) that a job's `input` must meet. Default: any JSON object."""
    pod: PodOptions | None = None
    """What the function's pods need of their node. Ignored on one machine."""
    retries: int | None = None
    """Further attempts after the first one failed, for jobs that do not say. Default 2."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FunctionSpec:
        """From its JSON object."""
        return cls(
            args=tuple(value.get("args") or ()),
            command=tuple(value["command"]),
            content_type=value["contentType"],
            description=value.get("description"),
            env=tuple(EnvVar.from_json(each) for each in (value.get("env") or ())),
            image=value.get("image"),
            input_schema=value.get("inputSchema") or {},
            max_result_bytes=value["maxResultBytes"],
            memory=Memory.from_json(value["memory"]),
            parallelism=Parallelism.from_json(value["parallelism"]),
            pod=None if value.get("pod") is None else PodOptions.from_json(value["pod"]),
            retries=value.get("retries"),
            start_deadline_seconds=value["startDeadlineSeconds"],
            timeout_seconds=Timeout.from_json(value["timeoutSeconds"]),
        )


@dataclass(frozen=True)
class Function:
    """A ComputeFunction object."""

    api_version: str
    """Always `windlass.dev/v1alpha1`."""
    kind: str
    """Always `ComputeFunction`."""
    metadata: Metadata
    """Name and namespace."""
    spec: FunctionSpec
    """The program and its bounds."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Function:
        """From its JSON object."""
        return cls(
            api_version=value["apiVersion"],
            kind=value["kind"],
            metadata=Metadata.from_json(value["metadata"]),
            spec=FunctionSpec.from_json(value["spec"]),
        )


@dataclass(frozen=True)
class QueueSpec:
    """A quota of CPUs that jobs share. Without an object of the name that a job gives, the job is granted its CPUs at
    once.
    """

    cpus: int
    """CPUs that may be granted at the same time to the jobs of this queue."""
    max_queued: int
    """Jobs that may wait. Beyond it a submission is refused (429) until some have started. Default 10000."""
    weight: int
    """Share of free CPUs beside other queues: a queue of weight 2 gets twice what one of weight 1 gets while both
    have jobs waiting. Default 1.
    """
    max_parallelism_per_job: int | None = None
    """Most CPUs for one job of this queue. Default: no other limit than the function's."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> QueueSpec:
        """From its JSON object."""
        return cls(
            cpus=value["cpus"],
            max_parallelism_per_job=value.get("maxParallelismPerJob"),
            max_queued=value["maxQueued"],
            weight=value["weight"],
        )


@dataclass(frozen=True)
class QueueStatus:
    """How much of a queue is in use, told coarsely."""

    granted: int
    """CPUs that its jobs hold."""
    waiting: int
    """Jobs that wait in it."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> QueueStatus:
        """From its JSON object."""
        return cls(
            granted=value["granted"],
            waiting=value["waiting"],
        )


@dataclass(frozen=True)
class Queue:
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Queue:
        """From its JSON object."""
        return cls(
            api_version=value["apiVersion"],
            kind=value["kind"],
            metadata=Metadata.from_json(value["metadata"]),
            spec=QueueSpec.from_json(value["spec"]),
            status=None if value.get("status") is None else QueueStatus.from_json(value["status"]),
        )


PartName = Literal[
    "queued",
    "earlier",
    "starting",
    "preparing",
    "running",
]
"""What a job was for some time."""


@dataclass(frozen=True)
class Part:
    """A part of a job's time."""

    from_: str
    """When it began."""
    name: PartName
    """One word."""
    seconds: float
    """How long that is."""
    to: str
    """When it was over, or now."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Part:
        """From its JSON object."""
        return cls(
            from_=value["from"],
            name=cast(PartName, value["name"]),
            seconds=value["seconds"],
            to=value["to"],
        )


@dataclass(frozen=True)
class Explanation:
    """Where a job's time went."""

    attempts: int
    """Attempts so far."""
    parts: tuple[Part, ...]
    """What it was, one after the other. Their seconds sum to `wallSeconds`."""
    wall_seconds: float
    """From its acceptance to its end, or to now, in seconds."""
    failure: str | None = None
    """Why the last attempt that failed did, in a sentence."""
    phase: Phase | None = None
    """The job's phase; absent until it was first seen."""
    waits_for: str | None = None
    """What it waits for now, in a sentence; absent when it runs or has ended."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Explanation:
        """From its JSON object."""
        return cls(
            attempts=value["attempts"],
            failure=value.get("failure"),
            parts=tuple(Part.from_json(each) for each in value["parts"]),
            phase=cast("Phase | None", value.get("phase")),
            waits_for=value.get("waitsFor"),
            wall_seconds=value["wallSeconds"],
        )


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what somebody wrote."""

    message: str
    """What is wrong and what is allowed. At most 1 KiB."""
    pointer: str
    """Where, as a JSON pointer (RFC 6901) into the document that was sent, for example `/parallelism` or
    `/input/options/3/spot`. Empty for the whole document.
    """

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Problem:
        """From its JSON object."""
        return cls(
            message=value["message"],
            pointer=value["pointer"],
        )


__all__ = [
    "Condition",
    "ConditionType",
    "Earlier",
    "EnvVar",
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
    "PodOptions",
    "Problem",
    "Progress",
    "Queue",
    "QueueSpec",
    "QueueStatus",
    "Timeline",
    "Timeout",
    "Toleration",
    "Truth",
    "Usage",
]
