"""Warm functions of `windlass.worker`, in a real `windlass serve`."""

import statistics
import time

import pytest
from conftest import Server

import windlass

FUNCTIONS = ["callees:fail_or_sleep", "callees:fail", "callees:slow", "leavers:leave", "leavers:heavy"]


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("warm"), FUNCTIONS, {"warm": {}})
    yield server
    server.stop()


def results(client, function, items, parallelism=1):
    return client.call(function, {"items": items}, parallelism=parallelism)["results"]


def test_jobs_get_the_same_processes_and_not_those_in_which_something_is_left(warm):
    with warm.client() as client:
        (pid,) = results(client, "leave", ["nothing"])
        assert results(client, "leave", ["nothing", "globals"]) == [pid, pid]
        assert results(client, "leave", ["thread"]) == [pid]
        (other,) = results(client, "leave", ["child"])
        assert other != pid
        (third,) = results(client, "leave", ["temporary file"])
        assert third != other
        assert results(client, "leave", ["nothing"]) != [third]


def test_many_processes_with_large_imports_stay_as_one_does(warm):
    pytest.importorskip("numpy")
    with warm.client() as client:
        seen = [set(results(client, "heavy", [0.05] * 12, 4)) for _ in range(8)]
    # The first few import, and not all may have by then.
    assert len(set.union(*seen[3:])) == 4, seen


def test_failures_are_those_of_a_process_for_each_job(warm):
    with warm.client() as client:
        with pytest.raises(windlass.JobFailed, match="bad cannot be had") as failed:
            results(client, "fail", ["bad"])
        assert failed.value.job.status.failure.reason == "BadInput"
        with pytest.raises(windlass.JobFailed, match="a process of the pool ended by signal 9"):
            client.call("fail", {"items": ["die"]}, retries=0)
        job = client.submit("slow", {"items": [60, 60]}, parallelism=2)
        for told in client.progress(job):
            if told.status.progress:
                client.cancel(job)
        assert client.get(job).status.phase == "Cancelled"
        assert results(client, "slow", [0]) == [0]


def test_an_import_in_the_function_costs_once(warm):
    pytest.importorskip("numpy")
    with warm.client() as client:
        times = []
        for _ in range(30):
            began = time.perf_counter()
            results(client, "heavy", [0])
            times.append(time.perf_counter() - began)
    assert statistics.median(times[5:]) < 0.1, times
