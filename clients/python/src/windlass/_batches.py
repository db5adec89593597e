"""Items of a function of `windlass.worker`, as many to a job as one input can hold."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Callable

from windlass._archive import encode_item
from windlass._codecs import Encoded
from windlass._json import NoJson
from windlass._protocol import encode
from windlass.models import Function

# A server takes an input of 128 KiB of compact JSON; some are left for what is around the items, and for characters
# that it writes longer than we do.
BATCH_BYTES = 120 * 1024

# An array that is as long a list is told to be slow.
TOLD_BYTES = 64 * 1024

# A file of items is full with so many bytes, unless it has few items: then the processes of its job would have nothing
# to do. It never has more than this.
ARCHIVE_BYTES, ARCHIVE_ITEMS = 64 << 20, 32
MOST_ARCHIVE_BYTES = 512 << 20

# At most so many bytes an archive has for each of its members.
MEMBER_BYTES = 512

logger = logging.getLogger("windlass")


def batches(items: Iterator[Any], at_most: int | None) -> Iterator[list[Any]]:
    """Lists of items, in order: as many as one input can hold, and not more than `at_most`."""

    def is_full(count: int, size: int, more: int) -> bool:
        return size + more > BATCH_BYTES or (at_most is not None and count >= at_most)

    return _grouped(_as_json(items), is_full)


def archives(
    items: Iterator[tuple[Any, ...]], at_most: int | None, most_bytes: int, first: int = 0
) -> Iterator[list[tuple[Encoded, ...]]]:
    """The same of items that go as a file, each of the arguments that it has, and those encoded. `first` is the number
    of the first of them.
    """

    def is_full(count: int, size: int, more: int) -> bool:
        has_enough = size >= ARCHIVE_BYTES and count >= ARCHIVE_ITEMS if at_most is None else count >= at_most
        return has_enough or size + more > most_bytes

    return _grouped(_as_members(items, first), is_full)


def _grouped(sized: Iterator[tuple[Any, int]], is_full: Callable[[int, int, int], bool]) -> Iterator[list[Any]]:
    """Lists of items with these sizes. One is full by how many it has, their size, and that of the next."""
    batch: list[Any] = []
    size = 0
    for item, more in sized:
        if batch and is_full(len(batch), size, more):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch


def _as_json(items: Iterator[Any]) -> Iterator[tuple[Any, int]]:
    """Items with the bytes that they have as JSON."""
    is_told = False
    for number, item in enumerate(items):
        with _numbered(number):
            more = len(encode(item)) + 1
        if not is_told and more > TOLD_BYTES and type(item).__name__ == "ndarray":
            is_told = True
            logger.warning(
                "item %d is an array, and goes as a list of %d bytes: nothing says that the function takes files",
                *(number, more),
            )
        yield item, more


def _as_members(items: Iterator[tuple[Any, ...]], first: int) -> Iterator[tuple[tuple[Encoded, ...], int]]:
    """Encoded items with the bytes that they have in an archive."""
    for number, item in enumerate(items, first):
        with _numbered(number):
            encoded = tuple(map(encode_item, item))
        sizes = (memoryview(part).nbytes for each in encoded for part in each.parts)
        yield encoded, MEMBER_BYTES * len(encoded) + sum(sizes)


@contextlib.contextmanager
def _numbered(number: int) -> Iterator[None]:
    """Where an item is encoded: `NoJson` says which it is."""
    try:
        yield
    except NoJson as error:
        raise NoJson(f"item {number}: {error}") from error


def maps_items(function: Function) -> bool:
    """Whether a function is one of `windlass.worker`, or takes its input in the same form: a list `items`."""
    schema = function.spec.input_schema or {}
    required = schema.get("required")
    if isinstance(required, list) and required == ["items"]:
        return True
    return "windlass.worker" in (*function.spec.command, *function.spec.args)


def keeps_going(function: Function) -> bool:
    """Whether a function takes `keepGoing` beside its items: one of `windlass.worker`, unless its schema forbids it."""
    schema = function.spec.input_schema or {}
    is_allowed = schema.get("additionalProperties", True) is not False or "keepGoing" in schema.get("properties", {})
    return is_allowed and "windlass.worker" in (*function.spec.command, *function.spec.args)
