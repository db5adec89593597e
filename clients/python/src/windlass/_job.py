"""One job of `windlass.worker`: its input read, its items called, its result written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from windlass._pool import Errors, Pool, Progress


class BadInput(Exception):
    """The input can never work; retrying is pointless."""


class Manner(NamedTuple):
    """What the command line says about all jobs."""

    target: str
    # Items handed to a process at once; None for a number that is chosen by what is left.
    chunk: int | None
    # An exception of the function ends the attempt and not the job.
    retry_exceptions: bool


def read_input(path: str) -> tuple[list[Any], bool]:
    """The items of the input, and whether to keep going when one fails."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except ValueError as error:
        raise BadInput(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("must be an object with the list `items`")
    for name in value:
        if name not in ("items", "keepGoing"):
            raise BadInput(f"unknown field at /{name}; there is `items`, and `keepGoing`")
    items, keep_going = value.get("items"), value.get("keepGoing", False)
    if not isinstance(items, list):
        raise BadInput("/items must be a list")
    if not isinstance(keep_going, bool):
        raise BadInput("/keepGoing must be true or false")
    return items, keep_going


def whole(results: list[bytes], errors: Errors | None) -> list[bytes]:
    """The result of a job, in pieces."""
    parts = [b'{"results":[', b",".join(results), b"]"]
    if errors is not None:
        errors.listed.sort(key=lambda error: error["item"])
        parts += [b',"errors":', json.dumps(errors.listed, separators=(",", ":")).encode()]
    return [*parts, b"}\n"]


def write(path: str, result: list[bytes]) -> None:
    """Next to its place first, then renamed: half a result is never taken for one."""
    with open(path + ".partial", "wb") as file:
        file.writelines(result)
    os.replace(path + ".partial", path)


def run(pool: Pool, manner: Manner, job: Mapping[str, str], variables: Mapping[str, str] | None = None) -> list[bytes]:
    """Does a job, told by the variables of a worker, and returns its result in pieces.

    With `variables` for the function, it is to be settled.
    """
    items, keep_going = read_input(job["WINDLASS_INPUT"])
    errors = Errors() if keep_going and not manner.retry_exceptions else None
    with Progress(job.get("WINDLASS_PROGRESS"), len(items)) as progress:
        results = pool.map(items, progress, manner.chunk, errors, variables)
    return whole(results, errors)


def say_bad_input(error: BadInput) -> None:
    """Says it where the supervisor looks for it."""
    print(f"bad input: {error}", file=sys.stderr, flush=True)


def say_failed(error: Exception) -> None:
    """Says it where the supervisor looks for it."""
    print(str(error).rstrip(), file=sys.stderr, flush=True)
