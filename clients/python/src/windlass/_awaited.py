"""Data of an `AsyncClient` that can be read only by awaiting it, such as the body of a request or an uploaded file."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable

from windlass._codecs import PIECE_BYTES
from windlass._data import SPOOL_BYTES, piece_of, told_type


async def awaited(value: Any) -> Any:
    """An asynchronous file or iterator as a file with the same bytes and media type; any other value as it is."""
    read = getattr(value, "read", None)
    if inspect.iscoroutinefunction(read):
        pieces = _read_by(read)
    elif callable(getattr(value, "__aiter__", None)):
        pieces = value
    else:
        return value
    spooled = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
    async for piece in pieces:
        await asyncio.to_thread(spooled.write, piece_of(piece))
    spooled.seek(0)
    spooled.mimetype = told_type(value)  # type: ignore[attr-defined]
    return spooled


async def _read_by(read: Callable[[int], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    while piece := await read(PIECE_BYTES):
        yield piece
