"""`windlass.Executor` against a real server."""

import asyncio
import concurrent.futures
import gc
import os
import pathlib
import pickle
import random
import re
import select
import signal
import threading
import time
import urllib.request

import pytest
from programs import until

import windlass
from windlass._protocol import LEAVING_SECONDS


def test_it_reads_like_the_pool_that_it_replaces(server, phases):
    with server.executor("square", parallelism=2) as pool:
        assert isinstance(pool, concurrent.futures.Executor)
        assert list(pool.map(range(100))) == [x * x for x in range(100)]
        futures = [pool.submit(x) for x in range(10)]
        assert [future.result() for future in futures] == [x * x for x in range(10)]
    # One job for the map, one for each submit.
    assert phases("square") == ["Succeeded"] * 11


def test_a_map_is_as_many_jobs_as_it_takes(server, phases):
    with server.executor("square") as pool:
        assert list(pool.map(range(10), chunksize=4)) == [x * x for x in range(10)]
        assert len(phases("square")) == 3
        assert list(pool.map([])) == []
    with server.executor("text") as pool:
        items = [1] * 70_000  # 140 KB of JSON
        assert list(pool.map(items)) == ["é"] * 70_000
        assert len(phases("text")) == 2
    with server.executor("fail", parallelism=1) as pool:
        large = "x" * 200_000  # more than a job can have with it
        assert pool.submit(large).result(timeout=20) == large
        assert list(pool.map(["a", large, "b"])) == ["a", large, "b"]
        assert len(phases("fail")) == 4


def test_a_map_of_more_than_fits_the_streams_ends_asks_little_and_leaves_the_server_small(own_server):
    rows = [[random.random() for _ in range(100)] for _ in range(10_000)]
    with own_server.executor("fail", parallelism=1) as pool:
        began = time.monotonic()
        assert list(pool.map(rows, timeout=300)) == rows
    took = time.monotonic() - began
    with own_server.client() as client:
        jobs = [job for job in client.list(function="fail") if job.status.phase == "Succeeded"]
    assert len(jobs) > 150
    # Each is submitted, is heard of, and is asked for; who waits asks again now and then.
    asked = requests_to(own_server)
    assert asked <= 4 * len(jobs) + took, (asked, len(jobs), took)
    until(lambda: anonymous_memory(own_server) <= 25 << 20, 60)


def requests_to(server):
    """How many the server has answered."""
    token = (server.data / "token").read_text()
    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("windlass_http_requests_total{")]
    return sum(int(line.rsplit(" ", 1)[1]) for line in counts)


def anonymous_memory(server):
    """In bytes; what is read of a file may go at any time, and is not counted."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s*(\d+) kB", status)[1]) * 1024


def test_a_function_of_another_kind_gets_each_item_as_its_input(server):
    with server.executor("echo") as pool:
        assert [result["input"] for result in pool.map([{"a": 1}, {"b": [2]}])] == [{"a": 1}, {"b": [2]}]
        assert pool.submit({"c": 3}).result(timeout=20)["input"] == {"c": 3}
        with pytest.raises(TypeError):
            pool.submit(3)
    with pytest.raises(windlass.NotFound):
        server.executor("no-such")


def test_a_pool_of_many_futures_has_one_thread(server):
    before = set(threading.enumerate())
    with server.executor("square", parallelism=1) as pool:
        futures = [pool.submit(x) for x in range(80)]
        assert len(set(threading.enumerate()) - before) == 1
        done = {future.result() for future in concurrent.futures.as_completed(futures, timeout=240)}
        assert done == {x * x for x in range(80)}
    assert not set(threading.enumerate()) - before


def test_a_pool_that_is_forgotten_leaves_no_thread_and_loses_no_future(server):
    before = set(threading.enumerate())
    pools = [server.executor("square", parallelism=1) for _ in range(3)]
    futures = [pool.submit(2) for pool in pools]
    del pools
    gc.collect()
    assert [future.result(timeout=20) for future in futures] == [4] * 3
    del futures
    gc.collect()
    until(lambda: not set(threading.enumerate()) - before)


def test_a_pool_whose_thread_cannot_begin_says_so(server, monkeypatch):
    def fail():
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio, "new_event_loop", fail)
    monkeypatch.setattr(asyncio.events, "new_event_loop", fail)
    with pytest.raises(OSError, match="too many open files"):
        server.executor("square")


def test_an_exception_is_raised_by_its_future_and_the_others_are_not_touched(server):
    with server.executor("fail") as pool:
        bad, good = pool.submit("bad"), pool.submit("good")
        assert good.result(timeout=20) == "good"
        with pytest.raises(windlass.JobFailed, match="ValueError: bad cannot be had"):
            bad.result(timeout=20)
        assert bad.job.status.attempt == 1, "not tried again"
        with pytest.raises(windlass.Invalid):
            server.executor("fail", items=True, parallelism=5000).submit(1).result(timeout=20)
        results = pool.map(["a", "bad", "c"], chunksize=1)
        assert next(results) == "a"
        with pytest.raises(windlass.JobFailed):
            next(results)


def test_what_was_computed_is_kept_when_items_fail(server):
    items = [*range(6), "bad", "c", "nan", "d"]
    with server.executor("fail", parallelism=2) as pool:
        for chunksize in (None, 4):
            results = pool.map(items, chunksize=chunksize)
            assert [next(results) for _ in range(6)] == items[:6]
            with pytest.raises(windlass.ItemsFailed, match="item 6: ValueError: bad cannot be had") as caught:
                next(results)
            error = caught.value
            assert error.errors[0].item == 6 and error.errors[0].type == "ValueError"
            assert "callees.py" in error.errors[0].traceback and error.reason == "FunctionError"
            kept = {4: 4, 5: 5, 7: "c"} if chunksize else {**dict(enumerate(items[:6])), 7: "c", 9: "d"}
            assert error.results == kept
            again = pickle.loads(pickle.dumps(error))
            assert (str(again), again.results, again.errors) == (str(error), error.results, error.errors)
        assert [(each.item, each.type) for each in failed_items(pool, items)] == [(6, "ValueError"), (8, "NoJson")]


def failed_items(pool, items):
    with pytest.raises(windlass.ItemsFailed, match="1 more") as caught:
        list(pool.map(items))
    return caught.value.errors


def test_a_cancelled_future_ends_its_job_also_while_it_runs(server, client):
    with server.executor("slow", labels={"test": "cancel"}) as pool:
        future = pool.submit(60)
        until(lambda: future.running())
        assert future.cancel() and future.cancelled() and not future.running()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
        assert concurrent.futures.wait([future], timeout=1).done == {future}
        assert client.wait(future.job, timeout_seconds=20).status.phase == "Cancelled"
        done = pool.submit(0)
        assert done.result(timeout=20) == 0
        assert not done.cancel()
        # So early that nobody knows whether there is a job.
        early = [pool.submit(60) for _ in range(60)]
        assert all(future.cancel() for future in early)
        assert concurrent.futures.wait(early, timeout=20).not_done == set()
    active = ("Queued", "Starting", "Running")
    unfinished = [job for job in client.list(label_selector="test=cancel") if job.status.phase in active]
    assert {client.wait(job, timeout_seconds=20).status.phase for job in unfinished} <= {"Cancelled"}


def test_a_job_that_somebody_else_cancels_is_a_cancelled_future(server, client, caplog):
    with server.executor("slow") as pool:
        future = pool.submit(60)
        until(lambda: future.job is not None)
        client.cancel(future.job)
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(timeout=20)
        assert concurrent.futures.wait([future], timeout=20).done == {future}
    # As `concurrent.futures` tells of one that is told of twice.
    assert "unexpected state" not in caplog.text


def test_a_cancel_under_way_is_not_interrupted_by_itself(server, client):
    with server.executor("slow") as pool:
        pool.submit(0).result(timeout=20)
        submit, cancel = pool._client.submit, pool._client._cancel_left
        is_sent, is_told = threading.Event(), threading.Event()

        async def submitted(*positions, **names):
            is_sent.set()
            await asyncio.sleep(0.2)
            return await submit(*positions, **names)

        async def slowly(jobs):
            is_told.set()
            await asyncio.sleep(1)
            return await cancel(jobs)

        pool._client.submit, pool._client._cancel_left = submitted, slowly
        future = pool.submit(60)
        assert is_sent.wait(20)
        # Before there is a job. What is done then takes until it is cancelled.
        future.add_done_callback(lambda _: is_told.wait(20))
        assert future.cancel()
        assert client.wait(future.job, timeout_seconds=20).status.phase == "Cancelled"


def test_a_job_that_is_cancelled_while_its_server_is_away_is_cancelled_when_it_is_there_again(own_server):
    with own_server.client() as client, own_server.executor("slow") as pool:
        future = pool.submit(60)
        until(lambda: future.running())
        own_server.kill()
        assert future.cancel()
        # Longer than one request for it takes.
        time.sleep(2 * LEAVING_SECONDS)
        own_server.start()
        until(lambda: client.get(future.job).status.phase == "Cancelled")


def test_a_map_that_is_given_up_is_not_held_up_by_a_server_that_hangs(own_server):
    with own_server.client() as client, own_server.executor("slow", parallelism=1) as pool:
        jobs = client.map("slow", ({"items": [seconds]} for seconds in (0, 60, 60, 60)), parallelism=1)
        next(jobs)
        results = pool.map([0, 60, 60], chunksize=1)
        next(results)
        futures = [pool.submit(60) for _ in range(3)]
        until(lambda: all(future.job for future in futures))
        own_server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert all(future.cancel() and future.cancel() for future in futures)
        results.close()
        pool.shutdown()
        assert time.monotonic() - began < 10
        jobs.close()
        assert time.monotonic() - began < 20
        own_server.process.send_signal(signal.SIGCONT)


def test_a_map_has_a_timeout_and_cancels_what_is_left(server, phases):
    with server.executor("slow", parallelism=1) as pool:
        results = pool.map([0, 60, 60], timeout=3, chunksize=1)
        assert next(results) == 0
        with pytest.raises(TimeoutError):
            next(results)
        with pytest.raises(TimeoutError, match="1 job has not ended in time"):
            next(pool.map([60], timeout=0.1))
    until(lambda: sorted(phases("slow")) == ["Cancelled", "Cancelled", "Cancelled", "Succeeded"])


def test_shutdown_waits_or_cancels_what_does_not_run(server):
    pool = server.executor("slow", parallelism=4)
    futures = [pool.submit(1.0) for _ in range(4)]
    until(lambda: any(future.running() for future in futures))
    pool.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    assert 1 <= sum(future.cancelled() for future in futures) <= 3
    with pytest.raises(RuntimeError):
        pool.submit(1)
    pool.shutdown()


def test_shutdown_without_waiting_lets_jobs_go_on(server):
    pool = server.executor("slow")
    future = pool.submit(0.5)
    pool.shutdown(wait=False)
    assert future.result(timeout=20) == 0.5


def test_items_of_several_iterables_are_lists(server):
    with server.executor("fail", parallelism=1) as pool:
        assert list(pool.map("abc", [1, 2, 3, 4])) == [["a", 1], ["b", 2], ["c", 3]]


def test_misuse_is_told(server):
    with server.executor("square") as pool:
        for use in (pool.submit, pool.map):
            with pytest.raises(TypeError, match=f"write {use.__name__}\\(item"):
                use(abs, [1, 2])
            with pytest.raises(TypeError, match=f"write {use.__name__}\\(item"):
                use([1], fn=abs)
            with pytest.raises(TypeError, match=f"write {use.__name__}\\(item"):
                use()
        with pytest.raises(TypeError, match="one in each process"):
            pickle.dumps(pool)
        with pytest.raises(TypeError, match="its job's name"):
            pickle.dumps(pool.submit(2))
        for use in (pool.submit, pool.map):
            with pytest.raises(TypeError, match="'square'"):
                use(abs)
        with pytest.raises(ValueError):
            pool.map([1], chunksize=0)
        with pytest.raises(ValueError):
            pool.submit(float("nan")).result(timeout=20)
    with pytest.raises(TypeError):
        server.executor("square", parallelisms=3)


def test_its_futures_can_be_awaited(server):
    async def both():
        with server.executor("square") as pool:
            futures = [asyncio.wrap_future(pool.submit(x)) for x in (2, 3)]
            return await asyncio.gather(*futures)

    assert asyncio.run(both()) == [4, 9]


def test_numbers_and_arrays_of_numpy_are_items_and_what_is_no_json_is_named(server):
    numpy = pytest.importorskip("numpy")
    with server.executor("square", parallelism=1) as pool:
        assert list(pool.map(numpy.arange(4))) == [0, 1, 4, 9]
        assert pool.submit(numpy.float64(1.5)).result(timeout=20) == 2.25
        with pytest.raises(ValueError, match=r"item 2: .*'object' is no JSON"):
            pool.map([1, 2, object()])
        with pytest.raises(ValueError, match=r"sorted\(value\)"):
            pool.submit({1, 2}).result(timeout=20)


def test_a_callback_that_would_wait_for_itself_is_told(server):
    said = []

    def callback(_):
        try:
            said.append(pool.submit(1).result())
        except RuntimeError as error:
            said.append(str(error))

    with server.executor("square", parallelism=1) as pool:
        pool.submit(1).add_done_callback(callback)
        until(lambda: said)
    assert "a callback cannot wait" in said[0]


def test_futures_outlive_the_server(own_server):
    with own_server.executor("slow", parallelism=1) as pool:
        futures = [pool.submit(seconds) for seconds in (0.5, 1.0, 1.5)]
        until(lambda: all(future.job for future in futures))
        own_server.kill()
        time.sleep(0.5)
        own_server.start()
        assert [future.result(timeout=60) for future in futures] == [0.5, 1.0, 1.5]


def in_child(work, seconds=20):
    """What `work` returns, or the exception that it raises, in a child of a fork."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = repr(work())
        except BaseException as error:
            said = repr(error)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    try:
        ready, _, _ = select.select([read], [], [], seconds)
        assert ready, "the child hangs"
        return os.read(read, 10_000).decode()
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_child_of_a_fork_is_told_to_make_its_own_pool_and_leaves_its_parents_alone(server):
    def leave():
        with pool:
            return "left"

    with server.executor("slow") as pool:
        done, future = pool.submit(0), pool.submit(1.5)
        results = pool.map([1.5], chunksize=1)
        assert done.result(timeout=20) == 0
        for use in (lambda: pool.submit(1), lambda: list(pool.map([1])), future.result, lambda: next(results)):
            assert "RuntimeError" in in_child(use) and "make one in this process" in in_child(use)
        assert in_child(lambda: (future.cancel(), results.close(), pool.shutdown(), done.result())) == (
            "(False, None, None, 0)"
        )
        assert in_child(leave) == "'left'"
        assert in_child(lambda: server.executor("square").submit(3).result(20)) == "9"
        assert future.result(timeout=20) == 1.5 and list(results) == [1.5]
