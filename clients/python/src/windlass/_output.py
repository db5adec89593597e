"""How a result is written: its bytes, and of which media type it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from windlass import _codecs as codecs
from windlass._ends import writing
from windlass._json import MAX_DEPTH, NoJson
from windlass._json import encode as encode_json
from windlass._signature import marks_of


def write_file(path: str, result: Iterable[bytes]) -> None:
    """Next to its place first, then renamed: half a result is never taken for one. `Unwritten` when it cannot be."""
    with writing("the result"):
        with open(path + ".partial", "wb") as file:
            file.writelines(result)
        os.replace(path + ".partial", path)


def encoded(
    result: Any, function: Callable[..., Any], allow_pickle: bool, most_depth: int = MAX_DEPTH
) -> codecs.Encoded:
    """A result with its media type. `NoJson` when it cannot be given back."""
    wanted = marks_of(function).output_type
    if wanted == codecs.PICKLE and allow_pickle:
        return codecs.encode_pickle(result)
    if (found := codecs.encode(result)) is not None:
        return found._replace(media_type=wanted) if wanted and found.media_type == codecs.BYTES else found
    try:
        return codecs.Encoded(codecs.JSON, [encode_json(result, most_depth=most_depth).encode(), b"\n"])
    except NoJson:
        if not allow_pickle:
            raise
        return codecs.encode_pickle(result)


def write_result(result: Any, function: Callable[..., Any], job: Mapping[str, str], allow_pickle: bool) -> None:
    """The result and its media type, each whole or not at all. `NoJson` when it cannot be given back."""
    _write(encoded(result, function, allow_pickle), job)


def write_pickle(result: Any, job: Mapping[str, str]) -> None:
    """The result, pickled whatever it is."""
    _write(codecs.encode_pickle(result), job)


def write_archive(results: list[bytes], failed: dict[str, Any] | None, job: Mapping[str, str]) -> None:
    """The results of items of which some are no JSON, and what is told of those that have failed."""
    from windlass._archive import ARCHIVE, write_results

    with writing("the result"):
        write_results(job["WINDLASS_OUTPUT"], results, failed)
    _write_type(ARCHIVE, job)


def _write(found: codecs.Encoded, job: Mapping[str, str]) -> None:
    write_file(job["WINDLASS_OUTPUT"], found.pieces())
    _write_type(found.media_type, job)


def _write_type(media_type: str, job: Mapping[str, str]) -> None:
    if type_path := job.get("WINDLASS_OUTPUT_TYPE"):
        with writing("the type of the result"):
            Path(type_path).write_text(media_type + "\n", encoding="ascii")
