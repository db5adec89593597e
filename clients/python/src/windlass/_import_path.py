"""Where modules are looked for: Python's own for the worker, and what hides them for the function.

The directory of a function comes before Python's own, and may have a `json.py` or `signal.py`. That is for the function
and what it imports, as in every program. The worker needs the modules of these names themselves.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from types import ModuleType

_LIBRARY = os.path.dirname(os.__file__)


class PythonsOwn:
    """`with` it no directory before Python's own is looked at, nor what was imported from there in place of Python's.

    What was imported then, and is hidden otherwise, is forgotten afterwards. Whoever has imported it keeps it.
    """

    def __enter__(self) -> None:
        self.before = sys.path[: sys.path.index(_LIBRARY)] if _LIBRARY in sys.path else []
        del sys.path[: len(self.before)]
        loaded = _names_in(self.before) & set(sys.modules) - set(sys.builtin_module_names)
        hiding = {name for name in loaded if _is_in_place_of_pythons(name)}
        self.aside = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in hiding}
        for name in self.aside:
            del sys.modules[name]
        self.known = set(sys.modules)

    def __exit__(self, *_: object) -> None:
        sys.path[:0] = self.before
        # Those that are in Python itself come before all directories.
        names = {name for name in sys.modules if "." not in name} - self.known - set(sys.builtin_module_names)
        hidden = {name for name in names & _names_in(self.before) if _is_module(name, self.before)}
        for name in list(sys.modules):
            if name.partition(".")[0] in hidden:
                del sys.modules[name]
        sys.modules.update(self.aside)


def pythons(name: str) -> ModuleType:
    """The module of Python itself of this name, whatever file of the function's is called so."""
    found = importlib.machinery.PathFinder.find_spec(name)
    if name not in sys.builtin_module_names and found is not None and not _is_pythons(found.origin):
        with PythonsOwn():
            return importlib.import_module(name)
    return importlib.import_module(name)


def _is_pythons(origin: str | None) -> bool:
    return origin is not None and origin.startswith(f"{_LIBRARY}{os.sep}")


def _is_in_place_of_pythons(name: str) -> bool:
    """Whether a module that is loaded is the function's, and Python has one of its name."""
    if _is_pythons(getattr(sys.modules[name], "__file__", None)):
        return False
    found = importlib.machinery.PathFinder.find_spec(name)
    return found is not None and _is_pythons(found.origin)


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
