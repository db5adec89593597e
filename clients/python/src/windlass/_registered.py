"""What an executor hands in, and how a call of the function itself becomes that."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Callable

from windlass import errors
from windlass._archive import ITEMS, archive
from windlass._arguments import FILE_TYPES, type_names
from windlass._batches import ARCHIVE_BYTES, MOST_ARCHIVE_BYTES, archives, batches, keeps_going, logger, maps_items
from windlass._codecs import JSON, encode, matches
from windlass._signature import ITEM_FIELDS, SPREAD, Callee, describe
from windlass.models import Function


@dataclass(frozen=True)
class Work:
    """What one job is given."""

    input: dict[str, Any] | None
    has_items: bool
    """Whether its input is a list of items, and its result one of results."""
    is_single: bool = True
    """Whether it is of one item instead of a list."""
    first: int = 0
    """The number of the first item among those of a map."""
    data: Any = None
    files: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1
    """How many items it has."""


def of_whole(item: Any) -> Work:
    """An item that is the whole input of a job."""
    return Work(item, False)


def in_list(item: Any, function: str) -> Work:
    """An item in a list of one, as JSON."""
    if type(item).__name__ == "ndarray":
        _tell_list(function)
    return Work({"items": [item]}, True)


@functools.lru_cache(maxsize=64)
def _tell_list(function: str) -> None:
    """Once for each function."""
    logger.warning(
        "an array that is handed in for %r goes as nested lists: nothing says that the function takes files",
        function,
    )


def result_of(value: Any, work: Work, function: str) -> Any:
    """What the future of this work has, by the result of its job."""
    if not work.has_items:
        return value
    results = value.get("results") if isinstance(value, dict) else None
    # Of the work: a large input is not in the job.
    if not isinstance(results, list) or len(results) != work.count:
        raise errors.WindlassError(f"the result of {function!r} has no list `results`, one for each item")
    return results[0] if work.is_single else results


def works_of(
    items: Iterator[Any], chunksize: int | None, beside: Mapping[str, Any], files: Mapping[str, Any] | None = None
) -> Iterator[Work]:
    """Jobs of as many items as one input can hold, or of `chunksize`; with what each input has beside them."""
    first = 0
    for batch in batches(items, chunksize):
        yield Work({"items": batch, **beside}, True, False, first, files=files or {}, count=len(batch))
        first += len(batch)


def _until_data(rows: Iterator[tuple[Any, ...]], data: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows before the first in which something is no JSON. That one is put into `data`."""
    for row in rows:
        if any(encode(item) is not None for item in row):
            data.append(row)
            return
        yield row


class Registered:
    """The function of a server, as far as this program has it as well."""

    def __init__(self, function: Function) -> None:
        self.name = function.metadata.name
        words = [*function.spec.command, *function.spec.args]
        targets = [word for word in words if ":" in word] if "windlass.worker" in words else []
        self.target = targets[-1] if targets else None
        self.parallelism = function.spec.parallelism
        self.has_items, self.keeps_going = maps_items(function), keeps_going(function)
        self.taken, schema = function.spec.input_types, function.spec.input_schema
        self.takes_data = self.target is not None and not schema
        self.takes_archive = (
            self.keeps_going and not schema and (not self.taken or any(matches(JSON, each) for each in self.taken))
        )
        # Results may be some times larger than their items, as floats of bytes are.
        room = max(ARCHIVE_BYTES, function.spec.max_result_bytes // 8)
        self.most_bytes = min(MOST_ARCHIVE_BYTES, room, function.spec.max_input_bytes or MOST_ARCHIVE_BYTES)

    def item_work(self, item: Any) -> Work:
        """The job of an item, without the function itself."""
        encoded = encode(item) if self.takes_data else None
        if encoded is not None and self.takes_archive:
            return replace(next(self.archives({}, {}, iter([(encoded,)]), None)), is_single=True)
        if encoded is not None and any(matches(encoded.media_type, each) for each in self.taken):
            return Work(None, False, data=encoded)
        return in_list(item, self.name)

    def item_works(
        self,
        items: Iterator[Any],
        chunksize: int | None,
        settings: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        may_be_files: bool = True,
    ) -> Iterator[Work]:
        """The jobs of a map of items. From the first that is no JSON on, they go as files, where they may."""
        beside = {**({"keepGoing": True} if self.keeps_going else {}), **(settings or {})}
        if not (self.takes_archive and may_be_files):
            yield from works_of(items, chunksize, beside, files)
            return
        rows, data, first = zip(items), list[tuple[Any, ...]](), 0
        for work in works_of((item for (item,) in _until_data(rows, data)), chunksize, beside, files):
            yield work
            first += work.count
        yield from self.archives(beside, files or {}, chain(data, rows), chunksize, first)

    def works(
        self, called: Callable[..., Any], items: tuple[Iterable[Any], ...], chunksize: int | None
    ) -> Iterator[Work]:
        """The jobs of a map of the function."""
        call, count = self.call(called), len(items)
        rows: Iterator[tuple[Any, ...]] = zip(*items)
        begin = list(islice(rows, 1))
        rows = chain(begin, rows)
        is_data = any(encode(item) is not None for row in begin for item in row)
        is_simple = call.takes_items(count) and not (is_data and call.callee.spreads)
        spread = None if is_simple or not self.takes_archive else call.spread(count)
        if is_data and self.takes_archive and (spread or (is_simple and call.takes_archive())):
            if spread is None:
                call.with_arguments((None,)).arguments()
            settings, files = call.split((spread or call).named)
            yield from self.archives({**settings, **({SPREAD: count} if spread else {})}, files, rows, chunksize)
        elif not is_data and spread:
            yield from self.spread_works(spread, rows, chunksize, count)
        elif is_data or not is_simple:
            yield from (call.with_arguments(given).work() for given in rows)
        else:
            # What it takes beside its items is checked before the first job.
            call.with_arguments((None,) * max(1, count)).arguments()
            settings, files = call.split(call.named)
            each: Iterator[Any] = map(list, rows) if call.callee.spreads else (row[0] for row in rows)
            yield from self.item_works(each, chunksize, settings, files, call.takes_archive())

    def spread_works(
        self, call: Call, rows: Iterator[tuple[Any, ...]], chunksize: int | None, count: int
    ) -> Iterator[Work]:
        """The jobs of a map whose items have so many arguments. From the first that is no JSON on, they go as files."""
        settings, files = call.split(call.named)
        beside, first = {"keepGoing": True, SPREAD: count, **settings}, 0
        data: list[tuple[Any, ...]] = []
        for work in works_of(map(list, _until_data(rows, data)), chunksize, beside, files):
            yield work
            first += work.count
        yield from self.archives({SPREAD: count, **settings}, files, chain(data, rows), chunksize, first)

    def archives(
        self,
        settings: Mapping[str, Any],
        files: Mapping[str, Any],
        rows: Iterator[tuple[Any, ...]],
        chunksize: int | None,
        first: int = 0,
    ) -> Iterator[Work]:
        """The jobs of a map of items that are no JSON: they go as they are, in a file of each job.

        Those of all items for one parameter come first, as arrays that are alike are to follow each other.
        """
        for batch in archives(rows, chunksize, self.most_bytes, first):
            file = archive(chain.from_iterable(zip(*batch)))
            given, beside = {"keepGoing": True, **settings}, {ITEMS: file, **files}
            yield Work(given, True, is_single=False, first=first, files=beside, count=len(batch))
            first += len(batch)

    def call(self, called: Callable[..., Any]) -> Call:
        """A call of it without arguments, or with those of a `functools.partial`. `TypeError` for another function."""
        given: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        while isinstance(called, functools.partial):
            given, named = called.args + given, {**called.keywords, **named}
            called = called.func
        self.check(called)
        return Call(called, describe(called), given, named)

    def check(self, called: Callable[..., Any]) -> None:
        """`TypeError`, with the reason, unless it is the server's."""
        name = getattr(called, "__qualname__", type(called).__name__)
        mine = f"{_module(called)}:{name}"
        if self.target is None:
            why = "it is no function of windlass.worker, but takes one item"
        elif getattr(called, "__name__", "") == "<lambda>":
            why = "a lambda has no name by which the server could find it"
        elif "<locals>" in name:
            why = f"{name} is defined in another function, where the server cannot find it"
        elif self.target.rpartition(":")[2] != name or not _is_same_module(self.target, mine):
            why = f"{mine} is another function"
        elif not _is_found(called, name):
            # As a wrapper by `functools.wraps` has the name of what it wraps.
            why = f"it only has that function's name, and {mine} is another object"
        else:
            return
        told = f" ({self.target})" if self.target else ""
        advice = "write submit(item) or write map(items), or give that function itself first"
        raise TypeError(f"the function is {self.name!r}{told}: {why}; {advice}")


def _module(called: Callable[..., Any]) -> str:
    module = getattr(called, "__module__", None) or "?"
    if module != "__main__":
        return str(module)
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else Path(getattr(main, "__file__", None) or "__main__").stem


def _is_found(called: Callable[..., Any], name: str) -> bool:
    """Whether it is what its name leads to in its module, as a pickle of it would need."""
    found: Any = sys.modules.get(getattr(called, "__module__", None) or "?")
    for part in name.split("."):
        found = getattr(found, part, None)
    # Each look at a method makes a new one.
    return found is called or (inspect.ismethod(called) and found == called)


def _is_same_module(target: str, mine: str) -> bool:
    """Whether both are of one module. The one may be found from a directory further up than the other."""
    one, other = target.partition(":")[0], mine.partition(":")[0]
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


@dataclass(frozen=True)
class Call:
    """A call of the server's function, as it would be here."""

    function: Callable[..., Any]
    callee: Callee
    given: tuple[Any, ...]
    named: Mapping[str, Any]

    def with_arguments(self, given: tuple[Any, ...], named: Mapping[str, Any] | None = None) -> Call:
        """The same with more arguments."""
        return Call(self.function, self.callee, self.given + given, {**self.named, **(named or {})})

    def takes_items(self, iterables: int) -> bool:
        """Whether a map of so many iterables may have several items in a job."""
        wanted = 1 if not self.callee.spreads else len(self.callee.positions)
        return self.callee.by_item and not self.given and iterables <= wanted

    def takes_archive(self) -> bool:
        """Whether a map of items may have a file of them in a job. A function that takes few types sees to them."""
        return not self.callee.input_types

    def spread(self, iterables: int) -> Call | None:
        """The same with all its arguments by their names, where a job may have several calls of it with so many more.

        None where it may not: then each call is a job.
        """
        callee, count = self.callee, len(self.given)
        taken = callee.spreadable[count : count + iterables]
        named = {**dict(zip(callee.spreadable, self.given)), **self.named}
        fields = {*ITEM_FIELDS, SPREAD} & {*callee.spreadable, *callee.names, *named}
        is_fit = len(taken) == iterables and len(named) == count + len(self.named) and not {*taken} & {*named}
        if not is_fit or callee.takes_more or callee.input_types or fields:
            return None
        # What it takes beside its items is checked before the first job.
        Call(self.function, callee, (), {**named, **dict.fromkeys(taken)}).arguments()
        return Call(self.function, callee, (), named)

    def arguments(self) -> dict[str, Any]:
        """All arguments, by their names. `TypeError` for what the function does not take."""
        signature = inspect.signature(self.function)
        bound = signature.bind(*self.given, **self.named)
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                raise TypeError(f"{self.callee.shown}: a job has no unnamed arguments beside an item")
            named.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        return named

    def work(self) -> Work:
        """The job of this call."""
        named = self.arguments()
        if len(named) == 1 and self.callee.first in named and encode(only := named[self.callee.first]) is not None:
            return Work(None, False, data=only)
        rest, data = self.split(named)
        if not data:
            return self._of_items(rest) if self.callee.by_item else Work(rest, False)
        if self.callee.by_item and self.callee.first not in data:
            return self._of_items(rest, data)
        return Work(rest, False, files=data)

    def split(self, named: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments that are JSON, and those that go as files. `TypeError` where nothing says what those are."""
        data = {name: value for name, value in named.items() if encode(value) is not None}
        rest = {name: value for name, value in named.items() if name not in data}
        types = type_names(self.function)
        for name in data:
            if types.get(name) not in ("bytes", *FILE_TYPES):
                raise TypeError(
                    f"{self.callee.shown}: {name} goes as a file, because it is no JSON and not alone: annotate it, "
                    f"as {name}: {type(data[name]).__name__}"
                )
        return rest, data

    def _of_items(self, named: dict[str, Any], files: Mapping[str, Any] | None = None) -> Work:
        settings = {name: value for name, value in named.items() if name not in self.callee.positions}
        item = {name: value for name, value in named.items() if name in self.callee.positions}
        only = item if self.callee.spreads else item[self.callee.positions[0]]
        return Work({"items": [only], **settings}, True, files=files or {})
