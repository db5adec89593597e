"""One job of `windlass.worker`: its input read, its items called, its result written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from windlass._archive import ITEMS, count
from windlass._codecs import JSON, PICKLE, Undecodable, essence, is_json, matches
from windlass._context import Progress, files_of
from windlass._ends import FAILED, FUNCTION_ERROR, BadInput, Unwritten
from windlass._output import write_archive, write_file
from windlass._pool import Outcomes, Pool, Work
from windlass._process import Failed, Raised, Target
from windlass._signature import ITEM_FIELDS, KEEP_GOING, SPREAD, Callee, check_item, check_names, spread, without_items

# A longer input is that of one call: it is not read to see whether it is that of several.
MOST_SPREAD_BYTES = 16 << 20


class Manner(NamedTuple):
    """What the command line says about all jobs."""

    target: Target
    # Items handed to a process at once; None for a number that is chosen by what is left.
    chunk: int | None
    # An exception of the function ends the attempt and not the job.
    retry_exceptions: bool


def read_input(path: str) -> dict[str, Any]:
    """An input that is worked item by item."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except RecursionError as error:
        raise BadInput("its JSON is nested too deep") from error
    except ValueError as error:
        raise BadInput(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("must be an object with the list `items`")
    return value


def keep_computed(outcomes: Outcomes, job: Mapping[str, str]) -> None:
    """Leaves what was computed before an item failed as the output of the attempt, which is told to have failed."""
    try:
        if outcomes.has_other:
            write_archive(outcomes.results, outcomes.failed(True), job)
        else:
            write_file(job["WINDLASS_OUTPUT"], outcomes.pieces(is_partial=True))
    except Unwritten as error:
        # The failure itself says more.
        print(f"what was computed before is not kept: {error}", file=sys.stderr)


def run(
    pool: Pool, manner: Manner, job: Mapping[str, str], variables: Mapping[str, str] | None = None
) -> list[bytes] | None:
    """Does a job, told by the variables of a worker, and returns its result in pieces; None for one that is written.

    With `variables` for the function, it is to be settled.
    """
    callee = pool.await_ready()
    value = spread_input(callee, job)
    is_spread = value is not None
    if value is not None:
        pool.size(int(job["WINDLASS_PARALLELISM"]))
        callee = spread(callee, value.pop(SPREAD), {*value, *files_of(job)} - {*ITEM_FIELDS})
    elif not is_whole(callee, manner, job):
        value = read_input(job["WINDLASS_INPUT"])
    if value is None or is_one_call(callee, value, files_of(job)):
        # Its process tells the progress, reads the input and writes the result.
        pool.size(1)
        pool.map(Work([None], {}, None, Outcomes(1, False), variables, is_whole=True), Progress(None))
        return None
    work = work_of(callee, manner, job, value, is_spread)._replace(variables=variables)
    try:
        pool.map(work, Progress(job.get("WINDLASS_PROGRESS")))
    except (BadInput, Raised):
        # An attempt that is made again computes all of it again.
        if work.outcomes.errors and not manner.retry_exceptions:
            keep_computed(work.outcomes, job)
        raise
    if not work.outcomes.has_other:
        return work.outcomes.pieces()
    try:
        write_archive(work.outcomes.results, work.outcomes.failed(False), job)
    except Unwritten as error:
        raise Failed(str(error)) from None
    return None


def spread_input(callee: Callee, job: Mapping[str, str]) -> dict[str, Any] | None:
    """The input of a job that says how many arguments are in each of its items; None for another."""
    is_own = callee.takes_more or SPREAD in (*callee.names, *callee.positions)
    if is_own or callee.input_types or not callee.spreadable or not is_json(job.get("WINDLASS_INPUT_TYPE") or JSON):
        return None
    with open(job["WINDLASS_INPUT"], "rb") as file:
        data = file.read(MOST_SPREAD_BYTES + 1)
    has_items = ITEMS in files_of(job) or f'"{ITEMS}"'.encode() in data
    if len(data) > MOST_SPREAD_BYTES or f'"{SPREAD}"'.encode() not in data or not has_items:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None  # Whoever reads it says so.
    is_spread = isinstance(value, dict) and SPREAD in value and (ITEMS in value or ITEMS in files_of(job))
    return value if is_spread else None


def is_whole(callee: Callee, manner: Manner, job: Mapping[str, str]) -> bool:
    """Whether the function is called once, with the whole input. `BadInput` for a type that it does not take."""
    media_type = job.get("WINDLASS_INPUT_TYPE") or JSON
    if essence(media_type) == PICKLE and not manner.target.allow_pickle:
        raise BadInput(f"{PICKLE} is not taken: `--pickle` before the function's name would allow it")
    if callee.input_types and not any(matches(media_type, wanted) for wanted in callee.input_types):
        raise BadInput(f"{callee.shown} takes an input of the type {' or '.join(callee.input_types)}, not {media_type}")
    if not callee.by_item or not is_json(media_type):
        return True
    # A file `items` is the argument of that name, unless the input says that it has the items of several calls.
    return callee.first in files_of(job) and not (
        callee.first == ITEMS and KEEP_GOING in read_input(job["WINDLASS_INPUT"])
    )


def is_one_call(callee: Callee, value: dict[str, Any], files: Iterable[str]) -> bool:
    """Whether an input for a function of one item has no items, and is its arguments by name."""
    if "items" in value or KEEP_GOING in value or not callee.may_be_once:
        return False
    given = {*value, *files}
    if callee.first not in given:
        return False
    return all(name in given for name in callee.required)


def work_of(
    callee: Callee, manner: Manner, job: Mapping[str, str], value: dict[str, Any], is_spread: bool = False
) -> Work:
    """The items of a job, and what each call gets beside its item. `BadInput` for what is not as it should be."""
    items, keep_going = value.get("items"), value.get(KEEP_GOING, False)
    arguments = {name: given for name, given in value.items() if name not in ITEM_FIELDS}
    given_files = files_of(job)
    files = [name for name in given_files if name in callee.names]
    for name in files:
        if name in arguments:
            raise BadInput(f"/{name} is in the input, and there is a file of that name as well")
    archive = given_files.get(ITEMS) if "items" not in value else None
    if archive is not None:
        try:
            members, columns = count(archive), len(callee.positions) if is_spread else 1
            if members % columns:
                raise BadInput(f"the file {ITEMS!r} has {members} members, and {columns} for each item")
            items = list(range(members // columns))
        except Undecodable as error:
            raise BadInput(f"the file {ITEMS!r}: {error}") from error
    elif "items" not in value:
        raise BadInput(without_items(callee, {*value, *files}))
    check_names(callee, [*arguments, *files])
    if not isinstance(items, list):
        raise BadInput("/items must be a list")
    if not isinstance(keep_going, bool):
        raise BadInput("/keepGoing must be true or false")
    if callee.spreads and archive is None:
        for number, item in enumerate(items):
            check_item(callee, number, item)
    outcomes = Outcomes(len(items), keep_going and not manner.retry_exceptions)
    return Work(
        items,
        arguments,
        manner.chunk,
        outcomes,
        None,
        archive=None if archive is None else str(archive),
        positions=callee.positions if is_spread else None,
    )


def say_bad_input(error: BadInput) -> None:
    """Says it where the supervisor looks for it."""
    print(f"bad input: {error}", file=sys.stderr, flush=True)


def exit_status(error: Failed, manner: Manner) -> int:
    """The exit status of an attempt that fails with this error."""
    return FUNCTION_ERROR if isinstance(error, Raised) and not manner.retry_exceptions else FAILED


def say_failed(error: Exception) -> None:
    """Says it where the supervisor looks for it."""
    print(str(error).rstrip(), file=sys.stderr, flush=True)
