"""The client for programs with threads. `windlass.async_client` is the same for asyncio."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from windlass import _protocol as protocol
from windlass import errors
from windlass._computed import raise_with_computed, raise_without_result
from windlass._connections import Connections
from windlass._data import ASK_BYTES, Data, Given
from windlass._discovery import Token
from windlass._download import Destination, Download
from windlass._follow import Follow
from windlass._follow_logs import LOOK_SECONDS, FollowLogs
from windlass._http import Target, remade
from windlass._protocol import Answer, JobOrName, Options, Request, Submission
from windlass._retry import Patience, Sending
from windlass._silence import Watched
from windlass.models import Explanation, Function, Job, Queue

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Client:
    """A Windlass server: of this machine, of another, or of a cluster.

    Thread-safe, usable on both sides of a fork, and can be pickled. What gets no answer, 429, 503 or 504 is tried again
    for up to `patience_seconds`, as `Retry-After` says; a submission always under the same Idempotency-Key, so that it
    makes one job. A server that was never reached is called for 2 s.
    One that says nothing has half of the patience for an answer, and 2 s at least; 10 s for that to a submission, which
    may have made a job.

    `server` is `WINDLASS_SERVER` by default, or else the server of this machine; `token` is `WINDLASS_TOKEN`, or else
    what the file `WINDLASS_TOKEN_FILE` holds, or else what a server on this machine has in its data directory (`data`).
    A file is read at each request, since tokens are renewed; a token that changes otherwise is given as a function.
    `ca` is a file with the authorities to trust instead of the system's.
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
        self._connections = Connections(self._target)

    def __repr__(self) -> str:
        return f"<windlass.Client of {self._target.server}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """A client in another process is made as this one was; what the environment says is read there."""
        return remade, (type(self), *self._given)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. The next request opens new ones."""
        self._connections.close()

    def submit(
        self,
        function: str,
        input: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[Submission],
    ) -> Job:
        """Hands in a job, which from then on neither a kill nor a loss of power loses.

        The same `idempotency_key` with the same request is the same job, for a day at least; with another request it is
        a `Conflict`. So is a `name` that a job has already. A job has either a key or a name.

        `data` is an input that is no JSON, `files` are more of them by name: bytes, a `pathlib.Path`, a binary file, an
        array of numpy or a table. They are sent in pieces, and not at all where the server has them.
        """
        return self._hand_in(protocol.given_of(function, input, name, **options), idempotency_key)

    def call(
        self,
        function: str,
        input: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[Submission],
    ) -> Any:
        """Hands in a job and waits for its result: a Python value where it is JSON, an array or a table, else bytes.

        Raises `JobFailed` or `JobCancelled` when there is none. An item that fails ends the job at once, by
        `ItemsFailed`, a `JobFailed`: its `errors` say which and why, its `results` have what was computed before. With
        `"keepGoing": True` beside the `items` the others are computed, too. The job goes on when this caller does not;
        but Ctrl-C cancels one without a key of yours, which nobody would find again.
        """
        given, key = protocol.given_of(function, input, **options), idempotency_key or protocol.new_key()
        try:
            return self.value(self._hand_in(given, key, wait=True))
        except KeyboardInterrupt:
            if idempotency_key is None:
                self._abandon(given, key)
            raise

    def map(
        self, function: str, inputs: Iterable[Mapping[str, Any]], *, ahead: int = 256, **options: Unpack[Options]
    ) -> Iterator[Any]:
        """The results of one job for each input, in order. At most `ahead` jobs are unfinished at a time.

        When one fails, or the caller goes on without the rest, the jobs that are left are cancelled.
        """
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
                        waiting.append(self.submit(function, each, idempotency_key=key, **options))
                    except errors.Busy:
                        if not waiting:
                            raise
                        # Full of our own jobs, perhaps: when the first has ended there is room.
                        break
                    following = []
                if not waiting:
                    return
                value = self.value(waiting[0])
                waiting.popleft()
                yield value
        finally:
            self._cancel_left(waiting)

    def value(self, job: JobOrName) -> Any:
        """The result of a job, once it has ended: a Python value where it is JSON, an array or a table, else bytes.

        Raises as `call` does.
        """
        if isinstance(job, str) or not protocol.is_finished(job):
            job = self.wait(job)
        raise_without_result(job)
        inline = protocol.inline_result(job)
        if job.status.phase == "Failed":
            raise_with_computed(job, self._computed(job) if inline is None else inline)
        return protocol.value_of(job, self.result(job) if inline is None else inline)

    def get(self, job: JobOrName, *, with_input: bool = True) -> Job:
        """The job as it is now. `with_input=False` leaves out its input, which may have 128 KiB: it is `{}` then."""
        return protocol.job_of(self._send(self._paths.get(job, with_input)).body)

    def list(
        self,
        *,
        function: str | None = None,
        phase: str | None = None,
        queue: str | None = None,
        label_selector: str | None = None,
        with_input: bool = True,
    ) -> Iterator[Job]:
        """All jobs, or those of a function, in a phase, of a queue or with labels. They are fetched by pages.

        `label_selector` is what `kubectl get -l` takes, such as `team=blue,stage in (test,dev),!draft`.
        `with_input=False` leaves out their inputs, as `get` does.
        """
        selection = {"function": function, "phase": phase, "queue": queue, "labelSelector": label_selector}
        page: str | None = None
        while True:
            answer = self._send(self._paths.list(selection, with_input, page))
            jobs, page = protocol.jobs_of(answer.body)
            yield from jobs
            if page is None:
                return

    def wait(self, job: JobOrName, *, timeout_seconds: float | None = None) -> Job:
        """The job as it ended, however it did.

        `TimeoutError` when it has not by then. It is looked at once, for up to a second, however short the timeout is.
        Its input is that of the job that is given; of a name it is `{}`.
        """
        for told in self._follow(job, timeout_seconds):
            last = told
        return last

    def progress(self, job: JobOrName, *, timeout_seconds: float | None = None) -> Iterator[Job]:
        """The job on each change that is told, until it has ended. Connects again when a connection is lost.

        `TimeoutError` when it has not ended by then. Its input is that of the job that is given; of a name it is `{}`.
        """
        return self._follow(job, timeout_seconds)

    def cancel(self, job: JobOrName) -> Job:
        """Asks for its end. A job that has ended stays as it is."""
        return protocol.job_of(self._send(self._paths.end("POST", job, "/cancel")).body)

    def retry(self, job: JobOrName, *, idempotency_key: str | None = None) -> Job:
        """Hands in a new job of the same spec and labels; `Conflict` while the job has not ended.

        Its annotation `windlass.dev/retry-of` names it. `submit(..., retry_of=job)` hands in one with changes.
        """
        return protocol.job_of(self._send(self._paths.retry(job, idempotency_key)).body)

    def delete(self, job: JobOrName) -> None:
        """Ends and forgets it."""
        self._send(self._paths.end("DELETE", job))

    def result(self, job: JobOrName) -> bytes:
        """The bytes that the function wrote. `Conflict` when there are none (yet)."""
        return protocol.checked(self._send(Request("GET", self._paths.job(job, "/result"))))

    def download(self, job: JobOrName, to: Destination) -> None:
        """Writes the result, however large, to a path (whole or not at all) or to a binary file, piece by piece."""
        with Download(self._paths.job(job, "/result"), to, self._patience_seconds) as download:
            while not download.is_whole:
                try:
                    with self._target.streaming(self._connections.to_server(), download.request()) as response:
                        download.begin(response)
                        for piece in response.iter_raw():
                            download.take(piece)
                    download.end()
                except (errors.Unreachable, errors.ApiError) as error:
                    time.sleep(download.pause_after(error))

    def logs(self, job: JobOrName, *, timestamps: bool = False, attempt: int | None = None) -> str:
        """The end of what the function says on stdout and stderr, as it is now.

        With `timestamps` each line begins with the time at which it came. `attempt` is 1 for the first, and by default
        the latest. A first line says where its begin is missing. Raises `Gone` where nothing of it is kept.
        """
        return self._send(self._paths.logs(job, timestamps, attempt)).body.decode("utf-8", "replace")

    def follow_logs(self, job: JobOrName, *, timestamps: bool = False) -> Iterator[str]:
        """The same and then all that comes, piece by piece, until the job has ended.

        When a server that was lost comes back and begins another attempt, its log follows. Raises `Unreachable` when
        the connection is lost within an attempt: what was said meanwhile could not be told from what was read. So it
        does when a function is silent for 15 s and the server does not answer within `patience_seconds` then.
        """
        follow = FollowLogs()
        told = self.get(job, with_input=False)
        while True:
            follow.opens(told)
            lost = None
            try:
                yield from self._log(job, timestamps, follow)
            except errors.Unreachable as error:
                if error is follow.given_up:
                    raise
                lost = error
            told = self.get(job, with_input=False)
            while not (is_over := follow.is_over(told, lost)) and not follow.goes_on(told, lost):
                time.sleep(LOOK_SECONDS)
                told = self.get(job, with_input=False)
            if is_over:
                return

    def _log(self, job: JobOrName, timestamps: bool, follow: FollowLogs) -> Iterator[str]:
        """What one stream tells."""
        request = self._paths.follow_logs(job, timestamps, Patience(self._patience_seconds).answer_seconds())
        http, look = self._connections.to_server(), partial(self._look, job)
        with self._target.streaming(http, request) as answer, Watched(answer, follow, look) as watched:
            yield from watched.pieces()

    def explain(self, job: JobOrName) -> Explanation:
        """Where its time went, and what it waits for now."""
        return protocol.explanation_of(self._send(Request("GET", self._paths.job(job, "/explain"))).body)

    def functions(self) -> tuple[Function, ...]:
        """What may run."""
        return protocol.functions_of(self._send(Request("GET", self._paths.base + "/functions")).body)

    def function(self, name: str) -> Function:
        """A function."""
        return protocol.function_of(self._send(Request("GET", self._paths.function(name))).body)

    def queues(self) -> tuple[Queue, ...]:
        """The queues, and how much of each is in use."""
        return protocol.queues_of(self._send(Request("GET", self._paths.base + "/queues")).body)

    # --- How it is asked. ---

    def _look(self, job: JobOrName) -> Job:
        with remade(type(self), *self._given) as other:
            other._target.was_reached = True
            return other.get(job, with_input=False)

    def _computed(self, job: Job) -> bytes:
        """What a job that has failed had computed before."""
        try:
            return protocol.checked(self._send(self._paths.partial_result(job)))
        except errors.WindlassError as error:
            # That it has failed is what matters.
            raise errors.JobFailed(job) from error

    def _hand_in(self, given: Given, key: str | None, wait: bool = False) -> Job:
        """Sends the data that the server has not, and then the job."""
        for data in given.data:
            if not self._has(data):
                self._send(self._paths.blob("PUT", data))
        request = self._paths.submit(given.spec, key, protocol.held_seconds(self._patience_seconds) if wait else 0)
        try:
            return protocol.job_of(self._send(request).body)
        except errors.Invalid as error:
            if not given.is_missing(error):
                raise
        # It was there, and was deleted before the job named it.
        for data in given.data:
            self._send(self._paths.blob("PUT", data))
        return protocol.job_of(self._send(request).body)

    def _cancel_left(self, jobs: Iterable[Job]) -> bool:
        """Cancels jobs for which nobody waits any more; whether the server has answered.

        What has ended stays as it is, and a server that is gone has no say in how this ends.
        """
        for job in jobs:
            try:
                self._send(self._paths.leave(job))
            except errors.Unreachable:
                return False
            except errors.WindlassError:
                pass
        return True

    def _abandon(self, given: Given, key: str) -> None:
        """Cancels the job of a submission that was interrupted: under the same key it is the same job."""
        request = replace(self._paths.submit(given.spec, key), answer_seconds=protocol.LEAVING_SECONDS)
        with contextlib.suppress(errors.WindlassError):
            self._cancel_left([protocol.job_of(self._send(request).body)])

    def _has(self, data: Data) -> bool:
        if data.size < ASK_BYTES:
            return False
        try:
            self._send(self._paths.blob("HEAD", data))
        except errors.NotFound:
            return False
        return True

    def _send(self, request: Request) -> Answer:
        sending = Sending(request, self._patience_seconds)
        while True:
            try:
                return sending.answered(self._try(sending.next()))
            except (errors.Unreachable, errors.ApiError) as error:
                if sending.is_done_by(error):
                    return Answer()
                time.sleep(sending.pause_after(error))

    def _try(self, request: Request) -> Answer:
        try:
            response = self._connections.to_server().request(**self._target.arguments(request))
        except httpx.TransportError as error:
            raise self._target.unreachable(error, request) from None
        return self._target.answer_of(response)

    def _follow(self, job: JobOrName, timeout_seconds: float | None) -> Iterator[Job]:
        follow = Follow(job, timeout_seconds, self._patience_seconds)
        while follow.end is None:
            try:
                yield from self._stream(follow)
            except (errors.Unreachable, errors.ApiError) as error:
                time.sleep(follow.pause_after(error))

    def _stream(self, follow: Follow) -> Iterator[Job]:
        """The job on each change that one stream tells."""
        request = follow.open(self._paths)
        with self._target.streaming(self._connections.to_server(), request) as response:
            for piece in response.iter_raw():
                yield from follow.take(piece)
                if follow.is_over():
                    return
        raise errors.Unreachable(f"the events of job {follow.name} end before it does")
