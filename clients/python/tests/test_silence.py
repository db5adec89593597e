"""A server that takes connections and does not answer: whoever asks it is told as soon as the patience says."""

import asyncio
import contextlib
import io
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import fake_server
import pytest

import windlass
from windlass._follow_logs import FollowLogs
from windlass._protocol import LEAVING_SECONDS
from windlass._retry import LEAST_SUBMISSION_SECONDS
from windlass.async_client import CONNECTIONS

PATIENCE_SECONDS = 3.0
# The last try has a second, however little is left.
MOST_SECONDS = PATIENCE_SECONDS + 2.5
# What makes a job is not given up as early.
MOST_SUBMISSION_SECONDS = LEAST_SUBMISSION_SECONDS + 2.5
MAKE_JOBS = ("call", "map", "retry", "submit")

USES = {
    "call": lambda client: client.call("f", {}),
    "cancel": lambda client: client.cancel("j"),
    "delete": lambda client: client.delete("j"),
    "download": lambda client: client.download("j", io.BytesIO()),
    "explain": lambda client: client.explain("j"),
    "follow_logs": lambda client: client.follow_logs("j"),
    "function": lambda client: client.function("f"),
    "functions": lambda client: client.functions(),
    "get": lambda client: client.get("j"),
    "list": lambda client: client.list(),
    "logs": lambda client: client.logs("j"),
    "map": lambda client: client.map("f", [{}]),
    "progress": lambda client: client.progress("j"),
    "queues": lambda client: client.queues(),
    "result": lambda client: client.result("j"),
    "retry": lambda client: client.retry("j"),
    "submit": lambda client: client.submit("f", {}),
    "submit a file": lambda client: client.submit("f", data=b"x" * (16 << 20)),
    "value": lambda client: client.value("j"),
    "wait": lambda client: client.wait("j"),
}


@pytest.fixture
def silent():
    """The kernel takes the connections, as it does for a process that was stopped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def in_thread(url, use):
    with windlass.Client(url, token="t", patience_seconds=PATIENCE_SECONDS) as client:
        found = use(client)
        if hasattr(found, "__next__"):
            next(found)


def in_loop(url, use):
    async def used():
        async with windlass.AsyncClient(url, token="t", patience_seconds=PATIENCE_SECONDS) as client:
            found = use(client)
            await (found.__anext__() if hasattr(found, "__anext__") else found)

    asyncio.run(used())


def seconds_until_told(style, url, use):
    began = time.monotonic()
    with pytest.raises(windlass.Unreachable, match=r"does not answer: \w"):
        style(url, use)
    return time.monotonic() - began


@pytest.mark.parametrize("style", [in_thread, in_loop])
def test_a_server_that_is_silent_is_told_within_the_patience(silent, style):
    with ThreadPoolExecutor(len(USES)) as threads:
        told = {name: threads.submit(seconds_until_told, style, silent, use) for name, use in USES.items()}
    bounds = {name: MOST_SUBMISSION_SECONDS if name in MAKE_JOBS else MOST_SECONDS for name in USES}
    took = {name: future.result() for name, future in told.items()}
    assert {name: seconds for name, seconds in took.items() if seconds > bounds[name]} == {}
    assert all(seconds >= PATIENCE_SECONDS / 2 for seconds in took.values()), took


def test_an_executor_is_told_as_well(silent):
    began = time.monotonic()
    with pytest.raises(windlass.Unreachable, match="does not answer"):
        windlass.Executor(
            "f", client=lambda: windlass.AsyncClient(silent, token="t", patience_seconds=PATIENCE_SECONDS)
        )
    assert time.monotonic() - began < MOST_SECONDS


@pytest.mark.parametrize("style", [in_thread, in_loop])
def test_a_server_that_becomes_silent_while_a_job_is_followed_is_told(style, monkeypatch):
    monkeypatch.setattr("windlass._follow.KEEP_ALIVE_SECONDS", 0.5)
    with fake_server.running() as fake:
        fake.state.job_seconds, fake.state.hangs = 1e9, True
        with windlass.Client(fake.url, token="t") as client:
            job = client.submit("f", {})
        assert seconds_until_told(style, fake.url, lambda client: client.wait(job)) < MOST_SECONDS + 0.5
        # Each try has opened a stream, and the patience is not renewed by hearing the same again.
        assert 2 <= len(fake.state.streams) <= 3


def read_all(client, use):
    """In a thread: what a stream of a client tells, and what ends it."""
    told = []

    async def in_loop():
        async with client:
            async for piece in use(client):
                told.append(piece)

    if isinstance(client, windlass.AsyncClient):
        asyncio.run(in_loop())
    else:
        with client:
            told.extend(use(client))
    return told


KINDS = pytest.mark.parametrize("kind", ["client", "async_client"])


@KINDS
@pytest.mark.parametrize("use", ["follow_logs", "progress"])
def test_a_server_that_is_stopped_while_a_job_is_followed_is_told(own_server, monkeypatch, kind, use):
    monkeypatch.setattr("windlass._follow.KEEP_ALIVE_SECONDS", 0.5)
    monkeypatch.setattr("windlass._silence.SILENCE_SECONDS", 0.5)
    client = getattr(own_server, kind)(patience_seconds=PATIENCE_SECONDS)
    with own_server.client() as other:
        job = other.submit("talk", {"items": [0, 60]}, parallelism=1)
        with contextlib.closing(other.follow_logs(job)) as pieces:
            assert next(pieces) == "0 s\n"
    stopped = []

    def followed(client):
        def stop(piece):
            if not stopped:
                stopped.append(time.monotonic())
                own_server.process.send_signal(signal.SIGSTOP)
            return piece

        pieces = getattr(client, use)(job)
        if kind == "client":
            return (stop(piece) for piece in pieces)
        return stopping(pieces, stop)

    async def stopping(pieces, stop):
        async for piece in pieces:
            yield stop(piece)

    try:
        with pytest.raises(windlass.Unreachable, match="does not answer"):
            read_all(client, followed)
        assert time.monotonic() - stopped[0] < MOST_SECONDS + 0.5
    finally:
        own_server.kill()


def test_a_server_that_is_stopped_while_a_result_is_downloaded_is_told(own_server):
    class Stopping(io.BytesIO):
        def write(self, piece):
            own_server.process.send_signal(signal.SIGSTOP)
            return super().write(piece)

    with own_server.client(patience_seconds=PATIENCE_SECONDS) as client:
        # More than the kernel holds of it.
        job = client.wait(client.submit("text", {"items": [1 << 20] * 3}, parallelism=1))
        began = time.monotonic()
        try:
            with pytest.raises(windlass.Unreachable, match="does not answer"):
                client.download(job, Stopping())
            assert time.monotonic() - began < MOST_SECONDS
        finally:
            own_server.kill()


@KINDS
def test_a_function_may_be_silent_as_long_as_it_likes(server, monkeypatch, kind):
    monkeypatch.setattr("windlass._silence.SILENCE_SECONDS", 0.2)
    with server.client() as client:
        job = client.submit("talk", {"items": [0, 2, 0]}, parallelism=1)
    seen = []
    looked = FollowLogs.looked
    monkeypatch.setattr(FollowLogs, "looked", lambda self, job: (seen.append(job), looked(self, job)))
    told = read_all(getattr(server, kind)(), lambda client: client.follow_logs(job))
    assert "".join(told).splitlines() == ["0 s", "2 s", "0 s"]
    # It was asked for each silence, and not more often.
    assert 3 <= len(seen) <= 12 and {job.status.phase for job in seen} <= {"Starting", "Running", "Succeeded"}


@KINDS
def test_a_log_whose_connection_says_no_more_ends_soon_after_its_job(server, monkeypatch, kind):
    monkeypatch.setattr("windlass._silence.SILENCE_SECONDS", 0.5)
    with server.client() as other, swallowing(server.port) as proxy:
        job = other.submit("talk", {"items": [0, 1]}, parallelism=1)
        client = getattr(server, kind)()
        client = type(client)(proxy, token=other._target.token())
        with pytest.raises(windlass.Unreachable, match="has not ended with it"):
            read_all(client, lambda client: client.follow_logs(job))
        assert other.get(job).status.phase == "Succeeded"


@contextlib.contextmanager
def swallowing(port):
    """A proxy that passes on the head of a log's answer and then nothing of it; its URL."""

    async def passed(reader, writer, is_log):
        while data := await reader.read(1 << 16):
            head, end, _ = data.partition(b"\r\n\r\n")
            # The server answers for its own name only.
            data = data.replace(f"Host: {url[0][7:]}".encode(), f"Host: 127.0.0.1:{port}".encode())
            if b"/logs?" in head:
                is_log.set()
            writer.write(head + end if is_log.is_set() and b"transfer-encoding" in head.lower() else data)
            if is_log.is_set() and b"transfer-encoding" in head.lower():
                await asyncio.sleep(60)
        writer.close()

    async def connected(reader, writer):
        is_log = asyncio.Event()
        theirs = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await asyncio.gather(passed(reader, theirs[1], is_log), passed(theirs[0], writer, is_log))

    async def run():
        listener = await asyncio.start_server(connected, "127.0.0.1", 0)
        url.append(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        loop.append(asyncio.get_running_loop())
        started.set()
        await over.wait()

    url, loop, started, over = [], [], threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    try:
        yield url[0]
    finally:
        loop[0].call_soon_threadsafe(over.set)
        thread.join()


def test_a_log_that_is_left_leaves_no_thread(server):
    with server.client() as client:
        pieces = client.follow_logs(client.submit("talk", {"items": [0, 3]}, parallelism=1))
        next(pieces)
        pieces.close()
    until = time.monotonic() + 5
    while any(thread.name == "windlass-log" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("patience, held", [(0, "wait=1"), (3, "wait=3"), (30, "wait=30"), (600, "wait=45")])
def test_a_call_has_its_answer_held_no_longer_than_it_is_patient(patience, held):
    with fake_server.running() as fake, windlass.Client(fake.url, token="t", patience_seconds=patience) as client:
        assert client.call("f", {"items": [1]}) == {"results": [1]}
        assert fake.state.preferred == [held]


def test_an_answer_that_takes_longer_than_a_short_patience_is_waited_for():
    with fake_server.running() as fake, windlass.Client(fake.url, token="t", patience_seconds=0) as client:
        fake.state.job_seconds, fake.state.answer_seconds = 1e9, 1.2
        assert client.get(client.submit("f", {})).status.phase == "Running"


@pytest.mark.parametrize("kind", [windlass.Client, windlass.AsyncClient])
def test_a_submission_that_makes_its_job_slowly_is_not_given_up_by_a_short_patience(kind):
    async def in_loop(url):
        async with kind(url, token="t", patience_seconds=0) as client:
            return await client.submit("f", {})

    with fake_server.running() as fake:
        fake.state.answer_seconds = 2.5
        if kind is windlass.AsyncClient:
            assert asyncio.run(in_loop(fake.url)).metadata.name == "j0"
        else:
            with kind(fake.url, token="t", patience_seconds=0) as client:
                assert client.submit("f", {}).metadata.name == "j0"
        assert len(fake.state.jobs) == 1


def test_a_connection_to_spare_is_waited_for_no_longer_than_there_is_time():
    async def waited(url):
        took = []
        async with windlass.AsyncClient(url, token="t") as client:
            job = await client.submit("f", {})
            waits = [asyncio.create_task(client.wait(job)) for _ in range(CONNECTIONS)]
            while len(fake.state.streams) < CONNECTIONS:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            with pytest.raises(TimeoutError, match=r"has not ended in 1\.0 s"):
                await client.wait(job, timeout_seconds=1.0)
            took.append(time.monotonic() - began)
            assert not await client._cancel_left([job])
            took.append(time.monotonic() - began - took[0])
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return took

    with fake_server.running() as fake:
        fake.state.job_seconds, fake.state.hangs = 1e9, True
        of_wait, of_cancel = asyncio.run(waited(fake.url))
    assert 1.0 <= of_wait < 3.0
    assert of_cancel < LEAVING_SECONDS + 2.0
