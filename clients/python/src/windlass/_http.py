"""What both clients say to httpx, and how they hear it."""

from __future__ import annotations

import contextlib
import encodings.idna
import math
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any, Callable, TypeVar

import httpcore
import httpx

from windlass import _discovery, errors
from windlass._protocol import Answer, Request

CONNECT_SECONDS = 10.0

# What httpx imports at its first request is there before it, once for all processes of a server that loads its
# application before it forks.
_ = httpcore, encodings.idna


_Client = TypeVar("_Client")


class NoProxy(errors.WindlassError, ValueError):
    """A proxy that the environment names cannot be used. Nothing was asked."""

    _http_status = 500  # somebody has to change the environment
    _summary = "the compute server cannot be asked"


class Target:
    """A server, and what opens it."""

    def __init__(
        self,
        server: str | None,
        token: _discovery.Token | None,
        data: str | os.PathLike[str] | None,
        ca: str | os.PathLike[str] | None,
    ) -> None:
        self._given = server, token, data, ca
        self.was_reached = False
        self._ask(_discovery.server_url(server, data))

    def _ask(self, server: str) -> None:
        """From now on this server is asked."""
        try:
            httpx.URL(server)
        except httpx.InvalidURL as error:
            raise ValueError(f"{server!r} is no URL of a server: {error}") from None
        _, token, data, ca = self._given
        self.token: Callable[[], str] = _discovery.token_of(server, token, data)
        # The system's authorities, and the given one instead: a private server is signed by a private authority.
        # To read them takes 20 ms and a megabyte, for nothing where there is no TLS.
        has_tls = server.lower().startswith("https:")
        self.verify = ssl.create_default_context(cafile=os.fspath(ca)) if ca is not None else has_tls
        self.server = server

    def _find_again(self) -> None:
        """A server of this machine may have been started, at any port, since it was looked for."""
        server, _, data, _ = self._given
        if _discovery.is_found(server) and (found := _discovery.server_url(None, data)) != self.server:
            self._ask(found)

    def current(self) -> str:
        """The server to ask next."""
        if not self.was_reached:
            self._find_again()
        return self.server

    def opened(self, kind: Callable[..., _Client], connections: int) -> _Client:
        """A client of httpx. A server of this machine is asked directly, whatever proxy the environment names."""
        settings = {
            "verify": self.verify,
            "trust_env": not _discovery.is_loopback(self.server),
            "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            "headers": {"User-Agent": "windlass-python"},
        }
        try:
            return kind(**settings)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            # httpx looks at all that the environment names, also where NO_PROXY has this server.
            raise NoProxy(
                f"a proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) cannot be used: {error}"
            ) from None

    def arguments(self, request: Request) -> dict[str, Any]:
        """What httpx is told to send a request."""
        return {
            "method": request.method,
            # Whole, and without parameters where there are none: a URL is read anew for each that is added.
            "url": self.server.rstrip("/") + request.path,
            "params": request.params or None,
            "headers": self.head(request),
            "content": request.content if request.data is None else request.data.pieces(),
            "timeout": timeout(request),
        }

    def head(self, request: Request) -> dict[str, str]:
        """The headers of a request."""
        token = self.token()
        if not token:
            raise _discovery.NoToken("the token is empty, and none is")
        if not token.isascii() or not token.isprintable() or " " in token:
            # Said here, because the HTTP library would quote it.
            raise _discovery.NoToken("the token has characters that no token has")
        return {**request.headers, "Authorization": f"Bearer {token}"}

    def unreachable(self, error: httpx.HTTPError, request: Request) -> errors.Unreachable:
        """The error for no answer."""
        cause: BaseException | None = error
        is_refused = False
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return errors.Untrusted(f"{self.server}: {cause.verify_message}")
            is_refused = is_refused or isinstance(cause, ConnectionRefusedError)
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.PoolTimeout):
            return errors.Unreachable(f"{self.server} was not asked: all connections of this client are in use")
        said = f"{self.server} does not answer: {str(error) or type(error).__name__}"
        if is_refused:
            server, _, data, _ = self._given
            said += f"; is `windlass serve` running there?{_discovery.why_there(server, data)}"
        unreachable = errors.Unreachable(said)
        unreachable.silent_seconds = silence(error, request)
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            unreachable.is_first_contact = not self.was_reached
            # What cannot be found is where it was: that is the error.
            with contextlib.suppress(errors.WindlassError, ValueError, OSError, RuntimeError):
                self._find_again()
        else:
            # Somebody was there and has gone amid the request.
            self.was_reached = True
        return unreachable

    @contextlib.contextmanager
    def streaming(self, http: httpx.Client, request: Request) -> Iterator[httpx.Response]:
        """An answer of success whose body is read piece by piece."""
        try:
            with http.stream(**self.arguments(request)) as response:
                if not response.is_success:
                    response.read()
                self._reached(response)
                may_pause(response, request)
                yield response
        except httpx.TransportError as error:
            raise self.unreachable(error, request) from None

    @contextlib.asynccontextmanager
    async def async_streaming(self, http: httpx.AsyncClient, request: Request) -> AsyncIterator[httpx.Response]:
        """The same for asyncio."""
        try:
            async with http.stream(**self.arguments(request)) as response:
                if not response.is_success:
                    await response.aread()
                self._reached(response)
                may_pause(response, request)
                yield response
        except httpx.TransportError as error:
            raise self.unreachable(error, request) from None

    def answer_of(self, response: httpx.Response) -> Answer:
        """What was read, if it is a success; its error otherwise."""
        self._reached(response)
        return Answer(response.content, response.headers.get("etag", ""))

    def _reached(self, response: httpx.Response) -> None:
        """The server has answered. Raises the error of an answer that is no success, whose body was read."""
        if not response.is_success:
            self._refuse_stranger(response.request.url)
        self.was_reached = True
        if not response.is_success:
            raise errors.from_answer(response.status_code, response.content, response.headers.get("retry-after"))

    def _refuse_stranger(self, asked: httpx.URL) -> None:
        """`Unreachable` when a server of this machine has written meanwhile that it is elsewhere than was asked."""
        with contextlib.suppress(errors.WindlassError, ValueError, OSError, RuntimeError):
            self._find_again()
        # Another request may have found it before.
        now = httpx.URL(self.server)
        if (now.scheme, now.host, now.port) != (asked.scheme, asked.host, asked.port):
            there = f"{asked.scheme}://{asked.netloc.decode('ascii')}"
            raise errors.Unreachable(f"the server is at {self.server} now, and at {there} another one answers")


def remade(kind: Callable[..., _Client], server: str | None, options: dict[str, Any]) -> _Client:
    """A client as another process has made it."""
    return kind(server, **options)


def timeout(request: Request) -> httpx.Timeout:
    """The times of a request: to connect, between two pieces that are sent, and until its answer begins or goes on."""
    return httpx.Timeout(
        read=request.held_seconds + request.answer_seconds,
        write=request.answer_seconds,
        connect=min(CONNECT_SECONDS, request.answer_seconds),
        # Whether there is a connection to spare is no matter of the server.
        pool=request.spare_seconds,
    )


def may_pause(response: httpx.Response, request: Request) -> None:
    """From now on the answer may pause as long as the request says: its head was due, and what follows is not."""
    longest = request.quiet_seconds + request.answer_seconds
    # What is there now is what the connection reads by when the body is read.
    response.request.extensions["timeout"]["read"] = longest if math.isfinite(longest) else None


def silence(error: httpx.HTTPError, request: Request) -> float:
    """How long an answer was due when this error came."""
    if isinstance(error, httpx.ConnectTimeout):
        return min(CONNECT_SECONDS, request.answer_seconds)
    return request.answer_seconds if isinstance(error, (httpx.ReadTimeout, httpx.WriteTimeout)) else 0.0
