"""Whether the code of a function is still what its processes have imported.

A process that serves has imported the function once. When one of the function's own files is another by the next job,
that job gets a process that imports it anew, as it would where each job has a process of its own. The function's own
files are those of all modules that it has imported but Python's, those that are installed (`site-packages`), those in
the directory for temporary files, which is emptied after each job, and ours. What is no module, such as a table that
it reads, is not looked at.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

# Of a file that may be another than what was imported. None is so.
UNSURE = [0, 0, -1]

# Directories of these names hold what is installed, wherever they are.
INSTALLED = {"site-packages", "dist-packages"}

# What Python has compiled of a file is surely of what is there now when it was written so long after the file.
YOUNG_NS = 2_000_000_000

# What tells a file from the one that was there before: its number, when it was written, in nanoseconds, and its bytes.
Stamp = list[int]


def stamp(path: str) -> Stamp | None:
    """What a file is now; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_ino, found.st_mtime_ns, found.st_size]


def _others() -> tuple[str, ...]:
    known = (os.path.dirname(os.__file__), os.path.dirname(__file__), os.environ.get("TMPDIR"))
    return tuple(f"{directory.rstrip(os.sep)}{os.sep}" for directory in known if directory)


def _file_of(module: object) -> str | None:
    # Past the module's own `__getattr__`, which may be anything, and may import it only now.
    with contextlib.suppress(Exception):
        path = object.__getattribute__(module, "__dict__").get("__file__")
        return path if isinstance(path, str) else None
    return None


def forget_compiled(path: str) -> None:
    """Removes what Python keeps of a file that has changed: it tells an old one by whole seconds only."""
    with contextlib.suppress(OSError, NotImplementedError, ValueError):
        os.unlink(importlib.util.cache_from_source(path))


def distrust_young_bytecode() -> None:
    """What Python keeps of the function's own files counts only where it was made well after they were written.

    Python compares whole seconds and sizes. What it has kept of a file may so be that of one of the same size which was
    there earlier in that second, whoever has imported it then.
    """
    others, loader = _others(), importlib.machinery.SourceFileLoader
    read = loader.get_data

    def get_data(self: Any, path: Any) -> bytes:
        if str(path).endswith(".pyc") and _is_of_function(self.path, others) and _is_young(self.path, path):
            raise FileNotFoundError(path)
        return read(self, path)

    loader.get_data = get_data  # type: ignore[method-assign]


def _is_young(source: str, compiled: str) -> bool:
    try:
        return os.stat(compiled).st_mtime_ns - os.stat(source).st_mtime_ns < YOUNG_NS
    except OSError:
        return False


def _is_of_function(path: str, others: tuple[str, ...]) -> bool:
    return not path.startswith(others) and INSTALLED.isdisjoint(path.split(os.sep))


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
            path = _file_of(module)
            if path is None or path in self.known:
                continue
            self.known.add(path)
            if _is_of_function(path, self.others) and (now := stamp(path)) is not None:
                # Of one that was written meanwhile, the content before may be what was imported.
                is_sure = not self.began <= now[1] <= time.time_ns()
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
