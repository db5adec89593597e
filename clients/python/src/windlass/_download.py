"""A result on its way to a file: over as many requests as it takes, and never in memory as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import uuid
from typing import IO, TYPE_CHECKING, Union

import httpx

from windlass import errors
from windlass._protocol import Request
from windlass._retry import Patience

if TYPE_CHECKING:
    from typing_extensions import Self

Destination = Union[str, "os.PathLike[str]", IO[bytes]]
"""A path, or a file that is opened for bytes."""


class Download:
    """One result. For each request: `begin` with the head of its answer, `take` its pieces, and `end`."""

    def __init__(self, path: str, to: Destination, patience_seconds: float) -> None:
        self._path = path
        self._patience = Patience(patience_seconds)
        self._digest, self._received, self._skipped = hashlib.sha256(), 0, 0
        self._etag: str | None = None
        self.is_whole = False
        # Where a link leads to, so that the link stays.
        self._place = os.path.realpath(to) if isinstance(to, (str, os.PathLike)) else None
        if self._place is not None and os.path.isdir(self._place):
            raise IsADirectoryError(f"a result is written to a file, and {self._place!r} is a directory")
        self._is_opened = False
        self._file: IO[bytes]
        if self._place is None:
            if not callable(getattr(to, "write", None)):
                raise TypeError(f"a result is written to a path or to a binary file, and not to {to!r}")
            self._file = to  # type: ignore[assignment]
        elif os.path.exists(self._place) and not os.path.isfile(self._place):
            # Such as /dev/stdout, or a pipe.
            self._file = open(self._place, "wb")  # noqa: SIM115
            self._place, self._is_opened = None, True
        else:
            # Beside its place, so that it gets there whole or not at all.
            self._partial = f"{self._place}.{uuid.uuid4().hex[:8]}.partial"
            self._file = open(self._partial, "xb")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_opened:
            self._file.close()
        if self._place is None:
            return
        self._file.close()
        try:
            if self.is_whole:
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(self._partial, stat.S_IMODE(os.stat(self._place).st_mode))
                os.replace(self._partial, self._place)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._partial)

    def request(self) -> Request:
        """What to ask for: all of it, or what is missing."""
        headers = {"Accept-Encoding": "identity"}
        if self._received:
            headers["Range"] = f"bytes={self._received}-"
        return Request("GET", self._path, headers=headers, answer_seconds=self._patience.answer_seconds())

    def begin(self, response: httpx.Response) -> None:
        """An answer begins. It may be one to the whole, whatever was asked."""
        etag = response.headers.get("etag", "")
        if self._etag not in (None, etag):
            raise errors.WindlassError("the result has become another one while it was read")
        self._etag = etag
        self._skipped = self._received if response.status_code != 206 else 0

    def take(self, piece: bytes) -> None:
        """The next bytes of the answer."""
        skipped = min(self._skipped, len(piece))
        self._skipped -= skipped
        piece = piece[skipped:]
        if piece:
            self._file.write(piece)
            self._digest.update(piece)
            self._received += len(piece)
            self._patience.renew()

    def end(self) -> None:
        """The answer has come to its end."""
        digest = (self._etag or "").strip('"')
        if digest.startswith("sha256-") and digest[7:] != self._digest.hexdigest():
            raise errors.WindlassError("the result was damaged on its way")
        self._file.flush()
        self.is_whole = True

    def pause_after(self, error: errors.WindlassError) -> float:
        """How long to pause before the next request; raises the error when there is to be none."""
        return self._patience.after(error)
