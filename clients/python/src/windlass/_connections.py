"""The connections of a `Client`, which may be on both sides of a fork."""

from __future__ import annotations

import os
import threading
import weakref

import httpx

from windlass._http import Target

# Connections that are kept; a program with more threads than this waits for one.
CONNECTIONS = 100

_all: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork() -> None:
    for connections in list(_all):
        connections.begin()


os.register_at_fork(after_in_child=_after_fork)


class Connections:
    """Those to one server, from which all threads take theirs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.begin()
        _all.add(self)

    def begin(self) -> None:
        """In a child: a connection that two processes share answers the one what the other asked.

        The lock may be held by a thread that is not here.
        """
        self.lock = threading.Lock()
        self.http: httpx.Client | None = None
        self._asked = ""

    def to_server(self) -> httpx.Client:
        """Those to the server that is to be asked now."""
        with self.lock:
            server = self._target.current()
            if self.http is None or self._asked != server:
                self.http, self._asked = self._target.opened(httpx.Client, CONNECTIONS), server
            return self.http

    def close(self) -> None:
        """Closes them. The next request opens new ones."""
        with self.lock:
            if self.http is not None:
                self.http.close()
            self.http = None
