"""Following a job's log over as many streams as it takes, from attempt to attempt."""

from __future__ import annotations

import time

from windlass import errors
from windlass._protocol import is_finished
from windlass.models import Job

# Between two looks at a job whose log has ended before it.
LOOK_SECONDS = 0.25

# So long a server that has started anew may take to say that the attempt before is lost.
SETTLE_SECONDS = 10.0

# Refusals by a server that is there, and cannot say now what a job is. 504 is said of one that does not answer.
THERE = (429, 503)


class FollowLogs:
    """One job's log. For each stream: `opens`, and when it has ended, `is_over` or `goes_on` with the job as it is.

    A log has no positions by which a stream could go on where another broke off. So it goes on with another attempt
    only, from that one's begin, as there is one after a restart of a server on one machine.
    """

    given_up: Exception | None = None
    """Why a silent stream was left: the server does not answer, or has not ended the log with its job."""

    def opens(self, job: Job) -> None:
        """A stream begins. The first attempt is told with what comes."""
        self.attempt = job.status.attempt or 1
        self.ended_at: float | None = None
        self.is_due = False

    def heard(self) -> None:
        """Something has come. After the end of the job there may be more."""
        self.is_due = False

    def looked(self, seen: Job | Exception) -> None:
        """What the job is while its stream says nothing, or why that is not known. Raises why the stream is given up:
        nobody answers, the caller may not know, or the log has ended and the stream has not: its connection is dead.
        """
        if isinstance(seen, errors.ApiError) and seen.status in THERE:
            return
        if isinstance(seen, Exception):
            self.given_up = seen
        elif self.is_due:
            said = f"the log of job {seen.metadata.name} has not ended with it: its connection is lost"
            self.given_up = errors.Unreachable(said)
        else:
            self.is_due = is_finished(seen)
        if self.given_up is not None:
            raise self.given_up

    def is_over(self, job: Job, lost: errors.Unreachable | None) -> bool:
        """Whether nothing comes any more. `lost` is the error with which the stream ended; it is raised again when some
        of the log may be missing.
        """
        if not is_finished(job):
            return False
        # One stream tells all attempts, as long as it does not break off.
        if lost is not None and not self.is_another(job):
            raise lost
        return lost is None

    def goes_on(self, job: Job, lost: errors.Unreachable | None) -> bool:
        """Whether there is to be a stream now; if not, later. Raises when it is in vain to wait."""
        if self.is_another(job):
            return True
        now = time.monotonic()
        if self.ended_at is None or job.status.phase == "Queued":
            # In a queue, the next attempt may come at any time.
            self.ended_at = now
        if now - self.ended_at > SETTLE_SECONDS:
            raise lost or errors.Unreachable(f"the log of job {job.metadata.name} ended before the job")
        return False

    def is_another(self, job: Job) -> bool:
        """Whether another attempt has begun since the stream did."""
        return (job.status.attempt or 1) != self.attempt
