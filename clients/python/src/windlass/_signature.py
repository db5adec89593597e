"""How a function is called: its marks, its parameters, and what a job may give it.

What a job gives is checked here before anything is computed, so that a wrong argument is told by its name.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, TypeVar, overload

from windlass._ends import BadInput

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Beside the parameters, an input that is worked item by item has these.
KEEP_GOING = "keepGoing"
ITEM_FIELDS = ("items", KEEP_GOING)
# And this, where each item is the list of a call's first arguments: how many. A parameter of that name comes before, so
# that a function which takes any name has no such jobs.
SPREAD = "spread"


class Marks(NamedTuple):
    """What `windlass.function` says about a function."""

    items: bool | None = None
    input_types: tuple[str, ...] = ()
    output_type: str | None = None


@overload
def function(marked: _Function, /) -> _Function: ...


@overload
def function(
    *, items: bool | None = None, input_types: Iterable[str] = (), output_type: str | None = None
) -> Callable[[_Function], _Function]: ...


def function(
    marked: Any = None,
    /,
    *,
    items: bool | None = None,
    input_types: Iterable[str] = (),
    output_type: str | None = None,
) -> Any:
    """Marks a function for `windlass.worker`. It stays the function that it is, and can be called as before.

    `items` is whether it is called with each of the input's `items` or once with the whole input; without it, the
    parameters say so. `input_types` are the media types that it takes, such as `image/*`; without them, all.
    `output_type` is the media type of the bytes that it returns. Of items, results stay what they are with it.
    """
    if isinstance(input_types, str):
        raise TypeError(f"input_types is a list of media types, such as [{input_types!r}]")
    marks = Marks(items, tuple(input_types), output_type)

    def mark(one: _Function) -> _Function:
        if not callable(one):
            raise TypeError(f"windlass.function marks a function, and not {one!r}")
        one.__windlass__ = marks  # type: ignore[attr-defined]
        return one

    return mark if marked is None else mark(marked)


def marks_of(marked: Callable[..., Any]) -> Marks:
    """The marks of a function; those of none where it has none."""
    found = getattr(marked, "__windlass__", None)
    return found if isinstance(found, Marks) else Marks()


class Unfit(Exception):
    """No job could call this function."""


class Callee(NamedTuple):
    """A function as a caller has to know it. It passes a pipe as JSON, as a list."""

    shown: str
    """Its name and parameters, for a person, in one line."""
    by_item: bool
    """Whether it is called with each item of `items`."""
    spreads: bool
    """Whether an item is a list or an object of several arguments."""
    first: str | None
    """The parameter that gets an item, or an input that is no JSON object."""
    positions: list[str]
    """The parameters that an item which is a list may fill."""
    names: list[str]
    """The parameters that may be given by name, once for a job."""
    required: list[str]
    """Those of the parameters that have no default."""
    takes_more: bool
    """Whether it takes any other name as well."""
    input_types: list[str]
    """The media types that it takes; empty for all."""
    may_be_once: bool
    """Whether an input without `items` may be the arguments of one call, of a function that gets items."""
    spreadable: list[str]
    """The parameters that may be given by position, where all of them may be given by name as well, and a job may be
    several calls."""


def describe(called: Callable[..., Any]) -> Callee:
    """How a function is called. `Unfit` when it cannot be."""
    marks, name = marks_of(called), getattr(called, "__qualname__", type(called).__name__)
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        # Some functions in C do not tell.
        whole = marks.items is False
        return Callee(f"{name}(...)", not whole, False, None, [], [], [], whole, list(marks.input_types), False, [])
    # The text of a default may have several lines.
    shown = " ".join(map(str.strip, f"{name}{_without_types(signature)}".splitlines()))
    listed = list(signature.parameters.values())
    positional = [each for each in listed if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in positional if each.default is each.empty]
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise Unfit(f"{shown} is a generator, and its result is to be one value: return a list")
    takes_positions = bool(positional) or any(each.kind is each.VAR_POSITIONAL for each in listed)
    by_item = marks.items if marks.items is not None else takes_positions and len(needed) <= 1
    if by_item and not takes_positions:
        raise Unfit(f"{shown} has no parameter for an item")
    spreads = by_item and len(needed) > 1
    taken = positional if spreads else positional[:1] if by_item else []
    named = [each for each in listed if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    if not by_item and sum(each.kind is each.POSITIONAL_ONLY for each in needed) > 1:
        raise Unfit(f"{shown} has parameters that cannot be given by name")
    names = [each.name for each in named if each not in taken]
    is_unnamed = any(each.kind is each.POSITIONAL_ONLY for each in listed)
    if by_item and (clash := [each for each in names if each in ITEM_FIELDS]):
        raise Unfit(f"{shown} has a parameter {clash[0]!r}, which is a field of the input already")
    return Callee(
        shown,
        by_item,
        spreads,
        positional[0].name if positional else None,
        [each.name for each in taken],
        names,
        [each.name for each in listed if each.default is each.empty and each.kind not in _VARIABLE],
        any(each.kind is each.VAR_KEYWORD for each in listed),
        list(marks.input_types),
        by_item and marks.items is None and bool(positional),
        [each.name for each in positional if marks.items is not False and not is_unnamed],
    )


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _without_types(signature: inspect.Signature) -> inspect.Signature:
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=signature.empty)


def spread(callee: Callee, count: object, given: Iterable[str]) -> Callee:
    """How a job calls the function whose items are lists of so many arguments, beside those that are given by name."""
    told = set(given)
    left = [name for name in callee.spreadable if name not in told]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise BadInput(f"/{SPREAD} must be how many arguments are in each item")
    if count > len(left):
        raise BadInput(
            f"/{SPREAD} is {count}: {callee.shown} takes {len(left)} in an item beside what is given by name"
        )
    return spread_over(callee, left[:count])


def spread_over(callee: Callee, positions: list[str]) -> Callee:
    """The same where these parameters are in each item."""
    known = {*callee.names, *callee.spreadable}
    names = sorted(known - {*positions})
    return callee._replace(by_item=True, spreads=True, positions=positions, names=names, may_be_once=False)


def check_names(callee: Callee, given: Iterable[str]) -> None:
    """`BadInput` unless these are the parameters that a job gives by name: all that it must and no others."""
    told = set(given)
    known = {*callee.names} if callee.by_item else {*callee.names, *([callee.first] if callee.first else [])}
    for name in sorted(told - known):
        if not callee.takes_more or name in callee.positions:
            fields = " beside `items` and `keepGoing`" if callee.by_item else ""
            raise BadInput(_unknown(callee, name, known, fields))
    for name in callee.required:
        if name not in told and name not in callee.positions:
            raise BadInput(f"/{name} is missing: {callee.shown} needs it")


def _unknown(callee: Callee, name: str, known: Iterable[str], beside: str = "") -> str:
    return f"unknown field at /{name}{beside}: {callee.shown} has no such parameter{nearest(name, known)}"


def without_items(callee: Callee, given: set[str]) -> str:
    """What is wrong with an input that has these names and no `items`, for a function that gets items."""
    once = {callee.first} if callee.may_be_once and callee.first else set()
    known = {*callee.names, *ITEM_FIELDS, *once}
    unknown = sorted(given - known)
    if unknown and not callee.takes_more:
        return _unknown(callee, unknown[0], known)
    if not once:
        return f"/items is missing: {callee.shown} is called with each of them"
    missing = [name for name in (callee.first, *callee.required) if name not in given]
    return f"/items is missing, for a call with each, and /{missing[0]}, for one call of {callee.shown}"


def check_item(callee: Callee, number: int, item: Any) -> None:
    """`BadInput` unless the item has the arguments of a call, where it has several."""
    where = f"/items/{number}"
    if isinstance(item, list):
        if len(item) > len(callee.positions):
            raise BadInput(
                f"{where} has {len(item)} arguments: {callee.shown} takes {len(callee.positions)} in an item"
            )
        given = set(callee.positions[: len(item)])
    elif isinstance(item, dict):
        given = set(item)
        for name in sorted(given - {*callee.positions}):
            raise BadInput(f"{where} has {name!r}: {callee.shown} takes no such argument in an item")
    else:
        raise BadInput(f"{where} must be a list or an object with the arguments of {callee.shown}")
    for name in callee.positions:
        if name in callee.required and name not in given:
            raise BadInput(f"{where} has no {name!r}: {callee.shown} needs it")


def nearest(name: str, names: Iterable[str]) -> str:
    """What may have been meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, [known for known in names if not known.startswith("_")], 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""
