"""A function whose parameter reads as if it got all items is called with each, and this is told."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Optional

import pytest
from attempt import HERE, Attempt, items

import windlass
from windlass._each_or_all import how_called, wants_all
from windlass._signature import describe

ALWAYS = "@windlass.function(items=False) has it called once with all"


def named(name, annotation=None):
    """A function with this parameter."""
    made = {"Any": Any, "Optional": Optional, "Sequence": Sequence}
    exec(f"def f({name}{': ' + annotation if annotation else ''}, power=2): return 1", made)
    return made["f"]


def may_want_all(function):
    return wants_all(function, describe(function))


@pytest.mark.parametrize(
    "name",
    ["items", "values", "batch", "data", "xs", "order_lines", "images_2", "_records", "numbers_list", "allPrices"],
)
def test_a_name_for_many_is_told(name):
    assert may_want_all(named(name))


@pytest.mark.parametrize(
    "name", ["item", "x", "s", "status", "class_", "axis", "seconds", "options", "row", "order_address", "_"]
)
def test_a_name_for_one_is_not(name):
    assert not may_want_all(named(name))


@pytest.mark.parametrize(
    "annotation", ["list", "list[float]", "Sequence[int]", "'np.ndarray'", "'Optional[list[int]]'", "Optional[list]"]
)
def test_an_annotation_decides_where_there_is_one(annotation):
    assert may_want_all(named("x", annotation))


@pytest.mark.parametrize("annotation", ["int", "str", "dict", "'Order'"])
def test_an_annotation_of_one_thing_decides_as_well(annotation):
    assert not may_want_all(named("items", annotation))
    assert may_want_all(named("items", "Any"))


def test_a_mark_leaves_no_question():
    for mark in (True, False):
        assert not may_want_all(windlass.function(items=mark)(named("items")))
    assert may_want_all(windlass.function(input_types=["text/*"])(named("items")))
    assert not may_want_all(lambda a, b: 0) and not may_want_all(lambda *items: 0) and not may_want_all(max)


@pytest.mark.parametrize(
    "target, said",
    [
        ("one", "one(x) is called with each of the input's `items`"),
        ("several", "several(a, b, c=0) is called once, with the whole input"),
        ("all_of", "all_of(values) is called once, with the whole input"),
        ("sum_of", f"sum_of(items) is called with each of the input's `items`; {ALWAYS}"),
        (
            "mean_of",
            "mean_of(numbers) is called with each of the input's `items`; once with all by "
            f'{{"numbers": [...]}}, or always: {ALWAYS}',
        ),
    ],
)
def test_the_check_says_how_a_function_is_called(target, said):
    command = [sys.executable, "-m", "windlass.worker", "--check", f"styles:{target}"]
    ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{said}\n", "")


@pytest.mark.parametrize(
    "environment, told",
    [
        ({"PYTHONIOENCODING": "ascii"}, r"\u2192"),
        ({"PYTHONIOENCODING": "latin-1"}, r"\u2192"),
        ({"PYTHONIOENCODING": "utf-8"}, "\u2192"),
    ],
)
def test_the_check_says_it_in_one_line_where_the_locale_has_not_all_characters(environment, told):
    command = [sys.executable, "-m", "windlass.worker", "--check", "styles:joined"]
    ended = subprocess.run(command, cwd=HERE, capture_output=True, env={**os.environ, **environment})
    said = f"joined(item, *, sep='{told}', table=1 2 3 4, gap='  ') is called with each of the input's `items`\n"
    assert (ended.returncode, ended.stdout.decode(), ended.stderr.decode()) == (0, said, "")


def test_an_exception_for_want_of_a_list_says_how_the_function_is_called(starter):
    attempt = starter(Attempt)
    one = attempt("styles:sum_of", items([1, 2]))
    status, said = one.end()
    assert status == 70 and said.splitlines()[-2:] == [
        "TypeError: 'int' object is not iterable",
        f"sum_of(items) is called with each of the input's `items`, and got one of them; {ALWAYS}",
    ]
    assert one.computed()["errors"][0]["message"] == "'int' object is not iterable"
    assert attempt("styles:sum_of", items([[1, 2], [3]])).results() == [3, 3]
    # A list is what it got, or the mistake is another.
    for target, given in [("sum_of", [[1, "x"]]), ("one", [None])]:
        said = attempt(f"styles:{target}", items(given)).end()[1]
        assert said.splitlines()[-1].startswith("TypeError: "), said
    # The ways that it says.
    assert attempt("styles:mean_of", '{"numbers": [1, 3]}').value() == 2
    assert attempt("styles:all_of", '{"values": [1, 3]}').value() == 4
    assert how_called(windlass.function(items=False)(named("items"))).endswith("called once, with the whole input")
