"""A process of the pool: it imports the function and calls it, one item after another.

What is said through the pipes, a line each. To the process:

- `j` and an object: a job begins. `arguments` are those of all its calls, by name. `variables` are its environment
  variables, and null where there is no job after it. `archive` is the file with its items, or null without one. With
  it the items below are numbers of those in it. `positions` are the parameters that are in each item, where the job
  says so, or null.
- flags and a list: the items to call the function with. `k` keeps going when one fails, else the rest of the list is
  dropped; `c` asks for a check after them, of what the job has left in the process. `p` lets the call tell the job's
  progress. `w` is one call with the whole input, and the process reads that and writes the result itself.

From the process:

- `+` and a list: the function is imported, and this is its `windlass._signature.Callee`.
- `@` and an object: the files of its own that the function has imported, as `windlass._code_changes` has them.
- for each item its result as JSON; or `%` and where another result is, as `windlass._archive.Written`; or `?` and an
  object with `type`, `message` and `traceback`, when the function has raised or has returned what is no JSON, and
  `refused` when it has raised `windlass.BadInput`; or `~` and a text, when the job does not give it what it needs.
  `null` for a whole input.
- `.` and a text: what the job has left, after a check; empty for nothing.
- `!` and a text: the process cannot go on.
- `^` and a text: nor could another one, as the function cannot be imported or called.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import importlib
import importlib.machinery
import inspect
import json
import os
import pkgutil
import sys
import time
from typing import IO, Any, Callable, NoReturn

from windlass import _context
from windlass._archive import Spool
from windlass._arguments import Arguments, Items
from windlass._code_changes import Imported, distrust_young_bytecode
from windlass._codecs import JSON
from windlass._each_or_all import hint
from windlass._ends import FAILED, BadInput, Unwritten
from windlass._failure import Refused, explained, line_of, line_of_refusal, message_of
from windlass._forks import OneProcess
from windlass._json import MAX_DEPTH, NoJson, encode
from windlass._leftovers import Before
from windlass._output import encoded, write_pickle, write_result
from windlass._signature import Unfit, describe, marks_of, nearest, spread_over

# At most as long may a result wait in a process for others to go with, in seconds.
FLUSH_SECONDS = 0.05

# The deepest result of an item: it is in a list in an object.
ITEM_DEPTH = MAX_DEPTH - 2

# What a machine lacks for a moment.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE, errno.EIO)


class NotFound(Exception):
    """There is no function of this name."""


def find(target: str) -> Callable[..., Any]:
    """The function that `package.module:function` names; a dotted name after the colon reaches into a class."""
    module, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that this one imports and that is not there is another mistake: its traceback says where.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise NotFound(f"{error}{_place_of(module, error.name)}") from None
    for name in path.split("."):
        owner = found
        try:
            found = getattr(owner, name)
        except AttributeError as error:
            raise NotFound(f"{error}{nearest(name, dir(owner))}") from None
        if inspect.isclass(owner) and inspect.isfunction(found) and found.__code__.co_varnames[:1] == ("self",):
            raise NotFound(f"{name} is a method: name that of an object, as in {module}:OBJECT.{name}")
    if not callable(found):
        raise NotFound(f"{target} is no function but {type(found).__name__}")
    function: Callable[..., Any] = found
    if inspect.iscoroutinefunction(function):
        # What runs it. A file that hides a part of that is told now, and not by each job.
        importlib.import_module("asyncio")
    return function


def _place_of(module: str, missing: str) -> str:
    """Where a module may be that is not found under its name, as the end of a sentence."""
    dotted = module.removesuffix(".py").strip("./").replace("/", ".")
    if dotted != module:
        return f": a module is named as it is imported, as in {dotted}:FUNCTION"
    if missing == module.partition(".")[0] and importlib.machinery.PathFinder.find_spec(missing, ["src"]) is not None:
        return f": it is in src, so install this project into the environment (pip install -e .), or write src.{module}"
    return nearest(missing, (known.name for known in pkgutil.iter_modules() if "." not in module))


def is_passing(error: BaseException) -> bool:
    """Whether another try may find what the machine lacks now."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING)


def no_debugger(*_: object, **__: object) -> NoReturn:
    """In place of `breakpoint()`."""
    raise RuntimeError(
        "breakpoint() needs a terminal, and there is none here: debug the function in a program of your own"
    )


def flush_printed() -> None:
    """What a call has printed is in its job's log, also where its last line has no end."""
    for stream in (sys.stdout, sys.stderr):
        # One that the function has closed or replaced is found by the check after the job.
        with contextlib.suppress(Exception):
            stream.flush()


class Caller:
    """Calls the function for the parent's items."""

    def __init__(
        self,
        function: Callable[..., Any],
        imported: Imported,
        tasks: IO[bytes],
        results: IO[bytes],
        allow_pickle: bool,
    ) -> None:
        self.function, self.results, self.allow_pickle = function, results, allow_pickle
        self.callee = self.of_job = describe(function)
        self.arguments = Arguments(function, self.callee, allow_pickle)
        self.running = _context.enter(tasks.fileno())
        # Those of all calls of a job, and whether its files are among them yet.
        self.settings: dict[str, Any] = {}
        self.has_files = True
        self.items: Items | None = None
        self.spool: Spool | None = None
        self.flushed = time.monotonic()
        self.before = Before()
        # What a job sets of it, such as the precision of `decimal`, is gone with the job.
        self.context = contextvars.copy_context()
        self.imported = imported
        self.process = OneProcess()
        self.tell_imported()
        self.say("+" + json.dumps(self.callee))

    def say(self, text: str) -> None:
        """Says a line now."""
        self.results.write(text.encode() + b"\n")
        self.flush()

    def tell_imported(self) -> None:
        """Says what the function has imported since this was told before, with the next line."""
        if new := self.imported.new():
            self.results.write(b"@" + json.dumps(new).encode() + b"\n")

    def flush(self) -> None:
        """Sends what was written."""
        self.results.flush()
        self.flushed = time.monotonic()

    def answer(self, line: bytes) -> None:
        """Does what a line says."""
        if line.startswith(b"j"):
            told = json.loads(line[1:])
            if told["variables"] is not None:
                self.before.begin(told["variables"])
            self.settings, self.has_files = told["arguments"], False
            positions, archive = told["positions"], told["archive"]
            self.of_job = self.callee if positions is None else spread_over(self.callee, positions)
            self.items = None if archive is None else Items(archive, self.arguments, positions)
            self.context = contextvars.copy_context()
            return
        flags, bracket, items = line.partition(b"[")
        self.call(json.loads(bracket + items), flags)
        if b"c" in flags:
            # The job is over. What it was given, such as a large file, is not what it leaves.
            self.settings = {}
            self.close()
            self.tell_imported()
            self.say("." + json.dumps(self.before.left()))

    def close(self) -> None:
        """Closes what is open for a job."""
        if self.items is not None:
            self.items.close()
        if self.spool is not None:
            self.spool.close()
        self.items = self.spool = None

    def call(self, items: list[Any], flags: bytes) -> None:
        """Says the result of each item."""
        is_whole = b"w" in flags
        threads = int(os.environ["WINDLASS_PARALLELISM"]) if is_whole else 1
        progress = os.environ.get("WINDLASS_PROGRESS") if is_whole or b"p" in flags else None
        for item in items:
            self.running.begin(threads, progress)
            text = self.outcome(self.whole if is_whole else self.one, item)
            self.results.write(text.encode())
            self.results.write(b"\n")
            # Whoever waits may give up at an error.
            has_failed = text.startswith(("?", "~"))
            if time.monotonic() - self.flushed >= FLUSH_SECONDS or has_failed:
                self.flush()
            if text.startswith("~") or (has_failed and b"k" not in flags):
                break
        self.flush()

    def outcome(self, work: Callable[[Any], str], item: Any) -> str:
        """The line that says what became of a call."""
        try:
            return work(item)
        except (MemoryError, Unwritten):
            raise
        except BadInput as error:
            return line_of_refusal(message_of(error))
        except Refused as error:
            return line_of(BadInput, message_of(error), message_of(error), refused=True)
        except NoJson as error:
            said = message_of(error)
            return line_of(NoJson, said, f"its result cannot be given back: {said}")
        except BaseException as error:
            # As `concurrent.futures` has it, `sys.exit` in a function ends its call. SIGINT is ignored here.
            text = explained(error)
            if work == self.one:
                text += hint(self.function, self.of_job, item, error)
            return line_of(type(error), message_of(error), text)
        finally:
            self.running.end()
            flush_printed()

    def run(self, *positions: Any, **names: Any) -> Any:
        """What the function returns."""
        try:
            with self.process:
                return self.context.run(self.awaited, *positions, **names)
        except BadInput as error:
            raise Refused(message_of(error)) from None

    def awaited(self, *positions: Any, **names: Any) -> Any:
        """The same, of an `async def` as well."""
        result = self.function(*positions, **names)
        if not inspect.iscoroutine(result):
            return result
        # It takes memory and time, and few functions need it.
        import asyncio

        async def called() -> Any:
            # A child of a fork leaves before the event loop, which it shares with its parent, is closed.
            with self.process:
                return await result

        return asyncio.run(called())

    def one(self, item: Any) -> str:
        """Calls it with an item; the result."""
        if not self.has_files:
            self.settings.update(self.arguments.files(os.environ, self.of_job.names))
            self.has_files = True
        if self.items is not None:
            item = self.items.item(item)
        if not self.of_job.spreads:
            result = self.run(item, **self.settings)
        elif self.of_job is self.callee and isinstance(item, list):
            result = self.run(*item, **self.settings)
        else:
            given = item if isinstance(item, dict) else dict(zip(self.of_job.positions, item))
            names, first = {**given, **self.settings}, []
            # By position as far as can be: a wrapper may take them only so.
            for name in self.callee.spreadable:
                if name not in names:
                    break
                first.append(names.pop(name))
            result = self.run(*first, **names)
        wanted = marks_of(self.function).output_type
        if wanted == JSON or (self.items is None and self.of_job is self.callee and wanted is None):
            # Compact, and a line: JSON escapes line breaks.
            return encode(result, most_depth=ITEM_DEPTH)
        found = encoded(result, self.function, self.allow_pickle, ITEM_DEPTH)
        if found.media_type == JSON:
            return bytes(found.parts[0]).decode()
        if self.spool is None:
            # No item's file is called so: after the dot that has the item's number.
            self.spool = Spool(f"{os.environ['WINDLASS_OUTPUT']}.results-{os.getpid()}")
        return self.spool.line(found)

    def keep_exception(self, error: Exception) -> None:
        """Leaves it as the output of the attempt, which is told to have failed: its caller may raise it again."""
        # One that cannot be pickled is told as text all the same.
        with contextlib.suppress(Exception):
            write_pickle(error, os.environ)

    def whole(self, _: Any) -> str:
        """Calls it with the whole input, and writes the result."""
        given = self.arguments.whole(os.environ)
        first = [given.pop(self.callee.first)] if self.callee.first in given else []
        try:
            result = self.run(*first, **given)
        except Exception as error:
            if self.allow_pickle and not isinstance(error, Refused):
                self.keep_exception(error)
            raise
        write_result(result, self.function, os.environ, self.allow_pickle)
        return "null"


def serve(target: str, tasks: IO[bytes], results: IO[bytes], allow_pickle: bool) -> int:
    """Answers the parent until it says no more; the exit status. BrokenPipeError when the parent has gone."""

    def fail(message: str, kind: bytes = b"!") -> int:
        flush_printed()  # Whoever hears this ends the process.
        results.write(kind + json.dumps(message).encode() + b"\n")
        results.flush()
        return FAILED

    sys.breakpointhook = no_debugger
    distrust_young_bytecode()
    imported = Imported()
    try:
        with OneProcess():
            function = find(target)
    except NotFound as error:
        return fail(f"cannot import {target}: {error}", b"^")
    except (Exception, SystemExit) as error:
        return fail(f"cannot import {target}\n{explained(error)}", b"!" if is_passing(error) else b"^")
    try:
        caller = Caller(function, imported, tasks, results, allow_pickle)
        for line in tasks:
            caller.answer(line)
    except Unfit as error:
        return fail(f"cannot call {target}: {error}", b"^")
    except MemoryError as error:
        return fail(explained(error))
    except Unwritten as error:
        return fail(str(error))
    return 0
