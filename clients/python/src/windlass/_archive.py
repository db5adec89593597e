"""Items that are no JSON in one file, and their results in one: a zip archive with a member for each, in order.

What numpy writes as `.npz` is such an archive. The ending of a member's name says what it is: `.npy` and `.npz` are
arrays, `.arrow` and `.parquet` tables, `.json` JSON, and every other bytes. Of an archive of results, the member
without a number, `failed.json`, says which items have none and why.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from windlass._codecs import (
    ARROW,
    BYTES,
    JSON,
    NPY,
    NPZ,
    PARQUET,
    PICKLE,
    PIECE_BYTES,
    Encoded,
    Undecodable,
    decode,
    encode,
)
from windlass._ends import writing
from windlass._import_path import pythons
from windlass._json import encode as encode_json

# The name of a job's file with its items, and the media type of the archive.
ITEMS = "items"
ARCHIVE = "application/vnd.windlass.items+zip"

# What is told of items without a result, and its fields.
FAILED, FAILED_FIELDS = "failed.json", ("errors", "notComputed")

ENDINGS = {NPY: ".npy", NPZ: ".npz", ARROW: ".arrow", PARQUET: ".parquet", JSON: ".json", PICKLE: ".pickle"}
TYPES = {ending: media_type for media_type, ending in ENDINGS.items()}


def name_of(number: int, media_type: str) -> str:
    """The name of an item's member, or of its result's."""
    return f"{number}{ENDINGS.get(media_type, '.bin')}"


def type_of(name: str) -> str:
    """What a member is, by its name."""
    return TYPES.get(Path(name).suffix.lower(), BYTES)


def encode_item(value: Any) -> Encoded:
    """An item, whatever it is. `NoJson` when it cannot be given."""
    return encode(value) or Encoded(JSON, [encode_json(value, ensure_ascii=False).encode()])


class _Parts:
    """What an archive is written to, without a copy of what is in it."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.size = 0

    def write(self, part: Any) -> int:
        self.parts.append(part)
        written = memoryview(part).nbytes
        self.size += written
        return written

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        pass


def archive(items: Iterable[Encoded]) -> Encoded:
    """One file of these items."""
    sink = _Parts()
    with pythons("zipfile").ZipFile(sink, "w") as zipped:
        for number, item in enumerate(items):
            with zipped.open(name_of(number, item.media_type), "w", force_zip64=True) as member:
                for part in item.parts:
                    member.write(part)
    return Encoded(ARCHIVE, sink.parts)


class Archive:
    """The file of a job's items. It is open until it is closed."""

    def __init__(self, path: Path) -> None:
        try:
            self.zipped = pythons("zipfile").ZipFile(path)
        except (pythons("zipfile").BadZipFile, ValueError, NotImplementedError) as error:
            raise Undecodable(f"it is no zip archive of items, such as .npz: {error}") from error
        self.members = [member for member in self.zipped.infolist() if not member.is_dir()]

    def close(self) -> None:
        """Closes it."""
        self.zipped.close()

    def media_type(self, number: int) -> str:
        """What an item is."""
        return type_of(self.members[number].filename)

    def read(self, number: int) -> bytes:
        """The bytes of an item."""
        return content_of(self.zipped, self.members[number])


def content_of(zipped: Any, member: Any) -> bytes:
    """A member's bytes. `Undecodable` for what is damaged, encrypted or of another compression."""
    try:
        data: bytes = zipped.read(member)
    except Exception as error:
        # What the machine lacks has a number; what a decompressor says has none.
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise
        raise Undecodable(str(error)) from error
    return data


def count(path: Path) -> int:
    """How many items there are in a file."""
    opened = Archive(path)
    opened.close()
    return len(opened.members)


class Written:
    """A result that is no JSON: where in which file it is, and its media type. It passes a pipe as a line."""

    MARK = b"%"

    def __init__(self, line: bytes) -> None:
        self.path, self.begin, self.size, self.media_type = json.loads(line[1:])

    def pieces(self) -> Iterator[bytes]:
        """Its bytes."""
        with open(self.path, "rb") as file:
            file.seek(self.begin)
            left = self.size
            while left:
                piece = file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise OSError(f"{self.path} ends too early")
                yield piece
                left -= len(piece)


class Spool:
    """Where a process of the pool writes results that are no JSON, one after another."""

    def __init__(self, path: str) -> None:
        self.path, self.size = path, 0
        with writing("the result"):
            self.file = open(path, "wb", buffering=0)  # noqa: SIM115

    def line(self, result: Encoded) -> str:
        """Writes a result; the line that says where it is. `Unwritten` when it cannot be."""
        begin = self.size
        with writing("the result"):
            for part in result.parts:
                left = memoryview(part).cast("B")
                while left:
                    written = self.file.write(left) or 0
                    left = left[written:]
                    self.size += written
        told = [self.path, begin, self.size - begin, result.media_type]
        return Written.MARK.decode() + json.dumps(told, separators=(",", ":"))

    def close(self) -> None:
        """No more of them."""
        self.file.close()


def write_results(path: str, results: list[bytes], failed: dict[str, Any] | None) -> None:
    """Writes the archive of a job's results, as JSON or lines of `Written`; one that is not there is null.

    It is there whole or not at all. `OSError` when it cannot be written.
    """
    spools = set()
    with open(path + ".partial", "wb") as file, pythons("zipfile").ZipFile(file, "w") as zipped:
        for number, result in enumerate(results):
            written = Written(result) if result.startswith(Written.MARK) else None
            media_type = written.media_type if written else JSON
            if written:
                spools.add(written.path)
            with zipped.open(name_of(number, media_type), "w", force_zip64=True) as member:
                for piece in written.pieces() if written else [result or b"null"]:
                    member.write(piece)
        if failed:
            zipped.writestr(FAILED, json.dumps(failed, separators=(",", ":")))
    for spool in spools:
        os.unlink(spool)
    os.replace(path + ".partial", path)


def read_results(data: bytes) -> dict[str, Any]:
    """The results in an archive, in the form of those that are JSON."""
    results: list[Any] = []
    told: dict[str, Any] = {}
    try:
        with pythons("zipfile").ZipFile(io.BytesIO(data)) as zipped:
            members = zipped.infolist()
            # Nothing is compressed in it, and no member is there twice.
            if sum(member.file_size for member in members) > len(data):
                raise Undecodable("its members are larger than the archive")
            for member in members:
                content, media_type = content_of(zipped, member), type_of(member.filename)
                if member.filename == FAILED:
                    told = {name: each for name, each in json.loads(content).items() if name in FAILED_FIELDS}
                elif media_type == JSON:
                    results.append(json.loads(content))
                else:
                    results.append(decode(media_type, io.BytesIO(content)))
    except (pythons("zipfile").BadZipFile, ValueError, NotImplementedError, AttributeError) as error:
        raise Undecodable(f"it is no archive of results: {error}") from error
    return {"results": results, **told}
