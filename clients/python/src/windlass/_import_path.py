"""Where modules are looked for: Python's own for the worker, and what hides them for the function.

The directory of a function comes before Python's own, and may have a `json.py` or `signal.py`. That is for the function
and what it imports, as in every program. The worker needs the modules of these names themselves.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys

_LIBRARY = os.path.dirname(os.__file__)


class PythonsOwn:
    """`with` it no directory before Python's own is looked at.

    What was imported then, and is hidden otherwise, is forgotten afterwards. Whoever has imported it keeps it.
    """

    def __enter__(self) -> None:
        self.known = set(sys.modules)
        self.before = sys.path[: sys.path.index(_LIBRARY)] if _LIBRARY in sys.path else []
        del sys.path[: len(self.before)]

    def __exit__(self, *_: object) -> None:
        sys.path[:0] = self.before
        # Those that are in Python itself come before all directories.
        names = {name for name in sys.modules if "." not in name} - self.known - set(sys.builtin_module_names)
        hidden = {name for name in names & _names_in(self.before) if _is_module(name, self.before)}
        for name in list(sys.modules):
            if name.partition(".")[0] in hidden:
                del sys.modules[name]


def _names_in(directories: list[str]) -> set[str]:
    """What may be modules there, to ask for few of them."""
    found: set[str] = set()
    for directory in directories:
        try:  # noqa: SIM105 - the fewer modules, the better
            found.update(entry.partition(".")[0] for entry in os.listdir(directory or os.curdir))
        except OSError:
            pass  # Such as the archive of Python's modules, which few have.
    return found


def _is_module(name: str, directories: list[str]) -> bool:
    found = importlib.machinery.PathFinder.find_spec(name, directories)
    # A directory without `__init__.py` comes after all others.
    return found is not None and found.origin is not None
