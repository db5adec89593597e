"""How `windlass.worker` ends: its exit statuses, and SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import NoReturn

FAILED, NO_CONTRACT, BAD_INPUT, FUNCTION_ERROR, CANCELLED = 1, 2, 65, 70, 143

# Sent to the whole group, SIGTERM may reach the processes of the pool so much earlier, in seconds.
PATIENCE_SECONDS = 0.05


class BadInput(Exception):
    """The input can never work. A function raises it to refuse its input: the job fails as `BadInput`, is not tried
    again, and whoever has called it over HTTP gets 422 with these words."""


class Unwritten(Exception):
    """The result cannot be written, such as to a disk that is full. The attempt fails, and may be tried again."""


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Where something is written. `Unwritten`, which names it, when it cannot be."""
    try:
        yield
    except OSError as error:
        raise Unwritten(f"{what} cannot be written: {error}") from error


class Stop(Exception):
    """The supervisor asked to stop."""


def stop(_number: int, _frame: object) -> NoReturn:
    """The handler of SIGTERM."""
    # Once: a second SIGTERM must not interrupt the clearing up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop


def is_killed_with_us() -> bool:
    """Whether SIGTERM has come, or is only just arriving, when a process of the pool has died."""
    try:
        if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
            time.sleep(PATIENCE_SECONDS)
            return False
    except Stop:
        pass
    return True
