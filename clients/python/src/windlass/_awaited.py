"""Data of an `AsyncClient` that can be read only by awaiting it, such as the body of a request or an uploaded file."""

from __future__ import annotations

import asyncio
import inspect
import io
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable

from windlass import _protocol as protocol
from windlass._codecs import PIECE_BYTES
from windlass._data import SPOOL_BYTES, Given, piece_of, told_type
from windlass._protocol import Submission

if TYPE_CHECKING:
    from typing_extensions import Unpack


async def awaited(value: Any) -> Any:
    """An asynchronous file or iterator as a file with the same bytes and media type; any other value as it is."""
    pieces = _read_pieces(value)
    if pieces is None and callable(getattr(value, "__aiter__", None)):
        pieces = value
    if pieces is None:
        return value
    spooled = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
    async for piece in pieces:
        await asyncio.to_thread(spooled.write, piece_of(piece))
    spooled.seek(0)
    spooled.mimetype = told_type(value)  # type: ignore[attr-defined]
    return spooled


def _read_pieces(value: Any) -> AsyncIterator[Any] | None:
    """What a file has whose `read` gives awaitables; None for any other value."""
    read = getattr(value, "read", None)
    if not callable(read) or isinstance(value, io.IOBase):
        return None
    # To read nothing tells what `read` gives, and loses nothing.
    first = read(0)
    if inspect.isawaitable(first):
        return _read_by(read, first)
    if first:
        raise TypeError("a file of data gives nothing where nothing is asked of it: read(0)")
    return None


async def _read_by(read: Callable[[int], Any], first: Any) -> AsyncIterator[Any]:
    # Some give all that they have, however much is asked.
    if piece := await first:
        yield piece
    while piece := await read(PIECE_BYTES):
        yield piece


async def given_of(
    function: str, input: Mapping[str, Any] | None, name: str | None = None, **options: Unpack[Submission]
) -> Given:
    """What is handed in. Data is read in a thread: the loop does not wait for a disk."""
    data, files = options.get("data"), options.get("files")
    if data is None and not files:
        return protocol.given_of(function, input, name, **options)
    options["data"] = await awaited(data)
    options["files"] = {name: await awaited(value) for name, value in (files or {}).items()}
    return await asyncio.to_thread(protocol.given_of, function, input, name, **options)


async def read_aside(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each read in a thread."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
