"""What a client knows of its server's life while something is handed in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator

# A program that ends waits for its submissions, and no longer than this when there is no sign that one gets through.
WITHOUT_SECONDS = 5.0


class Life:
    """Why whoever hands something in has to wait, although the server is there. Another thread may look."""

    def __init__(self) -> None:
        # Each is another one that it gets on.
        self.signs = 0
        self.uploads = 0
        self.later = 0.0

    @contextlib.contextmanager
    def uploading(self) -> Iterator[None]:
        """Data is read or sent meanwhile."""
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1
            self.signs += 1

    async def counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of an upload, as they are sent."""
        async for piece in pieces:
            self.signs += 1
            yield piece

    def refused(self, pause_seconds: float) -> None:
        """The server has answered that something is to be asked again, which is after this pause."""
        self.later = max(self.later, time.monotonic() + pause_seconds)

    def reason(self) -> str:
        """Why it may take long now; empty for no reason that is known."""
        if self.uploads:
            return "data is being sent"
        return "the server has asked for patience" if time.monotonic() < self.later + WITHOUT_SECONDS else ""
