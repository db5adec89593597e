"""Waiting for jobs at a server that is slow, cuts its events anywhere or repeats itself."""

import asyncio
import time

import fake_server
import pytest

import windlass

LARGE = {"items": ["x" * 120_000]}


@pytest.fixture
def fake():
    with fake_server.running() as server:
        yield server


def wait_in_thread(server, job, patience=30.0, **options):
    with windlass.Client(server.url, token="t", patience_seconds=patience) as client:
        return client.wait(job, **options)


def wait_in_loop(server, job, patience=30.0, **options):
    async def wait():
        async with windlass.AsyncClient(server.url, token="t", patience_seconds=patience) as client:
            return await client.wait(job, **options)

    return asyncio.run(wait())


both = pytest.mark.parametrize("wait", [wait_in_thread, wait_in_loop])


def submitted(server, work=LARGE):
    with windlass.Client(server.url, token="t") as client:
        return client.submit("f", work)


def streams_of_a_wait_in_vain(server, wait, words):
    """How many streams it has opened before it gave up, for this reason."""
    job = submitted(server)
    began = time.monotonic()
    with pytest.raises(windlass.Unreachable, match=words):
        wait(server, job, patience=1.0)
    assert time.monotonic() - began < 5
    return len(server.state.streams)


@both
@pytest.mark.parametrize("knows_fields, by_name", [(True, {}), (False, LARGE)])
def test_a_stream_does_not_carry_the_input(fake, wait, knows_fields, by_name):
    fake.state.knows_fields = knows_fields
    job = submitted(fake)
    assert wait(fake, job.metadata.name).spec.input == by_name
    assert wait(fake, job).spec.input == LARGE


@both
@pytest.mark.parametrize("piece", [1, 100, 5000, 1 << 20])
def test_events_may_come_in_pieces_of_any_size(fake, wait, piece):
    fake.state.piece, fake.state.knows_fields = piece, False
    work = LARGE if piece > 1 else {"items": ["x" * 20_000]}
    assert wait(fake, submitted(fake, work), timeout_seconds=60).status.phase == "Succeeded"
    assert len(fake.state.streams) == 1


@both
@pytest.mark.parametrize("piece, pause", [(100, 0.01), (2000, 0.05), (1 << 20, 0.01)])
def test_a_deadline_counts_from_the_start_whatever_comes(fake, wait, piece, pause):
    fake.state.piece, fake.state.pause, fake.state.job_seconds = piece, pause, 1e9
    fake.state.knows_fields = False
    job = submitted(fake)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        wait(fake, job, timeout_seconds=1.5)
    assert 1.4 < time.monotonic() - began < 3
    assert len(fake.state.streams) < 10


@both
def test_an_ended_job_is_seen_however_short_the_timeout_is(fake, wait):
    fake.state.job_seconds, fake.state.piece = 0, 1000
    assert wait(fake, submitted(fake), timeout_seconds=0).status.phase == "Succeeded"
    fake.state.job_seconds = 1e9
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        wait(fake, submitted(fake), timeout_seconds=0)
    assert time.monotonic() - began < 2


@both
def test_an_event_that_is_never_whole_ends_the_wait(fake, wait, monkeypatch):
    monkeypatch.setattr("windlass._follow.EVENT_SECONDS", 0.3)
    fake.state.piece, fake.state.pause = 1, 0.02
    assert streams_of_a_wait_in_vain(fake, wait, "not whole") < 10


@both
def test_streams_that_tell_nothing_new_end_the_wait(fake, wait):
    fake.state.stream_seconds, fake.state.job_seconds = 0, 1e9
    assert 2 < streams_of_a_wait_in_vain(fake, wait, "end before it does") < 15


@both
def test_streams_that_are_cut_while_nothing_happens_do_not_end_the_wait(fake, wait, monkeypatch):
    monkeypatch.setattr("windlass._follow.WORKED_SECONDS", 0.3)
    fake.state.stream_seconds, fake.state.job_seconds = 0.4, 3
    assert wait(fake, submitted(fake), patience=0.3).status.phase == "Succeeded"
    assert len(fake.state.streams) > 3


@pytest.mark.parametrize("piece, pause", [(1 << 20, 0.0), (40_000, 0.3)])
def test_an_executor_with_more_jobs_than_streams_gets_all_results(fake, monkeypatch, piece, pause):
    monkeypatch.setattr("windlass._executor_thread.STREAMS", 4)
    fake.state.piece, fake.state.pause, fake.state.job_seconds = piece, pause, 2.0
    items = [f"{number}-" + "x" * 60_000 for number in range(60)]
    with windlass.Executor("f", client=lambda: windlass.AsyncClient(fake.url, token="t"), items=True) as pool:
        assert list(pool.map(items, chunksize=1, timeout=60)) == items
    assert len(fake.state.jobs) == 60
    # Each job by one stream at most, and whoever is asked how a job is does not answer with its input.
    assert len(fake.state.streams) <= 60
    assert fake.state.questions and all(query.startswith("fields=") for query in fake.state.questions)
    assert len(fake.state.questions) < 60 * 20


def test_a_long_job_in_each_stream_keeps_no_other_waiting(fake, monkeypatch):
    monkeypatch.setattr("windlass._executor_thread.STREAMS", 1)
    fake.state.job_seconds = 1e9
    with windlass.Executor("f", client=lambda: windlass.AsyncClient(fake.url, token="t"), items=True) as pool:
        long = pool.submit("long")
        while not fake.state.streams:
            time.sleep(0.01)
        short = pool.submit("short")
        while "j1" not in fake.state.jobs:
            time.sleep(0.01)
        fake.state.jobs["j1"] = (-2e9, {"items": ["short"]})
        assert short.result(timeout=10) == "short"
        assert not long.done()
        fake.state.job_seconds = 0
        assert long.result(timeout=10) == "long"


def test_an_executor_waits_for_room_in_a_queue_that_its_own_jobs_fill(fake):
    fake.state.most_unfinished, fake.state.job_seconds = 2, 1.5

    def client():
        return windlass.AsyncClient(fake.url, token="t", patience_seconds=0.5)

    with windlass.Executor("f", client=client, items=True) as pool:
        assert list(pool.map(range(6), chunksize=1, timeout=60)) == list(range(6))
        # Not for what is not its own.
        fake.state.most_unfinished = 0
        with pytest.raises(windlass.Busy, match="full"):
            pool.submit(1).result(timeout=20)


def map_in_thread(server, inputs):
    with windlass.Client(server.url, token="t", patience_seconds=0.5) as client:
        return list(client.map("f", inputs))


def map_in_loop(server, inputs):
    async def results():
        async with windlass.AsyncClient(server.url, token="t", patience_seconds=0.5) as client:
            return [result async for result in client.map("f", inputs)]

    return asyncio.run(results())


@pytest.mark.parametrize("results", [map_in_thread, map_in_loop])
def test_a_map_waits_for_room_in_a_queue_that_its_own_jobs_fill(fake, results):
    fake.state.most_unfinished, fake.state.job_seconds = 2, 1.5
    assert results(fake, [{"items": [n]} for n in range(6)]) == [{"results": [n]} for n in range(6)]
    fake.state.most_unfinished = 0
    with pytest.raises(windlass.Busy, match="full"):
        results(fake, [{"items": [1]}])


def map_in_executor(server, inputs):
    def client():
        return windlass.AsyncClient(server.url, token="t", patience_seconds=0.5)

    with windlass.Executor("f", client=client, items=False) as pool:
        return list(pool.map(inputs))


@pytest.mark.parametrize("results", [map_in_thread, map_in_loop, map_in_executor])
def test_a_submission_whose_answer_was_lost_makes_one_job_also_after_a_refusal(fake, results):
    # The queue is full when it is tried again, and until one of the jobs has ended.
    fake.state.most_unfinished, fake.state.job_seconds, fake.state.lost = 2, 1.5, "j1"
    assert results(fake, [{"items": [n]} for n in range(4)]) == [{"results": [n]} for n in range(4)]
    assert sorted(work["items"] for _, work in fake.state.jobs.values()) == [[0], [1], [2], [3]]
