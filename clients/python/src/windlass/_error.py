"""What all errors of this package have in common. Nothing is imported here: a worker process loads it, too."""

from __future__ import annotations


class WindlassError(Exception):
    """Everything that this package raises, beside wrong arguments."""

    _http_status = 502
    _summary = "the compute server's answer was not understood"

    @property
    def http_status(self) -> int:
        """The status by which a web service tells it to its own callers."""
        return self._http_status

    @property
    def summary(self) -> str:
        """What a web service may tell its own callers: without tracebacks, addresses and paths."""
        return self._summary
