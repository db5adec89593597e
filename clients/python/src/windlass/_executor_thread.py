"""The thread of an executor, and its client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import weakref
from typing import Callable, Protocol

from windlass.async_client import AsyncClient

# Submissions at a time, and jobs that are followed at a time. Of further jobs so many are asked at a time how they are.
SUBMISSIONS = 16
STREAMS = 64
QUESTIONS = 16


class Served(Protocol):
    """What an executor has of its thread."""

    _client: AsyncClient
    _loop: asyncio.AbstractEventLoop
    _over: asyncio.Event
    _submissions: asyncio.Semaphore
    _questions: asyncio.Semaphore
    _cancels: asyncio.Semaphore
    _silent_until: float
    _free_streams: int


def client_of(client: Callable[[], AsyncClient] | None, patience_seconds: float | None = None) -> AsyncClient:
    """What an executor's arguments make."""
    if client is None:
        return AsyncClient() if patience_seconds is None else AsyncClient(patience_seconds=patience_seconds)
    if patience_seconds is not None:
        raise TypeError("patience_seconds is that of the client that client makes: give it there")
    made = client() if callable(client) else client
    if callable(client) and isinstance(made, AsyncClient):
        return made
    raise TypeError(
        "client makes the AsyncClient of the executor's thread: write client=lambda: windlass.AsyncClient(...), "
        f"and give no {type(made).__name__}"
    )


def run(executor: weakref.ref[Served], started: concurrent.futures.Future[None], ended: threading.Event) -> None:
    """The thread of an executor, which it does not keep alive."""
    serving = _serve(executor, started)
    try:
        asyncio.run(serving)
    except Exception as error:
        # Such as too many open files, before it has begun.
        serving.close()
        if started.done():
            raise
        started.set_exception(error)
    finally:
        ended.set()


async def _serve(executor: weakref.ref[Served], started: concurrent.futures.Future[None]) -> None:
    served = executor()
    if served is None:
        raise RuntimeError("the executor is gone before its thread has begun")
    over, client = asyncio.Event(), served._client
    served._loop, served._over = asyncio.get_running_loop(), over
    served._submissions, served._questions = asyncio.Semaphore(SUBMISSIONS), asyncio.Semaphore(QUESTIONS)
    served._cancels, served._silent_until = asyncio.Semaphore(SUBMISSIONS), 0.0
    served._free_streams = STREAMS
    del served
    started.set_result(None)
    await over.wait()
    await client.close()


def end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    """Ends the thread, from another."""
    # The loop is closed when everything is done.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(over.set)
