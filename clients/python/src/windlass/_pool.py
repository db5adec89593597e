"""The processes of `windlass.worker`: exactly as many as CPUs were granted, each with one call at a time.

They are fresh interpreters and no `multiprocessing` processes; `windlass.worker` says why.
"""

from __future__ import annotations

import bdb
import collections
import difflib
import importlib
import json
import os
import pkgutil
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from typing import IO, Any, Callable, NoReturn

from windlass._json import NoJson, encode

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

# Of the items that failed so many have a traceback, of at most so many characters; and the longest message of each.
TRACEBACKS = 20
TRACEBACK_CHARACTERS = 4000
MESSAGE_CHARACTERS = 1000

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
    """The function raised, or returned what is no JSON: it would do so again with the same input."""


class Errors:
    """What became of the items that failed, when the others go on without them."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []

    def add(self, item: int, told: dict[str, str]) -> None:
        """Notes what is told of an item. Ten thousand errors must not make a result that is too large."""
        error = {"item": item, "type": told["type"], "message": told["message"][:MESSAGE_CHARACTERS]}
        if len(self.listed) < TRACEBACKS:
            error["traceback"] = told["traceback"][-TRACEBACK_CHARACTERS:]
        self.listed.append(error)


class NotFound(Exception):
    """There is no function of this name."""


def nearest(name: str, names: Iterable[str]) -> str:
    """What may have been meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, [known for known in names if not known.startswith("_")], 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def find(target: str) -> Callable[[Any], Any]:
    """The function that `package.module:function` names; a dotted name after the colon reaches into a class."""
    module, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that this one imports and that is not there is another mistake: its traceback says where.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        modules = (known.name for known in pkgutil.iter_modules() if "." not in module)
        raise NotFound(f"{error}{nearest(error.name, modules)}") from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise NotFound(f"{error}{nearest(name, dir(found))}") from None
    if not callable(found):
        raise NotFound(f"{target} is no function but {type(found).__name__}")
    function: Callable[[Any], Any] = found
    return function


def no_debugger(*_: object, **__: object) -> NoReturn:
    """In place of `breakpoint()`."""
    raise RuntimeError(
        "breakpoint() needs a terminal, and there is none here: debug the function in a program of your own"
    )


def explained(error: BaseException) -> str:
    """The traceback, with a hint where the last line says too little."""
    hint = ""
    if isinstance(error, bdb.BdbQuit) or (isinstance(error, EOFError) and "reading a line" in str(error)):
        hint = "there is no terminal here: a function can neither be debugged by pdb nor ask by input()\n"
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)) + hint


def serve(target: str, tasks: IO[bytes], results: IO[bytes]) -> int:
    """Answers tasks until there are no more. A task is a line with a JSON list of items, answered by a line for each.

    A line is the result as JSON; or `?` and an object with `type`, `message` and `traceback`, when the function has
    raised or has returned what is no JSON. The last line may be `!` and a message as JSON, when the process cannot go
    on.
    """

    def fail(message: str) -> int:
        results.write(b"!" + json.dumps(message).encode() + b"\n")
        results.flush()
        return FAILED

    def failed(error: Exception, message: str, text: str) -> str:
        return "?" + json.dumps({"type": type(error).__name__, "message": message, "traceback": text})

    sys.breakpointhook = no_debugger
    try:
        function = find(target)
    except NotFound as error:
        return fail(f"cannot import {target}: {error}")
    except Exception:
        return fail(f"cannot import {target}\n{traceback.format_exc()}")
    flushed = time.monotonic()
    try:
        for line in tasks:
            for item in json.loads(line):
                try:
                    # Compact, and a line: JSON escapes line breaks.
                    text = encode(function(item))
                except MemoryError as error:
                    return fail(explained(error))
                except NoJson as error:
                    text = failed(error, str(error), f"its result cannot be given back: {error}")
                except Exception as error:
                    text = failed(error, str(error), explained(error))
                results.write(text.encode())
                results.write(b"\n")
                now = time.monotonic()
                # Whoever waits may give up at an error.
                if now - flushed >= FLUSH_SECONDS or text.startswith("?"):
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
                # A crash in native code leaves a traceback.
                [
                    *(sys.executable, "-u", "-X", "faulthandler", "-m", "windlass.worker"),
                    *("--process", f"{tasks_read},{results_write}", target),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(tasks_read, results_write),
                env={**os.environ, **dict.fromkeys(THREAD_COUNT_VARIABLES, "1")},
            )
        finally:
            os.close(tasks_read)
            os.close(results_write)
        self.tasks, self.results = tasks_write, results_read
        os.set_blocking(results_read, False)
        # Readable when the process has ended. The pipe alone does not tell: a process that the function has left behind
        # may hold it open.
        self.end = os.pidfd_open(self.process.pid)
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

    def take(self, has_ended: bool) -> list[tuple[int, bytes]]:
        """What it has answered, if anything. `Failed` when it will answer no more."""
        try:
            read = os.read(self.results, READ_BYTES)
            is_over = not read
        except BlockingIOError:
            # All that it wrote before its end was read.
            read, is_over = b"", has_ended
        *lines, self.rest = (self.rest + read).split(b"\n") if read else [self.rest]
        answered = []
        for line in lines:
            if line.startswith(b"!"):
                raise Failed(json.loads(line[1:]))
            answered.append((self.unanswered.popleft(), line))
        if is_over:
            status = self.process.wait()
            how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
            raise Failed(f"a process of the pool ended {how}")
        return answered

    def close(self) -> None:
        """No more tasks, no more answers."""
        os.close(self.tasks)
        os.close(self.results)
        os.close(self.end)


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

    def map(
        self, items: list[Any], progress: Progress, chunk: int | None = None, errors: Errors | None = None
    ) -> list[bytes]:
        """The results, each as JSON, in the order of the items.

        Of an item that fails it is `null` and a note in `errors`; without `errors` it ends all, by `Raised`.
        """
        results = [b""] * len(items)
        given = done = 0
        with selectors.DefaultSelector() as selector:
            for process in self.processes:
                selector.register(process.results, selectors.EVENT_READ, (process, False))
                selector.register(process.end, selectors.EVENT_READ, (process, True))

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
                    process, has_ended = key.data
                    for index, text in process.take(has_ended):
                        results[index] = noted(index, text, errors) if text.startswith(b"?") else text
                        done += 1
                    if not process.unanswered:
                        give(process)
                progress.tell(done)
        return results


def noted(index: int, text: bytes, errors: Errors | None) -> bytes:
    """What stands for the result of an item that failed."""
    told = json.loads(text[1:])
    if errors is None:
        raise Raised(f"item {index}: {told['traceback']}")
    errors.add(index, told)
    return b"null"
