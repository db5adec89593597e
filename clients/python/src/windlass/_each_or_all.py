"""A function that is called with each item and may want all of them at once: what says so, and what is told then.

It is called as `multiprocessing.Pool.map` calls it, whatever its parameter is named: an item may be a list itself.
"""

from __future__ import annotations

import re
from typing import Any, Callable

from windlass._arguments import type_names
from windlass._signature import Callee, describe

# Types of many, as an annotation names them without what is in brackets.
MANY = {
    *("list", "tuple", "set", "frozenset", "List", "Tuple", "Set", "FrozenSet", "deque"),
    *("Sequence", "MutableSequence", "Collection", "Iterable", "Iterator"),
    *("ndarray", "NDArray", "ArrayLike", "Array", "Tensor", "Series", "Index", "DataFrame", "Table"),
}
# The last word of a name for many that is no plural, and plurals that name one thing.
COLLECTIVE = {"array", "batch", "chunk", "collection", "data", "dataset", "list", "lst", "sequence", "vector"}
ONE_THING = {
    *("args", "kwargs", "options", "params", "parameters", "settings"),
    *("bias", "bytes", "canvas", "gas", "lens", "news"),
    *("days", "hours", "minutes", "seconds", "secs", "milliseconds", "ms", "ns"),
}
# Endings of words that are no plurals: class, status, axis.
NO_PLURAL = ("ss", "us", "is")


def wants_all(called: Callable[..., Any], callee: Callee) -> bool:
    """Whether the parameter that gets each item reads as if it got all. Its annotation says so, or else its name."""
    if not callee.by_item or callee.spreads or not callee.may_be_once or callee.first is None:
        return False
    annotated = type_names(called).get(callee.first, "")
    if annotated and annotated not in ("_empty", "Any", "object"):
        return annotated in MANY
    word = re.split("_+", callee.first.strip("_0123456789"))[-1].lower()
    if word in COLLECTIVE:
        return True
    return len(word) > 1 and word.endswith("s") and word not in ONE_THING and not word.endswith(NO_PLURAL)


def how_called(called: Callable[..., Any]) -> str:
    """How a job calls the function, in one line. `Unfit` when none can."""
    callee = describe(called)
    if not callee.by_item:
        return f"{callee.shown} is called once, with the whole input"
    said = f"{callee.shown} is called with each of the input's `items`"
    return f"{said}; {_other_way(callee)}" if wants_all(called, callee) else said


def hint(called: Callable[..., Any], callee: Callee, item: Any, error: BaseException) -> str:
    """What may explain an exception of a call with an item, as a line; or nothing."""
    # Not a list: as by `for`, `len` or `mean` of a number.
    if not isinstance(error, (TypeError, AttributeError)) or isinstance(item, list) or not wants_all(called, callee):
        return ""
    return f"{callee.shown} is called with each of the input's `items`, and got one of them; {_other_way(callee)}\n"


def _other_way(callee: Callee) -> str:
    whole = "@windlass.function(items=False) has it called once with all"
    return whole if callee.first == "items" else f'once with all by {{"{callee.first}": [...]}}, or always: {whole}'
