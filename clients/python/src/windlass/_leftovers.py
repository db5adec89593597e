"""What a function has left behind in its process, which is to have another job.

The process itself looks, after each job, at what nobody can see from outside. Nothing is cleaned: a process in which
something is found is ended, and another one takes its place.

| looked at | is left when |
| --- | --- |
| threads of Python | there is one more than after the import |
| native threads | one more than after the import runs; more than 64 more are there |
| children | there is one, also one that has ended and was not waited for |
| `os.environ`, working directory, umask, locale | it is another |
| signal handlers, blocked signals, timers, resource limits, niceness, user, process group | they are others |
| trace and profile functions, recursion limit, garbage collection | they are others |
| file descriptors | there is another one, but for 64 that libraries keep; or 0, 1 or 2 is another file |
| `sys.stdin`, `sys.stdout`, `sys.stderr` | it is another or closed |
| memory | it holds twice what it held after the import, and 64 MiB |

Native threads that sleep are pools that libraries such as numpy start at their first use, and stay. Module globals
stay, too: caches, loaded models, the state of `random`, `sys.path`, handlers of `logging`. That is what a process that
serves is for. So do what common libraries keep from their first use on: variables that scikit-learn sets, the thread of
tqdm's bars, files of their own such as matplotlib's fonts, and the descriptors by which native code waits.
Deliberately absent: variables that were set past `os.environ`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import contextlib
import gc
import locale
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

# Memory beyond twice what the process held after the import, in bytes. `windlass worker` has the same bound.
ROOM_BYTES = 64 << 20

# Native threads that may sleep, beside those after the import.
SLEEPING_THREADS = 64

# Descriptors that libraries keep open, beside those after the import.
LIBRARY_FILES = 64

# Variables that libraries set when they are imported, for their own native code.
LIBRARY_VARIABLES = {b"KMP_DUPLICATE_LIB_OK", b"KMP_INIT_AT_FORK"}

# What native code waits by, as the kernel calls it.
_WAITING = ("anon_inode:[eventfd]", "anon_inode:[eventpoll]", "anon_inode:[timerfd]")

# A thread that was joined may still be in the kernel's list for so long, in seconds.
THREAD_END_SECONDS = 0.1
THREAD_END_PAUSE_SECONDS = 0.001

# What may not stay may be there from the start: it is loaded before the first job, and belongs to the process.
LOAD_FIRST = "; load what jobs share at the top of the module, which each process does once, before its first job"

# What is said where it has left nothing, not even its process.
ENDED = "has ended its process"

_PAGE = resource.getpagesize()
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_CORE, resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE,
           resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)  # fmt: skip
_SIGNALS = sorted(signal.valid_signals())
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

# What a job is told by variables, and the name of the same in a line of version 2 of the contract.
JOB_VARIABLES = {
    "WINDLASS_INPUT": "input",
    "WINDLASS_INPUT_TYPE": "inputType",
    "WINDLASS_FILES": "files",
    "WINDLASS_OUTPUT": "output",
    "WINDLASS_OUTPUT_TYPE": "outputType",
    "WINDLASS_PROGRESS": "progress",
    "WINDLASS_PARALLELISM": "parallelism",
    "WINDLASS_DEADLINE": "deadline",
    "WINDLASS_JOB": "job",
    "WINDLASS_ATTEMPT": "attempt",
    "TRACEPARENT": "traceparent",
}


def resident_bytes(process: int | str = "self") -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        file = os.open(f"/proc/{process}/statm", os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return int(os.read(file, 100).split()[1]) * _PAGE
    except ProcessLookupError:
        return 0
    finally:
        os.close(file)


def memory_bound(bytes_at_first: int) -> int:
    """Most memory that a process may hold between jobs, by what it held when it was ready."""
    return 2 * bytes_at_first + ROOM_BYTES


def beyond(held: int, most: int) -> str:
    """What is said of a process that holds more than its bound."""
    return (
        f"holds {held >> 20} MiB of memory between jobs, more than {most >> 20} MiB "
        f"(twice what it held after the import, and {ROOM_BYTES >> 20} MiB)"
    )


def replaced(left: str) -> str:
    """The sentence about a process that is replaced, by what was left in it; empty where it has ended."""
    advice = LOAD_FIRST if left.startswith(("holds ", "left open ")) else ""
    return f"the function {left or ENDED}: it is replaced{advice}"


def _environment() -> dict[bytes, bytes]:
    # To compare through the public methods takes a hundred times as long.
    found: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return found


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "none that is there"


def _native_threads() -> int:
    # The kernel counts a directory's own names as well.
    return os.stat("/proc/self/task").st_nlink - 2


def _state() -> tuple[tuple[str, Any], ...]:
    """What has to be as it was, each with its name."""
    return (
        ("the working directory", _directory()),
        ("the umask", _umask()),
        # `signal` makes each an object of an enumeration, which takes ten times as long.
        ("a signal handler", [_signal.getsignal(number) for number in _SIGNALS]),
        ("the blocked signals", _signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        ("a timer", [signal.getitimer(which) > (0.0, 0.0) for which in _TIMERS]),
        ("a resource limit", [resource.getrlimit(which) for which in _LIMITS]),
        ("its niceness", os.getpriority(os.PRIO_PROCESS, 0)),
        ("its user or process group", (os.getresuid(), os.getresgid(), os.getpgrp(), os.getsid(0))),
        ("how Python runs", (sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), gc.isenabled())),
        ("the locale", locale.setlocale(locale.LC_ALL)),
        ("sys.stdin, sys.stdout or sys.stderr", [_stream(each) for each in (sys.stdin, sys.stdout, sys.stderr)]),
        ("what file descriptor 0, 1 or 2 is", [_file(number) for number in range(3)]),
    )


def _stream(stream: Any) -> tuple[int, bool]:
    return id(stream), getattr(stream, "closed", False)


def _file(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Before:
    """How a process was after its import, before its first job."""

    def __init__(self) -> None:
        self.environment = dict(_environment())
        for name in JOB_VARIABLES:
            self.environment.pop(name.encode(), None)
        self.threads = _thread._count()
        self.known_threads = set(threading.enumerate())
        self.tasks = set(os.listdir("/proc/self/task"))
        # The listing's own descriptor is in it, each time the same when nothing else has changed.
        self.listed = os.listdir("/proc/self/fd")
        self.files = _files()
        # And with what libraries keep, once they do.
        self.kept: dict[str, str] | None = None
        self.state = _state()
        self.most_bytes = memory_bound(resident_bytes())
        self.expected = dict(self.environment)

    def begin(self, variables: dict[str, str]) -> None:
        """A job begins, with these variables."""
        for name in JOB_VARIABLES:
            if name in variables:
                os.environ[name] = variables[name]
            else:
                os.environ.pop(name, None)
        self.expected = {**self.environment, **{name.encode(): os.fsencode(text) for name, text in variables.items()}}

    def left(self) -> str:
        """What the job that has just ended has left, as the end of a sentence; empty for nothing."""
        found = _state()
        if found != self.state:
            changed = next(name for (name, was), (_, value) in zip(self.state, found) if was != value)
            return f"changed {changed}"
        if _environment() != self.expected and (variables := self._changed_variables()):
            return f"changed the environment ({', '.join(variables)})"
        return self._left_threads() or self._left_children() or self._left_files() or self._left_memory()

    def _changed_variables(self) -> list[str]:
        now, was = _environment(), self.expected
        changed = {name for name in {*now, *was} if now.get(name) != was.get(name)}
        return sorted(map(os.fsdecode, changed - LIBRARY_VARIABLES))[:3]

    def _left_threads(self) -> str:
        more = _thread._count() - self.threads
        if more > 0:
            more -= sum(_is_of_tqdm(each) and each not in self.known_threads for each in threading.enumerate())
        if more > 0:
            return f"left {more} thread{'s' if more > 1 else ''}{self._names_of_threads()}"
        if _native_threads() <= len(self.tasks):
            return ""
        until = time.monotonic() + THREAD_END_SECONDS
        while _native_threads() > len(self.tasks):
            others = set(os.listdir("/proc/self/task")) - self.tasks
            running = [number for number in others if _runs(number)]
            if not running and len(others) <= SLEEPING_THREADS:
                return ""
            if time.monotonic() > until:
                return f"left {len(running) or len(others)} native threads{' that run' if running else ''}"
            time.sleep(THREAD_END_PAUSE_SECONDS)
        return ""

    def _names_of_threads(self) -> str:
        """Those that Python knows: the class may tell the library, such as `TMonitor` of tqdm."""
        left = [each for each in threading.enumerate() if each not in self.known_threads]
        names = [f"{type(each).__name__} {each.name}" for each in left[:3]]
        return f" ({', '.join(names)})" if names else ""

    @staticmethod
    def _left_children() -> str:
        try:
            # Left as it is: whoever asks for a child's end takes it away.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return ""
        return "left a child process"

    def _left_files(self) -> str:
        if os.listdir("/proc/self/fd") == self.listed and (self.kept is None or _files() == self.kept):
            return ""
        # What nobody can reach any more is not left, only not yet collected.
        gc.collect()
        now = _files()
        more = {number: name for number, name in now.items() if self.files.get(number) != name}
        if left := sorted(name for number, name in more.items() if not _is_of_library(number, name)):
            return f"left open {', '.join(left[:3])}"
        if more.keys() & self.files.keys() or not self.files.keys() <= now.keys():
            return "closed a file descriptor that it has not opened"
        if len(more) > LIBRARY_FILES:
            return f"left open {len(more)} descriptors of libraries, such as {min(more.values())}"
        self.listed, self.kept = os.listdir("/proc/self/fd"), now
        return ""

    def _left_memory(self) -> str:
        # The most that it ever held is told at once, what it holds now takes the kernel longer.
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 <= self.most_bytes:
            return ""
        held = resident_bytes()
        return beyond(held, self.most_bytes) if held > self.most_bytes else ""


def _is_of_tqdm(thread: threading.Thread) -> bool:
    """Whether it is the one thread that redraws the bars of tqdm, which is there from the first bar on."""
    return type(thread).__name__ == "TMonitor" and type(thread).__module__.startswith("tqdm.")


def _is_of_library(number: str, name: str) -> bool:
    """Whether a descriptor is one that libraries keep: what native code waits by, or a file of theirs, to be read."""
    if name in _WAITING:
        return True
    if not name.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep)):
        return False
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/self/fdinfo/{number}") as file:
        flags = next(line for line in file if line.startswith("flags:")).split()[1]
        return int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    return False


def _runs(task: str) -> bool:
    try:
        with open(f"/proc/self/task/{task}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"R"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _files() -> dict[str, str]:
    """The open file descriptors, and what they are."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # The listing's own is gone.
        with contextlib.suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found
