"""How a result is written: its bytes, and of which media type it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from windlass import _codecs as codecs
from windlass._ends import Unwritten
from windlass._json import MAX_DEPTH, NoJson
from windlass._json import encode as encode_json
from windlass._signature import marks_of


def write_file(path: str, result: Iterable[bytes]) -> None:
    """Next to its place first, then renamed: half a result is never taken for one. `Unwritten` when it cannot be."""
    try:
        with open(path + ".partial", "wb") as file:
            file.writelines(result)
        os.replace(path + ".partial", path)
    except OSError as error:
        raise Unwritten(f"the result cannot be written: {error}") from error


def write_result(result: Any, function: Callable[..., Any], job: Mapping[str, str], allow_pickle: bool) -> None:
    """The result and its media type, each whole or not at all. `NoJson` when it cannot be given back."""
    wanted = marks_of(function).output_type
    encoded = codecs.encode_pickle(result) if wanted == codecs.PICKLE and allow_pickle else codecs.encode(result)
    if encoded is None:
        try:
            encoded = codecs.Encoded(codecs.JSON, [encode_json(result, most_depth=MAX_DEPTH).encode() + b"\n"])
        except NoJson:
            if not allow_pickle:
                raise
            encoded = codecs.encode_pickle(result)
    media_type = encoded.media_type
    if media_type == codecs.BYTES:
        media_type = wanted or media_type
    _write(encoded, media_type, job)


def write_pickle(result: Any, job: Mapping[str, str]) -> None:
    """The result, pickled whatever it is."""
    encoded = codecs.encode_pickle(result)
    _write(encoded, encoded.media_type, job)


def _write(encoded: codecs.Encoded, media_type: str, job: Mapping[str, str]) -> None:
    write_file(job["WINDLASS_OUTPUT"], encoded.pieces())
    if type_path := job.get("WINDLASS_OUTPUT_TYPE"):
        try:
            Path(type_path).write_text(media_type + "\n", encoding="ascii")
        except OSError as error:
            raise Unwritten(f"the type of the result cannot be written: {error}") from error
