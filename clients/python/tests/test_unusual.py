"""What few functions do, in both ways in which they are called: one job and no other, and one after another."""

import json
import os
import re

import pytest
from attempt import Attempt, items
from supervisor import Supervisor


class Once:
    """A process for each job."""

    def __init__(self, starter, target):
        self.start = lambda text: starter(Attempt)(target, text, 1)

    def value(self, text):
        self.said = ""
        one = self.start(text)
        status, self.said = one.end()
        assert status == 0, self.said
        return json.loads((one.path / "output").read_text())

    def failure(self, text):
        status, said = self.start(text).end()
        return {70: "exception", 65: "input", 1: "error"}[status], said


class OneAfterAnother:
    """One process for all jobs."""

    def __init__(self, starter, target):
        self.supervisor = starter(Supervisor)(target).ready()

    def value(self, text):
        answer = self.supervisor.answer(self.supervisor.begin(text))
        self.said = self.supervisor.said()
        assert "done" in answer and "replace" not in answer, (answer, self.said)
        return self.supervisor.output()

    def failure(self, text):
        return self.supervisor.failure(text)


@pytest.fixture(params=[Once, OneAfterAnother])
def function(starter, request):
    return lambda name: request.param(starter, f"unusual:{name}")


def kept_going(values):
    return json.dumps({"items": values, "keepGoing": True})


@pytest.mark.parametrize("how, status", [(0, 0), (5, 5), ("bye", 1), ("raise", 1), ("return", 1)])
def test_a_forked_child_answers_for_nobody(function, how, status):
    # In one list for a process there are results before it that are not sent yet, and results after it.
    given = [*range(5), ["fork", how], *range(6, 40)]
    expected = [[how, status] if number == 5 else number for number in range(40)]
    assert function("forks").value(items(given)) == {"results": expected}
    one = function("forks_once")
    assert one.value(json.dumps({"how": how})) == [how, status]
    assert {"raise": "ValueError: of the child", "bye": "bye", "return": "os.fork()"}.get(how, "") in one.said


@pytest.mark.parametrize("how, status", [(5, 5), ("return", 1)])
def test_a_child_that_an_async_function_forks_leaves_its_parents_loop_alone(function, how, status):
    assert function("forks_in_a_loop").value(json.dumps({"how": how})) == [how, status]


RAISED = {
    "exit": ("SystemExit", "bye"),
    "interrupt": ("KeyboardInterrupt", ""),
    "generator": ("GeneratorExit", ""),
    "mute": ("Mute", "<str() failed>"),
    "half": ("ValueError", "half of a pair: \\ud800"),
    "deep": ("NoJson", "it is nested more than 125 deep"),
    "fine": ("ValueError", "fine"),
}


def test_whatever_a_function_raises_ends_its_item_alone(function):
    one = function("raises")
    told = one.value(kept_going([*RAISED]))["errors"]
    assert [(each["type"], each["message"]) for each in told] == [*RAISED.values()]
    # So that a server takes it: no half of a surrogate pair is in it.
    assert "\\ud800" not in json.dumps(told).replace("\\\\", "")
    assert all(each["traceback"].startswith("Traceback") for each in told if each["type"] != "NoJson")
    for kind in RAISED:
        reason, said = one.failure(items([kind]))
        assert reason == "exception" and "item 0: " in said, said


def test_of_a_long_message_the_begin_and_the_end_are_kept(function):
    one = function("raises")
    (told,) = one.value(kept_going(["long"]))["errors"]
    assert told["message"].startswith("begin xxx")
    assert "unusual.py" in told["traceback"] and "ValueError: begin xxx" in told["traceback"]
    reason, said = one.failure(items(["long"]))
    assert reason == "exception" and len(said) < 10_000
    assert "Traceback" in said and "ValueError: begin xxx" in said and said.endswith("xxx end\n")


def test_a_result_is_nested_as_deep_as_a_server_reads_it(function):
    one = function("nested")
    assert one.value(items([125]))["results"][0]["[]"]
    reason, said = one.failure(items([126]))
    assert reason == "exception" and "nested more than 125 deep" in said
    one = function("nested_once")
    assert one.value('{"depth": 127}')["[]"]
    reason, said = one.failure('{"depth": 128}')
    assert reason == "exception" and "nested more than 127 deep" in said


def test_a_coroutine_is_run(function):
    one = function("waits")
    assert one.value(items([0, 0.01])) == {"results": [0, 0]} and one.said == ""
    assert one.value('{"seconds": 0}') == 0 and one.said == ""
    reason, said = function("fails_late").failure(items([1]))
    assert reason == "exception" and said.rstrip().endswith("ValueError: 1 cannot be had")
    assert places(said) == ["unusual.py"]


def places(said):
    """The files that a traceback names."""
    return [os.path.basename(path) for path in re.findall(r'^  File "(.+?)"', said, re.MULTILINE)]


@pytest.mark.parametrize("style", ["check", "job"])
def test_a_module_that_fails_is_told_without_what_imports_it(starter, style):
    one = starter(Attempt)("broken:f", items([1]), 1, arguments=["--check"] if style == "check" else [])
    _, said = one.end()
    assert places(said) == ["broken.py"], said


FULL = """
import errno, os, sys, windlass.worker
rename = os.replace
def replace(here, there):
    if os.path.basename(there) == "output":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    rename(here, there)
os.replace = replace
sys.exit(windlass.worker.main())
"""


@pytest.mark.parametrize("target, text", [("unusual:long_text", '{"length": 9000}'), ("callees:text", items([9000]))])
def test_a_result_that_cannot_be_written_fails_the_attempt_and_not_the_job(starter, tmp_path, target, text):
    one = starter(Supervisor)(target, module=("-c", FULL)).ready()
    for _ in range(2):
        reason, said = one.failure(text)
        assert reason == "error" and "the result cannot be written" in said and "No space left" in said, said
    once = starter(Attempt)(target, text, 1, program=("-c", FULL))
    status, said = once.end()
    assert status == 1 and "No space left" in said and "Traceback" not in said, said
