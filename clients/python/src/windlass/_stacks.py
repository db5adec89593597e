"""Arrays of one type and shape as one array, by the bytes of their `.npy` files. It needs no numpy.

`numpy.lib.format` says what such a file is: a magic text, the two bytes of a version, the length of what follows, and a
dict as Python writes it, padded with spaces and ended by a line break. Then come the array's bytes.
"""

from __future__ import annotations

import functools
from typing import Any

from windlass._import_path import pythons

# With the version, which any numpy can read, and in which all here are written.
MAGIC = b"\x93NUMPY\x02\x00"
LENGTH = slice(len(MAGIC), len(MAGIC) + 4)
# Of a whole header.
MULTIPLE = 64
# What a longer one would say: a structure of thousands of fields.
MOST_HEADER = 1 << 16


def header_size(begin: bytes) -> int:
    """How many bytes the header of a file has that begins so; 0 for another file."""
    if not begin.startswith(MAGIC) or len(begin) < LENGTH.stop:
        return 0
    size = LENGTH.stop + int.from_bytes(begin[LENGTH], "little")
    return size if size <= MOST_HEADER else 0


def _fields(header: bytes) -> dict[str, Any]:
    """What a header says. `ValueError` when it says something else."""
    try:
        fields: Any = pythons("ast").literal_eval(header[LENGTH.stop :].decode("latin-1"))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"its header cannot be read: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("shape"), tuple) or "fortran_order" not in fields:
        raise ValueError("its header is none of an array")
    return fields


def _header(fields: dict[str, Any], shape: tuple[int, ...]) -> bytes:
    text = f"{ {**fields, 'shape': shape}!r}".encode("latin-1")
    text += b" " * (-(LENGTH.stop + len(text) + 1) % MULTIPLE) + b"\n"
    return MAGIC + len(text).to_bytes(4, "little") + text


@functools.lru_cache(maxsize=64)
def stacked(header: bytes, count: int) -> bytes | None:
    """The header of so many arrays as one, by that of each; None where their bytes in a row are not that array."""
    fields = _fields(header)
    return None if fields["fortran_order"] else _header(fields, (count, *fields["shape"]))


def unstacked(header: bytes) -> tuple[int, bytes]:
    """How many arrays there are in one, by its header, and the header of each. `ValueError` when it is none."""
    fields = _fields(header)
    count, *shape = fields["shape"]
    if not isinstance(count, int) or count < 1 or fields["fortran_order"]:
        raise ValueError("its header is none of several arrays")
    return count, _header(fields, tuple(shape))
