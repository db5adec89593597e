"""Items of a function of `windlass.worker`, as many to a job as one input can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from windlass._json import NoJson
from windlass._protocol import encode
from windlass.models import Function

# A server takes an input of 128 KiB of compact JSON; some are left for what is around the items, and for characters
# that it writes longer than we do.
BATCH_BYTES = 120 * 1024


def batches(items: Iterator[Any], at_most: int | None) -> Iterator[list[Any]]:
    """Lists of items, in order: as many as one input can hold, and not more than `at_most`."""
    batch: list[Any] = []
    size = 0
    for number, item in enumerate(items):
        try:
            more = len(encode(item)) + 1
        except NoJson as error:
            raise NoJson(f"item {number}: {error}") from error
        if batch and (size + more > BATCH_BYTES or (at_most is not None and len(batch) >= at_most)):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch


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
