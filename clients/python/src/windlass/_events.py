"""Server-sent events, from bytes as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# An event is a job: an input of 128 KiB and a result of 32 KiB, each character of which may be six in JSON.
MAX_EVENT_BYTES = 16 << 20


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    kind: str
    data: str
    id: str | None


class Decoder:
    """Server-sent events from bytes, in whatever pieces they come.

    Lines end at CR, LF or both, as the standard has it, and at nothing else that Python takes for the end of a line: a
    job's message may have those.
    """

    def __init__(self) -> None:
        self.rest = bytearray()
        self.kind, self.size = "", 0
        self.data: list[str] = []
        self.id: str | None = None
        self.after_cr = False

    @property
    def is_between_events(self) -> bool:
        """Whether no event has begun that is not whole yet."""
        return not (self.rest or self.data or self.kind)

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that this piece completes."""
        if self.after_cr and piece:
            # The second half of a CR LF that was cut.
            piece = piece[1:] if piece.startswith(b"\n") else piece
            self.after_cr = False
        if piece.endswith(b"\r"):
            self.after_cr = True
        *lines, rest = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        # What has come before is not looked through again: an event may come in a hundred thousand pieces.
        if lines:
            lines[0] = bytes(self.rest) + lines[0]
            self.rest.clear()
        self.rest += rest
        if len(self.rest) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        for line in lines:
            event = self.line(line.decode("utf-8", "replace"))
            if event:
                yield event

    def line(self, line: str) -> Event | None:
        """Takes one line; an empty one completes an event."""
        if not line:
            event = Event(self.kind or "message", "\n".join(self.data), self.id) if self.data else None
            self.kind, self.data, self.size = "", [], 0
            return event
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            self.data.append(value)
            self.size += len(value)
            if self.size > MAX_EVENT_BYTES:
                raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        elif name == "event":
            self.kind = value
        elif name == "id" and "\0" not in value:
            self.id = value
        return None
