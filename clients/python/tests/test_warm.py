"""Warm functions of `windlass.worker`, in a real `windlass serve`."""

import json
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
        # A job that comes before the process of the last has been looked at gets another one.
        pids = {pid for _ in range(20) for pid in results(client, "leave", ["nothing", "globals"])}
        assert len(pids) < 10
        for kind in ("thread", "child", "temporary file"):
            (left,) = results(client, "leave", [kind])
            assert left not in {pid for _ in range(10) for pid in results(client, "leave", ["nothing"])}, kind


def test_many_processes_with_large_imports_stay_as_one_does(warm):
    pytest.importorskip("numpy")
    with warm.client() as client:
        seen = [set(results(client, "heavy", [0.05] * 12, 4)) for _ in range(12)]
    # Processes that import, and jobs that come before the last one's processes were looked at, have others.
    assert len(set.union(*seen)) < 24, seen


def test_failures_are_those_of_a_process_for_each_job(warm):
    with warm.client() as client:
        with pytest.raises(windlass.JobFailed, match="bad cannot be had") as failed:
            results(client, "fail", ["bad"])
        assert failed.value.job.status.failure.reason == "FunctionError"
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


@pytest.mark.parametrize("more", [{}, {"warm": {}}])
def test_a_broken_edit_fails_its_jobs_at_once(tmp_path, more):
    server = Server(tmp_path, ["callees:square"], more)
    try:
        with server.client() as client:
            assert results(client, "square", [3]) == [9]
            (server.manifests / "callees.py").write_text("def square(x)\n")
            for retries, attempts in ((None, 1), (1, 2)):
                with pytest.raises(windlass.JobFailed, match="SyntaxError") as failed:
                    client.call("square", {"items": [3]}, retries=retries)
                status = failed.value.job.status
                assert (status.failure.reason, status.attempt) == ("FunctionError", attempts)
    finally:
        server.stop()


def test_why_a_function_was_never_ready_is_told(tmp_path):
    server = Server(tmp_path, ["broken:f"], {"warm": {}})
    try:
        until = time.monotonic() + 60
        while "ended before it was ready" not in (log := (tmp_path / "serve.log").read_text()):
            assert time.monotonic() < until, log
            time.sleep(0.05)
        (line,) = [line for line in log.splitlines() if "ended before it was ready" in line]
        assert "SystemExit: 7" in line and json.loads(line)["function"] == "f"
    finally:
        server.stop()
