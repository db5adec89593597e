"""What a program does that ends: it hands in first what its executors were given."""

from __future__ import annotations

import atexit

# What stops the threads of Python at a program's end is registered by this, and is called after what is registered
# later: names are looked up, and data is read, by such threads.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from windlass._future import JobFuture
from windlass._life import WITHOUT_SECONDS

if TYPE_CHECKING:
    from windlass.async_client import AsyncClient

PAUSE_SECONDS = 0.01

logger = logging.getLogger("windlass")


class Leaver(Protocol):
    """An executor, as it is here."""

    _function: str
    _client: AsyncClient

    def _is_copy(self) -> bool: ...

    def _futures(self) -> list[JobFuture]: ...


executors: weakref.WeakSet[Leaver] = weakref.WeakSet()


def _at_exit() -> None:
    for executor in list(executors):
        if not executor._is_copy():
            hand_in_all(executor)


# Before the threads of Python are stopped, where it can be told.
getattr(threading, "_register_atexit", atexit.register)(_at_exit)


def hand_in_all(executor: Leaver) -> None:
    """Waits until each job is handed in: what was submitted before the end of a program is done.

    As long as data is sent or the server asks for patience, and at most for the client's patience without a progress.
    """
    futures = [future for future in executor._futures() if _is_open(future)]
    life, name, patience = executor._client._life, executor._function, executor._client._patience_seconds
    progress, is_told = (len(futures), life.signs), False
    began = since = time.monotonic()
    while count := sum(map(_is_open, futures)):
        if (count, life.signs) != progress:
            progress, since = (count, life.signs), time.monotonic()
        now, reason = time.monotonic(), life.reason()
        if now - since > (max(patience, WITHOUT_SECONDS) if reason else WITHOUT_SECONDS):
            logger.warning("%d submissions of %s are lost: the program has ended before", count, name)
            break
        if reason and not is_told and now - began > WITHOUT_SECONDS:
            is_told = True
            logger.warning("the program ends when %d submissions of %s are handed in: %s", count, name, reason)
        time.sleep(PAUSE_SECONDS)
    _tell_failed(name, futures)


def _is_open(future: JobFuture) -> bool:
    return future._job is None and not future.done()


def _tell_failed(name: str, futures: Iterable[JobFuture]) -> None:
    """Says of what was not accepted why. Nobody is there any more who would ask."""
    done = [each for each in futures if each._job is None and each.done() and not each.cancelled()]
    failures = [error for each in done if (error := each.exception()) is not None]
    if failures:
        why = f"{type(failures[0]).__name__}: {failures[0]}"
        logger.warning("%d submissions of %s have failed: %s", len(failures), name, why)
