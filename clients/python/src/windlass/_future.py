"""The future of a job."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, Protocol

from windlass.models import Job

if TYPE_CHECKING:
    from windlass._registered import Work

FORKED = "this windlass.Executor is of the process that was forked: make one in this process"
DONE = ("CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED")


class Owner(Protocol):
    """What a future asks of its executor."""

    _thread: threading.Thread

    def _is_copy(self) -> bool: ...

    def _forget(self, future: JobFuture) -> None: ...


class JobFuture(concurrent.futures.Future[Any]):
    """The result of one job. In a child of a fork it has what was known before, and nothing comes any more."""

    def __init__(self, executor: Owner, work: Work) -> None:
        super().__init__()
        self._executor, self._work = executor, work
        self._job: Job | None = None

    @property
    def job(self) -> Job | None:
        """The job as it was last heard of: its name, phase and progress. None before it is accepted."""
        return self._job

    def cancel(self) -> bool:
        """Cancels the job, also while it runs. False when it has ended already."""
        # A child of a fork leaves its parent's jobs alone.
        # The state of a future is pending until it is done, because a running job can be cancelled as well.
        if self._executor._is_copy():
            return False
        # A second time must not interrupt what the first one has begun.
        is_new = not self.cancelled()
        if not super().cancel():
            return False
        if is_new:
            self._executor._forget(self)
        return True

    def result(self, timeout: float | None = None) -> Any:
        """The result, or the exception of the job, once it has ended."""
        self._check_caller()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception of the job, once it has ended; None when it has a result."""
        self._check_caller()
        return super().exception(timeout)

    def _check_caller(self) -> None:
        if self._state in DONE:
            return
        if self._executor._is_copy():
            raise RuntimeError(FORKED)
        if threading.current_thread() is self._executor._thread:
            raise RuntimeError("a callback cannot wait for another future: it is called by the thread that brings it")

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a JobFuture cannot be pickled: hand on its job's name, and ask for client.value(name)")

    def running(self) -> bool:
        """Whether its function runs, as far as was heard."""
        return not self.done() and self._job is not None and self._job.status.phase == "Running"
