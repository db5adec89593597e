"""What a job is given beside JSON: bytes, files, arrays and tables. They are sent before the job that names them."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

from windlass import errors
from windlass._codecs import BYTES, JSON, PIECE_BYTES, Encoded, encode
from windlass._json import encode as encode_json

# What is smaller is sent without asking whether the server has it: the question would take as long.
ASK_BYTES = 64 * 1024

# An input that can be read but once is kept in memory up to this size, and then in a temporary file.
SPOOL_BYTES = 1 << 20


# The most bytes of an input that is sent in the job itself, by the server's own rule.
INLINE_BYTES = 128 << 10

# What takes seconds as JSON, and a fraction of one as an array.
LARGE_JSON_BYTES = 8 << 20

logger = logging.getLogger("windlass")


class Data:
    """Bytes that can be read any number of times, with their media type and digest."""

    def __init__(self, value: Any, content_type: str | None) -> None:
        self.encoded: Encoded | None = None
        self.path: str | None = None
        self.file: IO[bytes] | None = None
        self.begin = 0
        guessed = BYTES
        if isinstance(value, os.PathLike):
            self.path = os.fspath(value)
            guessed = mimetypes.guess_type(self.path)[0] or BYTES
        elif callable(getattr(value, "read", None)):
            self.file = _readable_again(value)
            self.begin = self.file.tell()
            guessed = told_type(value)
        else:
            self.encoded = encode(value)
            if self.encoded is None:
                kind = type(value).__name__
                if isinstance(value, dict) and _is_mixed(value):
                    kind = "dict of other values than arrays"
                raise TypeError(
                    f"data is bytes, a pathlib.Path, a binary file, an array or a table, and no {kind}: "
                    "what is JSON is given as the input"
                )
            guessed = self.encoded.media_type
        self.media_type = content_type or guessed
        digest, self.size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            self.size += len(piece)
        self.sha256 = digest.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece, from their begin."""
        if self.encoded is not None:
            yield from self.encoded.pieces()
        elif self.path is not None:
            with open(self.path, "rb") as file:
                yield from iter(lambda: file.read(PIECE_BYTES), b"")
        elif self.file is not None:
            self.file.seek(self.begin)
            yield from iter(lambda: piece_of(self.file.read(PIECE_BYTES)), b"")  # type: ignore[union-attr]

    def reference(self) -> dict[str, Any]:
        """How a job names it."""
        return {"sha256": self.sha256, "bytes": self.size, "mediaType": self.media_type}


def _is_mixed(value: dict[Any, Any]) -> bool:
    """Whether arrays are in it, and other values."""
    arrays = [type(each).__name__ == "ndarray" for each in value.values()]
    return any(arrays) and not all(arrays)


def piece_of(piece: Any) -> bytes:
    """What was read, if it is bytes."""
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)
    if not isinstance(piece, bytes):
        kind = type(piece).__name__
        raise TypeError(f"data is read as bytes, and not as {kind}: a file is opened for bytes by open(path, 'rb')")
    return piece


def told_type(file: Any) -> str:
    """The media type of an uploaded file of a web framework, or by the file's name."""
    told = getattr(file, "mimetype", None) or getattr(file, "content_type", None)
    name = getattr(file, "filename", None) or getattr(file, "name", None)
    if isinstance(told, str) and told:
        return told
    return (mimetypes.guess_type(name)[0] if isinstance(name, str) else None) or BYTES


def _readable_again(file: Any) -> Any:
    seekable = getattr(file, "seekable", None)
    if callable(seekable) and seekable():
        return file
    spooled = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
    for piece in iter(lambda: piece_of(file.read(PIECE_BYTES)), b""):
        spooled.write(piece)
    spooled.seek(0)
    return spooled


class Given(NamedTuple):
    """A submission: its body, and what the server must have before."""

    spec: dict[str, Any]
    data: list[Data]

    def is_missing(self, error: errors.Invalid) -> bool:
        """Whether a refusal says that the server does not have it any more."""
        places = [problem.pointer for problem in error.problems]
        return bool(self.data) and any(place.endswith("/sha256") for place in places)


def with_data(
    spec: dict[str, Any], data: Any = None, content_type: str | None = None, files: Mapping[str, Any] | None = None
) -> Given:
    """A submission with data: reads it for its digest, once. An input that is too large for a job is data as well."""
    if data is None and content_type is not None:
        raise TypeError("content_type is that of data, and there is none")
    if data is not None and spec["input"] is not None:
        raise TypeError("a job has either an input or data: give the rest as files, or by the function's defaults")
    given = spec["input"]
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(
            f"the input is a dict, such as {{'items': [...]}} or of the function's arguments, and no "
            f"{type(given).__name__}: an array, bytes and a table are given as data"
        )
    if given is not None and len(large := encode_json(given, ensure_ascii=False).encode()) > INLINE_BYTES:
        if len(large) > LARGE_JSON_BYTES:
            logger.warning(
                "the input for %s is %d MB of JSON: arrays, bytes and tables are quicker as data or files",
                spec["function"],
                len(large) // 1_000_000,
            )
        data, content_type, spec = large, JSON, {**spec, "input": None}
    sent = []
    if data is not None:
        sent.append(Data(data, content_type))
        spec["inputBlob"] = sent[0].reference()
    for name, value in (files or {}).items():
        sent.append(Data(value, None))
        spec.setdefault("files", {})[name] = sent[-1].reference()
    if data is None and spec["input"] is None:
        spec["input"] = {}
    return Given({key: value for key, value in spec.items() if value is not None}, sent)
