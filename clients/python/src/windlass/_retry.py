"""What is tried again, and when."""

from __future__ import annotations

import random
import time

from windlass import errors

# Pauses between tries: from the first, doubling, to the longest, each taken at random from its upper half.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
TRIED_AGAIN = (429, 503, 504)


class Patience:
    """How long one thing is tried again: what got no answer, and what got 429, 503 or 504.

    `seconds` bounds the time from the first failure on, pauses included. `Retry-After` is obeyed; one that leads beyond
    the bound ends the patience at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """There was an answer: what comes is a new thing."""
        self.until: float | None = None
        self.pause = FIRST_PAUSE_SECONDS

    def after(self, error: Exception) -> float:
        """How long to pause before the next try, in seconds; raises the error when there is to be none."""
        wanted = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        if isinstance(error, errors.ApiError) and error.status not in TRIED_AGAIN:
            raise error
        if isinstance(error, errors.Untrusted):
            raise error
        now = time.monotonic()
        if self.until is None:
            self.until = now + self.seconds
        # A random part, or all that were refused together would come again together.
        pause = random.uniform(self.pause / 2, self.pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE_SECONDS)
        if wanted is not None:
            pause += wanted
        if now + pause > self.until:
            raise error
        return pause
