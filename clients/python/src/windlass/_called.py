"""A process of the pool: it imports the function and calls it, one item after another.

What is said through the pipes, a line each. To the process:

- `j` and an object: a job begins. `arguments` are those of all its calls, by name. `variables` are its environment
  variables, and null where there is no job after it.
- flags and a list: the items to call the function with. `k` keeps going when one fails, else the rest of the list is
  dropped; `c` asks for a check after them, of what the job has left in the process. `p` lets the call tell the job's
  progress. `w` is one call with the whole input, and the process reads that and writes the result itself.

From the process:

- `+` and a list: the function is imported, and this is its `windlass._callee.Callee`.
- `@` and an object: the files of its own that the function has imported, as `windlass._sources` has them.
- for each item its result as JSON; or `?` and an object with `type`, `message` and `traceback`, when the function has
  raised or has returned what is no JSON, and `refused` when it has raised `windlass.BadInput`; or `~` and a text,
  when the job does not give it what it needs. `null` for a
  whole input.
- `.` and a text: what the job has left, after a check; empty for nothing.
- `!` and a text: the process cannot go on.
"""

from __future__ import annotations

import bdb
import contextlib
import contextvars
import importlib
import json
import os
import pkgutil
import sys
import time
import traceback
from types import TracebackType
from typing import IO, Any, Callable, NoReturn

from windlass import _context
from windlass._arguments import Arguments
from windlass._callee import Unfit, describe, nearest
from windlass._ends import FAILED, BadInput
from windlass._json import NoJson, encode
from windlass._left import Before
from windlass._output import write_result
from windlass._sources import Imported

# At most as long may a result wait in a process for others to go with, in seconds.
FLUSH_SECONDS = 0.05


class Refused(Exception):
    """The function has raised `windlass.BadInput`."""


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
        modules = (known.name for known in pkgutil.iter_modules() if "." not in module)
        raise NotFound(f"{error}{nearest(error.name, modules)}") from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise NotFound(f"{error}{nearest(name, dir(found))}") from None
    if not callable(found):
        raise NotFound(f"{target} is no function but {type(found).__name__}")
    function: Callable[..., Any] = found
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
    return "".join(traceback.format_exception(type(error), error, _own(error.__traceback__))) + hint


def _own(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first call that is not ours on."""
    ours, own = os.path.dirname(__file__), trace
    while own is not None and os.path.dirname(own.tb_frame.f_code.co_filename) == ours:
        own = own.tb_next
    return own or trace


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
        self.callee = describe(function)
        self.arguments = Arguments(function, self.callee, allow_pickle)
        self.running = _context.enter(tasks.fileno())
        # Those of all calls of a job, and whether its files are among them yet.
        self.settings: dict[str, Any] = {}
        self.has_files = True
        self.flushed = time.monotonic()
        self.before = Before()
        # What a job sets of it, such as the precision of `decimal`, is gone with the job.
        self.context = contextvars.copy_context()
        self.imported = imported
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
            self.context = contextvars.copy_context()
            return
        flags, bracket, items = line.partition(b"[")
        self.call(json.loads(bracket + items), flags)
        if b"c" in flags:
            # The job is over. What it was given, such as a large file, is not what it leaves.
            self.settings = {}
            # Now, and not at some line's end: what is printed is of this job.
            for stream in (sys.stdout, sys.stderr):
                # One that the function has closed or replaced is found by the check.
                with contextlib.suppress(Exception):
                    stream.flush()
            self.tell_imported()
            self.say("." + json.dumps(self.before.left()))

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
        except MemoryError:
            raise
        except BadInput as error:
            return "~" + json.dumps(str(error))
        except Refused as error:
            return failed(BadInput(), str(error), str(error), refused=True)
        except NoJson as error:
            return failed(error, str(error), f"its result cannot be given back: {error}")
        except Exception as error:
            return failed(error, str(error), explained(error))
        finally:
            self.running.end()

    def run(self, *positions: Any, **names: Any) -> Any:
        """What the function returns."""
        try:
            return self.context.run(self.function, *positions, **names)
        except BadInput as error:
            raise Refused(str(error)) from None

    def one(self, item: Any) -> str:
        """Calls it with an item; the result."""
        if not self.has_files:
            self.settings.update(self.arguments.files(os.environ))
            self.has_files = True
        positions: Any = item if isinstance(item, list) and self.callee.spreads else []
        names = item if isinstance(item, dict) and self.callee.spreads else {}
        if not self.callee.spreads:
            positions = [item]
        # Compact, and a line: JSON escapes line breaks.
        return encode(self.run(*positions, **names, **self.settings))

    def whole(self, _: Any) -> str:
        """Calls it with the whole input, and writes the result."""
        given = self.arguments.whole(os.environ)
        first = [given.pop(self.callee.first)] if self.callee.first in given else []
        result = self.run(*first, **given)
        write_result(result, self.function, os.environ, self.allow_pickle)
        return "null"


def failed(error: Exception, message: str, text: str, **more: bool) -> str:
    """The line of an item that has failed."""
    return "?" + json.dumps({"type": type(error).__name__, "message": message, "traceback": text, **more})


def serve(target: str, tasks: IO[bytes], results: IO[bytes], allow_pickle: bool) -> int:
    """Answers the parent until it says no more; the exit status. BrokenPipeError when the parent has gone."""

    def fail(message: str) -> int:
        results.write(b"!" + json.dumps(message).encode() + b"\n")
        results.flush()
        return FAILED

    sys.breakpointhook = no_debugger
    imported = Imported()
    try:
        function = find(target)
    except NotFound as error:
        return fail(f"cannot import {target}: {error}")
    except Exception:
        return fail(f"cannot import {target}\n{traceback.format_exc()}")
    try:
        caller = Caller(function, imported, tasks, results, allow_pickle)
        for line in tasks:
            caller.answer(line)
    except Unfit as error:
        return fail(f"cannot call {target}: {error}")
    except MemoryError as error:
        return fail(explained(error))
    return 0
