"""The API without any I/O: requests as values, answers read, what is tried again and when, and streams of events.

The two clients do nothing but send what is made here, one with threads in mind, the other with asyncio.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, Union

from windlass import errors
from windlass._events import Event
from windlass.models import Explanation, Function, Job, Queue

ENDS = ("Succeeded", "Failed", "Cancelled")

# The longest that a request may take whose answer does not wait for a job, in seconds.
REQUEST_SECONDS = 60.0
# A stream of events says something each 15 s. After this long a silence its connection is dead.
SILENCE_SECONDS = 45.0
# Asked for with `Prefer: wait`: less than the 60 s after which proxies (nginx) give up.
WAIT_SECONDS = 45

# Pauses between tries: from the first, doubling, to the longest, each taken at random from its upper half.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
TRIED_AGAIN = (429, 503, 504)

# Jobs of a page of a list.
PAGE = 100

JobOrName = Union[Job, str]


class Options(TypedDict, total=False):
    """What a submission may say beside its function and input. Absent or None is left to the function."""

    parallelism: int | None
    min_parallelism: int | None
    queue: str | None
    priority: int | None
    retries: int | None
    timeout_seconds: int | None
    ttl_seconds: int | None


@dataclass(frozen=True)
class Answer:
    """One answer of success."""

    body: bytes = b""
    etag: str = ""


@dataclass(frozen=True)
class Request:
    """One request. It may be sent again as it is: all are idempotent, a submission by its key."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    timeout_seconds: float = REQUEST_SECONDS


class Paths:
    """The paths of a namespace."""

    def __init__(self, namespace: str) -> None:
        self.base = f"/v1/namespaces/{_quote(namespace)}"

    def jobs(self) -> str:
        """Of all jobs."""
        return f"{self.base}/jobs"

    def job(self, job: JobOrName, rest: str = "") -> str:
        """Of a job."""
        return f"{self.base}/jobs/{_quote(name_of(job))}{rest}"

    def list(self, function: str | None, phase: str | None, queue: str | None, limit: int, page: str | None) -> Request:
        """A page of jobs."""
        wanted = {"function": function, "phase": phase, "queue": queue, "limit": str(limit), "continue": page}
        return Request("GET", self.jobs(), {key: value for key, value in wanted.items() if value is not None})

    def submit(self, spec: Mapping[str, Any], key: str | None, wait: bool = False) -> Request:
        """A submission, with a key of its own unless one is given; `wait` for an answer with the finished job."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key or new_key()}
        timeout = REQUEST_SECONDS
        if wait:
            headers["Prefer"] = f"wait={WAIT_SECONDS}"
            timeout += WAIT_SECONDS
        return Request("POST", self.jobs(), headers=headers, content=encode(spec), timeout_seconds=timeout)

    def follow_logs(self, job: JobOrName) -> Request:
        """The log, as it comes. A function may be silent for as long as it likes."""
        return Request("GET", self.job(job, "/logs"), {"follow": "true"}, timeout_seconds=math.inf)

    def function(self, name: str) -> str:
        """Of a function."""
        return f"{self.base}/functions/{_quote(name)}"

    def events(self, follow: Follow) -> Request:
        """The stream of a job's events, after the last that was seen."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": follow.last_id} if follow.last_id else {})}
        patience = min(SILENCE_SECONDS, max(follow.time_left(), 1.0))
        return Request("GET", self.job(follow.name, "/events"), headers=headers, timeout_seconds=patience)


def new_key() -> str:
    """An Idempotency-Key that nobody else has."""
    return uuid.uuid4().hex


def name_of(job: JobOrName) -> str:
    """The job's name."""
    return job if isinstance(job, str) else job.metadata.name


def _quote(part: str) -> str:
    """A part of a path. An empty one, or dots, would lead elsewhere."""
    if part in ("", ".", ".."):
        raise ValueError(f"{part!r} is no name")
    return urllib.parse.quote(part, safe="")


def encode(value: Any) -> bytes:
    """Compact JSON. NaN and infinity are none."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def spec_of(
    function: str,
    input: Mapping[str, Any],
    name: str | None = None,
    *,
    parallelism: int | None = None,
    min_parallelism: int | None = None,
    queue: str | None = None,
    priority: int | None = None,
    retries: int | None = None,
    timeout_seconds: int | None = None,
    ttl_seconds: int | None = None,
) -> dict[str, Any]:
    """The body of a submission: what is None is left to the function."""
    fields = {
        "name": name,
        "function": function,
        "input": input,
        "parallelism": parallelism,
        "minParallelism": min_parallelism,
        "queue": queue,
        "priority": priority,
        "retries": retries,
        "timeoutSeconds": timeout_seconds,
        "ttlSecondsAfterFinished": ttl_seconds,
    }
    return {key: value for key, value in fields.items() if value is not None}


# --- Answers. ---


def job_of(body: bytes) -> Job:
    """A job from an answer."""
    return Job.from_json(json.loads(body))


def jobs_of(body: bytes) -> tuple[list[Job], str | None]:
    """A page of jobs, and the token of the next page."""
    value = json.loads(body)
    return [Job.from_json(item) for item in value["items"]], value.get("metadata", {}).get("continue") or None


def function_of(body: bytes) -> Function:
    """A function from an answer."""
    return Function.from_json(json.loads(body))


def functions_of(body: bytes) -> tuple[Function, ...]:
    """Functions from an answer."""
    return tuple(Function.from_json(item) for item in json.loads(body)["items"])


def queues_of(body: bytes) -> tuple[Queue, ...]:
    """Queues from an answer."""
    return tuple(Queue.from_json(item) for item in json.loads(body)["items"])


def explanation_of(body: bytes) -> Explanation:
    """An explanation from an answer."""
    return Explanation.from_json(json.loads(body))


def is_finished(job: Job) -> bool:
    """Whether it has ended."""
    return job.status.phase in ENDS


def raise_without_result(job: Job) -> None:
    """Raises when a finished job has no result."""
    if job.status.phase == "Cancelled":
        raise errors.JobCancelled(job)
    if job.status.phase == "Failed":
        raise errors.JobFailed(job)


def inline_result(job: Job) -> bytes | None:
    """The result's bytes, where the job has them with it: those of at most 32 KiB."""
    result = job.status.result
    if result is None:
        return None
    if result.text is not None:
        return result.text.encode()
    return base64.b64decode(result.base64) if result.base64 is not None else None


def checked(answer: Answer) -> bytes:
    """A result that was fetched; raises when it is not what its digest says."""
    digest = answer.etag.strip('"')
    if digest.startswith("sha256-") and digest[7:] != hashlib.sha256(answer.body).hexdigest():
        raise errors.Unreachable("the result was damaged on its way")
    return answer.body


def value_of(job: Job, result: bytes) -> Any:
    """The result as a Python value where it is JSON, else its bytes."""
    told = job.status.result
    kind = (told.content_type if told else "").partition(";")[0].strip().lower()
    return json.loads(result) if kind == "application/json" or kind.endswith("+json") else result


# --- Trying again. ---


class Patience:
    """How long one thing is tried again: what got no answer, and what got 429, 503 or 504.

    `seconds` bounds the time from the first failure on, pauses included. `Retry-After` is obeyed; one that leads beyond
    the bound ends the patience at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """There was an answer: what comes is a new thing."""
        self.until: float | None = None
        self.pause = FIRST_PAUSE_SECONDS

    def after(self, error: Exception) -> float:
        """How long to pause before the next try, in seconds; raises the error when there is to be none."""
        wanted = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        if isinstance(error, errors.ApiError) and error.status not in TRIED_AGAIN:
            raise error
        if isinstance(error, errors.Untrusted):
            raise error
        now = time.monotonic()
        if self.until is None:
            self.until = now + self.seconds
        # A random part, or all that were refused together would come again together.
        pause = random.uniform(self.pause / 2, self.pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE_SECONDS)
        if wanted is not None:
            pause += wanted
        if now + pause > self.until:
            raise error
        return pause


# --- Following a job. ---


class Follow:
    """One job's events over as many streams as it takes, until its end or, at most, for `timeout_seconds`."""

    def __init__(self, job: JobOrName, timeout_seconds: float | None) -> None:
        self.name = name_of(job)
        self.timeout_seconds = timeout_seconds
        self.until = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        self.last_id: str | None = None
        self.job: Job | None = None
        self.told_something = True

    def time_left(self) -> float:
        """Seconds until the timeout."""
        return self.until - time.monotonic()

    def begin(self) -> None:
        """Before each stream. `TimeoutError` when there is no time for one, unless it is the first."""
        if self.job is not None and self.time_left() <= 0:
            raise self.too_late()
        if not self.told_something:
            # Whatever the server makes of the last one, it does not make us see the end.
            self.last_id = None
        self.told_something = False

    def pause(self, seconds: float) -> float:
        """A pause that there is time for."""
        if seconds >= self.time_left():
            raise self.too_late()
        return seconds

    def too_late(self) -> TimeoutError:
        """The error of a wait that was in vain."""
        return TimeoutError(f"job {self.name} has not ended in {self.timeout_seconds} s")

    def job_of(self, event: Event) -> Job | None:
        """The job that an event tells, if it tells one; raises what it tells of a problem."""
        if event.kind == "problem":
            document = json.loads(event.data)
            raise errors.from_answer(int(document.get("status", 500)), event.data.encode(), None)
        if event.kind != "job":
            return None
        self.told_something = True
        self.last_id = event.id
        self.job = Job.from_json(json.loads(event.data))
        return self.job

    @property
    def end(self) -> Job | None:
        """The job as it ended, once that was seen."""
        return self.job if self.job is not None and is_finished(self.job) else None
