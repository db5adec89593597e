"""The API without any I/O: requests as values, and answers read.

The two clients do nothing but send what is made here, one with threads in mind, the other with asyncio.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import math
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Callable, TypedDict, TypeVar, Union

from windlass import _json, errors
from windlass._archive import read_results
from windlass._codecs import BYTES, Undecodable, decode, is_json
from windlass._computed import is_archive, raise_failed_items
from windlass._data import Data, Given, with_data
from windlass._model import json_name
from windlass.models import Explanation, Function, Job, JobSpec, Queue

if TYPE_CHECKING:
    from typing_extensions import Unpack

ENDS = ("Succeeded", "Failed", "Cancelled")

# The longest that an answer which is due may take to begin, in seconds, and then any part of it.
REQUEST_SECONDS = 60.0
# The longest that a job is cancelled for which nobody waits any more, in seconds: whoever leaves is not held up.
LEAVING_SECONDS = 3.0
# Asked for with `Prefer: wait`: less than the 60 s after which proxies (nginx) give up.
WAIT_SECONDS = 45
# So many bytes the server has on its disk in a second, at least.
WRITTEN_BYTES = 16 << 20

# Jobs of a page of a list.
PAGE = 100

# All fields of a job but its input, for `?fields=`.
WITHOUT_INPUT = ",".join(
    ["apiVersion", "kind", "metadata", "status"]
    + [f"spec.{json_name(each.name)}" for each in fields(JobSpec) if each.name != "input"]
)

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
    labels: Mapping[str, str] | None
    """By which the job is found again, as Kubernetes has them."""


class Submission(Options, total=False):
    """The same, and what a job is given beside its input."""

    data: Any
    """In place of the input: bytes, a `pathlib.Path`, a binary file, an array or a table."""
    content_type: str | None
    """Its media type, where that is not the one of its kind or of the file's name."""
    files: Mapping[str, Any] | None
    """By their names, each what `data` may be. The function finds them as files."""
    retry_of: JobOrName | None
    """The job that this one repeats with changes; its annotation `windlass.dev/retry-of` says so."""


@dataclass(frozen=True)
class Answer:
    """One answer of success."""

    body: bytes = b""
    etag: str = ""


@dataclass(frozen=True)
class Request:
    """One request. It may be sent again as it is: all are idempotent, a submission by its key or its job's name."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    data: Data | None = None
    """Sent piece by piece in place of `content`."""
    answer_seconds: float = REQUEST_SECONDS
    """How long each part of an answer may take once it is due."""
    held_seconds: float = 0.0
    """How long the server may take before it is due."""
    quiet_seconds: float = 0.0
    """How long an answer that has begun may pause with nothing being due."""
    makes_job: bool = False
    """Whether it makes a job, which may be there without an answer."""
    spare_seconds: float = REQUEST_SECONDS
    """How long it may wait for one of the client's own connections."""
    if_named: str | None = None
    """Of a submission that names its job: the job's path."""


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

    def get(self, job: JobOrName, with_input: bool) -> Request:
        """A job, with its input or without."""
        return Request("GET", self.job(job), {} if with_input else {"fields": WITHOUT_INPUT})

    def list(self, selection: Mapping[str, str | None], with_input: bool, page: str | None) -> Request:
        """A page of the jobs that are selected: parameters of the query, those that are not None."""
        wanted = {**selection, "limit": str(PAGE), "continue": page}
        if not with_input:
            wanted["fields"] = WITHOUT_INPUT
        return Request("GET", self.jobs(), {key: value for key, value in wanted.items() if value is not None})

    def partial_result(self, job: JobOrName) -> Request:
        """What a job that has failed had computed before."""
        return Request("GET", self.job(job, "/result"), {"partial": "true"})

    def leave(self, job: JobOrName) -> Request:
        """The end of a job for which nobody waits any more."""
        return Request("POST", self.job(job, "/cancel"), uid_of(job), answer_seconds=LEAVING_SECONDS)

    def retry(self, job: JobOrName, key: str | None) -> Request:
        """The same job again, with a key of its own unless one is given."""
        headers = {"Idempotency-Key": _sendable(key or new_key())}
        return Request("POST", self.job(job, "/retry"), uid_of(job), headers=headers, makes_job=True)

    def end(self, method: str, job: JobOrName, rest: str = "") -> Request:
        """The end of a job. A job that is given as such is meant itself, and no other of its name."""
        return Request(method, self.job(job, rest), uid_of(job))

    def submit(self, spec: Mapping[str, Any], key: str | None, wait_seconds: int = 0) -> Request:
        """A submission, with a key of its own unless one is given; so long it waits for an answer with the ended job.

        One that names its job has no key: the server refuses both, and there is one job of a name.
        """
        name = spec.get("name")
        headers = {"Content-Type": "application/json"}
        if key or not name:
            headers["Idempotency-Key"] = _sendable(key or new_key())
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        return Request(
            *("POST", self.jobs()),
            headers=headers,
            content=encode(spec),
            held_seconds=wait_seconds,
            makes_job=True,
            if_named=self.job(name) if name else None,
        )

    def blob(self, method: str, data: Data) -> Request:
        """Data on the server: HEAD asks whether it is there, PUT sends it."""
        path = f"{self.base}/blobs/sha256:{data.sha256}"
        if method != "PUT":
            return Request(method, path)
        headers = {"Content-Type": BYTES, "Content-Length": str(data.size)}
        return Request(method, path, headers=headers, data=data, held_seconds=data.size / WRITTEN_BYTES)

    def logs(self, job: JobOrName, timestamps: bool, attempt: int | None = None) -> Request:
        """The end of the log, as it is now."""
        params = {"timestamps": "true"} if timestamps else {}
        if attempt is not None:
            params["attempt"] = str(attempt)
        return Request("GET", self.job(job, "/logs"), params)

    def follow_logs(self, job: JobOrName, timestamps: bool, answer_seconds: float) -> Request:
        """The log, as it comes. A function may be silent for as long as it likes."""
        log = self.logs(job, timestamps)
        params = {**log.params, "follow": "true"}
        return replace(log, params=params, answer_seconds=answer_seconds, quiet_seconds=math.inf)

    def function(self, name: str) -> str:
        """Of a function."""
        return f"{self.base}/functions/{_quote(name)}"

    def events(self, job: JobOrName, last_id: str | None) -> Request:
        """The stream of a job's events without its input, after the last that was seen."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        params = {"fields": WITHOUT_INPUT}
        return Request("GET", self.job(job, "/events"), params, headers)


def held_seconds(patience_seconds: float) -> int:
    """How long to have a server hold its answer back until a job has ended: nobody can tell that it hangs meanwhile."""
    return int(min(WAIT_SECONDS, max(1.0, patience_seconds)))


def new_key() -> str:
    """An Idempotency-Key that nobody else has."""
    return uuid.uuid4().hex


def _sendable(key: str) -> str:
    """The key, if a header can have it."""
    if not isinstance(key, str):
        raise TypeError(f"an Idempotency-Key is a text, and not {key!r}")
    if key.isascii() and key.isprintable():
        return key
    raise errors.Invalid(400, "/problems/invalid", detail="an Idempotency-Key has printable ASCII characters only")


def name_of(job: JobOrName) -> str:
    """The job's name."""
    if not isinstance(job, (str, Job)):
        raise TypeError(f"a job is given as a Job or by its name, and not as {job!r}")
    return job if isinstance(job, str) else job.metadata.name


def uid_of(job: JobOrName) -> dict[str, str]:
    """The parameter that says which job of the name is meant, where that is known."""
    return {"uid": job.metadata.uid} if isinstance(job, Job) and job.metadata.uid else {}


def _quote(part: str) -> str:
    """A part of a path. An empty one, or dots, would lead elsewhere."""
    if not isinstance(part, str):
        raise TypeError(f"a name is a text, and not {part!r}")
    if part in ("", ".", ".."):
        raise ValueError(f"{part!r} is no name")
    return urllib.parse.quote(part, safe="")


def encode(value: Any) -> bytes:
    """Compact JSON. What has one meaning there, such as numpy's numbers, is converted; `NoJson` for what has none."""
    return _json.encode(value, ensure_ascii=False).encode()


def given_of(
    function: str, input: Mapping[str, Any] | None, name: str | None = None, **options: Unpack[Submission]
) -> Given:
    """A submission with all that it is given. Reads the data."""
    data, content_type, files = options.pop("data", None), options.pop("content_type", None), options.pop("files", None)
    retry_of = options.pop("retry_of", None)
    spec = {"input": input, **spec_of(function, input, name, **options)}  # type: ignore[misc]
    if retry_of is not None:
        spec["retryOf"] = name_of(retry_of)
    return with_data(spec, data, content_type, files)


def spec_of(
    function: str, input: Mapping[str, Any] | None, name: str | None = None, **options: Unpack[Options]
) -> dict[str, Any]:
    """The body of a submission: what is None is left to the function."""
    if not isinstance(function, str):
        raise TypeError(f"the first argument is the name of a function on the server, not {function!r}")
    known = Options.__annotations__
    for option in options:
        if option not in known:
            raise TypeError(f"there is no option {option!r}; there are {', '.join(known)}")
    spec: dict[str, Any] = {"name": name, "function": function, "input": input}
    for option, value in options.items():
        if isinstance(value, float) and value.is_integer():
            # As of a computed time, such as 1.5 * 60.
            value = int(value)
        spec[_IN_SPEC.get(option) or json_name(option)] = value
    return {key: value for key, value in spec.items() if value is not None}


# What an option is called in a job's spec, where that is another name.
_IN_SPEC = {"ttl_seconds": "ttlSecondsAfterFinished"}


# --- Answers. ---

_Read = TypeVar("_Read")


def _understood(read: Callable[[bytes], _Read]) -> Callable[[bytes], _Read]:
    """A reader of answers that raises an error of ours for what no server of Windlass answers."""

    @functools.wraps(read)
    def reading(body: bytes) -> _Read:
        try:
            return read(body)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            begin = body[:100].decode("utf-8", "replace")
            raise errors.WindlassError(f"the answer is not that of a Windlass server: {begin!r}") from error

    return reading


@_understood
def job_of(body: bytes) -> Job:
    """A job from an answer."""
    return job_from(json.loads(body))


def job_from(value: dict[str, Any]) -> Job:
    """A job from its JSON object."""
    value["spec"].setdefault("input", {})  # of one that was asked for without
    return Job.from_json(value)


@_understood
def jobs_of(body: bytes) -> tuple[list[Job], str | None]:
    """A page of jobs, and the token of the next page."""
    value = json.loads(body)
    return [job_from(item) for item in value["items"]], value.get("metadata", {}).get("continue") or None


@_understood
def function_of(body: bytes) -> Function:
    """A function from an answer."""
    return Function.from_json(json.loads(body))


@_understood
def functions_of(body: bytes) -> tuple[Function, ...]:
    """Functions from an answer."""
    return tuple(Function.from_json(item) for item in json.loads(body)["items"])


@_understood
def queues_of(body: bytes) -> tuple[Queue, ...]:
    """Queues from an answer."""
    return tuple(Queue.from_json(item) for item in json.loads(body)["items"])


@_understood
def explanation_of(body: bytes) -> Explanation:
    """An explanation from an answer."""
    return Explanation.from_json(json.loads(body))


def is_finished(job: Job) -> bool:
    """Whether it has ended."""
    return job.status.phase in ENDS


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
    """The result as a Python value where its media type is that of one, such as JSON or an array; else its bytes.

    `ItemsFailed` where some items have none.
    """
    kind = job.status.result.content_type if job.status.result else ""
    if is_json(kind):
        value = json.loads(result)
        raise_failed_items(job, value)
        return value
    try:
        if is_archive(kind):
            value = read_results(result)
            raise_failed_items(job, value)
            return value
        return decode(kind, io.BytesIO(result))
    except Undecodable as error:
        raise errors.WindlassError(f"the result of job {job.metadata.name}: {error}") from error
