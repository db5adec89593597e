"""What can go wrong, one class a kind.

`ApiError` and its classes are the server's refusals, made from its problem documents (RFC 9457). `Unreachable` is that
there was no answer, `JobEnded` that a job has no result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from windlass._error import WindlassError as WindlassError
from windlass._json import NoJson as NoJson
from windlass._model import Model
from windlass.models import Job, Problem

# The longest line of what an exception says in a summary.
LINE_CHARACTERS = 500


class Unreachable(WindlassError, ConnectionError):
    """The server did not answer, however often it was asked. Whether it did what was asked is not known."""

    is_first_contact = False
    """Whether no connection to the server was made, now or before: it may not be running, or be elsewhere."""
    silent_seconds = 0.0
    """How long its answer was due by then."""

    _http_status = 503  # it may be there again soon
    _summary = "the compute server does not answer"


class Untrusted(Unreachable):
    """The server's certificate is of no authority that is trusted; see `ca`. Never tried again."""


class ApiError(WindlassError):
    """The server said no."""

    def __init__(
        self,
        status: int,
        kind: str = "about:blank",
        title: str = "",
        detail: str = "",
        problems: tuple[Problem, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        self.status = status
        """The status code of HTTP."""
        self.kind = kind
        """The problem's `type`, such as `/problems/invalid`: for programs, and stable."""
        self.title = title
        self.detail = detail
        self.problems = problems
        """What is wrong with the request and where: JSON pointers into it, such as `/input/items/3`."""
        self.retry_after_seconds = retry_after_seconds
        """When the server would have us try again, if it said so."""
        listed = [f"{problem.pointer or '/'}: {problem.message}" for problem in problems]
        said = detail or title or "no reason was given"
        # That there is one problem, or two, says nothing to whoever reads a line.
        self._reason = "; ".join(listed) or detail or title or "the compute server refuses"
        if len(listed) == 1:
            said, listed = listed[0], []
        super().__init__("\n  ".join([f"{said} ({status})", *listed]))

    @property
    def http_status(self) -> int:
        """The server's, where it is about the request; 503 where trying later helps, 502 where it does not."""
        if self.status in (401, 403) or (self.status >= 500 and self.status not in (503, 504)):
            return 502  # a matter between the service and the server
        return 503 if self.status >= 500 else self.status

    @property
    def summary(self) -> str:
        """The server's reason, where it is about the request."""
        if self.http_status >= 500:
            return "the compute server cannot do this now" if self.http_status == 503 else "the compute server refuses"
        return self._reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes whole."""
        return type(self), (self.status, self.kind, self.title, self.detail, self.problems, self.retry_after_seconds)


class Invalid(ApiError, ValueError):
    """The request is wrong; `problems` says where (400, 413, 415, 416, 422)."""


class TooLarge(Invalid):
    """The input is larger than 128 KiB of JSON (413)."""


class Unauthenticated(ApiError):
    """There is no token, or the server does not know it (401)."""


class Forbidden(ApiError, PermissionError):
    """The token's owner may not do this (403)."""


class NotFound(ApiError, LookupError):
    """There is no such job, function or queue, or the caller may not know of it (404)."""


class Conflict(ApiError):
    """It exists already, has no result yet, or an Idempotency-Key was used for another request (409)."""


class Gone(ApiError, LookupError):
    """Nothing is kept of what an attempt has said; the text says why (410)."""


class Busy(ApiError):
    """There is too much to do, and still was after all tries (429)."""


class Unavailable(ApiError):
    """A part of the server does not answer, and still did not after all tries (503, 504)."""


class ServerError(ApiError):
    """A defect of the server, or of what is in front of it (5xx)."""


_CLASSES: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: Invalid,
    416: Invalid,
    422: Invalid,
    429: Busy,
    503: Unavailable,
    504: Unavailable,
}


def from_answer(status: int, body: bytes, retry_after: str | None) -> ApiError:
    """The error of an answer that is none of success. Total: what is in front of a server may answer anything."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": body[:1024].decode("utf-8", "replace").strip()}
    problems = document.get("problems")
    kind = _CLASSES.get(status, ServerError if status >= 500 else ApiError)
    return kind(
        status,
        str(document.get("type", "about:blank")),
        str(document.get("title", "")),
        str(document.get("detail", "")),
        tuple(
            Problem(pointer=str(each.get("pointer", "")), message=str(each.get("message", "")))
            for each in (problems if isinstance(problems, list) else [])
            if isinstance(each, dict)
        ),
        seconds(retry_after),
    )


def seconds(retry_after: str | None) -> float | None:
    """The header `Retry-After`, where it is a number of seconds; the form with a date is not used by Windlass."""
    text = (retry_after or "").strip()
    return float(text) if text.isascii() and text.isdigit() else None


class JobEnded(WindlassError):
    """A job has ended without a result."""

    def __init__(self, job: Job) -> None:
        self.job = job
        """The job as it ended."""
        super().__init__(self.message())

    def message(self) -> str:
        """What happened, for a person."""
        return f"job {self.job.metadata.name} is {self.job.status.phase}"

    @property
    def summary(self) -> str:
        """The job and one word."""
        return f"job {self.job.metadata.name}: {self.job.status.phase}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes whole."""
        return type(self), (self.job,)


def _line(text: str) -> str:
    """The first line that says something, of a bounded length."""
    line = text.strip().splitlines()[0]
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]} [...]"


def raised_of(message: str) -> str:
    """The class of the exception at the end of the last traceback in a text, and what it says; empty for none."""
    _, found, trace = message.rpartition("Traceback (most recent call last):\n")
    line = next((line for line in trace.splitlines() if found and line.strip() and not line[0].isspace()), "")
    kind, _, said = line.partition(":")
    kind = kind.rpartition(".")[2]
    return f"{kind}: {_line(said)}" if said.strip() else kind


class JobFailed(JobEnded):
    """A job has failed. `reason`, such as `Crashed`, is for programs; the message has the end of its stderr."""

    @property
    def reason(self) -> str:
        """One word: `BadInput`, `FunctionError`, `Crashed`, `OutOfMemory`, `Timeout`, ..."""
        failure = self.job.status.failure
        return failure.reason if failure else "Failed"

    @property
    def http_status(self) -> int:
        """422 when the function refused the input, 504 when its time was over, else 502."""
        return {"BadInput": 422, "Invalid": 422, "Timeout": 504}.get(self.reason, 502)

    @property
    def summary(self) -> str:
        """The job and one word; and why the function has refused its input, or the exception that it has raised."""
        failure = self.job.status.failure
        message, said = failure.message if failure else "", self.reason
        # The last line that says so is ours: the function may have printed others.
        _, _, refusal = message.rpartition("bad input: ")
        if refusal and self.reason == "BadInput":
            said = f"{self.reason}: {refusal.splitlines()[0]}"
        elif self.reason == "FunctionError":
            said = raised_of(message) or said
        return f"job {self.job.metadata.name}: {said}"

    @property
    def exit_code(self) -> int | None:
        """The function's exit status, where it exited by itself."""
        failure = self.job.status.failure
        return failure.exit_code if failure else None

    def message(self) -> str:
        """What happened, for a person."""
        failure = self.job.status.failure
        said = failure.message if failure else "no reason was given"
        return f"job {self.job.metadata.name}: {self.reason}: {said}"


@dataclass(frozen=True)
class ItemError(Model):
    """Why an item has no result."""

    item: int
    """The number of the item, from 0."""
    type: str
    """The class of the exception; `NoJson` when the result was none."""
    message: str
    """What the exception says."""
    traceback: str | None = None
    """Its traceback; only the first errors of a job have one."""


class ItemsFailed(JobFailed):
    """Some items of a job have failed, by an exception of the function or by a result that is no JSON.

    The first has ended the job, unless that had `keepGoing`: then the others were computed.
    """

    @property
    def reason(self) -> str:
        """`BadInput` where the function has refused each item that failed, else `FunctionError`."""
        return "BadInput" if all(error.type == "BadInput" for error in self.errors) else "FunctionError"

    def __init__(
        self, job: Job, results: dict[int, Any], errors: tuple[ItemError, ...], not_computed: tuple[int, ...] = ()
    ) -> None:
        self.results = results
        """The results that were computed, by the numbers of their items."""
        self.errors = errors
        """Why items have failed, in their order."""
        self.not_computed = not_computed
        """The numbers of the items that the end of the job has left, in their order."""
        super().__init__(job)

    @property
    def summary(self) -> str:
        """The job, the first item that failed, the class of its exception, and what that says in its first line."""
        first = self.errors[0]
        why = f": {_line(first.message)}" if first.message.strip() else ""
        return f"job {self.job.metadata.name}: item {first.item}: {first.type}{why}"

    def numbered_from(self, first: int) -> ItemsFailed:
        """The same, where the job's first item has this number among those of a map."""
        told = tuple(replace(error, item=error.item + first) for error in self.errors)
        results = {number + first: result for number, result in self.results.items()}
        return ItemsFailed(self.job, results, told, tuple(number + first for number in self.not_computed))

    def message(self) -> str:
        """What happened, for a person."""
        first = self.errors[0]
        others = f" ({len(self.errors) - 1} more have failed)" if len(self.errors) > 1 else ""
        said = f"\n{first.traceback.rstrip()}" if first.traceback and first.traceback != first.message else ""
        return f"job {self.job.metadata.name}: item {first.item}: {first.type}: {first.message}{others}{said}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes whole."""
        return type(self), (self.job, self.results, self.errors, self.not_computed)


class JobCancelled(JobEnded):
    """A job was cancelled."""

    @property
    def http_status(self) -> int:
        """409, as the server has it."""
        return 409
