"""What is said of a call that has failed."""

from __future__ import annotations

import bdb
import json
import os
import sys
import traceback
from types import TracebackType

# The longest message, and the longest part of a traceback: what is longer is cut in its middle. The end of a traceback,
# which is what is kept of a long one, has the type of the exception as well.
MESSAGE_CHARACTERS, PART_CHARACTERS = 8 << 10, 2 << 10

# Where the code is that is called between a process's begin and the function. `asyncio` is not imported for this.
_LIBRARY = os.path.dirname(os.__file__)
ON_THE_WAY = (os.path.dirname(__file__), os.path.join(_LIBRARY, "asyncio"), os.path.join(_LIBRARY, "importlib"))


class Refused(Exception):
    """The function has raised `windlass.BadInput`."""


def plain(text: str, most: int = MESSAGE_CHARACTERS) -> str:
    """A text that can be in a result: of a bounded length, and without halves of surrogate pairs."""
    if len(text) > most:
        kept = most // 2
        text = f"{text[:kept]} [... {len(text) - 2 * kept} characters ...] {text[-kept:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def message_of(error: BaseException) -> str:
    """What an exception says. Its own `__str__` may raise another."""
    try:
        return plain(str(error))
    except Exception:
        return "<str() failed>"


def explained(error: BaseException) -> str:
    """The traceback, with a hint where the last line says too little."""
    hint = ""
    if isinstance(error, bdb.BdbQuit) or (isinstance(error, EOFError) and "reading a line" in message_of(error)):
        hint = "there is no terminal here: a function can neither be debugged by pdb nor ask by input()\n"
    if isinstance(error, (AttributeError, ImportError)):
        hint = _hiding(message_of(error))
    lines = traceback.format_exception(type(error), error, _own(error.__traceback__, isinstance(error, SyntaxError)))
    return "".join(plain(line, PART_CHARACTERS) for line in lines) + hint


def _own(trace: TracebackType | None, is_complete: bool) -> TracebackType | None:
    """The traceback from the function's own code on: without our calls, and those of what imports or awaits it."""
    own = trace
    while own is not None and _is_on_the_way(own.tb_frame.f_code.co_filename):
        own = own.tb_next
    # Of a module that is no Python, the place is in the error itself.
    return own or (None if is_complete else trace)


def _is_on_the_way(file: str) -> bool:
    return file.startswith("<frozen importlib.") or os.path.dirname(file) in ON_THE_WAY


def _hiding(message: str) -> str:
    """Which file of the function's is in the place of a module of Python that a message is about, as a line."""
    for name in getattr(sys, "stdlib_module_names", ()):
        path = getattr(sys.modules.get(name), "__file__", None)
        if not isinstance(path, str) or path.startswith(f"{_LIBRARY}{os.sep}"):
            continue
        # An attribute of an object may have the same name.
        if path in message or f"module '{name}'" in message or f"'{name}' is not a package" in message:
            return f"{path} hides Python's own module {name}: give it another name\n"
    return ""


def line_of(kind: type[BaseException], message: str, text: str, **more: bool) -> str:
    """The line of an item that has failed."""
    return "?" + json.dumps({"type": kind.__name__, "message": message, "traceback": text, **more})


def line_of_refusal(message: str) -> str:
    """The line of a call for which the job does not give what it needs."""
    return "~" + json.dumps(plain(message))
