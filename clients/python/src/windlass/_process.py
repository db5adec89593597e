"""The parent's side of a process of the pool, and how processes are ended. `windlass._called` is the other side."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

READ_BYTES = 1 << 16

# By these, common runtimes size their thread pools. The supervisor has set each to the parallelism, which is right for
# one process; here there are that many processes.
THREAD_COUNT_VARIABLES = (
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "POLARS_MAX_THREADS",
    "GOMAXPROCS",
    "JULIA_NUM_THREADS",
)


class Failed(Exception):
    """The attempt fails; the message is for the end of stderr."""


class Process:
    """One process of the pool, and the items that it has not answered."""

    def __init__(self, target: str) -> None:
        tasks_read, tasks_write = os.pipe()
        results_read, results_write = os.pipe()
        environment = {**os.environ, **dict.fromkeys(THREAD_COUNT_VARIABLES, "1")}
        environment.pop("WINDLASS_SERVE", None)
        try:
            self.process = subprocess.Popen(
                # Unbuffered: what the function prints is in the log at once, however the process ends.
                # A crash in native code leaves a traceback.
                [
                    *(sys.executable, "-u", "-X", "faulthandler", "-m", "windlass.worker"),
                    *("--process", f"{tasks_read},{results_write}", target),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(tasks_read, results_write),
                env=environment,
            )
        finally:
            os.close(tasks_read)
            os.close(results_write)
        self.pid = self.process.pid
        self.tasks, self.results = tasks_write, results_read
        os.set_blocking(results_read, False)
        # Readable when the process has ended. The pipe alone does not tell: a process that the function has left behind
        # may hold it open.
        self.end = os.pidfd_open(self.pid)
        # The begin of a line whose end was not read yet.
        self.pieces: list[bytes] = []
        # It has imported the function.
        self.is_ready = False
        # It has ended, or will answer no more.
        self.is_broken = False
        self.unsent = b""
        self.unanswered: collections.deque[int] = collections.deque()
        self.is_of_job = self.has_begun = self.is_asked = False
        # What the job has left in it, once it was asked; empty for nothing.
        self.left: str | None = None

    def begin(self, variables: Mapping[str, str] | None) -> None:
        """It takes part in a job. With variables there is another job after it, and what this one leaves is asked."""
        self.is_of_job, self.has_begun, self.is_asked, self.left = True, False, False, None
        self.unsent = b"" if variables is None else b"j" + _json(variables) + b"\n"

    def give(self, first: int, items: list[Any], flags: bytes) -> None:
        """Hands it items; their results will be those from `first` on. The flags are those of `windlass._called`."""
        line = self.unsent + flags + _json(items) + b"\n"
        self.unsent, self.has_begun, self.is_asked = b"", True, b"c" in flags
        self.unanswered.extend(range(first, first + len(items)))
        try:
            # It has answered everything, so it reads: this blocks no longer than it takes to arrive.
            while line:
                line = line[os.write(self.tasks, line) :]
        except BrokenPipeError:
            pass  # It has died, and reading will tell.

    def ask(self) -> None:
        """Asks what the job has left in it."""
        self.give(0, [], b"c")

    def take(self, has_ended: bool) -> list[tuple[int, bytes]]:
        """What it has answered, if anything. `Failed` when it will answer no more."""
        try:
            read = os.read(self.results, READ_BYTES)
            is_over = not read
        except BlockingIOError:
            # All that it wrote before its end was read.
            read, is_over = b"", has_ended
        answered = []
        *lines, rest = read.split(b"\n")
        if lines:
            lines[0] = b"".join([*self.pieces, lines[0]])
            self.pieces = []
        if rest:
            self.pieces.append(rest)
        for line in lines:
            if line == b"+":
                self.is_ready = True
            elif line.startswith(b"."):
                self.left = json.loads(line[1:])
            elif line.startswith(b"!"):
                self.is_broken = True
                raise Failed(json.loads(line[1:]))
            else:
                answered.append((self.unanswered.popleft(), line))
        if is_over:
            self.is_broken = True
            status = self.process.wait()
            how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
            raise Failed(f"a process of the pool ended {how}")
        return answered

    def close(self) -> None:
        """No more tasks, no more answers. Its end can still be waited for."""
        os.close(self.tasks)
        os.close(self.results)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def descendants(process: int) -> list[int]:
    """The numbers of all processes that it has started, directly or not."""
    found: list[int] = []
    unread = [process]
    while unread:
        number = unread.pop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in os.listdir(f"/proc/{number}/task"):
                with open(f"/proc/{number}/task/{task}/children", "rb") as file:
                    children = [int(child) for child in file.read().split()]
                found += children
                unread += children
    return found


def end(processes: Iterable[Process], grace_seconds: float) -> None:
    """Ends them and what they have started: SIGTERM, and SIGKILL to what is left after the grace."""
    processes = list(processes)
    # Our own SIGTERM waits for the end of this, or it would stop the stopping.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        group = _Group()
        for process in processes:
            process.close()
            group.add(process.end)
            # The number of one that has been waited for may be another's.
            for number in descendants(process.pid) if process.process.returncode is None else ():
                with contextlib.suppress(ProcessLookupError):
                    group.add(os.pidfd_open(number))
        if grace_seconds > 0:
            group.send(signal.SIGTERM)
            group.await_end(grace_seconds)
        group.send(signal.SIGKILL)
        group.await_end(None)
        for process in processes:
            process.process.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class _Group:
    """Processes that are to end, by descriptors: a number may be another's meanwhile."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.running: set[int] = set()

    def add(self, descriptor: int) -> None:
        self.poll.register(descriptor, select.POLLIN)
        self.running.add(descriptor)

    def send(self, number: signal.Signals) -> None:
        for descriptor in self.running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)

    def await_end(self, seconds: float | None) -> None:
        """Waits until they have ended, or so long."""
        until = None if seconds is None else time.monotonic() + seconds
        while self.running:
            left = None if until is None else 1000 * (until - time.monotonic())
            if left is not None and left <= 0:
                return
            for descriptor, _ in self.poll.poll(left):
                self.poll.unregister(descriptor)
                self.running.discard(descriptor)
                os.close(descriptor)
