"""The client for asyncio: `windlass.client` with `await`, the same methods in the same order."""

from __future__ import annotations

import asyncio
import collections
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from windlass import _protocol as protocol
from windlass import _silence as silence
from windlass import errors
from windlass._awaited import given_of, read_aside
from windlass._computed import raise_with_computed, raise_without_result
from windlass._data import ASK_BYTES, Data, Given
from windlass._discovery import Token
from windlass._download import Destination, Download
from windlass._follow import Follow
from windlass._follow_logs import LOOK_SECONDS, FollowLogs
from windlass._http import Target, remade
from windlass._lacks import Lacks
from windlass._life import Life
from windlass._protocol import Answer, JobOrName, Options, Request, Submission
from windlass._retry import Patience, Sending
from windlass.models import Explanation, Function, Job, Queue

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Connections that are kept; more tasks than this wait for one.
CONNECTIONS = 100


class AsyncClient:
    """A Windlass server: of this machine, of another, or of a cluster. Each event loop has connections of its own.

    Everything that `windlass.Client` says holds here.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        token: Token | None = None,
        namespace: str = "default",
        data: str | os.PathLike[str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        patience_seconds: float = 30.0,
    ) -> None:
        options = {"token": token, "namespace": namespace, "data": data, "ca": ca, "patience_seconds": patience_seconds}
        self._given = server, options
        self._target = Target(server, token, data, ca)
        self._paths = protocol.Paths(namespace)
        self._patience_seconds = patience_seconds
        self._life = Life()
        # Of each loop, and the server that it asks.
        self._http: dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, str]] = {}
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<windlass.AsyncClient of {self._target.server}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """A client in another process is made as this one was; what the environment says is read there."""
        return remade, (type(self), *self._given)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections. The next request opens new ones."""
        here = asyncio.get_running_loop()
        connections = self._connections()
        for loop in list(connections):
            http, _ = connections.pop(loop, (None, ""))
            if http is not None and loop is here:
                await http.aclose()
            elif http is not None and loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(http.aclose(), loop))

    async def submit(
        self,
        function: str,
        input: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[Submission],
    ) -> Job:
        """Hands in a job; see `Client.submit`."""
        with self._life.uploading():
            given = await given_of(function, input, name, **options)
        return await self._hand_in(given, idempotency_key)

    async def call(
        self,
        function: str,
        input: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[Submission],
    ) -> Any:
        """Hands in a job and waits for its result; see `Client.call`."""
        given = await given_of(function, input, **options)
        return await self.value(await self._hand_in(given, idempotency_key, wait=True))

    async def map(
        self, function: str, inputs: Iterable[Mapping[str, Any]], *, ahead: int = 256, **options: Unpack[Options]
    ) -> AsyncIterator[Any]:
        """The results of one job for each input, in order; see `Client.map`."""
        waiting: collections.deque[Job] = collections.deque()
        source = iter(inputs)
        # The next input, while it has no job, and its key: an answer may be lost before there is no room.
        following: list[tuple[Mapping[str, Any], str]] = []
        try:
            while True:
                while len(waiting) < ahead:
                    following = following or [(each, protocol.new_key()) for each in itertools.islice(source, 1)]
                    if not following:
                        break
                    each, key = following[0]
                    try:
                        waiting.append(await self.submit(function, each, idempotency_key=key, **options))
                    except errors.Busy:
                        if not waiting:
                            raise
                        # Full of our own jobs, perhaps: when the first has ended there is room.
                        break
                    following = []
                if not waiting:
                    return
                value = await self.value(waiting[0])
                waiting.popleft()
                yield value
        finally:
            await self._cancel_left(waiting)

    async def value(self, job: JobOrName) -> Any:
        """The result of a job, once it has ended: a Python value where it is JSON, an array or a table, else bytes."""
        if isinstance(job, str) or not protocol.is_finished(job):
            job = await self.wait(job)
        raise_without_result(job)
        inline = protocol.inline_result(job)
        if job.status.phase == "Failed":
            raise_with_computed(job, await self._computed(job) if inline is None else inline)
        return protocol.value_of(job, await self.result(job) if inline is None else inline)

    async def get(self, job: JobOrName, *, with_input: bool = True) -> Job:
        """The job as it is now; see `Client.get`."""
        return protocol.job_of((await self._send(self._paths.get(job, with_input))).body)

    async def list(
        self,
        *,
        function: str | None = None,
        phase: str | None = None,
        queue: str | None = None,
        label_selector: str | None = None,
        with_input: bool = True,
    ) -> AsyncIterator[Job]:
        """All jobs, or those of a function, in a phase, of a queue or with labels; see `Client.list`."""
        selection = {"function": function, "phase": phase, "queue": queue, "labelSelector": label_selector}
        page: str | None = None
        while True:
            answer = await self._send(self._paths.list(selection, with_input, page))
            jobs, page = protocol.jobs_of(answer.body)
            for job in jobs:
                yield job
            if page is None:
                return

    async def wait(self, job: JobOrName, *, timeout_seconds: float | None = None) -> Job:
        """The job as it ended, however it did; see `Client.wait`."""
        async for told in self._follow(job, timeout_seconds):
            last = told
        return last

    def progress(self, job: JobOrName, *, timeout_seconds: float | None = None) -> AsyncGenerator[Job, None]:
        """The job on each change that is told, until it has ended. Connects again when a connection is lost.

        `TimeoutError` when it has not ended by then. Its input is that of the job that is given; of a name it is `{}`.
        """
        return self._follow(job, timeout_seconds)

    async def cancel(self, job: JobOrName) -> Job:
        """Asks for its end. A job that has ended stays as it is."""
        return protocol.job_of((await self._send(self._paths.end("POST", job, "/cancel"))).body)

    async def retry(self, job: JobOrName, *, idempotency_key: str | None = None) -> Job:
        """Hands in a new job of the same spec and labels; see `Client.retry`."""
        return protocol.job_of((await self._send(self._paths.retry(job, idempotency_key))).body)

    async def delete(self, job: JobOrName) -> None:
        """Ends and forgets it."""
        await self._send(self._paths.end("DELETE", job))

    async def result(self, job: JobOrName) -> bytes:
        """The bytes that the function wrote. `Conflict` when there are none (yet)."""
        return protocol.checked(await self._send(Request("GET", self._paths.job(job, "/result"))))

    async def download(self, job: JobOrName, to: Destination) -> None:
        """Writes the bytes of the result to a path or to a binary file, piece by piece; see `Client.download`."""
        with Download(self._paths.job(job, "/result"), to, self._patience_seconds) as download:
            while not download.is_whole:
                try:
                    async with self._target.async_streaming(self._connection(), download.request()) as response:
                        download.begin(response)
                        async for piece in response.aiter_raw():
                            # A disk that is slow keeps nobody else waiting.
                            await asyncio.to_thread(download.take, piece)
                    await asyncio.to_thread(download.end)
                except (errors.Unreachable, errors.ApiError) as error:
                    await asyncio.sleep(download.pause_after(error))

    async def logs(self, job: JobOrName, *, timestamps: bool = False, attempt: int | None = None) -> str:
        """The end of what the function says on stdout and stderr, as it is now; see `Client.logs`."""
        return (await self._send(self._paths.logs(job, timestamps, attempt))).body.decode("utf-8", "replace")

    async def follow_logs(self, job: JobOrName, *, timestamps: bool = False) -> AsyncGenerator[str, None]:
        """The same and then all that comes, until the job has ended; see `Client.follow_logs`."""
        follow = FollowLogs()
        told = await self.get(job, with_input=False)
        while True:
            follow.opens(told)
            lost = None
            log = self._log(job, timestamps, follow)
            try:
                async for piece in log:
                    yield piece
            except errors.Unreachable as error:
                if error is follow.given_up:
                    raise
                lost = error
            finally:
                await log.aclose()
            told = await self.get(job, with_input=False)
            while not (is_over := follow.is_over(told, lost)) and not follow.goes_on(told, lost):
                await asyncio.sleep(LOOK_SECONDS)
                told = await self.get(job, with_input=False)
            if is_over:
                return

    async def _log(self, job: JobOrName, timestamps: bool, follow: FollowLogs) -> AsyncGenerator[str, None]:
        """What one stream tells."""
        request = self._paths.follow_logs(job, timestamps, Patience(self._patience_seconds).answer_seconds())
        async with self._target.async_streaming(self._connection(), request) as response:
            pieces = silence.pieces(response, follow, partial(self._look, job))
            try:
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()

    async def explain(self, job: JobOrName) -> Explanation:
        """Where its time went, and what it waits for now."""
        return protocol.explanation_of((await self._send(Request("GET", self._paths.job(job, "/explain")))).body)

    async def functions(self) -> tuple[Function, ...]:
        """What may run."""
        return protocol.functions_of((await self._send(Request("GET", self._paths.base + "/functions"))).body)

    async def function(self, name: str) -> Function:
        """A function."""
        return protocol.function_of((await self._send(Request("GET", self._paths.function(name)))).body)

    async def queues(self) -> tuple[Queue, ...]:
        """The queues, and how much of each is in use."""
        return protocol.queues_of((await self._send(Request("GET", self._paths.base + "/queues"))).body)

    # --- How it is asked. ---

    async def _look(self, job: JobOrName) -> Job:
        async with remade(type(self), *self._given) as other:
            other._target.was_reached = True
            return await other.get(job, with_input=False)

    async def _computed(self, job: Job) -> bytes:
        """What a job that has failed had computed before."""
        try:
            return protocol.checked(await self._send(self._paths.partial_result(job)))
        except errors.WindlassError as error:
            # That it has failed is what matters.
            raise errors.JobFailed(job) from error

    async def _hand_in(self, given: Given, key: str | None, wait: bool = False) -> Job:
        """Sends the data that the server has not, and then the job."""
        await self._upload(given)
        request = self._paths.submit(given.spec, key, protocol.held_seconds(self._patience_seconds) if wait else 0)
        try:
            return protocol.job_of((await self._send(request)).body)
        except errors.Invalid as error:
            if not given.is_missing(error):
                raise
        # It was there, and was deleted before the job named it.
        await self._upload(given, is_lost=True)
        return protocol.job_of((await self._send(request)).body)

    async def _upload(self, given: Given, is_lost: bool = False) -> None:
        for data in given.data:
            with self._life.uploading():
                if is_lost or not await self._has(data):
                    await self._send(self._paths.blob("PUT", data))

    async def _cancel_left(self, jobs: Iterable[Job]) -> bool:
        """Cancels jobs for which nobody waits any more; see `Client._cancel_left`."""
        for job in jobs:
            try:
                await self._send(self._paths.leave(job))
            except errors.Unreachable:
                return False
            except errors.WindlassError:
                pass
        return True

    async def _has(self, data: Data) -> bool:
        if data.size < ASK_BYTES:
            return False
        try:
            await self._send(self._paths.blob("HEAD", data))
        except errors.NotFound:
            return False
        return True

    def _connections(self) -> dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, str]]:
        """Those of this process: what a fork has copied belongs to the parent."""
        if self._process != os.getpid():
            self._http, self._process = {}, os.getpid()
        return self._http

    def _connection(self) -> httpx.AsyncClient:
        loop, connections = asyncio.get_running_loop(), self._connections()
        server = self._target.current()
        http, asked = connections.get(loop, (None, ""))
        # What is open to where the server was ends with its requests.
        if http is None or asked != server:
            # What a loop has left open when it was closed cannot be closed any more, only be forgotten.
            for other in list(connections):
                if other.is_closed():
                    connections.pop(other, None)
            http = self._target.opened(httpx.AsyncClient, CONNECTIONS)
            connections[loop] = http, server
        return http

    async def _send(self, request: Request) -> Answer:
        sending = Sending(request, self._patience_seconds)
        while True:
            try:
                return sending.answered(await self._try(sending.next()))
            except (errors.Unreachable, errors.ApiError) as error:
                if sending.is_done_by(error):
                    return Answer()
                pause = sending.pause_after(error)
                if isinstance(error, errors.ApiError):
                    self._life.refused(pause)
                await asyncio.sleep(pause)

    async def _try(self, request: Request) -> Answer:
        arguments = self._target.arguments(request)
        if request.data is not None:
            arguments["content"] = self._life.counted(read_aside(arguments["content"]))
        try:
            response = await self._connection().request(**arguments)
        except httpx.TransportError as error:
            raise self._target.unreachable(error, request) from None
        return self._target.answer_of(response)

    async def _follow(
        self, job: JobOrName, timeout_seconds: float | None, lacks: Lacks | None = None
    ) -> AsyncGenerator[Job, None]:
        follow = Follow(job, timeout_seconds, self._patience_seconds, lacks)
        while follow.end is None:
            stream = self._stream(follow)
            try:
                async for told in stream:
                    yield told
            except (errors.Unreachable, errors.ApiError) as error:
                await asyncio.sleep(follow.pause_after(error))
            finally:
                # At once, not when the loop finds it: its connection is for others.
                await stream.aclose()

    async def _stream(self, follow: Follow) -> AsyncGenerator[Job, None]:
        """The job on each change that one stream tells."""
        request = follow.open(self._paths)
        async with self._target.async_streaming(self._connection(), request) as response:
            async for piece in response.aiter_raw():
                for told in follow.take(piece):
                    yield told
                if follow.is_over():
                    return
        raise errors.Unreachable(f"the events of job {follow.name} end before it does")
