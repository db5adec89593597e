"""A log that is followed while its function says nothing: whether the server is still there.

Nothing comes then, not even to say that nothing comes. So the server is asked for the job, on another connection: each
`SILENCE_SECONDS`, with the client's patience. A silence of the function has no bound, one of the server has.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from typing import Any, Callable

import httpx

from windlass._follow_logs import FollowLogs
from windlass.models import Job

SILENCE_SECONDS = 15.0


class Watched:
    """The pieces of an answer, and a thread that ends the connection when the server does not answer any more.

    `look` asks for the job, by a connection of its own: all others may be those of logs that are silent.
    """

    def __init__(self, response: httpx.Response, follow: FollowLogs, look: Callable[[], Job]) -> None:
        self._response, self._follow, self._look = response, follow, look
        self._lock, self._over = threading.Lock(), threading.Event()
        # Since when a piece is waited for; None while the caller does something else.
        self._since: float | None = None
        self._asked = 0.0

    def __enter__(self) -> Watched:
        # It holds up no program that ends, and knows nothing of the generator that is read.
        threading.Thread(target=self._watch, name="windlass-log", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            self._over.set()
        # What ends with the connection may end well: a proxy may mark the end of an answer by that.
        if self._follow.given_up is not None and (kind is None or issubclass(kind, httpx.TransportError)):
            raise self._follow.given_up from None

    def pieces(self) -> Iterator[str]:
        """What comes, as it comes."""
        texts = self._response.iter_text()
        while (piece := self._next(texts)) is not None:
            yield piece

    def _next(self, texts: Iterator[str]) -> str | None:
        self._since = time.monotonic()
        try:
            return next(texts, None)
        finally:
            with self._lock:
                self._since = None
                self._follow.heard()

    def _seconds_left(self, since: float | None) -> float:
        """Until the server is to be asked, unless something comes before."""
        return SILENCE_SECONDS if since is None else max(since, self._asked) + SILENCE_SECONDS - time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(max(0.0, self._seconds_left(self._since))):
            since = self._since
            if self._seconds_left(since) > 0:
                continue
            seen: Job | Exception
            try:
                seen = self._look()
            except Exception as error:
                seen = error
            if self._is_lost(since, seen):
                return

    def _is_lost(self, since: float | None, seen: Job | Exception) -> bool:
        """Whether what was seen after a silence ends the connection."""
        with self._lock:
            # One that has told something meanwhile lives, and one that has ended its answer is somebody else's.
            if self._over.is_set() or self._since != since:
                return False
            self._asked = time.monotonic()
            try:
                self._follow.looked(seen)
            except Exception:
                with contextlib.suppress(OSError):
                    # Whoever waits for it sees its end; `close` would leave them waiting. TLS has nothing to say here.
                    its = self._response.extensions["network_stream"].get_extra_info("socket")
                    socket.socket.shutdown(its, socket.SHUT_RDWR)
                return True
            return False


async def pieces(
    response: httpx.Response, follow: FollowLogs, look: Callable[[], Awaitable[Job]]
) -> AsyncGenerator[str, None]:
    """The same for asyncio."""
    texts = response.aiter_text()
    while True:
        reading = asyncio.ensure_future(_next(texts))
        try:
            while not (await asyncio.wait({reading}, timeout=SILENCE_SECONDS))[0]:
                seen = await _seen(look, reading)
                # A piece that has come meanwhile shows that the connection lives.
                if seen is not None and not reading.done():
                    follow.looked(seen)
        finally:
            await _left(reading)
        piece = reading.result()
        follow.heard()
        if piece is None:
            return
        yield piece


async def _seen(look: Callable[[], Awaitable[Job]], reading: asyncio.Future[Any]) -> Job | Exception | None:
    """What a look at the job shows; None when a piece has come before."""

    async def tried() -> Job | Exception:
        try:
            return await look()
        except Exception as error:
            return error

    looking: asyncio.Future[Any] = asyncio.ensure_future(tried())
    try:
        await asyncio.wait({looking, reading}, return_when=asyncio.FIRST_COMPLETED)
        seen: Job | Exception | None = looking.result() if looking.done() else None
        return seen
    finally:
        await _left(looking)


async def _left(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        # Asked for, or the loop would tell it.
        _ = task.cancelled() or task.exception()


async def _next(texts: AsyncIterator[str]) -> str | None:
    try:
        return await texts.__anext__()
    except StopAsyncIteration:
        return None
