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
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING

import httpx

from windlass._follow_logs import FollowLogs
from windlass._http import remade
from windlass._protocol import JobOrName
from windlass.models import Job

if TYPE_CHECKING:
    from windlass.async_client import AsyncClient
    from windlass.client import Client

SILENCE_SECONDS = 15.0


class Watched:
    """The pieces of an answer, and a thread that ends the connection when the server does not answer any more."""

    def __init__(self, response: httpx.Response, follow: FollowLogs, client: Client, job: JobOrName) -> None:
        self._response, self._follow, self._client, self._job = response, follow, client, job
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
            self._since = None

    def _seconds_left(self) -> float:
        """Until the server is to be asked, unless something comes before."""
        since = self._since
        return SILENCE_SECONDS if since is None else max(since, self._asked) + SILENCE_SECONDS - time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(max(0.0, self._seconds_left())):
            if self._seconds_left() > 0:
                continue
            try:
                self._follow.looked(self._seen())
            except Exception as error:
                self._give_up(error)
                return
            self._asked = time.monotonic()

    def _seen(self) -> Job:
        """The job now, by a connection of its own: all others may be those of logs that are silent."""
        with remade(type(self._client), *self._client._given) as other:
            other._target.was_reached = True
            return other.get(self._job, with_input=False)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            # A connection that has ended its answer is somebody else's.
            if self._over.is_set() or self._since is None:
                return
            self._follow.given_up = error
            with contextlib.suppress(OSError):
                # Whoever waits for it sees its end; `close` would leave them waiting. TLS has nothing to say here.
                its = self._response.extensions["network_stream"].get_extra_info("socket")
                socket.socket.shutdown(its, socket.SHUT_RDWR)


async def pieces(
    response: httpx.Response, follow: FollowLogs, client: AsyncClient, job: JobOrName
) -> AsyncGenerator[str, None]:
    """The same for asyncio."""
    texts = response.aiter_text()
    while True:
        reading = asyncio.ensure_future(_next(texts))
        try:
            while not (await asyncio.wait({reading}, timeout=SILENCE_SECONDS))[0]:
                try:
                    follow.looked(await _seen(client, job))
                except Exception as error:
                    follow.given_up = error
                    raise
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
        piece = reading.result()
        if piece is None:
            return
        yield piece


async def _seen(client: AsyncClient, job: JobOrName) -> Job:
    async with remade(type(client), *client._given) as other:
        other._target.was_reached = True
        return await other.get(job, with_input=False)


async def _next(texts: AsyncIterator[str]) -> str | None:
    try:
        return await texts.__anext__()
    except StopAsyncIteration:
        return None
