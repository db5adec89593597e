"""What all errors of this package have in common. Nothing is imported here: a worker process loads it, too."""

from __future__ import annotations


class WindlassError(Exception):
    """Everything that this package raises, beside wrong arguments."""

    @property
    def http_status(self) -> int:
        """The status by which a web service tells it to its own callers."""
        return 502

    @property
    def summary(self) -> str:
        """What a web service may tell its own callers: without tracebacks, addresses and paths."""
        return "the compute server's answer was not understood"
