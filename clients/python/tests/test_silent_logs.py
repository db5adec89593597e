"""A log that is followed while nothing comes: its server is asked for the job, and what comes meanwhile counts."""

import asyncio
import threading

import fake_server
import pytest

import windlass
from windlass._follow_logs import FollowLogs

KINDS = pytest.mark.parametrize("kind", [windlass.Client, windlass.AsyncClient])
# A condition that takes longer does not come.
LONGEST_SECONDS = 20.0


class Script:
    """A server that is asked for a job while its log says nothing: what it answers, and what is said."""

    def __init__(self, fake, monkeypatch, silence_seconds):
        monkeypatch.setattr("windlass._silence.SILENCE_SECONDS", silence_seconds)
        self.state, self.url = fake.state, fake.url
        self.state.job_seconds = 1e9
        # A question for each release, from when the log begins.
        self.asked, self.status = threading.Semaphore(0), lambda: 200

    def told(self, kind, heard=lambda piece: None):
        """The pieces of a log, each told to `heard`, and what ends it."""
        told = []

        def hear(piece):
            told.append(piece)
            heard(piece)

        async def in_loop(job):
            async with windlass.AsyncClient(self.url, token="t", patience_seconds=0) as client:
                async for piece in client.follow_logs(job):
                    hear(piece)

        with windlass.Client(self.url, token="t", patience_seconds=0) as client:
            job = client.submit("f", {"items": []})
            if kind is windlass.AsyncClient:
                asyncio.run(in_loop(job))
            else:
                for piece in client.follow_logs(job):
                    hear(piece)
        return told

    def says(self, pieces):
        def begun():
            self.state.status_of_get = self._asked
            yield from pieces()
            self.state.status_of_get, self.state.job_seconds = lambda: 200, 0.0

        self.state.says = begun

    def _asked(self):
        self.asked.release()
        return self.status()

    def is_asked(self):
        assert self.asked.acquire(timeout=LONGEST_SECONDS)


@pytest.fixture
def script(monkeypatch):
    with fake_server.running() as fake:
        yield lambda silence_seconds=0.2: Script(fake, monkeypatch, silence_seconds)


@KINDS
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_cannot_say_now_what_a_job_is_is_there(script, kind, status):
    server = script()
    server.status = lambda: status

    def pieces():
        for number in range(4):
            yield f"{number}\n"
            server.is_asked()

    server.says(pieces)
    assert server.told(kind) == ["0\n", "1\n", "2\n", "3\n"]


@KINDS
@pytest.mark.parametrize("status, error", [(401, windlass.Unauthenticated), (404, windlass.NotFound)])
def test_a_job_of_which_the_server_does_not_tell_any_more_ends_its_log(script, kind, status, error):
    server, over = script(), threading.Event()
    server.status = lambda: status

    def pieces():
        yield "0\n"
        over.wait(LONGEST_SECONDS)

    server.says(pieces)
    try:
        with pytest.raises(error):
            server.told(kind)
    finally:
        over.set()


@KINDS
def test_what_comes_while_the_server_is_asked_is_told_and_shows_that_it_is_there(script, kind):
    server, heard = script(), threading.Event()
    answers = iter([lambda: heard.wait(LONGEST_SECONDS) and None])
    server.status = lambda: next(answers, lambda: 200)()

    def pieces():
        yield "before\n"
        server.is_asked()
        yield "meanwhile\n"
        # Once more, for another silence.
        server.is_asked()
        yield "after\n"

    server.says(pieces)
    told = server.told(kind, lambda piece: heard.set() if piece == "meanwhile\n" else None)
    assert told == ["before\n", "meanwhile\n", "after\n"]


def test_a_server_that_was_not_there_while_the_caller_worked_is_asked_again(script):
    server, works, over = script(), threading.Event(), threading.Event()
    server.status = lambda: works.wait(LONGEST_SECONDS) and None

    def pieces():
        yield "before\n"
        server.is_asked()
        yield "meanwhile\n"
        over.wait(LONGEST_SECONDS / 4)

    def heard(piece):
        if piece == "meanwhile\n":
            works.set()
            # Until the question has failed: by that the thread must not end.
            for thread in threading.enumerate():
                if thread.name == "windlass-log":
                    thread.join(0.5)
                    assert thread.is_alive()

    server.says(pieces)
    try:
        with pytest.raises(windlass.Unreachable, match="does not answer"):
            server.told(windlass.Client, heard)
    finally:
        over.set()


@KINDS
def test_what_comes_after_the_end_of_its_job_gives_a_log_time_to_end(script, kind, monkeypatch):
    server, looks = script(1.0), threading.Semaphore(0)
    looked = FollowLogs.looked

    def counted(self, job):
        try:
            looked(self, job)
        finally:
            looks.release()

    def pieces():
        yield "before\n"
        server.state.job_seconds = 0.0
        for number in range(2):
            assert looks.acquire(timeout=LONGEST_SECONDS)
            yield f"{number}\n"

    monkeypatch.setattr(FollowLogs, "looked", counted)
    server.says(pieces)
    assert server.told(kind) == ["before\n", "0\n", "1\n"]
