"""A server that takes connections and does not answer: whoever asks it is told as soon as the patience says."""

import asyncio
import io
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import fake_server
import pytest

import windlass
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
    with pytest.raises(windlass.Unreachable, match="does not answer"):
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
