"""`windlass.worker` as a function that serves: version 2 of the contract."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from supervisor import Supervisor


def until_all_are_ready(one, parallelism):
    """Of a function that sleeps for so long and returns the number of its process."""
    while len(set(one.result([0.05] * 3 * parallelism, parallelism))) < parallelism:
        pass


@pytest.fixture
def serve(starter):
    return starter(Supervisor)


def test_one_process_gets_one_job_after_another(serve):
    one = serve("callees:square").ready()
    pids = one.children()
    for count in (0, 1, 2, 1000):
        assert one.result(list(range(count))) == [x * x for x in range(count)]
        assert one.progress()[-1] == f"{count} {count}"
    assert one.children() == pids and len(pids) == 1
    one.close()
    one.ends(0)


def test_the_function_is_imported_before_it_says_that_it_is_ready(serve):
    one = serve("callees:who").ready()
    (pid,) = one.children()
    assert one.result([0], 3)[0][0] == pid
    assert one.said() == ""


def test_a_process_of_the_pool_has_nothing_of_its_parents(serve, capfd):
    one = serve("inside:tell").ready()
    for parallelism in (1, 3):
        for told in one.result([0] * 6, parallelism):
            assert told == {
                **{"files": 6, "stdin": "/dev/null", "handlers": [True, True], "blocked": 0, "threads": 1},
                **{"serve": None, "collects": True, "main": "__main__", "parents": ["inside"]},
            }
        # Nothing waits in a buffer.
        assert capfd.readouterr().out == "a line without an end, " * 6


def test_no_item_waits_for_an_import_while_a_process_is_there(serve):
    one = serve("large:pid").ready()
    pids = one.children()
    began = time.monotonic()
    assert set(one.result([0] * 6, 3)) == set(pids) and len(one.children()) == 3
    assert time.monotonic() - began < 1


def test_a_function_is_told_of_its_job_as_by_version_1(serve):
    one = serve("leavers:variables").ready()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    (told,) = one.result([1], 2, traceparent=trace)
    assert told == {
        "WINDLASS_INPUT": str(one.path / "input"),
        "WINDLASS_INPUT_TYPE": "application/json",
        "WINDLASS_OUTPUT": str(one.work / "output"),
        "WINDLASS_PROGRESS": str(one.work / "progress"),
        "WINDLASS_PARALLELISM": "2",
        "WINDLASS_DEADLINE": "2026-11-28T14:00:00Z",
        "WINDLASS_JOB": "job-1",
        "WINDLASS_ATTEMPT": "1",
        "TRACEPARENT": trace,
    }
    # Nothing of the job before it.
    (told,) = one.result([1], 2)
    assert told["WINDLASS_JOB"] == "job-2" and "TRACEPARENT" not in told


def running_at_a_time(spans):
    """The most spans that have a moment in common."""
    moments = sorted([(begin, 1) for _, begin, _ in spans] + [(end, -1) for _, _, end in spans])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


def test_a_thousand_jobs_have_as_many_processes_as_cpus_each(serve):
    one = serve("leavers:busy").ready()
    dice = random.Random(7)
    # Each is there and ready once.
    while len({pid for pid, _, _ in one.result([0.05] * 8, 4)}) < 4:
        pass
    for number in range(1000):
        parallelism = dice.randint(1, 4)
        spans = one.result([0.001] * (2 * parallelism + number % 3), parallelism)
        assert running_at_a_time(spans) <= parallelism
        assert len({pid for pid, _, _ in spans}) <= parallelism
        # Each CPU is used, though the first may be through with all before the last has woken up.
        if number % 100 == 0:
            assert len({pid for pid, _, _ in one.result([0.05] * (2 * parallelism), parallelism)}) == parallelism
    assert len(one.children()) == 4


def test_processes_beyond_the_grant_stay_only_as_long_as_they_are_small(serve):
    one = serve("large:pid").ready()
    until_all_are_ready(one, 3)
    assert len(one.children()) == 3
    one.result([0], 1)
    assert len(one.children()) == 1
    one = serve("callees:square").ready()
    one.result([1] * 6, 3)
    one.result([1], 1)
    assert len(one.children()) == 3


LEFT = {
    "thread": "left 1 thread (Thread Thread-",
    "child": "left a child process",
    "ended child": "left a child process",
    "grandchild": "left a child process",
    "variable": "changed the environment (LEFT)",
    "fewer variables": "changed the environment (PATH)",
    "directory": "changed the working directory",
    "umask": "changed the umask",
    "handler": "changed a signal handler",
    "mask": "changed the blocked signals",
    "alarm": "changed a timer",
    "profile timer": "changed a timer",
    "session": "changed its user or process group",
    "trace": "changed how Python runs",
    "recursion": "changed how Python runs",
    "collector": "changed how Python runs",
    "limit": "changed a resource limit",
    "niceness": "changed its niceness",
    "file": "left open /etc/passwd",
    "temporary file": "left open /",
    "descriptor": "changed what file descriptor 0, 1 or 2 is",
    "stdout": "changed sys.stdin, sys.stdout or sys.stderr",
    "closed stdout": "changed sys.stdin, sys.stdout or sys.stderr",
    "locale": "changed the locale",
    "memory": "holds 2",
    "busy native thread": "left 1 native threads that run",
    "library's file to write": "left open ",
    "many library's descriptors": "left open 65 descriptors of libraries, such as anon_inode:[eventpoll]",
    "thread like a bar's": "left 1 thread (TMonitor",
    "file in a library's number": "left open /etc/passwd",
    "library's descriptor in another's number": "closed a file descriptor",
}


@pytest.mark.parametrize("kind, why", LEFT.items(), ids=LEFT)
def test_a_process_in_which_something_is_left_gets_no_other_job(serve, kind, why):
    one = serve("leavers:leave").ready()
    if kind == "file in a library's number":
        assert len(one.result(["library's descriptors"])) == 1 and one.said() == ""
    (pid,) = one.result([kind])
    assert f"the function {why}" in one.said()
    assert not pathlib.Path(f"/proc/{pid}").exists()
    (other,) = one.result(["nothing"])
    assert other != pid and one.said() == ""
    one.close()
    one.ends(0)


@pytest.mark.parametrize(
    "kind",
    [
        *("nothing", "globals", "path", "native thread", "joined thread", "file in reach of nobody"),
        *("library's variable", "library's file", "library's descriptors", "thread of a bar"),
    ],
)
def test_what_a_process_may_keep_is_kept(serve, kind):
    one = serve("leavers:leave").ready()
    (pid,) = one.result([kind])
    assert one.result([kind, "nothing"]) == [pid, pid] and one.said() == ""


def test_what_a_job_sets_in_its_context_is_its_own(serve):
    one = serve("leavers:precision").ready()
    assert one.result([7, 8]) == [28, 7]
    assert one.result([9]) == [28] and one.said() == ""


def test_only_the_process_in_which_something_is_left_is_replaced(serve):
    one = serve("leavers:leave").ready()
    one.result(["nothing"] * 8, 2)
    before = set(one.children())
    (pid,) = one.result(["umask"], 2)
    assert before - set(one.children()) == {pid} and len(one.children()) == 2


@pytest.mark.parametrize("chunk", ["1", "3"])
def test_what_fails_says_and_answers_as_version_1(serve, chunk):
    one = serve("callees:fail", ["--chunk", chunk]).ready()
    pids = one.children()
    reason, said = one.failure([1, "bad", 2])
    assert reason == "exception" and said.startswith("item 1: Traceback")
    assert said.rstrip().endswith("ValueError: bad cannot be had") and said.count("Traceback") == 1
    assert one.failure([1, "nan"])[0] == "exception" and "NaN and infinity" in one.said()
    for text, blamed in [("", "not JSON"), ("{}", "/items is missing"), ('{"items": [], "extra": 1}', "/extra")]:
        reason, said = one.failure(text)
        assert reason == "input" and said.startswith("bad input: ") and blamed in said
    # Nobody had to be replaced.
    assert one.result([5]) == [5] and one.children() == pids


def test_the_jobs_retries_decide_about_an_exception_when_they_are_to(serve):
    one = serve("callees:fail", ["--retry-exceptions"]).ready()
    assert one.failure(["bad"])[0] == "error" and "item 0: Traceback" in one.said()
    assert one.failure(["bad"], more={"keepGoing": True})[0] == "error"


def test_it_keeps_going_when_it_is_asked_to(serve):
    one = serve("callees:fail").ready()
    assert one.result(["bad", 1, "bad", 2], 2, more={"keepGoing": True}) == [None, 1, None, 2]
    errors = one.output()["errors"]
    assert [(error["item"], error["type"]) for error in errors] == [(0, "ValueError"), (2, "ValueError")]
    assert one.result([1]) == [1] and "errors" not in one.output()


def test_after_an_exception_the_processes_that_still_work_are_replaced(serve):
    one = serve("callees:fail_or_sleep").ready()
    until_all_are_ready(one, 3)
    before = one.children()
    began = time.monotonic()
    assert one.failure([60, 60, "bad"], 3)[0] == "exception"
    assert time.monotonic() - began < 20
    assert len(set(before) & set(one.children())) == 1 and len(one.children()) == 3
    assert len(set(one.result([0.05] * 6, 3))) <= 3


def test_after_an_exception_its_process_drops_the_rest_and_stays(serve):
    one = serve("callees:fail_or_sleep", ["--chunk", "2"]).ready()
    pids, began = one.children(), time.monotonic()
    assert one.failure(["bad", 60])[0] == "exception"
    assert time.monotonic() - began < 20 and one.children() == pids
    assert one.computed["notComputed"] == [1] and one.computed["errors"][0]["item"] == 0


@pytest.mark.parametrize("item, how", [("die", "by signal 9"), ("exit", "with exit status 3")])
def test_a_process_that_dies_fails_its_job_and_is_replaced(serve, item, how):
    one = serve("callees:fail").ready()
    for _ in range(2):
        reason, said = one.failure([1, item, 2], 2)
        assert reason == "error", said
        assert said.strip().endswith(f"a process of the pool ended {how} at item 1 of the job"), said
        assert one.result([1, 2], 2) == [1, 2]


def test_a_process_that_dies_while_it_waits_costs_no_job_anything(serve):
    one = serve("callees:square").ready()
    (pid,) = one.children()
    os.kill(pid, signal.SIGKILL)
    one.until(lambda: pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")
    assert one.result([3]) == [9] and one.children() != [pid]


def test_want_of_memory_is_no_fault_of_the_input(serve):
    one = serve("callees:make").ready()
    assert one.failure(["memory"])[0] == "error"
    assert one.result(["tuple"]) == [[1, [2, "x"]]]


SHORT_GRACE = """
import sys, windlass.worker, windlass._pool
windlass._pool.GRACE_SECONDS = 0.5
sys.exit(windlass.worker.main())
"""


@pytest.mark.parametrize("target", ["callees:fail_or_sleep", "leavers:work_with_child", "leavers:stubborn"])
def test_a_cancel_ends_what_works_and_leaves_nothing(serve, target):
    # The grace of a process that does not heed SIGTERM is longer than a test likes to wait.
    one = serve(target, module=("-c", SHORT_GRACE)).ready()
    until_all_are_ready(one, 2)
    name = one.begin([60] * 4, 2)
    one.until(one.progress)
    before = one.children()
    if "leavers" in target:
        one.until(lambda: all(one.children(pid) for pid in before))
    began = time.monotonic()
    one.say({"cancel": name})
    assert one.answer(name).get("cancelled") == name
    assert time.monotonic() - began < 20
    assert not set(before) & set(one.children()) and not (one.work / "output").exists()
    assert len(one.result([0], 2)) == 1
    # One that comes too late, and one for a job that was never there, are no news.
    one.say({"cancel": name})
    one.say({"cancel": "another"})
    assert len(one.result([0], 2)) == 1
    one.close()
    one.ends(0)


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
@pytest.mark.parametrize("is_working", [True, False])
def test_sigterm_ends_it_and_leaves_nothing(serve, kill, is_working):
    one = serve("callees:slow").ready()
    if is_working:
        one.begin([60] * 4, 2)
        one.until(one.progress)
    kill(one.process.pid, signal.SIGTERM)
    one.ends(143)
    assert one.hear() is None and one.said().endswith("stopped as asked\n")


@pytest.mark.parametrize("is_working", [True, False])
def test_the_end_of_the_socket_ends_it_and_leaves_nothing(serve, is_working):
    one = serve("callees:slow").ready()
    if is_working:
        one.begin([60] * 4, 2)
        one.until(one.progress)
    one.close()
    one.ends(0)


def test_a_function_that_cannot_be_imported_is_said_once_and_ends_it(serve):
    for target, why in [("callees:sqare", "did you mean square?"), ("broken:f", "SystemExit: 7")]:
        one = serve(target)
        assert one.hear() is None
        one.ends(70)
        assert one.said().count(why) == 1, one.said()


def test_cold_is_version_1_whatever_the_environment_says(tmp_path):
    (tmp_path / "in").write_text('{"items": [3]}')
    environment = {
        **os.environ,
        "WINDLASS_SERVE": str(tmp_path / "socket"),
        "WINDLASS_INPUT": str(tmp_path / "in"),
        "WINDLASS_OUTPUT": str(tmp_path / "out"),
        "WINDLASS_PARALLELISM": "1",
    }
    command = [sys.executable, "-m", "windlass.worker", "--cold", "callees:square"]
    subprocess.run(command, env=environment, cwd=pathlib.Path(__file__).parent, check=True)
    assert json.loads((tmp_path / "out").read_text()) == {"results": [9]}


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_memory_does_not_grow_over_ten_thousand_jobs(serve):
    one = serve("callees:square").ready()
    pids = [one.process.pid, *one.children()]
    files = len(os.listdir(f"/proc/{pids[0]}/fd"))
    for number in range(10_000):
        if number == 1000:
            before = [resident(pid) for pid in pids]
        one.result([number])
    assert [one.process.pid, *one.children()] == pids
    assert all(resident(pid) <= was + (1 << 20) for pid, was in zip(pids, before))
    assert len(os.listdir(f"/proc/{pids[0]}/fd")) == files


NO_ROOM = """
import sys, windlass.worker, windlass._serving
windlass._serving.memory_bound = lambda held: held - 1
sys.exit(windlass.worker.main())
"""


def test_a_parent_that_holds_more_than_its_bound_asks_to_be_replaced(serve):
    one = serve("callees:square", module=("-c", NO_ROOM)).ready()
    answer = one.answer(one.begin([3]))
    assert "done" in answer and "MiB of memory" in answer["replace"]


def test_a_small_result_is_in_the_answer(serve):
    one = serve("callees:square").ready()
    # A digit each, and a comma but for the last.
    count = (8192 - len(b'{"results":[]}\n') + 1) // 2
    for items, is_answered in (0, True), (count, True), (count + 1, False), (10 * count, False):
        assert len(one.result([1] * items)) == items
        assert (one.answered is not None) == is_answered


def test_a_large_result_is_read_once(serve):
    one = serve("callees:text").ready()
    began = time.monotonic()
    (small,) = one.result([1 << 20])
    of_small, began = time.monotonic() - began, time.monotonic()
    (large,) = one.result([16 << 20])
    # 16 times as much, and not 256.
    assert len(large) == 16 * len(small) and time.monotonic() - began < 80 * of_small


def test_what_is_imported_at_the_first_call_costs_once(serve):
    pytest.importorskip("numpy")
    one = serve("leavers:heavy").ready()
    pids = one.children()
    times = []
    for _ in range(20):
        began = time.perf_counter()
        assert one.result([0]) == pids
        times.append(time.perf_counter() - began)
    assert one.said() == "" and min(times[1:]) < times[0] / 5
