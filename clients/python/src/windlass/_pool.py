"""The processes of `windlass.worker`: exactly as many as CPUs were granted, each with one call at a time.

They are fresh interpreters and no `multiprocessing` processes; `windlass.worker` says why.
"""

from __future__ import annotations

import collections
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import traceback
from typing import IO, Any, Callable

FAILED = 1

# How long the processes may take to end after SIGTERM, in seconds; then they are killed. A third of the 30 s that the
# supervisor gives us.
GRACE_SECONDS = 10.0

# Between two progress lines, in seconds.
PROGRESS_SECONDS = 0.1

# At most as long may a result wait in a process for others to go with, in seconds.
FLUSH_SECONDS = 0.05

# Parts that what is left of the work is cut into, for each process, when one asks for more: large chunks first, which
# cost little, and small ones last, so that all end together.
PARTS = 4

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


def find(target: str) -> Callable[[Any], Any]:
    """The function that `package.module:function` names; a dotted name after the colon reaches into a class."""
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{target} is no function but {type(found).__name__}")
    function: Callable[[Any], Any] = found
    return function


def serve(target: str, tasks: IO[bytes], results: IO[bytes]) -> int:
    """Answers tasks until there are no more. A task is a line with a JSON list of items, answered by a line for each.

    A line is the result as JSON, or `!` and a message as JSON, which is the last.
    """

    def fail(message: str) -> int:
        results.write(b"!" + json.dumps(message).encode() + b"\n")
        results.flush()
        return FAILED

    try:
        function = find(target)
    except Exception:
        return fail(f"cannot import {target}\n{traceback.format_exc()}")
    flushed = time.monotonic()
    try:
        for line in tasks:
            for item in json.loads(line):
                try:
                    # Compact, and a line: JSON escapes line breaks.
                    text = json.dumps(function(item), allow_nan=False, separators=(",", ":"))
                except Exception:
                    return fail(traceback.format_exc())
                results.write(text.encode())
                results.write(b"\n")
                now = time.monotonic()
                if now - flushed >= FLUSH_SECONDS:
                    results.flush()
                    flushed = now
            results.flush()
            flushed = time.monotonic()
    except BrokenPipeError:
        pass  # The parent is gone, and nobody wants the rest.
    return 0


class Progress:
    """Appends lines `done total`, each with one write."""

    def __init__(self, path: str | None, total: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.file = os.open(path, flags, 0o644) if path else None
        self.total, self.due = total, 0.0

    def tell(self, done: int) -> None:
        """Tells it, if the last line is old enough or this is the end."""
        now = time.monotonic()
        if self.file is not None and (now >= self.due or done == self.total):
            self.due = now + PROGRESS_SECONDS
            os.write(self.file, f"{done} {self.total}\n".encode())


class Process:
    """One process of the pool, and the items that it has not answered."""

    def __init__(self, target: str) -> None:
        tasks_read, tasks_write = os.pipe()
        results_read, results_write = os.pipe()
        try:
            self.process = subprocess.Popen(
                # Unbuffered: what the function prints is in the log at once, however the process ends.
                [sys.executable, "-u", "-m", "windlass.worker", "--process", f"{tasks_read},{results_write}", target],
                stdin=subprocess.DEVNULL,
                pass_fds=(tasks_read, results_write),
                env={**os.environ, **dict.fromkeys(THREAD_COUNT_VARIABLES, "1")},
            )
        finally:
            os.close(tasks_read)
            os.close(results_write)
        self.tasks, self.results = tasks_write, results_read
        self.unanswered: collections.deque[int] = collections.deque()
        self.rest = b""

    def give(self, first: int, items: list[Any]) -> None:
        """Hands it items; their results will be those from `first` on."""
        line = json.dumps(items, separators=(",", ":")).encode() + b"\n"
        self.unanswered.extend(range(first, first + len(items)))
        try:
            # It has answered everything, so it reads: this blocks no longer than it takes to arrive.
            while line:
                line = line[os.write(self.tasks, line) :]
        except BrokenPipeError:
            pass  # It has died, and reading will tell.

    def take(self) -> list[tuple[int, bytes]]:
        """What it has answered; blocks when there is nothing. `Failed` when it will answer no more."""
        read = os.read(self.results, READ_BYTES)
        *lines, self.rest = (self.rest + read).split(b"\n") if read else [self.rest]
        answered = []
        for line in lines:
            if line.startswith(b"!"):
                raise Failed(json.loads(line[1:]))
            answered.append((self.unanswered.popleft(), line))
        if not read:
            status = self.process.wait()
            how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
            raise Failed(f"a process of the pool ended {how}")
        return answered

    def close(self) -> None:
        """No more tasks, no more answers."""
        os.close(self.tasks)
        os.close(self.results)


class Pool:
    """Exactly so many processes. Whatever ends the `with` block, none of them is left."""

    def __init__(self, target: str, parallelism: int) -> None:
        self.processes: list[Process] = []
        self.target, self.parallelism = target, parallelism

    def __enter__(self) -> Pool:
        try:
            for _ in range(self.parallelism):
                self.processes.append(Process(self.target))
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """SIGTERM, and SIGKILL to those that do not heed it. Nothing is lost: there is a result, or will be none."""
        # Our own SIGTERM waits for the end of this, or it would stop the stopping.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        for process in self.processes:
            process.close()
            process.process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        for process in self.processes:
            try:
                process.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.process.kill()
                process.process.wait()
        self.processes = []
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def map(self, items: list[Any], progress: Progress, chunk: int | None = None) -> list[bytes]:
        """The results, each as JSON, in the order of the items."""
        results = [b""] * len(items)
        given = done = 0
        with selectors.DefaultSelector() as selector:
            for process in self.processes:
                selector.register(process.results, selectors.EVENT_READ, process)

            def give(process: Process) -> None:
                nonlocal given
                left = len(items) - given
                count = min(left, chunk or max(1, left // (PARTS * self.parallelism)))
                if count:
                    process.give(given, items[given : given + count])
                    given += count

            for process in self.processes:
                give(process)
            progress.tell(done)
            while done < len(items):
                for key, _ in selector.select():
                    process = key.data
                    for index, text in process.take():
                        results[index] = text
                        done += 1
                    if not process.unanswered:
                        give(process)
                progress.tell(done)
        return results
