"""What a child does that a function has forked: it ends where the function ends."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

from windlass._ends import FAILED


class OneProcess:
    """`with` it the function's own code runs. Only the process that has begun the block goes on after it.

    A child has a copy of all that its parent was about to say, and would answer for it.
    """

    def __init__(self) -> None:
        self.number = os.getpid()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if os.getpid() == self.number:
            return
        status = FAILED
        if isinstance(error, SystemExit):
            status = _status(error)
        elif error is not None:
            traceback.print_exception(type(error), error, error.__traceback__)
        else:
            print("a child of os.fork() has left the function: it ends here", file=sys.stderr)
        # Without what Python does at its end: it would flush what is the parent's.
        os._exit(status)


def _status(error: SystemExit) -> int:
    """The exit status that Python would have given."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return FAILED
