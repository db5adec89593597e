"""A `concurrent.futures.Executor` whose processes are jobs.

```python
with ProcessPoolExecutor(4) as pool:           with windlass.Executor("price") as pool:
    results = pool.map(price, options)             results = pool.map(options)
```

The function is the one that the executor names, so that `submit` and `map` need only what is to be handed to it. They
also take the function itself first, as a pool does, where this program has it: `submit(price, option, rate=0.03)`. Then
the arguments are checked here. Arrays, bytes and tables go as they are. The futures are those of `concurrent.futures`:
`wait`, `as_completed` and `asyncio.wrap_future` know them.

How items become jobs:

- A function of `windlass.worker`, or any other whose input is `{"items": [...]}`: `submit(item)` is one job with one
  item; `map(items)` is one job with all items, which its processes share, or as many jobs as it takes when the items
  are more than an input can hold (120 KiB of JSON). `chunksize` asks for jobs of so many items.
- Any other function: each item is the whole input of one job.

An exception is raised where `concurrent.futures` would raise one: `JobFailed` has the end of what the function said,
with the traceback. An item of a `map` that fails does not end the others of its job: `ItemsFailed`, a `JobFailed`, has
their results. A failed attempt is not tried again unless `retries` says so; one that the machine lost always is.

One thread, of however many futures there are, talks to the server.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable

from windlass import _protocol as protocol
from windlass import errors
from windlass._computed import results_before
from windlass._discovery import NoToken
from windlass._executor_thread import client_of, end, run
from windlass._future import FORKED
from windlass._future import JobFuture as JobFuture
from windlass._lacks import Lacks
from windlass._leaving import executors, logger
from windlass._registered import Registered, Work, in_list, of_whole, result_of, works_of
from windlass.async_client import AsyncClient
from windlass.models import Job

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Jobs that have no stream are asked one after another how they are, each with a pause after it: 64 a second, so that a
# future is done some seconds late at most.
QUESTION_SECONDS = 0.25

# So long a server that does not answer is told again that a job is cancelled.
CANCEL_SECONDS = 30.0

# So long a submission that was refused because there is too much to do waits at most before the next.
LONGEST_BUSY_SECONDS = 30.0


class Executor(concurrent.futures.Executor):
    """Runs items as jobs of one function.

    `client` makes the `AsyncClient` by which the server is asked (the thread of the executor has a loop of its own);
    without it that is one with all defaults but these `patience_seconds`. `items` says whether the input is a list of
    items; without it the server is asked, or where it cannot be reached, asked at the first use. Options, such as
    `parallelism`, are those of each job.
    """

    def __init__(
        self,
        function: str,
        *,
        client: Callable[[], AsyncClient] | None = None,
        items: bool | None = None,
        patience_seconds: float | None = None,
        **options: Unpack[protocol.Options],
    ) -> None:
        if not isinstance(function, str):
            raise TypeError(
                f"windlass.Executor({function!r}): it takes the name of a function, as in windlass.Executor('price'); "
                "how many processes a job has is its option parallelism"
            )
        options.setdefault("retries", 0)
        protocol.spec_of(function, {}, **options)  # wrong arguments are told here, and not by each future
        self._function, self._options = function, options
        self._client = client_of(client, patience_seconds)
        self._lock, self._process = threading.Lock(), os.getpid()
        self._is_shut = False
        self._unfinished: set[JobFuture] = set()
        # Of the loop's thread alone.
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._submissions: asyncio.Semaphore
        self._questions: asyncio.Semaphore
        self._cancels: asyncio.Semaphore
        self._silent_until: float
        self._free_streams: int
        self._lacks = Lacks()
        self._tasks: dict[JobFuture, asyncio.Task[None]] = {}
        # Those whose jobs are waited for: only that may be interrupted.
        self._followed: set[JobFuture] = set()
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended = threading.Event()
        self._is_interrupted = False
        arguments = weakref.ref(self), started, self._ended
        self._thread = threading.Thread(target=run, args=arguments, name=f"windlass-{function}", daemon=True)
        self._thread.start()
        started.result()
        # One that is forgotten without a shutdown, when all is done, ends its thread. A program's end ends it anyway.
        weakref.finalize(self, end, self._loop, self._over).atexit = False
        self._registered: Registered | None = None
        self._items = items
        if items is None:
            try:
                self._has_items()
            except BaseException as error:
                # A web service may start before its server: the first use asks again, and raises.
                if not isinstance(error, NoToken) and not getattr(error, "is_first_contact", False):
                    self.shutdown()
                    raise
                logger.warning("the function %s is asked for at its first use: %s", function, error)
        executors.add(self)

    def _has_items(self) -> bool:
        """Whether the function's input is a list of items."""
        return self._function_there().has_items if self._items is None else self._items

    def _function_there(self) -> Registered:
        """The function as the server has it."""
        if self._is_copy():
            raise RuntimeError(FORKED)
        if self._registered is None:
            asked = self._client.function(self._function)
            self._registered = Registered(asyncio.run_coroutine_threadsafe(asked, self._loop).result())
        return self._registered

    def submit(self, *item: Any, **named: Any) -> JobFuture:
        """One job: `submit(item)`, or a call of the function itself, `submit(function, *args, **kwargs)`.

        The future is there at once, the job a little later.
        """
        if item and callable(item[0]):
            call = self._function_there().call(item[0])
            return self._start(call.with_arguments(item[1:], named).work())
        if len(item) != 1 or named:
            raise TypeError(f"the function is {self._function!r} and takes one item: write submit(item)")
        if not self._has_items():
            return self._start(of_whole(item[0]))
        known = self._registered
        return self._start(known.item_work(item[0]) if known else in_list(item[0], self._function))

    def map(  # type: ignore[override]
        self, *items: Iterable[Any], timeout: float | None = None, chunksize: int | None = None, **misplaced: Any
    ) -> Iterator[Any]:
        """The results, in order. All jobs are handed in before this returns.

        Of several iterables, an item is a list with one element of each, up to the end of the shortest. With the
        function itself first, `map(function, *items)`, they are its arguments; a `functools.partial` of it has others.

        Raises what the first failed item raised, and `TimeoutError` so many seconds after the call. Then, and when the
        iterator is given up, what is left is cancelled.
        """
        called, items = (items[0], items[1:]) if items and callable(items[0]) else (None, items)
        if not items or misplaced:
            raise TypeError(f"the function is {self._function!r}: write map(items, timeout=..., chunksize=...)")
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be at least 1")
        until = None if timeout is None else time.monotonic() + timeout
        works: Iterable[Work]
        if called is not None:
            works = self._function_there().works(called, items, chunksize)
        else:
            each = iter(items[0]) if len(items) == 1 else map(list, zip(*items))
            if not self._has_items():
                works = map(of_whole, each)
            else:
                known = self._registered
                works = known.item_works(each, chunksize) if known else works_of(each, chunksize, {})
        return self._results([self._start(work) for work in works], until)

    def _results(self, futures: list[JobFuture], until: float | None) -> Iterator[Any]:
        try:
            futures.reverse()
            while futures:
                left = None if until is None else until - time.monotonic()
                try:
                    result = futures[-1].result(left)
                except concurrent.futures.TimeoutError:
                    # Before Python 3.11 it was no TimeoutError.
                    jobs = "1 job has" if len(futures) == 1 else f"{len(futures)} jobs have"
                    raise TimeoutError(f"{jobs} not ended in time") from None
                except errors.ItemsFailed as error:
                    futures.pop()
                    # As a pool does: first the results before the item that failed, as far as they are there.
                    yield from results_before(error)
                    raise
                if futures.pop()._work.is_single:
                    yield result
                else:
                    yield from result
        finally:
            for future in futures:
                future.cancel()

    def _is_copy(self) -> bool:
        """Whether this is a child of a fork, where the thread is not that talks to the server."""
        return self._process != os.getpid()

    def __repr__(self) -> str:
        return f"<windlass.Executor of {self._function!r} by {self._client!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a windlass.Executor cannot be pickled: make one in each process")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more. `cancel_futures` cancels what does not run yet; `wait` waits for the rest.

        Without `wait`, jobs go on, also when this program ends: it hands in those first that are not yet. In a child of
        a fork there is nothing to shut down.
        """
        if self._is_copy():
            return
        with self._lock:
            self._is_shut = True
        if cancel_futures:
            self._cancel_all(but_running=True)
        self._in_loop(self._end_if_done)
        if wait:
            self._wait()

    def _wait(self) -> None:
        """Waits for the end. The first Ctrl-C, in a block or here, cancels all jobs, and the second leaves at once."""
        try:
            # Before Python 3.13 a `join` that is interrupted takes a thread that is alive for one that has ended.
            self._ended.wait()
        except KeyboardInterrupt:
            if not self._is_interrupted:
                self._cancel_interrupted()
                self._ended.wait()
            raise
        self._thread.join()

    def _cancel_interrupted(self) -> None:
        # Nobody waits for them any more.
        self._is_interrupted = True
        self._cancel_all()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits as `shutdown` does. Ctrl-C in the block first cancels all jobs, as it ends the processes of a pool."""
        if kind is not None and issubclass(kind, KeyboardInterrupt) and not self._is_copy():
            self._cancel_interrupted()
        self.shutdown()

    def _futures(self) -> list[JobFuture]:
        with self._lock:
            return list(self._unfinished)

    def _cancel_all(self, but_running: bool = False) -> None:
        for future in self._futures():
            if not (but_running and future.running()):
                future.cancel()

    def _start(self, work: Work) -> JobFuture:
        """Hands in a job."""
        if work.data is None and not isinstance(work.input, dict):
            raise TypeError(f"an input of {self._function!r} is a dict, not {type(work.input).__name__}")
        if self._is_copy():
            raise RuntimeError(FORKED)
        future = JobFuture(self, work)
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._unfinished.add(future)
        self._in_loop(self._begin, future)
        return future

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        # The loop is closed when everything is done.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    # --- In the thread of the loop. ---

    def _end_if_done(self) -> None:
        with self._lock:
            if self._is_shut and not self._unfinished:
                self._over.set()

    def _begin(self, future: JobFuture) -> None:
        self._tasks[future] = task = self._loop.create_task(self._carry(future))
        task.add_done_callback(lambda _: self._end(future))

    def _end(self, future: JobFuture) -> None:
        del self._tasks[future]
        with self._lock:
            self._unfinished.discard(future)
        self._end_if_done()

    def _forget(self, future: JobFuture) -> None:
        """A future was cancelled, in whatever thread."""
        self._in_loop(self._interrupt, future)

    def _interrupt(self, future: JobFuture) -> None:
        # A submission under way is not interrupted: nobody would know whether there is a job to cancel. Nor is a
        # cancel.
        task = self._tasks.get(future)
        if task is not None and future in self._followed:
            task.cancel()

    async def _carry(self, future: JobFuture) -> None:
        """From an input to the end of its future."""
        try:
            async with self._submissions:
                if not future.cancelled():
                    future._job = await self._submit(future)
            if not future.cancelled():
                self._followed.add(future)
                await self._follow(future)
            if future._job is not None and not future.cancelled():
                try:
                    value = await self._client.value(future._job)
                except errors.ItemsFailed as error:
                    raise error.numbered_from(future._work.first) from None
                future.set_result(result_of(value, future._work, self._function))
        except errors.JobCancelled:
            # By somebody else.
            concurrent.futures.Future.cancel(future)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(error)
        finally:
            self._followed.discard(future)
            self._lacks.forget(future._job.metadata.name if future._job else "")
        if future.cancelled():
            future.set_running_or_notify_cancel()
            await self._cancel(future)

    async def _submit(self, future: JobFuture) -> Job | None:
        """Its job; None when it was cancelled while there was no room."""
        # One for all tries: an answer may be lost before there is no room.
        work, key = future._work, protocol.new_key()
        while True:
            may_get_room = self._has_jobs()
            try:
                return await self._client.submit(
                    self._function, work.input, idempotency_key=key, data=work.data, files=work.files, **self._options
                )
            except errors.Busy as error:
                # Full of our own jobs, perhaps: when one of them ends there is room.
                if not may_get_room and not self._has_jobs():
                    raise
                pause = min(error.retry_after_seconds or 1.0, LONGEST_BUSY_SECONDS)
                self._client._life.refused(pause)
                await asyncio.sleep(pause)
            if future.cancelled():
                return None

    def _has_jobs(self) -> bool:
        return any(future._job is not None and not protocol.is_finished(future._job) for future in self._tasks)

    async def _follow(self, future: JobFuture) -> None:
        while future._job is not None and not protocol.is_finished(future._job):
            if self._free_streams > 0:
                self._free_streams -= 1
                try:
                    async for job in self._client._follow(future._job, None, self._lacks):
                        future._job = job
                finally:
                    self._free_streams += 1
            else:
                async with self._questions:
                    told = await self._client.get(future._job, with_input=False)
                    self._lacks.tell(told)
                    future._job = replace(told, spec=future._job.spec)
                    if not protocol.is_finished(told):
                        await asyncio.sleep(QUESTION_SECONDS)

    async def _cancel(self, future: JobFuture) -> None:
        if future._job is None or protocol.is_finished(future._job):
            return
        async with self._cancels:
            give_up = self._loop.time() + CANCEL_SECONDS
            # While the program goes on, so does the job until the server hears of this: it may be starting anew.
            # Whoever leaves is not held up, and a server that has not answered is not asked for each of a thousand.
            while not self._is_shut or self._loop.time() >= self._silent_until:
                if await self._client._cancel_left([future._job]):
                    return
                self._silent_until = self._loop.time() + protocol.LEAVING_SECONDS
                if self._loop.time() >= give_up:
                    return
