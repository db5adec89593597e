"""A function whose code changes while it serves."""

import json
import os
import pathlib
import py_compile
import subprocess
import sys
import time

import pytest
from supervisor import Supervisor


@pytest.fixture
def serve(starter):
    return starter(Supervisor)


OWN = """
from edited_other import factor
def f(x):
    return [x * factor(), __import__("os").getpid()]
"""


def write(path, text):
    """Another content, by its time as well: two of the same length within a tick of the clock look the same."""
    path.write_text(text)
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def test_a_function_whose_code_has_changed_is_imported_anew(serve, tmp_path):
    (tmp_path / "code").mkdir()
    other, late = tmp_path / "code" / "edited_other.py", tmp_path / "code" / "edited_late.py"
    write(tmp_path / "code" / "edited.py", OWN)
    write(other, "def factor():\n    return 2\n")
    # As for users: Python keeps what it has compiled.
    one = serve("edited:f", cwd=tmp_path / "code", environment={"PYTHONDONTWRITEBYTECODE": ""}).ready()
    ((value, pid), (_, same)) = one.result([3, 3])
    assert (value, same) == (6, pid) and one.result([3]) == [[6, pid]] and one.said() == ""
    # A module that it imports, and then one that it imports only in a call.
    write(other, "def factor():\n    import edited_late\n    return edited_late.FACTOR\n")
    write(late, "FACTOR = 10\n")
    results = one.result([3] * 6, 3)
    assert {value for value, _ in results} == {30} and pid not in {pid for _, pid in results}
    assert f"{other} has changed: the function is imported anew" in one.said()
    write(late, "FACTOR = 20\n")
    assert {value for value, _ in one.result([3] * 6, 3)} == {60}
    # How it is called may be another, too.
    write(tmp_path / "code" / "edited.py", "def f(a, b):\n    return a + b\n")
    one.answer(one.begin(json.dumps({"a": 1, "b": 2})))
    assert one.output() == 3
    # What cannot be imported any more fails its job and has no other: the next process may have it mended.
    write(tmp_path / "code" / "edited.py", "def f(a, b)\n")
    name = one.begin(json.dumps({"a": 1, "b": 2}))
    answer = one.answer(name)
    assert answer["failed"] == name and answer["reason"] == "exception"
    assert answer["replace"] == "its function cannot be imported any more"
    assert "SyntaxError" in one.said()


LOOKED_AT = """
import importlib.util, json, numbers, os, sys, pytest, callees

def lazy(name):
    spec = importlib.util.find_spec(name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

class Odd:
    def __getattr__(self, name):
        raise KeyError(name)

lazy("leavers")
sys.modules["odd"] = Odd()
with open(os.path.join(os.environ["TMPDIR"], "generated.py"), "w") as file:
    file.write("")
sys.path.append(os.environ["TMPDIR"])
import generated
from windlass._code_changes import Imported
print(sorted(os.path.basename(path) for path in Imported().new()), type(sys.modules["leavers"]).__name__)
"""


def test_only_the_functions_own_files_are_looked_at_and_nothing_is_imported_for_that(tmp_path):
    command, here = [sys.executable, "-c", LOOKED_AT], pathlib.Path(__file__).parent
    ours = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, cwd=here, env=ours, capture_output=True, text=True)
    assert ended.stdout.strip() == "['callees.py', 'leavers.py'] _LazyModule", ended


def test_what_python_has_kept_of_a_file_of_the_same_second_is_not_used(serve, tmp_path):
    """Python compares whole seconds and sizes: an edit right after an import has both in common with what was there."""
    code = tmp_path / "code"
    code.mkdir()
    other = code / "edited_other.py"
    (code / "edited.py").write_text(OWN)
    other.write_text("def factor():\n    return 2\n")
    second = (time.time_ns() // 1_000_000_000) * 1_000_000_000
    os.utime(other, ns=(second, second))
    compiled = pathlib.Path(py_compile.compile(str(other)))
    other.write_text("def factor():\n    return 3\n")
    os.utime(other, ns=(second + 500_000_000, second + 500_000_000))
    os.utime(compiled, ns=(second + 400_000_000, second + 400_000_000))
    own = {"PYTHONDONTWRITEBYTECODE": ""}
    one = serve("edited:f", cwd=code, environment=own).ready()
    assert [value for value, _ in one.result([3])] == [9]
    # What is compiled well after the file was written is used, as ever.
    later = second + 9_000_000_000
    before = compiled.read_bytes()
    os.utime(compiled, ns=(later, later))
    assert [value for value, _ in serve("edited:f", cwd=code, environment=own).ready().result([3])] == [9]
    assert compiled.read_bytes() == before and compiled.stat().st_mtime_ns == later
