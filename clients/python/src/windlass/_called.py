"""A process of the pool: it imports the function and calls it, one item after another.

What is said through the pipes, a line each. To the process:

- `j` and an object: a job begins, told by these environment variables. Only where there is another job after it.
- flags and a list: the items to call the function with. `k` keeps going when one fails, else the rest of the list is
  dropped; `c` asks for a check after them, of what the job has left in the process.

From the process:

- `+`: the function is imported.
- for each item its result as JSON; or `?` and an object with `type`, `message` and `traceback`, when the function has
  raised or has returned what is no JSON.
- `.` and a text: what the job has left, after a check; empty for nothing.
- `!` and a text: the process cannot go on.
"""

from __future__ import annotations

import bdb
import contextlib
import contextvars
import difflib
import importlib
import json
import pkgutil
import sys
import time
import traceback
from collections.abc import Iterable
from typing import IO, Any, Callable, NoReturn

from windlass._ends import FAILED
from windlass._json import NoJson, encode
from windlass._left import Before

# At most as long may a result wait in a process for others to go with, in seconds.
FLUSH_SECONDS = 0.05


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


class Caller:
    """Calls the function for the parent's items."""

    def __init__(self, function: Callable[[Any], Any], results: IO[bytes]) -> None:
        self.function, self.results = function, results
        self.flushed = time.monotonic()
        self.before = Before()
        # What a job sets of it, such as the precision of `decimal`, is gone with the job.
        self.context = contextvars.copy_context()
        self.say("+")

    def say(self, text: str) -> None:
        """Says a line now."""
        self.results.write(text.encode() + b"\n")
        self.flush()

    def flush(self) -> None:
        """Sends what was written."""
        self.results.flush()
        self.flushed = time.monotonic()

    def answer(self, line: bytes) -> None:
        """Does what a line says."""
        if line.startswith(b"j"):
            self.before.begin(json.loads(line[1:]))
            self.context = contextvars.copy_context()
            return
        flags, bracket, items = line.partition(b"[")
        self.call(json.loads(bracket + items), b"k" in flags)
        if b"c" in flags:
            # Now, and not at some line's end: what is printed is of this job.
            for stream in (sys.stdout, sys.stderr):
                # One that the function has closed or replaced is found by the check.
                with contextlib.suppress(Exception):
                    stream.flush()
            self.say("." + json.dumps(self.before.left()))

    def call(self, items: list[Any], keep_going: bool) -> None:
        """Says the result of each item."""
        for item in items:
            try:
                # Compact, and a line: JSON escapes line breaks.
                text = encode(self.context.run(self.function, item))
            except MemoryError:
                raise
            except NoJson as error:
                text = failed(error, str(error), f"its result cannot be given back: {error}")
            except Exception as error:
                text = failed(error, str(error), explained(error))
            self.results.write(text.encode())
            self.results.write(b"\n")
            # Whoever waits may give up at an error.
            if time.monotonic() - self.flushed >= FLUSH_SECONDS or text.startswith("?"):
                self.flush()
            if text.startswith("?") and not keep_going:
                break
        self.flush()


def failed(error: Exception, message: str, text: str) -> str:
    """The line of an item that has failed."""
    return "?" + json.dumps({"type": type(error).__name__, "message": message, "traceback": text})


def serve(target: str, tasks: IO[bytes], results: IO[bytes]) -> int:
    """Answers the parent until it says no more; the exit status. BrokenPipeError when the parent has gone."""

    def fail(message: str) -> int:
        results.write(b"!" + json.dumps(message).encode() + b"\n")
        results.flush()
        return FAILED

    sys.breakpointhook = no_debugger
    try:
        function = find(target)
    except NotFound as error:
        return fail(f"cannot import {target}: {error}")
    except Exception:
        return fail(f"cannot import {target}\n{traceback.format_exc()}")
    try:
        caller = Caller(function, results)
        for line in tasks:
            caller.answer(line)
    except MemoryError as error:
        return fail(explained(error))
    return 0
