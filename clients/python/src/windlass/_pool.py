"""The processes of `windlass.worker`: exactly as many as CPUs were granted, each with one call at a time.

They are no `multiprocessing` processes; `windlass.worker` says why. A pool has one job, or one
after another: then `settle` ends each, and a process in which it has left something is replaced.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable, NamedTuple

from windlass._code_changes import changed, forget_compiled
from windlass._context import Progress
from windlass._ends import BadInput
from windlass._leftovers import ENDED, replaced, resident_bytes
from windlass._process import Failed, Forked, Process, Raised, Target, end
from windlass._signature import Callee

# How long the processes may take to end after SIGTERM, in seconds; then they are killed. A third of the 30 s that the
# supervisor gives us.
GRACE_SECONDS = 10.0

# Parts that what is left of the work is cut into, for each process, when one asks for more: large chunks first, which
# cost little, and small ones last, so that all end together.
PARTS = 4

# As long may a chunk take, by what the items before it have taken, in seconds: an item that takes long waits for no
# other in its chunk while another process has nothing to do.
CHUNK_SECONDS = 0.1

# Processes beyond the grant of a job stay for a wider one, idle, as long as they hold no more than this together: it is
# memory of the job that is under way.
SPARE_BYTES = 64 << 20

# Of the items that failed so many have a traceback, of at most so many characters; and the longest message of each.
TRACEBACKS = 20
TRACEBACK_CHARACTERS = 4000
MESSAGE_CHARACTERS = 1000


class Interrupted(Exception):
    """Whoever watches the job wants it to end."""


class Outcomes:
    """What became of the items of a job."""

    def __init__(self, items: int, keeps_going: bool) -> None:
        self.results = [b""] * items
        """As JSON, or where another result is, in the order of the items; empty of one that was not computed."""
        self.errors: list[dict[str, Any]] = []
        self.keeps_going = keeps_going
        """Whether the others go on without an item that fails; else the first ends all."""

    def fail(self, item: int, told: dict[str, Any]) -> None:
        """Notes what is told of an item. Ten thousand errors must not make a result that is too large."""
        self.results[item] = b"null"
        error = {"item": item, "type": told["type"], "message": told["message"][:MESSAGE_CHARACTERS]}
        if len(self.errors) < TRACEBACKS:
            error["traceback"] = told["traceback"][-TRACEBACK_CHARACTERS:]
        self.errors.append(error)

    @property
    def has_other(self) -> bool:
        """Whether a result is no JSON: then all go in an archive."""
        return any(result.startswith(b"%") for result in self.results)

    def failed(self, is_partial: bool) -> dict[str, Any]:
        """What is told beside the results, of items that have none."""
        told: dict[str, Any] = {}
        if self.keeps_going or is_partial:
            told["errors"] = sorted(self.errors, key=lambda error: error["item"])
        if is_partial:
            told["notComputed"] = [number for number, result in enumerate(self.results) if not result]
        return told

    def pieces(self, *, is_partial: bool = False) -> list[bytes]:
        """The result of the job, or what is there of it when an item has ended all."""
        parts = [b'{"results":[', b",".join(result or b"null" for result in self.results), b"]"]
        for name, told in self.failed(is_partial).items():
            parts.append(f',"{name}":{json.dumps(told, separators=(",", ":"))}'.encode())
        return [*parts, b"}\n"]


class Work(NamedTuple):
    """What a job has the function called for."""

    items: list[Any]
    arguments: dict[str, Any]
    """Those of each call, by name."""
    chunk: int | None
    """Items handed to a process at once; None for a number that is chosen by what is left."""
    outcomes: Outcomes
    """Where it is noted what becomes of the items."""
    variables: Mapping[str, str] | None
    """Those of the job, where another comes after it: it is to be settled."""
    is_whole: bool = False
    """Whether it is one call, whose process reads the input and writes the result. There is one item then."""
    archive: str | None = None
    """The file with the items, of which those above are the numbers."""
    positions: list[str] | None = None
    """The parameters that are in each item, where the job says how many those are."""

    def told(self) -> dict[str, Any]:
        """What each process is told of it."""
        return {name: getattr(self, name) for name in ("arguments", "variables", "archive", "positions")}


class Pool:
    """The processes. Whatever ends the `with` block, none of them is left."""

    def __init__(self, target: Target, parallelism: int) -> None:
        self.target, self.parallelism = target, parallelism
        self.processes: list[Process] = []
        self.poll = select.poll()
        # By the descriptor that is readable: the process, and whether that says that it has ended.
        self.found: dict[int, tuple[Process, bool]] = {}
        self.watched: dict[int, Callable[[], None]] = {}
        # Why processes were replaced since this was told.
        self.replaced: list[str] = []

    def __enter__(self) -> Pool:
        try:
            self.size(self.parallelism)
        except Forked:
            raise
        except BaseException:
            self.end(self.processes, GRACE_SECONDS)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not Forked:
            self.end(self.processes, GRACE_SECONDS)

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Calls this, while a job is under way, when there is something to read."""
        self.watched[descriptor] = readable
        self.poll.register(descriptor, select.POLLIN)

    def size(self, parallelism: int) -> None:
        """The next job has so many processes; those that are missing are started."""
        self.parallelism = parallelism
        while len(self.processes) < parallelism:
            process = Process(self.target)
            self.processes.append(process)
            for descriptor, has_ended in ((process.results, False), (process.end, True)):
                self.found[descriptor] = process, has_ended
                self.poll.register(descriptor, select.POLLIN)

    def end(self, processes: list[Process], grace_seconds: float = 0.0) -> None:
        """Ends these and what they have started."""
        ending = list(processes)
        for process in ending:
            self.processes.remove(process)
            for descriptor in (process.results, process.end):
                del self.found[descriptor]
                self.poll.unregister(descriptor)
        if ending:
            end(ending, grace_seconds)

    def heard(self, wait: bool = True) -> Iterator[tuple[Process, list[tuple[int, bytes]]]]:
        """What processes of the job have answered. `Failed` when one will answer no more."""
        for descriptor, _ in self.poll.poll(None if wait else 0):
            if descriptor in self.found:
                process, has_ended = self.found[descriptor]
                try:
                    yield process, process.take(has_ended)
                except Failed:
                    if process.is_of_job:
                        raise
                    self.end([process])
            elif descriptor in self.watched:
                self.watched[descriptor]()

    def await_ready(self) -> Callee:
        """Waits until a process has imported the function; how that is called."""
        for process in self.processes:
            process.is_of_job = True
        while not (known := [process.callee for process in self.processes if process.callee is not None]):
            for _ in self.heard():
                pass
        for process in self.processes:
            process.is_of_job = False
        return known[0]

    def renew(self) -> bool:
        """Ends the processes whose code is not what the function's files have now. Whether there were any."""
        for _ in self.heard(wait=False):
            pass  # What they have imported meanwhile.
        found = changed(process.imported for process in self.processes)
        path = next((path for path in found if path is not None), None)
        if path is None:
            return False
        print(f"{path} has changed: the function is imported anew", file=sys.stderr)
        self.replaced.append(f"{path} has changed")
        for changed_path in filter(None, found):
            forget_compiled(changed_path)
        # Of one that is importing it nobody knows which code it reads.
        self.end([process for process, path in zip(self.processes, found) if path or not process.is_ready])
        return True

    def choose(self) -> list[Process]:
        """The processes of the job that begins: those that are ready first. Of the others only few stay."""
        for _ in self.heard(wait=False):
            pass  # Who has become ready meanwhile, or has died.
        self.size(self.parallelism)
        ordered = sorted(self.processes, key=lambda process: not process.is_ready)
        held, spare = 0, ordered[self.parallelism :]
        for process in spare:
            held += resident_bytes(process.pid)
            if held > SPARE_BYTES:
                self.end([process])
        return ordered[: self.parallelism]

    def map(self, work: Work, progress: Progress) -> None:
        """Fills `work.outcomes`. An item that fails ends all, by `Raised` or `BadInput`, unless the others go on."""
        items = work.items
        given = done = 0
        keeping = b"k" * work.outcomes.keeps_going + (b"p" if len(items) == 1 else b"") + b"w" * work.is_whole
        asking = b"" if work.variables is None else b"c"
        # The processes' own time for what is done, without that of their imports: since when each works.
        spent = 0.0
        since: dict[Process, float] = {}

        def chunk(left: int) -> int:
            if work.chunk:
                return min(left, work.chunk)
            # Until one is done nobody knows how long they take: each process gets one.
            quick = CHUNK_SECONDS * done / spent if spent else 0.0
            return min(left, max(1, min(left // (PARTS * self.parallelism), int(quick))))

        def give(process: Process) -> None:
            nonlocal given
            count = chunk(len(items) - given)
            if count:
                first, given = given, given + count
                flags = keeping + (asking if given == len(items) else b"")
                since[process] = time.monotonic()
                process.give(first, items[first:given], flags)

        for process in self.choose():
            process.begin(work.told())
            if process.is_ready:
                give(process)
        progress.tell(done, len(items))
        while done < len(items):
            for process, answers in self.heard():
                if answers:
                    now = time.monotonic()
                    spent += now - since[process]
                    since[process] = now
                for index, text in answers:
                    if text[:1] in b"?~":
                        note_failure(process, index, text, work)
                    else:
                        work.outcomes.results[index] = text
                    done += 1
                if process.is_of_job and process.is_ready and not process.unanswered:
                    give(process)
            progress.tell(done, len(items))

    def settle(self) -> None:
        """Ends the job that `map` has begun, however that has ended, and replaces processes that cannot go on.

        Those that still work are stopped. Those in which the job has left something are killed.
        """
        working = [process for process in self.processes if process.is_of_job]
        stopped = [process for process in working if process.is_broken or process.unanswered]
        asked = [process for process in working if process.has_begun and process not in stopped]
        for process in asked:
            if not process.is_asked:
                process.ask()
        try:
            while any(process.left is None for process in asked):
                for _ in self.heard():
                    pass
        except (Failed, Interrupted):
            pass  # Whoever has not answered by now is killed.
        left = [process for process in asked if process.left != ""]
        for process in left:
            print(replaced(process.left or ""), file=sys.stderr)
            self.replaced.append(f"the function {process.left or ENDED}")
        for process in working:
            process.is_of_job = False
        self.end(stopped, GRACE_SECONDS)
        self.replaced += [process.how_ended() for process in stopped if process.is_broken]
        self.end(left)
        self.size(self.parallelism)


def note_failure(process: Process, index: int, text: bytes, work: Work) -> None:
    """Notes that an item has failed, or raises where that ends all."""
    told = json.loads(text[1:])
    is_of_item = not text.startswith(b"~")
    if is_of_item:
        work.outcomes.fail(index, told)
        if work.outcomes.keeps_going:
            return
    # It has dropped what it was given with it.
    process.unanswered.clear()
    if not is_of_item:
        raise BadInput(told)
    if told.get("refused"):
        raise BadInput(told["message"] if work.is_whole else f"item {index}: {told['message']}")
    raise Raised(told["traceback"] if work.is_whole else f"item {index}: {told['traceback']}")
