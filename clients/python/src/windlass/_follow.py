"""Following a job by its events, over as many streams as it takes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from windlass import errors
from windlass._events import Decoder, Event
from windlass._lacks import Lacks
from windlass._protocol import JobOrName, Paths, Request, is_finished, job_from, name_of
from windlass._retry import Patience
from windlass.models import Job, Progress

# A stream of events says something each 15 s. After this long a silence its connection is dead, however long the
# patience is.
KEEP_ALIVE_SECONDS = 15.0
SILENCE_SECONDS = 45.0
# So long may it take until an event has come whole.
EVENT_SECONDS = 60.0
# A stream that was open so long has worked, whatever it told.
WORKED_SECONDS = 10.0
# So long one look at the job may take, however short the timeout is.
LOOK_SECONDS = 1.0


def with_progress(job: Job, told: Mapping[str, Any]) -> Job:
    """The job, with what an event of kind `progress` tells: `{"attempt", "progress"}`."""
    status = replace(job.status, attempt=told["attempt"], progress=Progress.from_json(told["progress"]))
    return replace(job, status=status)


class Follow:
    """One job's events over as many streams as it takes, until its end or, at most, for `timeout_seconds`.

    For each stream: `open` gives its request, `take` gets its pieces, and `pause_after` the error with which it ends.
    What tells nothing new is tried again for `patience_seconds`. `lacks` is that of several jobs.
    """

    def __init__(
        self, job: JobOrName, timeout_seconds: float | None, patience_seconds: float, lacks: Lacks | None = None
    ) -> None:
        self.name = name_of(job)
        self.known = None if isinstance(job, str) else job
        self.timeout_seconds = timeout_seconds
        self.patience = Patience(patience_seconds)
        self.began = time.monotonic()
        self.last_id: str | None = None
        self.job: Job | None = None
        self.lacks = Lacks() if lacks is None else lacks

    @property
    def end(self) -> Job | None:
        """The job as it ended, once that was seen."""
        return self.job if self.job is not None and is_finished(self.job) else None

    def time_left(self) -> float:
        """Seconds until the timeout. There is always time for one look."""
        longest = math.inf if self.timeout_seconds is None else self.timeout_seconds
        if self.job is None:
            longest = max(longest, LOOK_SECONDS)
        return self.began + longest - time.monotonic()

    def open(self, paths: Paths) -> Request:
        """The next stream, after the last event that was seen. `TimeoutError` when there is no time for one."""
        left, due = self.time_left(), self.patience.answer_seconds()
        if left <= 0:
            raise self.too_late()
        self.read_seconds = min(SILENCE_SECONDS, KEEP_ALIVE_SECONDS + due, left)
        due = min(due, left)
        self.decoder = Decoder()
        self.opened = self.event_begins = time.monotonic()
        self.told_something = self.has_worked = False
        request = paths.events(self.name, self.last_id)
        quiet = max(0.0, self.read_seconds - due)
        spare = min(request.spare_seconds, left)
        return replace(request, answer_seconds=due, quiet_seconds=quiet, spare_seconds=spare)

    def take(self, piece: bytes) -> Iterator[Job]:
        """The job as each event tells it that this piece of the stream completes."""
        try:
            for event in self.decoder.feed(piece):
                told = self.job_of(event)
                if told is not None:
                    yield told
        except errors.ApiError:
            raise
        except (ValueError, LookupError, TypeError) as error:
            raise errors.Unreachable(f"the events of job {self.name} cannot be read: {error}") from error
        now = time.monotonic()
        if self.end is None and self.time_left() <= 0:
            raise self.too_late()
        if self.job is not None and self.decoder.is_between_events:
            self.event_begins = now
            self.has_worked = now - self.opened >= WORKED_SECONDS
        elif now - self.event_begins > EVENT_SECONDS:
            raise errors.Unreachable(f"an event of job {self.name} was not whole in {EVENT_SECONDS:.0f} s")

    def is_over(self) -> bool:
        """Whether the stream is to be left: at the end, or to open one with less time to read.

        A silence may outlast the timeout by a quarter of what was left when it began.
        """
        if self.end is not None:
            return True
        is_whole = self.job is not None and self.decoder.is_between_events
        return is_whole and 1.25 * self.time_left() + 0.5 < self.read_seconds

    def pause_after(self, error: errors.WindlassError) -> float:
        """How long to pause before the next stream; raises the error, or `TimeoutError`, when there is to be none."""
        if not self.told_something:
            # Whatever the server makes of the last one, it does not make us see the end.
            self.last_id = None
        if self.has_worked:
            self.patience.renew()
        seconds = self.patience.after(error)
        if seconds >= self.time_left():
            raise self.too_late() from error
        return seconds

    def too_late(self) -> TimeoutError:
        """The error of a wait that was in vain."""
        return TimeoutError(f"job {self.name} has not ended in {self.timeout_seconds} s")

    def with_input(self, told: Job) -> Job:
        """The job with its input, if the caller has it: a stream does not carry what may have 128 KiB."""
        if self.known is None or self.known.metadata.uid != told.metadata.uid:
            return told
        return replace(told, spec=replace(told.spec, input=self.known.spec.input))

    def job_of(self, event: Event) -> Job | None:
        """The job that an event tells, if it tells one; raises what it tells of a problem."""
        if event.kind == "problem":
            document = json.loads(event.data)
            raise errors.from_answer(int(document.get("status", 500)), event.data.encode(), None)
        if event.kind == "job":
            told = self.with_input(job_from(json.loads(event.data)))
        elif event.kind == "progress" and self.job is not None:
            told = with_progress(self.job, json.loads(event.data))
        else:
            return None
        self.lacks.tell(told)
        if told != self.job:
            # A stream that tells again what is known is no better than none.
            self.patience.renew()
        self.told_something = True
        self.last_id, self.job = event.id, told
        return told
