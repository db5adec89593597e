"""What a function may ask and tell while it runs: `windlass.parallelism`, `progress`, `cancelled` and `files`.

In a process of `windlass.worker` they are about the job. Elsewhere, in a test for example, nothing needs to be there.
A program that Windlass starts without `windlass.worker` is told by the variables of the worker contract.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Between two progress lines, in seconds.
PROGRESS_SECONDS = 0.1


class Progress:
    """Appends lines `done total` to a file, each with one write, ten times a second at most."""

    def __init__(self, path: str | None) -> None:
        self.path, self.due = path, 0.0

    def tell(self, done: int, total: int) -> None:
        """Tells it, if the last line is old enough or this is the end."""
        now = time.monotonic()
        if not self.path or (now < self.due and done != total):
            return
        self.due = now + PROGRESS_SECONDS
        # Not held open: a process that serves is to leave no file open.
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(file, f"{done} {total}\n".encode())
            finally:
                os.close(file)
        except OSError as error:
            # On a disk that is full, progress is not shown: no function fails by that.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise


class Call:
    """A call of the function in a process of the pool."""

    def __init__(self, tasks: int) -> None:
        """`tasks` is the pipe of what is to be done. It breaks when nobody wants a result any more."""
        self.parallelism, self.progress = 1, Progress(None)
        self.process = os.getpid()
        # What SIGTERM did before the call has asked whether it is wanted.
        self.handler: Any = None
        self.poll = select.poll()
        self.poll.register(tasks, 0)

    def begin(self, parallelism: int, progress: str | None) -> None:
        """The next call may use so many threads, and tells its progress in this file."""
        self.parallelism, self.progress = parallelism, Progress(progress)

    def is_unwanted(self) -> bool:
        """Whether whoever asked has gone or has cancelled. From now on SIGTERM does not end this call at once."""
        if self.handler is None and threading.current_thread() is threading.main_thread():
            self.handler = signal.signal(signal.SIGTERM, self._ignore)
        return bool(self.poll.poll(0))

    def _ignore(self, number: int, _frame: object) -> None:
        # A child of a fork has the handler as well, and is to end as every other process does.
        if os.getpid() != self.process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def end(self) -> None:
        """SIGTERM ends the process again."""
        if self.handler is not None:
            signal.signal(signal.SIGTERM, self.handler)
            self.handler = None


_call: Call | None = None
# Of a program that is told by variables.
_told = Progress(None)


def enter(tasks: int) -> Call:
    """This is a process of the pool from now on."""
    global _call
    _call = Call(tasks)
    return _call


def parallelism() -> int:
    """How many threads or processes this call may use.

    That is the CPUs that the job was granted, or 1 where the worker itself has a process for each of them. Outside of a
    job it is the number of CPUs that this process may use.
    """
    if _call is not None:
        return _call.parallelism
    return int(os.environ.get("WINDLASS_PARALLELISM") or len(os.sched_getaffinity(0)))


def progress(done: int, total: int) -> None:
    """Tells how much is done. It may be called as often as one likes: ten times a second it is passed on.

    Where the job has several items, their number is its progress, and this does nothing. So it does outside of a job.
    `ValueError` unless `done` is from 0 to `total`: where the total is an estimate, tell `min(done, total)`.
    """
    global _told
    done, total = int(done), int(total)
    if not 0 <= done <= total:
        raise ValueError(f"progress({done}, {total}): done is from 0 to total")
    if _call is not None:
        _call.progress.tell(done, total)
        return
    path = os.environ.get("WINDLASS_PROGRESS")
    if path != _told.path:
        _told = Progress(path)
    _told.tell(done, total)


def cancelled() -> bool:
    """Whether the job was cancelled, so that the function may tidy up and return. Outside of a job it is False.

    A function that has asked this goes on after a cancel, and is killed 10 s later. One that never asks ends at once.
    The first to ask must be the thread that Windlass has called.
    """
    return _call is not None and _call.is_unwanted()


def files() -> dict[str, Path]:
    """The files of the job, by their names. Outside of a job there are none."""
    return files_of(os.environ)


def files_of(job: Mapping[str, str]) -> dict[str, Path]:
    """The files of a job that is told by these variables."""
    directory = job.get("WINDLASS_FILES")
    return {path.name: path for path in sorted(Path(directory).iterdir())} if directory else {}
