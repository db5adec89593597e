"""Following a job by its events, over as many streams as it takes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from windlass import errors
from windlass._events import Event
from windlass._protocol import JobOrName, Paths, Request, is_finished, name_of
from windlass.models import Job, Progress

# A stream of events says something each 15 s. After this long a silence its connection is dead.
SILENCE_SECONDS = 45.0


def with_progress(job: Job, told: Mapping[str, Any]) -> Job:
    """The job, with what an event of kind `progress` tells: `{"attempt", "progress"}`."""
    status = replace(job.status, attempt=told["attempt"], progress=Progress.from_json(told["progress"]))
    return replace(job, status=status)


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

    def request(self, paths: Paths) -> Request:
        """The stream of the job's events, after the last that was seen."""
        return paths.events(self.name, self.last_id, min(SILENCE_SECONDS, max(self.time_left(), 1.0)))

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
        if event.kind == "job":
            self.job = Job.from_json(json.loads(event.data))
        elif event.kind == "progress" and self.job is not None:
            self.job = with_progress(self.job, json.loads(event.data))
        else:
            return None
        self.told_something = True
        self.last_id = event.id
        return self.job

    @property
    def end(self) -> Job | None:
        """The job as it ended, once that was seen."""
        return self.job if self.job is not None and is_finished(self.job) else None
