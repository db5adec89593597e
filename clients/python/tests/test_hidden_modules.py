"""Files of a function's directory that are called like modules of Python which the worker needs."""

import io
import json
import pickle
import subprocess
import sys

import pytest
from attempt import Attempt, items
from supervisor import Supervisor

LOADED = "import json, runpy, sys, windlass; {}print(json.dumps([*sys.modules]))"
FUNCTION = """
import json, signal

def mine(x):
    import socket
    return [x, json.__doc__, signal.__doc__, socket.__doc__]

async def waits(x):
    return x

def pickled(x: int):
    import pickle, shutil, zipfile
    return {pickle.__doc__, shutil.__doc__, zipfile.__doc__, x}

def arrays(x: int):
    import numpy
    import pickle, shutil, struct, zipfile
    return {"doc": numpy.array(zipfile.__doc__), "x": numpy.array(x)}

class Order:
    pass

def attribute(x):
    import platform
    return Order().platform

def module(x):
    import platform
    return platform.machine()
"""


def loaded(more=""):
    said = subprocess.run(
        [sys.executable, "-c", LOADED.format(more)], check=True, capture_output=True, text=True
    ).stdout
    return {name.partition(".")[0] for name in json.loads(said)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """It has a file for each module that the worker imports before the function, and Python itself does not."""
    directory = tmp_path_factory.mktemp("hidden")
    ours = loaded("import windlass.worker; ") - loaded() - set(sys.builtin_module_names) | {"json"}
    names = {name for name in ours if name in sys.stdlib_module_names and not name.startswith("_")}
    assert {"signal", "socket", "inspect", "argparse", "pickle"} <= names
    for name in names:
        (directory / f"{name}.py").write_text('"""of the function"""\n')
    # Without `__init__.py` it hides nothing.
    (directory / "select.py").unlink(missing_ok=True)
    (directory / "select").mkdir()
    (directory / "function.py").write_text(FUNCTION)
    return directory


@pytest.fixture
def later(tmp_path):
    """It has a file for some of what the worker imports when it needs it."""
    directory = tmp_path / "later"
    directory.mkdir()
    for name in ("pickle", "shutil", "zipfile", "platform"):
        (directory / f"{name}.py").write_text('"""of the function"""\n')
    (directory / "function.py").write_text(FUNCTION)
    return directory


@pytest.fixture(params=["once", "one after another"])
def result(request, starter, directory):
    """The results of a job, in either way, and what was said of it."""

    def of(target, values, **options):
        if request.param == "once":
            one = starter(Attempt)(target, items(values), cwd=directory, **options)
            return one.results()
        one = starter(Supervisor)(target, cwd=directory, **options).ready()
        assert one.result(values) == one.result(values)
        return one.output()["results"]

    return of


def test_the_worker_has_pythons_own_modules_and_the_function_has_its_files(result):
    expected = [[x, *["of the function"] * 3] for x in range(3)]
    assert result("function:mine", [0, 1, 2]) == expected


def test_a_function_may_be_in_such_a_file(result, directory):
    (directory / "signal.py").write_text('"""of the function"""\ndef twice(x): return 2 * x\n')
    assert result("signal:twice", [1, 2]) == [2, 4]


@pytest.mark.parametrize("target", ["function:mine", "function:waits"])
def test_a_check_finds_what_a_job_would(directory, target):
    command = [sys.executable, "-m", "windlass.worker", "--check", target]
    checked = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    # What runs an `async def` is Python's, and needs the modules that are hidden from it here.
    is_async = target.endswith("waits")
    assert checked.returncode == is_async, checked.stderr
    assert not is_async or "hides Python's own module" in checked.stderr


def test_a_result_is_pickled_by_pythons_own_modules(starter, later):
    one = starter(Attempt)(
        "function:pickled", '{"x": 1}', arguments=["--pickle"], media_type="application/json", cwd=later
    )
    assert pickle.loads(one.output()) == {"of the function", 1}
    assert one.type() == "application/x-python-pickle"


def test_arrays_are_archived_by_pythons_own_modules(starter, later):
    numpy = pytest.importorskip("numpy")
    one = starter(Attempt)("function:arrays", '{"x": 1}', media_type="application/json", cwd=later)
    with numpy.load(io.BytesIO(one.output())) as archive:
        assert (archive["doc"], archive["x"]) == ("of the function", 1)


@pytest.mark.parametrize("target, is_hidden", [("function:attribute", False), ("function:module", True)])
def test_a_file_is_blamed_for_what_its_module_lacks_and_for_no_object(starter, later, target, is_hidden):
    status, said = starter(Attempt)(target, items([1]), cwd=later).end()
    assert status == 70 and "AttributeError" in said
    assert ("hides Python's own module platform" in said) == is_hidden, said
