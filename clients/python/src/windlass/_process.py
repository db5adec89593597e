"""The parent's side of a process of the pool, and how processes are begun and ended.

`windlass._pool_process` is the other side. A process is forked, while the parent has a single thread and has imported
nothing of the function: that takes a millisecond, and the interpreter's memory is there once for all.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import gc
import io
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from windlass import _pool_process
from windlass._code_changes import Stamp
from windlass._ends import FAILED
from windlass._signature import Callee

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


class Raised(Failed):
    """It would fail again: the function cannot be imported, has raised, or has returned what is no JSON."""


class Target(NamedTuple):
    """What a process calls."""

    name: str
    """`package.module:function`."""
    allow_pickle: bool
    """Whether inputs and results may be pickled."""


class Forked(BaseException):
    """This is a process of the pool. Whoever was the parent's program catches it at its very top and calls `run`."""

    def __init__(self, target: Target, tasks: int, results: int) -> None:
        super().__init__(target.name)
        self.target, self.tasks, self.results = target, tasks, results

    def run(self) -> int:
        """What the process does; its exit status. Nothing of the parent's is open any more."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2 and number not in (self.tasks, self.results):
                # The listing's own is closed already.
                with contextlib.suppress(OSError):
                    os.close(number)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        # A line that the function prints is in the log at once, however the process ends, and in one piece: other
        # processes print to the same log. What has no end of line follows at the end of the call.
        sys.stdout = sys.__stdout__ = _by_lines(1, sys.stdout)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = _by_lines(2, sys.stderr)  # type: ignore[misc]
        os.environ.update(dict.fromkeys(THREAD_COUNT_VARIABLES, "1"))
        os.environ.pop("WINDLASS_SERVE", None)
        try:
            with open(self.tasks, "rb") as source, open(self.results, "wb", closefd=False) as sink:
                return _pool_process.serve(self.target.name, source, sink, self.target.allow_pickle)
        except BrokenPipeError:
            # Whoever asked has ended. Python would try once more at its own end, and say so.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.results)
            return FAILED


class _Whole(io.FileIO):
    """Bytes that are written at once; a line of up to `PIPE_BUF` bytes goes in one piece, which no other divides."""

    def write(self, written: Any, /) -> int:
        data, at = memoryview(written).cast("B"), 0
        while at < len(data):
            end = len(data)
            if end - at > select.PIPE_BUF:
                end = at + (bytes(data[at : at + select.PIPE_BUF]).rfind(b"\n") + 1 or select.PIPE_BUF)
            count = super().write(data[at:end])
            if count is None:  # a function has made it not block
                raise BlockingIOError(errno.EAGAIN, "the log is full", at)
            at += count
        return len(data)


class _Lines(io.TextIOWrapper):
    """Text that is written by whole lines; the begin of one waits for its end, or a flush."""

    def write(self, text: str, /) -> int:
        end = text.rfind("\n") + 1 if isinstance(text, str) else 0
        if 0 < end < len(text):
            super().write(text[:end])
            super().write(text[end:])
            return len(text)
        return super().write(text)


def _by_lines(descriptor: int, like: Any) -> io.TextIOWrapper:
    return _Lines(_Whole(descriptor, "w", closefd=False), like.encoding, like.errors, newline="\n", line_buffering=True)


def _fork(target: Target, tasks: int, results: int) -> int:
    """The number of a new process of the pool, which leaves by `Forked`."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What is there now is looked at by no collector, so that the processes go on to share its memory.
    gc.freeze()
    # A signal must not find the parent's handlers in the new process.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    pid = os.fork()
    if pid == 0:
        raise Forked(target, tasks, results)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pid


class Process:
    """One process of the pool, and the items that it has not answered."""

    def __init__(self, target: Target) -> None:
        tasks_read, tasks_write = os.pipe()
        results_read, results_write = os.pipe()
        self.pid = _fork(target, tasks_read, results_write)
        # Once it is known.
        self.status: int | None = None
        os.close(tasks_read)
        os.close(results_write)
        self.tasks, self.results = tasks_write, results_read
        os.set_blocking(results_read, False)
        # Readable when the process has ended. The pipe alone does not tell: a process that the function has left behind
        # may hold it open.
        self.end = os.pidfd_open(self.pid)
        # The begin of a line whose end was not read yet.
        self.pieces: list[bytes] = []
        # How its function is called, once it has imported it.
        self.callee: Callee | None = None
        # The function's own files that it has imported.
        self.imported: dict[str, Stamp] = {}
        # It has ended, or will answer no more.
        self.is_broken = False
        self.unsent = b""
        self.unanswered: collections.deque[int] = collections.deque()
        self.is_of_job = self.has_begun = self.is_asked = self.is_whole = False
        # What the job has left in it, once it was asked; empty for nothing.
        self.left: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it has imported the function."""
        return self.callee is not None

    def begin(self, told: Mapping[str, Any]) -> None:
        """It takes part in a job, of which it is told this. `_pool_process` says what that is."""
        self.is_of_job, self.has_begun, self.is_asked, self.left = True, False, False, None
        self.unsent = b"j" + _json(told) + b"\n"

    def give(self, first: int, items: list[Any], flags: bytes) -> None:
        """Hands it items; their results will be those from `first` on. `_pool_process` says what the flags are."""
        line = self.unsent + flags + _json(items) + b"\n"
        self.unsent, self.has_begun = b"", True
        self.is_asked, self.is_whole = b"c" in flags, b"w" in flags
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
            if line.startswith(b"+"):
                self.callee = Callee(*json.loads(line[1:]))
            elif line.startswith(b"@"):
                self.imported.update(json.loads(line[1:]))
            elif line.startswith(b"."):
                self.left = json.loads(line[1:])
            elif line[:1] in (b"!", b"^"):
                self.is_broken = True
                raise (Failed if line.startswith(b"!") else Raised)(json.loads(line[1:]))
            elif self.unanswered:
                answered.append((self.unanswered.popleft(), line))
            else:
                self.is_broken = True
                raise Failed("a process of the pool answered more than it was asked: has the function forked it?")
        if is_over:
            self.is_broken = True
            raise Failed(f"{self.how_ended()}{self._where()}")
        return answered

    def how_ended(self) -> str:
        """A sentence about its end."""
        status = self.wait()
        how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
        return f"a process of the pool ended {how}"

    def _where(self) -> str:
        """At which item it is, as the end of a sentence. What it had not sent yet is not known.

        A map may be several jobs, and then an item has another number in the map.
        """
        if self.is_whole or not self.unanswered:
            return ""
        first, last = self.unanswered[0], self.unanswered[-1]
        return f" at item {first} of the job" if first == last else f" at one of the items {first} to {last} of the job"

    def wait(self) -> int:
        """Waits for its end; its exit status, or the signal with a minus."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

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
            for number in descendants(process.pid) if process.status is None else ():
                with contextlib.suppress(ProcessLookupError):
                    group.add(os.pidfd_open(number))
        if grace_seconds > 0:
            group.send(signal.SIGTERM)
            group.await_end(grace_seconds)
        group.send(signal.SIGKILL)
        group.await_end(None)
        for process in processes:
            process.wait()
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
