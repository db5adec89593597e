"""`windlass.worker`, as a Windlass worker starts it."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from attempt import Attempt, items

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture
def attempt(starter):
    return starter(Attempt)


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_results_are_in_the_order_of_the_items(attempt, count, parallelism):
    one = attempt("callees:square", items(list(range(count))), parallelism)
    assert one.results() == [x * x for x in range(count)]
    assert one.progress()[-1] == f"{count} {count}"
    assert one.group_is_empty()


def test_items_that_take_long_do_not_wait_for_one_another(attempt, tmp_path):
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    results = attempt("callees:meet", items([[a, b], [b, a], *[[a, a]] * 100]), 2).results()
    assert results[0] != results[1]


def test_a_thousand_results_come_the_same_in_chunks_of_any_size(attempt):
    for chunk in (1, 7, 5000):
        one = attempt("callees:square", items(list(range(1000))), arguments=["--chunk", str(chunk)])
        assert one.results() == [x * x for x in range(1000)]


def test_large_items_and_results_pass(attempt):
    assert attempt("callees:text", items([200_000, 0, 3])).results() == ["é" * 200_000, "", "ééé"]
    texts = ["x" * 300_000, 'a\nb\u2028c"\\', None, {"a": [1.5, True]}]
    assert attempt("callees:fail", items(texts)).results() == texts


def test_there_are_exactly_as_many_processes_as_cpus_each_for_one_thread(attempt):
    one = attempt("callees:who", items([0.2] * 12), 3)
    one.until(one.progress)
    assert len(one.children()) == 3
    results = one.results()
    assert len({pid for pid, _ in results}) == 3
    assert {threads for _, threads in results} == {"1"}


def test_progress_counts_items_while_they_are_done(attempt):
    one = attempt("callees:slow", items([0.15] * 8), 2)
    one.results()
    lines = one.progress()
    assert lines[0] == "0 8" and lines[-1] == "8 8"
    done = [int(line.split()[0]) for line in lines]
    assert done == sorted(done) and len(done) >= 4


def test_bad_input_exits_65_and_names_the_field(attempt):
    for text, blamed in [
        ("", "not JSON"),
        ("[1]", "must be an object"),
        ("{}", "/items is missing, for a call with each, and /x, for one call of square(x)"),
        ('{"itmes": [1]}', "unknown field at /itmes: square(x) has no such parameter; did you mean items?"),
        ('{"items": [1], "x": 1}', "unknown field at /x"),
        ('{"items": 3}', "/items must be a list"),
        ('{"items": [], "extra": 1}', "/extra"),
        ('{"items": [], "keepGoing": 1}', "/keepGoing"),
    ]:
        status, said = attempt("callees:square", text).end()
        assert status == 65, said
        assert blamed in said


@pytest.mark.parametrize("flags, expected", [([], 70), (["--retry-exceptions"], 1)])
def test_an_exception_fails_the_job_with_its_item_and_the_end_of_its_traceback(attempt, flags, expected):
    one = attempt("callees:fail", items([1, "bad", 2]), 1, arguments=flags)
    status, said = one.end()
    assert status == expected
    assert "item 1: Traceback" in said
    assert said.rstrip().endswith("ValueError: bad cannot be had")
    assert said.count("Traceback") == 1
    left = one.computed()
    if expected == 1:
        assert left is None, "the next attempt computes it"
        return
    (error,) = left.pop("errors")
    assert left == {"results": [1, None, None], "notComputed": [2]}
    assert (error["item"], error["type"], error["message"]) == (1, "ValueError", "bad cannot be had")
    assert one.group_is_empty()


def test_it_keeps_going_when_it_is_asked_to(attempt):
    kinds = ["tuple", "object", "path", "pdb", "tuple"]
    one = attempt("callees:make", json.dumps({"items": kinds, "keepGoing": True}), 2)
    assert one.results() == [
        [1, [2, "x"]],
        None,
        ["/tmp/x", "12345678-1234-5678-1234-567812345678"],
        None,
        [1, [2, "x"]],
    ]
    errors = json.loads((one.path / "output").read_text())["errors"]
    assert [(error["item"], error["type"]) for error in errors] == [(1, "NoJson"), (3, "BdbQuit")]
    assert "type 'Thing'" in errors[0]["message"] and "there is no terminal here" in errors[1]["traceback"]
    assert one.progress()[-1] == "5 5"
    # Ten thousand errors are no large result.
    one = attempt("callees:fail", json.dumps({"items": ["bad"] * 10_000, "keepGoing": True}))
    assert one.results() == [None] * 10_000
    assert (one.path / "output").stat().st_size < 2_000_000
    status, said = attempt(
        "callees:fail", json.dumps({"items": ["bad"], "keepGoing": True}), arguments=["--retry-exceptions"]
    ).end()
    assert status == 1 and "item 0: Traceback" in said


def test_a_function_can_be_checked_before_it_is_called():
    def check(target):
        command = [sys.executable, "-m", "windlass.worker", "--check", target]
        ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        return ended.returncode, ended.stderr

    for target in (
        "callees:square",
        "math:sqrt",
        "callees:Thing.__eq__",
        "builtins:max",
        "callees:giver.give",
        "callees:Giver.take",
    ):
        assert check(target)[0] == (1 if "Thing" in target else 0), target
    # One that takes no item gets the whole input.
    for target in ("callees:cycle", "callees:Named"):
        assert check(target)[0] == 0, target
    for target, why in [
        ("callee:square", "did you mean callees"),
        ("callees.py:square", "as in callees:FUNCTION"),
        ("tests/callees.py:square", "as in tests.callees:FUNCTION"),
        ("callees:Giver.give", "give is a method: name that of an object, as in callees:OBJECT.give"),
        ("callees:counted", "counted(x) is a generator"),
        ("callees:counted_slowly", "counted_slowly(x) is a generator"),
        ("callees:sqare", "did you mean square?"),
        ("callees:os.sep", "is no function but str"),
        ("broken:f", "cannot import broken:f: SystemExit: 7"),
    ]:
        status, said = check(target)
        assert status == 1 and why in said, said
    assert check("callees")[0] == 2


def test_a_check_says_that_a_module_is_in_src_and_what_is_no_python(tmp_path):
    (tmp_path / "src" / "shop").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "tasks.py").write_text("def price(x): return x\n")
    (tmp_path / "bad.py").write_text("def price(x) return x\n")
    for target, why in [
        ("shop.tasks:price", "No module named 'shop': it is in src, so install this project into the environment"),
        ("bad:price", f'  File "{tmp_path}/bad.py", line 1'),
    ]:
        command = [sys.executable, "-m", "windlass.worker", "--check", target]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 1 and why in ended.stderr and "importlib" not in ended.stderr, ended.stderr


def test_what_has_one_meaning_in_json_is_converted(attempt):
    kinds = ["numpy", "tuple", "date", "dataclass", "path"]
    assert attempt("callees:make", items(kinds)).results() == [
        {"int": 3, "float": 0.5, "bool": True, "array": [[1, 2], [3, 4]], "word": "é", "empty": []},
        [1, [2, "x"]],
        ["2026-11-28T06:30:00+00:00", "2026-11-28", "06:30:00"],
        {"name": "a", "inner": {"name": "b", "inner": [1.5]}},
        ["/tmp/x", "12345678-1234-5678-1234-567812345678"],
    ]


@pytest.mark.parametrize(
    "kind, why",
    [
        ("nan", "NaN and infinity"),
        ("numpy-nan", "NaN and infinity"),
        ("wide", "str(value)"),
        ("half", "surrogate"),
        ("twice", "two keys"),
        ("bytes", "base64"),
        ("set", "sorted(value)"),
        ("decimal", "str(value)"),
        ("complex", "value.real"),
        ("object", "type 'Thing'"),
        ("cycle", "ircular"),
        ("keys", "keys must be"),
    ],
)
def test_what_is_no_json_is_refused_with_its_item_and_what_to_do(attempt, kind, why):
    status, said = attempt("callees:make", items(["tuple", kind])).end()
    assert status == 70, said
    assert said.startswith("item 1: its result cannot be given back: ") and why in said, said


def test_a_debugger_and_a_question_say_that_there_is_no_terminal(attempt):
    for kind in ("breakpoint", "input", "pdb"):
        status, said = attempt("callees:make", items([kind])).end()
        assert status == 70 and "terminal" in said.splitlines()[-1], said


def test_a_crash_in_native_code_leaves_a_traceback(attempt):
    status, said = attempt("callees:make", items(["segfault"]), 1).end()
    assert status == 1, said
    assert "Fatal Python error: Segmentation fault" in said and "callees.py" in said, said
    assert said.strip().endswith("by signal 11 at item 0 of the job"), said


def test_a_process_that_dies_is_told_with_the_item_that_it_had(attempt):
    kinds = ["tuple", "tuple", "segfault", "tuple"]
    # The results before it were not sent yet, where they are of the same chunk.
    for chunk, where in ((1, "item 2"), (4, "one of the items 0 to 3")):
        status, said = attempt("callees:make", items(kinds), 1, arguments=["--chunk", str(chunk)]).end()
        assert status == 1 and said.strip().endswith(f"by signal 11 at {where} of the job"), said
    status, said = attempt("callees:make", '{"kind": "segfault"}', 1).end()
    assert status == 1 and said.strip().endswith("by signal 11"), said


def test_want_of_memory_is_no_fault_of_the_input(attempt):
    status, said = attempt("callees:make", items(["memory"]), 1).end()
    assert status == 1 and said.rstrip().endswith("MemoryError"), said


def test_a_process_that_is_left_behind_holds_nothing_up(attempt):
    # It sleeps for 20 s and holds the pipes of the process that has left it.
    one = attempt("callees:make", items(["orphan"]), 1)
    assert one.process.wait(timeout=10) == 1
    # It is the supervisor's to end: it is in the group of the attempt.
    os.killpg(one.process.pid, signal.SIGKILL)
    assert one.end()[1].strip().endswith("with exit status 4 at item 0 of the job")


def test_a_parent_that_ignores_the_ends_of_its_children_changes_nothing(tmp_path):
    (tmp_path / "in").write_text(items([1, 2, 3]))
    environment = {
        **os.environ,
        "WINDLASS_INPUT": str(tmp_path / "in"),
        "WINDLASS_OUTPUT": str(tmp_path / "out"),
        "WINDLASS_PARALLELISM": "2",
    }
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    for target, expected in (("callees:square", 0), ("callees:dies", 1)):
        command = [sys.executable, "-c", ignoring, sys.executable, "-m", "windlass.worker", target]
        ended = subprocess.run(command, env=environment, cwd=HERE, stderr=subprocess.PIPE, text=True)
        assert ended.returncode == expected, ended.stderr
    assert "by signal 9" in ended.stderr


def test_a_process_that_is_killed_or_exits_fails_the_job(attempt):
    for item, how in (("die", "by signal 9"), ("exit", "with exit status 3")):
        one = attempt("callees:fail", items([1, item]))
        status, said = one.end()
        assert status == 1
        assert said.strip().endswith(f"a process of the pool ended {how} at item 1 of the job"), said
        assert one.group_is_empty()


def test_a_function_that_cannot_be_imported_fails_and_says_why_once(attempt):
    for target, why in [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("callees:no_such", "no attribute 'no_such'"),
        ("callees:os.sep", "is no function but str"),
        ("callee:square", "did you mean callees"),
        ("callees:sqare", "did you mean square?"),
        ("broken:f", "SystemExit: 7"),
    ]:
        status, said = attempt(target, items([1, 2, 3, 4]), 2).end()
        assert status == 70
        assert said.count(why) == 1, said
    assert attempt("broken:f", items([1]), arguments=["--retry-exceptions"]).end()[0] == 1


@pytest.mark.parametrize("number, status", [(errno.EMFILE, 1), (errno.ENOMEM, 1), (errno.ENOENT, 70)])
def test_what_a_machine_lacks_for_a_moment_at_the_import_is_not_final(attempt, monkeypatch, number, status):
    monkeypatch.setenv("BROKEN_BY", str(number))
    ended, said = attempt("broken:f", items([1])).end()
    assert ended == status and os.strerror(number) in said, said


def test_wrong_usage_exits_2(attempt):
    assert attempt("callees", items([1])).end()[0] == 2
    assert attempt("callees:square", items([1]), arguments=["--chunk", "0"]).end()[0] == 2
    for name in ("WINDLASS_INPUT", "WINDLASS_OUTPUT", "WINDLASS_PARALLELISM"):
        status, said = attempt("callees:square", items([1]), without=name).end()
        assert status == 2 and name in said


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_sigterm_to_the_process_or_to_its_group_leaves_nothing_behind(attempt, kill):
    one = attempt("callees:slow", items([30] * 4), 2)
    one.until(one.progress)
    children = one.children()
    began = time.monotonic()
    kill(one.process.pid, signal.SIGTERM)
    status, said = one.end()
    assert status == 143, said
    assert time.monotonic() - began < 5
    assert one.group_is_empty()
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children)
    assert not (one.path / "output").exists()


def test_when_the_parent_is_killed_its_processes_end_after_their_item(attempt):
    one = attempt("callees:slow", items([0.5] * 40), 2)
    one.until(one.progress)
    one.process.kill()
    one.process.wait()
    assert one.group_is_empty()


def test_it_needs_nothing_but_the_standard_library(attempt, tmp_path):
    import windlass

    # A copy of the package in a directory of its own, and no site-packages.
    package = tmp_path / "alone" / "windlass"
    package.mkdir(parents=True)
    for path in pathlib.Path(windlass.__file__).parent.glob("*.py"):
        (package / path.name).write_text(path.read_text())
    environment = {**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{HERE}"}
    (tmp_path / "in").write_text(items([1, 2, 3]))
    environment |= {
        "WINDLASS_INPUT": str(tmp_path / "in"),
        "WINDLASS_OUTPUT": str(tmp_path / "out"),
        "WINDLASS_PARALLELISM": "2",
    }
    loaded = "import sys, windlass.worker; sys.exit('httpx' in sys.modules or 'windlass.client' in sys.modules)"
    subprocess.run([sys.executable, "-S", "-c", loaded], env=environment, check=True)
    subprocess.run([sys.executable, "-S", "-m", "windlass.worker", "callees:square"], env=environment, check=True)
    assert json.loads((tmp_path / "out").read_text()) == {"results": [1, 4, 9]}
