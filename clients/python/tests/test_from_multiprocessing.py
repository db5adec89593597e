"""What docs/from-multiprocessing.md says of a pool's features: each gives here what it gave there."""

import concurrent.futures
import functools
import json
import subprocess
import sys

import moved
import pytest
from conftest import REPOSITORY, Server
from moved import ITEMS, PAIRS, TABLE

FUNCTIONS = [
    *("square", "square_last", "minus", "minus_each"),
    *("from_argument", "from_cached", "from_file", "who", "pool_within"),
]


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """What a pool has given."""
    path = tmp_path_factory.mktemp("before") / "done"
    ended = subprocess.run([sys.executable, moved.__file__, path], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    functions = [f"moved:{name}" for name in FUNCTIONS]
    server = Server(tmp_path_factory.mktemp("moved"), functions, {"warm": {}, "inputTypes": ["*/*"]})
    yield server
    server.stop()


@pytest.fixture
def said():
    """Looks for words of the table in a line that says something else as well."""
    page = (REPOSITORY / "docs/from-multiprocessing.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| ")]

    def look(*words):
        assert any(all(word in line for word in words) for line in lines), words

    return look


def test_a_global_of_the_parent_is_an_argument_of_each_call(server, before, said):
    said("a global that the parent sets", "pool.map(functools.partial(f, table=table), items)")
    with server.executor("from-argument") as pool:
        given = list(pool.map(functools.partial(moved.from_argument, table=TABLE), ITEMS))
    assert given == before["global"]
    with server.client() as client:
        assert client.call("from-argument", {"items": ITEMS, "table": TABLE})["results"] == given


def test_an_initializer_is_a_function_whose_result_is_kept(server, before, said):
    said("initializer=load, initargs=(path,)", "functools.lru_cache")
    used = {}
    with server.executor("from-cached", parallelism=2) as pool:
        for _ in range(3):
            results = list(pool.map(functools.partial(moved.from_cached, size=40), ITEMS))
            assert [value for value, _, _ in results] == before["initializer"]
            for _, process, count in results:
                # It was there before, and not loaded anew.
                assert count == used.get(process, 0) + 1
                used[process] = count


def test_the_results_come_as_they_are_done(server, before, said, tmp_path):
    said("pool.imap_unordered(f, items)", "concurrent.futures.as_completed([pool.submit(f, item) for item in items])")
    path = str(tmp_path / "done")
    late = functools.partial(moved.square_last, path=path)
    with server.executor("square-last") as pool:
        done = concurrent.futures.as_completed([pool.submit(late, item) for item in ITEMS])
        came = moved.as_they_come((future.result() for future in done), path)
    for results in (came, before["imap_unordered"]):
        assert results[-1] == ITEMS[0] ** 2 and sorted(results) == sorted(x * x for x in ITEMS)


def test_a_job_is_handed_in_and_asked_for_later(server, before, said):
    said("pool.map_async(f, items)", 'client.submit("expensive", {"items": items})', 'client.value(job)["results"]')
    with server.client() as client:
        job = client.submit("square", {"items": ITEMS})
        assert client.value(job)["results"] == before["map_async"]


def test_items_are_handed_to_a_process_by_chunks(server, before, said):
    said("chunksize=50", "--chunk 50", "each job")
    with server.executor("square", labels={"test": "chunks"}) as pool:
        assert list(pool.map(ITEMS)) == list(pool.map(ITEMS, chunksize=2)) == before["chunksize"]
    with server.client() as client:
        jobs = list(client.list(label_selector="test=chunks"))
    assert sorted(len(job.spec.input["items"]) for job in jobs) == [1, 2, 3]


def test_pairs_are_arguments(server, before, said):
    said("pool.starmap(f, pairs)", "pool.map(f, *zip(*pairs))", "many pairs are one job")
    for function, jobs in (("minus", 1), ("minus_each", 1)):
        name = function.replace("_", "-")
        with server.executor(name) as pool:
            assert list(pool.map(getattr(moved, function), *zip(*PAIRS, strict=True))) == before["starmap"]
        with server.client() as client:
            assert len(list(client.list(function=name))) == jobs


def test_shared_memory_is_a_file_that_all_processes_map(server, before, said):
    numpy = pytest.importorskip("numpy")
    said("multiprocessing.shared_memory", 'files={"table": array}', 'numpy.load(table, mmap_mode="r")')
    with server.client() as client:
        array = numpy.array(TABLE)
        told = client.call("from-file", {"items": ITEMS}, files={"table": array}, parallelism=2)
    assert told["results"] == before["shared memory"]


def test_what_processes_count_together_is_put_together_by_the_caller(server, before, said):
    said("`Value`, `Lock`, `Queue`, `Manager`", "sum(pool.map(items))")
    with server.executor("square") as pool:
        assert sum(pool.map(ITEMS)) == sum(x * x for x in ITEMS) and before["counter"] == sum(ITEMS)


def test_a_process_for_each_job_is_one_without_what_was_left_before(server, before, said, tmp_path):
    said("maxtasksperchild=10", "maxJobs", "--cold")
    assert before["maxtasksperchild"] == len(ITEMS)
    worker = f"{sys.executable} -m windlass.worker"
    options = ("--function", f"kept={worker} moved:who", "--function", f"cold={worker} --cold moved:who")
    other = Server(tmp_path, ["moved:who"], {"warm": {"maxJobs": 1}}, options)
    try:
        for of, function, processes in ((server, "who", 1), (other, "who", 3), (other, "kept", 1), (other, "cold", 3)):
            with of.client() as client:
                called = [client.call(function, {"items": [0]}, parallelism=1)["results"][0] for _ in range(3)]
            assert len(set(called)) == processes, function
    finally:
        other.stop()


def test_a_pool_within_a_call_has_the_jobs_cpus(server, before, said):
    said("a `Pool` within the function", "windlass.parallelism()")
    with server.client() as client:
        for cpus in (1, 3):
            told = client.call("pool-within", {"numbers": ITEMS}, parallelism=cpus)
            assert told == [cpus, before["within"]]
