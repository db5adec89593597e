"""How `windlass.worker` calls functions of any signature, with inputs of any type."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys

import pytest
from attempt import HERE, Attempt, items
from supervisor import Supervisor

import windlass

BYTES = "application/octet-stream"


@pytest.fixture
def attempt(starter):
    return starter(Attempt)


@pytest.fixture
def serve(starter):
    return starter(Supervisor)


_REFUSED = {
    "results": [1, None],
    "errors": [{"item": 1, "type": "BadInput", "message": "-1 is negative", "traceback": "-1 is negative"}],
}


def as_json(**given):
    return json.dumps(given)


@pytest.mark.parametrize(
    "function, given, expected",
    [
        ("one", as_json(items=[1, 2]), {"results": [2, 4]}),
        ("marked", as_json(items=[1, 2]), {"results": [2, 3]}),
        ("with_setting", as_json(items=[1, 2], factor=3), {"results": [3, 6]}),
        ("with_setting", as_json(items=[1, 2], factor=3, add=1), {"results": [4, 7]}),
        ("with_default", as_json(items=[2, 3]), {"results": [4, 9]}),
        ("with_default", as_json(items=[2, 3], power=3), {"results": [8, 27]}),
        ("item_and_anything", as_json(items=[1], a=2), {"results": [[1, {"a": 2}]]}),
        ("pair", as_json(items=[[3, 1], {"b": 1, "a": 5}], scale=2), {"results": [4, 8]}),
        ("anything", as_json(items=3, a=[1]), {"items": 3, "a": [1]}),
        ("nothing", "{}", "called"),
        ("all_of", as_json(values=[1, 2]), 3),
        ("all_of", "[1, 2]", 3),
        # Without `items` the parameters by name are one call.
        ("one", as_json(x=3), 6),
        ("with_default", as_json(item=2), 4),
        ("with_default", as_json(item=2, power=3), 8),
        ("with_setting", as_json(item=2, factor=3), 6),
        ("refuses", as_json(items=[1, -1], keepGoing=True), _REFUSED),
    ],
)
def test_the_signature_or_the_mark_says_how_a_function_is_called(attempt, serve, function, given, expected):
    assert attempt(f"styles:{function}", given).value() == expected
    one = serve(f"styles:{function}").ready()
    for _ in range(2):
        one.answer(one.begin(given))
        assert one.output() == expected, one.said()


def test_a_whole_input_is_one_call_in_one_process(attempt):
    told = attempt("styles:several", as_json(a=1, b=2), 3).value()
    assert told["sum"] == 3
    assert "item" not in attempt("styles:fails", as_json(a=1, b=2)).end()[1].splitlines()[0]


@pytest.mark.parametrize(
    "function, given, why",
    [
        ("with_setting", as_json(items=[1]), "/factor is missing: with_setting(item, *, factor, add=0) needs it"),
        ("with_setting", as_json(items=[], factor=1, ad=2), "/ad beside `items` and `keepGoing`: with_setting("),
        ("with_setting", as_json(items=[], factor=1, ad=2), "did you mean add?"),
        ("with_setting", as_json(items=[], factor=1, item=2), "/item"),
        ("one", as_json(items=[], x=1), "/x beside"),
        ("one", as_json(x=1, y=1), "unknown field at /y"),
        ("with_default", as_json(power=2), "/items is missing, for a call with each, and /item, for one call of"),
        ("pair", as_json(a=1), "unknown field at /a"),
        ("pair", "{}", "/items is missing: pair("),
        ("refuses", as_json(x=-1), "bad input: -1 is negative"),
        ("refuses", as_json(items=[1, -2]), "bad input: item 1: -2 is negative"),
        ("several", as_json(a=1), "/b is missing: several(a, b, c=0) needs it"),
        ("several", as_json(a=1, b=2, d=3), "/d: several(a, b, c=0) has no such parameter"),
        ("several", "[1, 2]", "/b is missing"),
        ("nothing", "[1]", "nothing() takes no input of the type application/json"),
        ("several", "{", "not JSON"),
        ("pair", as_json(items=[[1, 2], [1]]), "/items/1 has no 'b'"),
        ("pair", as_json(items=[[1, 2, 3]]), "/items/0 has 3 arguments"),
        ("pair", as_json(items=[{"a": 1, "b": 2, "scale": 3}]), "/items/0 has 'scale'"),
        ("pair", as_json(items=[7]), "/items/0 must be a list or an object"),
    ],
)
def test_wrong_arguments_are_told_by_name_before_anything_is_computed(attempt, function, given, why):
    assert why in attempt(f"styles:{function}", given).refusal()


def test_wrong_arguments_cost_a_process_that_serves_nothing(serve):
    one = serve("styles:several").ready()
    pids = one.children()
    for given in (as_json(a=1), "{", as_json(a=1, b=2, d=3)):
        reason, said = one.failure(given)
        assert reason == "input" and said.startswith("bad input: "), said
    one.answer(one.begin(as_json(a=1, b=2)))
    assert one.children() == pids


def test_functions_that_no_job_can_call_are_told_by_the_check():
    for target, why in [
        ("styles:clashes", "'items', which is a field of the input already"),
        ("styles:unnamed", "unnamed(a, b, /) has parameters that cannot be given by name"),
    ]:
        command = [sys.executable, "-m", "windlass.worker", "--check", target]
        ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        assert ended.returncode == 1 and why in ended.stderr
        command.remove("--check")


@pytest.mark.parametrize(
    "function, media_type, data, expected",
    [
        ("content", BYTES, b"\xff\x00", ["bytes", 2]),
        ("content", "image/jpeg", b"\xff\xd8", ["bytes", 2]),
        ("content", "text/csv; charset=latin-1", b"a,\xe9\n", ["str", 4]),
        ("lines", "text/plain", "é\nb".encode(), ["é", "b"]),
        ("where", "image/jpeg", b"abc", ["abc", None]),
        ("where", "application/json", b'{"data": 1}', None),
    ],
)
def test_an_input_that_is_no_json_is_the_first_argument(attempt, function, media_type, data, expected):
    one = attempt(f"styles:{function}", data, media_type=media_type)
    if expected is None:
        assert one.end()[0] == 70
    else:
        assert one.value() == expected and one.type() == "application/json"


def test_bytes_go_in_and_out_as_they_are(attempt, serve):
    data = os.urandom(3 << 20)
    one = attempt("styles:raw", data, media_type="image/x-any")
    assert one.output() == data and one.type() == BYTES
    one = attempt("styles:picture", data, media_type="image/x-any")
    assert one.output() == data[::-1] and one.type() == "image/png"
    served = serve("styles:picture").ready()
    for _ in range(2):
        (served.path / "input").write_bytes(data)
        told = served.path / "type"
        name = served.begin(None, inputType="image/x-any", outputType=str(told))
        assert "done" in served.answer(name), served.said()
        assert (served.work / "output").read_bytes() == data[::-1] and told.read_text() == "image/png\n"
    # Not what it was marked for, and then nobody waits for the computation.
    assert (
        "takes an input of the type image/*, not text/csv"
        in attempt("styles:picture", b"", media_type="text/csv").refusal()
    )


def npy(array):
    import numpy

    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def test_arrays_of_numpy_go_in_and_out(attempt):
    numpy = pytest.importorskip("numpy")
    kind = "application/x-npy"
    for array in (
        numpy.arange(12.0).reshape(3, 4),
        numpy.asfortranarray(numpy.arange(12).reshape(3, 4)),
        numpy.arange(24)[::2],
        numpy.array(1.5),
        numpy.zeros((0, 3)),
        numpy.array(["2026-11-28"], "datetime64[D]"),
        numpy.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]),
    ):
        one = attempt("styles:same", npy(array), media_type=kind)
        back = numpy.load(io.BytesIO(one.output()), allow_pickle=False)
        assert one.type() == kind and back.dtype == array.dtype and numpy.array_equal(back, array)
    assert attempt("styles:of_shape", npy(numpy.zeros((2, 3))), media_type=kind).value() == {
        "shape": [2, 3],
        "type": "float64",
    }
    file = io.BytesIO()
    numpy.savez(file, a=numpy.arange(3), b=numpy.ones(2))
    one = attempt("styles:archive", file.getvalue(), media_type="application/x-npz")
    back = numpy.load(io.BytesIO(one.output()))
    assert one.type() == "application/x-npz" and back["a"].tolist() == [1, 2, 3] and back["b"].tolist() == [2, 2]


def test_an_array_of_a_dict_may_have_any_name():
    numpy = pytest.importorskip("numpy")
    from windlass._codecs import encode

    arrays = {name: numpy.arange(3) for name in ("file", "self", "of two words")}
    encoded = encode(arrays)
    back = numpy.load(io.BytesIO(b"".join(encoded.pieces())), allow_pickle=False)
    assert {name: back[name].tolist() for name in back.files} == {name: [0, 1, 2] for name in arrays}


def test_no_array_is_unpickled_and_a_damaged_one_is_told(attempt):
    numpy = pytest.importorskip("numpy")
    file = io.BytesIO()
    numpy.save(file, numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data, kind in ((file.getvalue(), "x-npy"), (b"\x93NUMPY", "x-npy"), (b"", "x-npy"), (b"PK", "x-npz")):
        said = attempt("styles:double", data, media_type=f"application/{kind}").refusal()
        assert f"the input: it is no application/{kind}" in said
    status, said = attempt("styles:objects", "[1]", media_type="application/json", arguments=[]).end()
    assert status == 65 and "items" in said
    status, said = attempt("styles:objects", npy(numpy.arange(3)), media_type="application/x-npy").end()
    assert status == 70 and "an array of Python objects cannot be given on" in said


def test_tables_of_arrow_go_in_and_out(attempt):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"a": [1, 2], "b": ["x", None]})
    stream, file = io.BytesIO(), io.BytesIO()
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write(table)
    parquet.write_table(table, file)
    for data, kind in ((stream, "apache.arrow.stream"), (file, "apache.parquet")):
        one = attempt("styles:total", data.getvalue(), media_type=f"application/vnd.{kind}")
        assert one.value() == {"columns": ["a", "b"], "rows": 2}
    one = attempt("styles:same", file.getvalue(), media_type="application/vnd.apache.parquet")
    assert pyarrow.ipc.open_stream(one.output()).read_all() == table
    assert one.type() == "application/vnd.apache.arrow.stream"
    assert (
        "is no application/vnd.apache.parquet"
        in attempt("styles:total", b"PAR1", media_type="application/vnd.apache.parquet").refusal()
    )


def test_pickle_is_taken_only_where_the_command_says_so(attempt):
    data, kind = pickle.dumps({1, 2}), "application/x-python-pickle"
    assert "`--pickle`" in attempt("styles:same", data, media_type=kind).refusal()
    one = attempt("styles:same", data, media_type=kind, arguments=["--pickle"])
    assert pickle.loads(one.output()) == {1, 2} and one.type() == kind
    status, said = attempt("styles:thing", data, media_type=BYTES).end()
    assert status == 70 and "type 'Thing' is no JSON" in said


def test_files_are_arguments_of_their_names(attempt, serve):
    numpy = pytest.importorskip("numpy")
    # A path, unless the parameter wants something else.
    one = attempt("styles:where", b"x", media_type=BYTES, files={"table": b"rows"})
    assert one.value() == ["x", "rows"]
    files = {"a": npy(numpy.arange(3)), "b": npy(numpy.ones(3))}
    one = attempt("styles:arrays", "{}", media_type="application/json", files=files)
    assert numpy.load(io.BytesIO(one.output()))["sum"].tolist() == [1, 2, 3]
    # The same for each item.
    one = attempt("styles:look_up", items([1, 0]), files={"table": b"zero one"})
    assert one.results() == ["one", "zero"]
    # The first parameter by a file is a whole input.
    one = attempt("styles:raw", "{}", media_type="application/json", files={"data": b"\xff"})
    assert one.output() == b"\xff"
    assert attempt("styles:names_of_files", "{}", files={"b": b"", "a.csv": b""}, media_type=BYTES).value() == [
        "a.csv",
        "b",
    ]
    served = serve("styles:look_up").ready()
    (served.path / "table").write_bytes(b"zero one")
    for _ in range(2):
        assert served.result([1], files={"table": str(served.path / "table")}) == ["one"]
    reason, said = served.failure([1])
    assert reason == "input" and "/table is missing" in said


def test_a_large_file_is_not_held_after_its_job(serve):
    served = serve("styles:size_of").ready()
    with (served.path / "table").open("wb") as file:
        file.truncate(200 << 20)
    pids = [served.result([1], files={"table": str(served.path / "table")})[0] for _ in range(2)]
    assert pids == [[200 << 20, *served.children()]] * 2 and served.said() == ""


@pytest.mark.parametrize(
    "function, given, files, why",
    [
        ("look_up", items([1]), None, "/table is missing"),
        ("look_up", as_json(items=[1], table="x"), {"table": b""}, "there is a file of that name as well"),
        ("where", as_json(data="x"), {"data": b""}, "there is a file of that name as well"),
        ("arrays", "{}", {"a": b"no array"}, "the file 'a': it is no file of a ndarray"),
    ],
)
def test_wrong_files_are_told_by_name(attempt, function, given, files, why):
    assert why in attempt(f"styles:{function}", given, files=files).refusal()


def test_a_function_tells_its_own_progress_where_it_is_called_once(attempt, serve):
    one = attempt("styles:whole_steps", as_json(count=3), 2)
    assert one.value()[0] == 2 and one.progress()[-1] == "3 3"
    # One item is one call as well; but it has one CPU, as each item has.
    one = attempt("styles:steps", items([5]), 2)
    assert one.results()[0][0] == 1 and "5 5" in one.progress()
    # Of several items the number that is done is the progress.
    one = attempt("styles:steps", items([5, 5, 5]), 2)
    one.results()
    assert {line.split()[1] for line in one.progress()} == {"3"}
    served = serve("styles:whole_steps").ready()
    for cpus in (3, 1):
        served.answer(served.begin(as_json(count=4, seconds=0.001), cpus))
        assert served.output()[0] == cpus
        told = served.progress()
        assert told[-1] == "4 4" and len(told) <= 3 and len(served.children()) == 1


def test_a_function_sees_that_it_is_cancelled_and_tidies_up(attempt, serve, tmp_path):
    for kill in (os.kill, os.killpg):
        path = tmp_path / kill.__name__
        one = attempt("styles:until_cancelled", items([str(path)]), 1)
        one.until(path.exists)
        kill(one.process.pid, signal.SIGTERM)
        assert one.end()[0] == 143 and path.read_text() == "tidied up"
    served, path = serve("styles:until_cancelled").ready(), tmp_path / "served"
    name = served.begin([str(path)])
    served.until(path.exists)
    served.say({"cancel": name})
    assert served.answer(name).get("cancelled") == name and path.read_text() == "tidied up"


def test_whoever_has_asked_whether_it_is_cancelled_serves_on(serve):
    one = serve("styles:asks_once").ready()
    pids = one.children()
    for _ in range(2):
        assert one.result([1]) == [False]
    assert one.said() == "" and one.children() == pids


def test_marked_functions_and_the_context_need_no_server(monkeypatch):
    import styles

    for name in ("WINDLASS_PARALLELISM", "WINDLASS_PROGRESS", "WINDLASS_FILES"):
        monkeypatch.delenv(name, raising=False)
    assert styles.marked(1) == 2 and styles.picture(b"ab") == b"ba" and styles.pair(3, 1) == 2
    assert windlass.parallelism() == len(os.sched_getaffinity(0))
    assert windlass.progress(1, 2) is None and windlass.cancelled() is False and windlass.files() == {}
    assert styles.steps(2)[0] == windlass.parallelism()
    for wrong in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="done is from 0 to total"):
            windlass.progress(*wrong)
    with pytest.raises(TypeError, match=r"\['image/png'\]"):
        windlass.function(input_types="image/png")
    with pytest.raises(TypeError, match="marks a function"):
        windlass.function("count")


def test_a_program_of_its_own_is_told_by_the_variables_of_the_contract(monkeypatch, tmp_path):
    monkeypatch.setenv("WINDLASS_PARALLELISM", "3")
    monkeypatch.setenv("WINDLASS_PROGRESS", str(tmp_path / "progress"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").touch()
    monkeypatch.setenv("WINDLASS_FILES", str(tmp_path / "files"))
    assert windlass.parallelism() == 3 and list(windlass.files()) == ["a"]
    for done in range(1001):
        windlass.progress(done, 1000)
    told = (tmp_path / "progress").read_text().splitlines()
    assert told[0] == "0 1000" and told[-1] == "1000 1000" and len(told) < 10
    # A disk that is full is no reason to fail.
    monkeypatch.setenv("WINDLASS_PROGRESS", "/dev/full")
    windlass.progress(1, 1)
