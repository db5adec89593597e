"""Items that are no JSON in one file, and their results in one: a zip archive with a member for each, in order.

What numpy writes as `.npz` is such an archive. The ending of a member's name says what it is: `.npy` and `.npz` are
arrays, `.arrow` and `.parquet` tables, `.json` JSON, and every other bytes. Of an archive of results, the member
without a number, `failed.json`, says which items have none and why.

In an archive that is written here, arrays that follow each other and have one type and shape are one member, as a
member for each costs more than a small array: `3-7.npy` is an array of five. The archive's comment tells it from
another one, whose members may be called so by chance.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Callable, NamedTuple

from windlass._codecs import (
    ARROW,
    BEGIN_BYTES,
    BYTES,
    JSON,
    NPY,
    NPZ,
    PARQUET,
    PICKLE,
    PIECE_BYTES,
    Buffer,
    Encoded,
    Undecodable,
    decode,
    encode,
)
from windlass._ends import writing
from windlass._import_path import pythons
from windlass._json import encode as encode_json
from windlass._stacks import header_size, stacked, unstacked

# The name of a job's file with its items, and the media type of the archive.
ITEMS = "items"
ARCHIVE = "application/vnd.windlass.items+zip"

# What is told of items without a result, and its fields.
FAILED, FAILED_FIELDS = "failed.json", ("errors", "notComputed")

# The comment of an archive that is written here.
COMMENT = b"windlass"

# Before the bytes of a member: how it begins, the size of this, and the lengths of the two fields that follow it.
LOCAL, LOCAL_BYTES, LOCAL_LENGTHS = b"PK\3\4", 30, struct.Struct("<26xHH")

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


class Entry(NamedTuple):
    """An item to be written: what it is, the header of an array, how many bytes it has beside that, and these."""

    media_type: str
    header: bytes
    size: int
    pieces: Callable[[], Iterable[Buffer]]


def _write(zipped: Any, entries: Iterable[Entry]) -> None:
    """Writes the members of items, and arrays of one type and shape that follow each other as one."""
    zipped.comment, number = COMMENT, 0
    for (media_type, header, size), alike in itertools.groupby(entries, key=lambda each: each[:3]):
        run = list(alike)
        whole = stacked(header, len(run)) if header and size and len(run) > 1 else None
        for group in [run] if whole else [[each] for each in run]:
            name = name_of(number, media_type)
            if whole:
                name = f"{number}-{number + len(group) - 1}{ENDINGS[NPY]}"
            with zipped.open(name, "w", force_zip64=True) as member:
                member.write(whole or header)
                for piece in itertools.chain.from_iterable(each.pieces() for each in group):
                    member.write(piece)
            number += len(group)


def _entry(item: Encoded) -> Entry:
    """What is to be written of an item in memory."""
    header, parts = b"", item.parts
    if item.media_type == NPY and len(parts) == 2:
        header, parts = bytes(parts[0]), parts[1:]
    return Entry(item.media_type, header, sum(memoryview(part).nbytes for part in parts), lambda: parts)


def archive(items: Iterable[Encoded]) -> Encoded:
    """One file of these items."""
    sink = _Parts()
    with pythons("zipfile").ZipFile(sink, "w") as zipped:
        _write(zipped, map(_entry, items))
    return Encoded(ARCHIVE, sink.parts)


class _Stack(NamedTuple):
    """A member that is several arrays: the header of each, where the first begins, and how many bytes each has."""

    header: bytes
    begin: int
    size: int


class Archive:
    """A file of items, which it reads where they are. `Undecodable` when it is none."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.size = file, file.seek(0, io.SEEK_END)
        # No byte is in two members of several arrays: so many may still be in one.
        unread = self.size
        try:
            self.zipped = pythons("zipfile").ZipFile(file)
            members = [member for member in self.zipped.infolist() if not member.is_dir()]
            # Of each item: its member, the stack that this is, and the item's number in that.
            self.places: list[tuple[Any, _Stack | None, int]] = []
            for member in members:
                count, stack = self._stack(member)
                unread -= member.file_size if stack else 0
                if unread < 0:
                    raise Undecodable("its members are larger than the archive")
                self.places += [(member, stack, row) for row in range(count)]
        except (pythons("zipfile").BadZipFile, ValueError, NotImplementedError) as error:
            raise Undecodable(f"it is no zip archive of items, such as .npz: {error}") from error

    def __len__(self) -> int:
        return len(self.places)

    def name(self, number: int) -> str:
        """The name of an item's member."""
        name: str = self.places[number][0].filename
        return name

    def check(self) -> None:
        """`Undecodable` when a member of several arrays is damaged. They are read one by one, without its checksum."""
        for member in {member.filename: member for member, stack, _ in self.places if stack is not None}.values():
            self._checked(member)

    def read(self, number: int) -> bytes:
        """The bytes of an item. `Undecodable` for what is damaged, encrypted or of another compression."""
        member, stack, row = self.places[number]
        if stack is not None:
            return stack.header + self._bytes(stack.begin + row * stack.size, stack.size)
        return self._checked(member) if _is_plain(member) else self._unpacked(member)

    def _checked(self, member: Any) -> bytes:
        """The bytes of a plain member, held against its checksum."""
        data = self._bytes(self._begin(member), member.file_size)
        if zlib.crc32(data) != member.CRC:
            raise Undecodable(f"Bad CRC-32 for file {member.filename!r}")
        return data

    def _stack(self, member: Any) -> tuple[int, _Stack | None]:
        """How many items a member is, and where they are if it is several arrays."""
        first, dash, last = Path(member.filename).stem.partition("-")
        if self.zipped.comment != COMMENT or not dash:
            return 1, None
        if not _is_plain(member):
            raise Undecodable(f"{member.filename} is compressed")
        begin = self._begin(member)
        header = self._bytes(begin, min(member.file_size, BEGIN_BYTES))
        header = self._bytes(begin, header_size(header))
        count, each = unstacked(header)
        size, rest = divmod(member.file_size - len(header), count)
        if rest or size < 1 or count != int(last) - int(first) + 1:
            raise Undecodable(f"{member.filename} has other arrays than it says")
        return count, _Stack(each, begin + len(header), size)

    def _begin(self, member: Any) -> int:
        """Where the bytes of a member begin."""
        local = self._bytes(member.header_offset, LOCAL_BYTES)
        if not local.startswith(LOCAL):
            raise Undecodable(f"Bad magic number for file header of {member.filename!r}")
        begin: int = member.header_offset + LOCAL_BYTES + sum(LOCAL_LENGTHS.unpack(local))
        return begin

    def _bytes(self, begin: int, size: int) -> bytes:
        # Before it is read: there is neither such a place in a file, nor so much memory.
        if not 0 <= begin <= begin + size <= self.size:
            raise Undecodable("it ends too early")
        self.file.seek(begin)
        data = self.file.read(size)
        if len(data) != size:
            raise Undecodable("it ends too early")
        return data

    def _unpacked(self, member: Any) -> bytes:
        try:
            data: bytes = self.zipped.read(member)
        except Exception as error:
            # What the machine lacks has a number; what a decompressor says has none.
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                raise
            raise Undecodable(str(error)) from error
        return data


def _is_plain(member: Any) -> bool:
    """Whether its bytes are in the archive as they are, neither compressed nor encrypted."""
    return member.compress_type == pythons("zipfile").ZIP_STORED and not member.flag_bits & 1


def count(path: Path) -> int:
    """How many items there are in a file."""
    with path.open("rb") as file:
        return len(Archive(file))


class Written:
    """A result that is no JSON: where in which file it is, its media type and an array's header. A line of a pipe."""

    MARK = b"%"

    def __init__(self, line: bytes) -> None:
        self.path, self.begin, self.size, self.media_type, header = json.loads(line[1:])
        self.header = header.encode("latin-1")

    def entry(self, file: int) -> Entry:
        """What is to be written of it, from its file."""
        return Entry(self.media_type, self.header, self.size, lambda: self._pieces(file))

    def _pieces(self, file: int) -> Iterator[bytes]:
        at, end = self.begin, self.begin + self.size
        while at < end:
            piece = os.pread(file, min(end - at, PIECE_BYTES), at)
            if not piece:
                raise OSError(f"{self.path} ends too early")
            yield piece
            at += len(piece)


class Spool:
    """Where a process of the pool writes results that are no JSON, one after another."""

    def __init__(self, path: str) -> None:
        self.path, self.size = path, 0
        with writing("the result"):
            self.file = open(path, "wb", buffering=0)  # noqa: SIM115

    def line(self, result: Encoded) -> str:
        """Writes a result; the line that says where it is. `Unwritten` when it cannot be."""
        begin, entry = self.size, _entry(result)
        with writing("the result"):
            for part in entry.pieces():
                left = memoryview(part).cast("B")
                while left:
                    written = self.file.write(left) or 0
                    left = left[written:]
                    self.size += written
        told = [self.path, begin, entry.size, result.media_type, entry.header.decode("latin-1")]
        return Written.MARK.decode() + json.dumps(told, separators=(",", ":"))

    def close(self) -> None:
        """No more of them."""
        self.file.close()


def write_results(path: str, results: list[bytes], failed: dict[str, Any] | None) -> None:
    """Writes the archive of a job's results, as JSON or lines of `Written`; one that is not there is null.

    It is there whole or not at all. `OSError` when it cannot be written.
    """
    spools: dict[str, IO[bytes]] = {}
    with contextlib.ExitStack() as opened:

        def entry(result: bytes) -> Entry:
            if not result.startswith(Written.MARK):
                return Entry(JSON, b"", 0, lambda: [result or b"null"])
            written = Written(result)
            if written.path not in spools:
                spools[written.path] = opened.enter_context(open(written.path, "rb"))
            return written.entry(spools[written.path].fileno())

        file = opened.enter_context(open(path + ".partial", "wb"))
        with pythons("zipfile").ZipFile(file, "w") as zipped:
            _write(zipped, map(entry, results))
            if failed:
                zipped.writestr(FAILED, json.dumps(failed, separators=(",", ":")))
    for spool in spools:
        os.unlink(spool)
    os.replace(path + ".partial", path)


def read_results(data: bytes) -> dict[str, Any]:
    """The results in an archive, in the form of those that are JSON."""
    results: list[Any] = []
    told: dict[str, Any] = {}
    opened = Archive(io.BytesIO(data))
    # Nothing is compressed in it, and no member is there twice.
    if sum(member.file_size for member in opened.zipped.infolist()) > len(data):
        raise Undecodable("its members are larger than the archive")
    opened.check()
    try:
        for number in range(len(opened)):
            name, content = opened.name(number), opened.read(number)
            media_type = type_of(name)
            if name == FAILED:
                told = {field: each for field, each in json.loads(content).items() if field in FAILED_FIELDS}
            elif media_type == JSON:
                results.append(json.loads(content))
            else:
                results.append(decode(media_type, io.BytesIO(content)))
    except (ValueError, AttributeError) as error:
        raise Undecodable(f"it is no archive of results: {error}") from error
    return {"results": results, **told}
