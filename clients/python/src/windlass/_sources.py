"""Whether the code of a function is still what its processes have imported.

A process that serves has imported the function once. When one of the function's own files is another by the next job,
that job gets a process that imports it anew, as it would where each job has a process of its own. The function's own
files are those of all modules that it has imported but Python's, those that are installed (`site-packages`) and ours.
What is no module, such as a table that it reads, is not looked at.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping

# Of a file that may be another than what was imported. None is so.
UNSURE = [0, -1]

# What tells a file from the one that was there before: when it was written, in nanoseconds, and its bytes.
Stamp = list[int]


def stamp(path: str) -> Stamp | None:
    """What a file is now; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _others() -> tuple[str, ...]:
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(f"{directory}{os.sep}" for directory in {*installed, os.path.dirname(__file__)} if directory)


class Imported:
    """The function's own files in its process."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.began = time.time_ns()
        self.others = _others()
        self.modules = 0

    def new(self) -> dict[str, Stamp]:
        """Those that were imported since this was called before."""
        if len(sys.modules) == self.modules:
            return {}
        self.modules = len(sys.modules)
        found = {}
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or path in self.known:
                continue
            self.known.add(path)
            if not path.startswith(self.others) and (now := stamp(path)) is not None:
                # Of one that was written meanwhile, the content before may be what was imported.
                is_sure = not self.began <= now[0] <= time.time_ns()
                found[os.path.abspath(path)] = now if is_sure else UNSURE
        return found


def changed(imported: Iterable[Mapping[str, Stamp]]) -> list[str | None]:
    """For each process, of whose files this is what they were, one that is another now."""
    now: dict[str, Stamp | None] = {}

    def is_other(path: str, was: Stamp) -> bool:
        if path not in now:
            now[path] = stamp(path)
        return now[path] != was

    return [next((path for path, was in files.items() if is_other(path, was)), None) for files in imported]
