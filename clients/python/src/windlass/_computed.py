"""What was computed of a job without a whole result."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from windlass import errors
from windlass._archive import ARCHIVE, read_results
from windlass._codecs import Undecodable, essence, is_json
from windlass.models import Job


def raise_without_result(job: Job) -> None:
    """Raises when a finished job has neither a result nor what it had computed before it failed."""
    if job.status.phase == "Cancelled":
        raise errors.JobCancelled(job)
    if job.status.phase == "Failed" and not _may_have_items(job):
        raise errors.JobFailed(job)


def _may_have_items(job: Job) -> bool:
    result = job.status.result
    return result is not None and (is_json(result.content_type) or is_archive(result.content_type))


def is_archive(media_type: str) -> bool:
    """Whether it is an archive of items' results."""
    return essence(media_type) == ARCHIVE


def raise_with_computed(job: Job, computed: bytes) -> NoReturn:
    """Raises for a job that has failed, with what it had computed before."""
    result = job.status.result
    with contextlib.suppress(ValueError, Undecodable, ModuleNotFoundError):
        of_archive = result is not None and is_archive(result.content_type)
        raise_failed_items(job, read_results(computed) if of_archive else json.loads(computed))
    raise errors.JobFailed(job)


def raise_failed_items(job: Job, value: Any) -> None:
    """Raises where the result is that of `windlass.worker`, and items have failed.

    Whoever computes with a list of results must not find a None in it.
    """
    if not isinstance(value, dict) or {*value, "notComputed"} != {"results", "errors", "notComputed"}:
        return
    results, told, missing = value["results"], value["errors"], value.get("notComputed", [])
    if not all(isinstance(each, list) for each in (results, told, missing)) or not told:
        return
    try:
        failed = {error.item: error for error in map(errors.ItemError.from_json, told)}
        without = {*failed, *missing}
        is_ours = all(results[item] is None for item in without)
    except (LookupError, TypeError, AttributeError):
        return  # of a function that calls something else so
    if is_ours:
        kept = {number: result for number, result in enumerate(results) if number not in without}
        raise errors.ItemsFailed(job, kept, tuple(failed.values()), tuple(missing))


def results_before(error: errors.ItemsFailed) -> Iterator[Any]:
    """The results of a job's items before the first that has none."""
    first_left = min([error.errors[0].item, *error.not_computed[:1]])
    return (error.results[item] for item in sorted(error.results) if item < first_left)
