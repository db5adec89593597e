"""Items that are no JSON, and results that are none: many of them in one job, in one file."""

import io
import json
import re
import zipfile

import pytest
import styles
from attempt import Attempt
from conftest import Server

import windlass
from windlass import _registered
from windlass._archive import ARCHIVE, archive, encode_item, read_results
from windlass._batches import archives
from windlass._codecs import Undecodable

numpy = pytest.importorskip("numpy")

FUNCTIONS = [
    f"styles:{name}"
    for name in (
        "same",
        "picky",
        "made",
        "raw",
        "where",
        "of_shape",
        "marked",
        "arrays",
        "named_items",
        "multiplied",
        "pair",
    )
]


@pytest.fixture(scope="module", params=["cold", "warm", "json"])
def real(request, tmp_path_factory):
    # A function that takes JSON only takes files beside it.
    more = {"json": {}, "cold": {"inputTypes": ["*/*"]}, "warm": {"inputTypes": ["*/*"], "warm": {}}}[request.param]
    server = Server(tmp_path_factory.mktemp("archives"), FUNCTIONS, more)
    yield server
    server.stop()


@pytest.fixture
def attempt(starter):
    return starter(Attempt)


def file_of(values):
    return b"".join(archive(map(encode_item, values)).pieces())


def unusual_arrays():
    structured = numpy.array([(1, 2.5), (3, 4.5)], dtype=[("a", "<i4"), ("b", "<f8")])
    return [
        numpy.arange(6, dtype=float).reshape(2, 3),
        numpy.zeros((0, 3)),
        numpy.array(7),
        structured,
        numpy.arange(20)[::3],
        numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        numpy.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        numpy.array([1.5, numpy.nan], dtype=numpy.float16),
        numpy.array([1 + 2j]),
        numpy.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
        numpy.array([True, False]),
        numpy.array(["text", "é"]),
        numpy.array([b"bytes"]),
        numpy.arange(3, dtype=">i2"),
    ]


def is_same(one, other):
    return type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape and is_equal(one, other)


def is_equal(one, other):
    return one.tobytes() == other.tobytes()


def test_arrays_of_all_kinds_go_in_one_job_and_come_back(real):
    arrays = unusual_arrays()
    with real.executor("same", parallelism=2) as pool:
        for _ in range(2):
            back = list(pool.map(styles.same, arrays))
            assert all(map(is_same, back, arrays)) and len(back) == len(arrays)
            assert back[0].flags.writeable
        assert list(pool.map(styles.same, [])) == []
        assert len(list(pool.map(styles.same, iter(arrays), chunksize=5))) == len(arrays)
    with real.client() as client:
        # Twice one, none, and three of five items.
        assert [job.status.phase for job in client.list(function="same")] == ["Succeeded"] * 5


def test_items_of_several_kinds_are_what_they_were(real):
    items = [numpy.arange(2), 3, {"a": [1]}, b"\0bytes", {"x": numpy.arange(2), "y": numpy.zeros(0)}, None, "é", []]
    with real.executor("same", parallelism=2) as pool:
        back = list(pool.map(styles.same, items))
        assert is_same(back[0], items[0]) and back[1:4] == items[1:4] and back[5:] == items[5:]
        assert back[4].keys() == {"x", "y"} and is_same(back[4]["x"], items[4]["x"])
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"a": [1, 2]}, index=["x", "y"])
        frames = list(pool.map(styles.same, [frame, frame + 1]))
        assert frames[0].equals(frame) and frames[1].equals(frame + 1)
        with pytest.raises(ValueError, match=r"item 1: a value of type 'set' is no JSON"):
            pool.map(styles.same, [numpy.arange(2), {1}])
        for given in ([styles.same, [1, 2, numpy.arange(2), {1}]], [[1, 2, numpy.arange(2), {1}]]):
            with pytest.raises(ValueError, match=r"item 3: a value of type 'set' is no JSON"):
                pool.map(*given)
        with pytest.raises(ValueError, match=r"item 1: an array of Python objects"):
            pool.map(styles.same, [numpy.arange(2), numpy.array([{}])])


def test_the_parameters_annotation_says_what_an_item_is(real):
    array = numpy.arange(3)
    with real.executor("raw", parallelism=1) as pool:
        *given, of_array = pool.map(styles.raw, [b"one", b"", array])
        assert given == [b"one", b""] and of_array.startswith(b"\x93NUMPY")
    with real.executor("where", parallelism=1) as pool:
        assert list(pool.map(styles.where, [b"one", b"two"])) == [["one", None], ["two", None]]
    with real.executor("arrays", parallelism=1) as pool:
        back = list(pool.map(styles.arrays, [array], [array]))
        assert back[0]["sum"].tolist() == [0, 2, 4]


def test_an_item_that_fails_does_not_end_the_others(real):
    items = [numpy.arange(2), numpy.arange(3), "bad", numpy.arange(4)]
    with real.executor("picky", parallelism=2) as pool:
        results = pool.map(styles.picky, items)
        assert [len(next(results)) for _ in range(2)] == [2, 3]
        with pytest.raises(windlass.ItemsFailed) as raised:
            next(results)
    assert [(each.item, each.type, each.message) for each in raised.value.errors] == [
        (2, "ValueError", "bad is no array")
    ]
    assert "styles.py" in raised.value.errors[0].traceback
    assert {number: len(array) for number, array in raised.value.results.items()} == {0: 2, 1: 3, 3: 4}
    # Of the map's second job.
    with real.executor("picky", parallelism=1) as pool, pytest.raises(windlass.ItemsFailed) as raised:
        list(pool.map(styles.picky, items, chunksize=2))
    assert raised.value.errors[0].item == 2 and raised.value.results.keys() == {3}


def test_without_keep_going_what_was_computed_is_kept(real):
    with real.client() as client:
        job = client.submit("picky", {}, files={"items": archive(map(encode_item, [numpy.arange(2), "bad", 1]))},
                            parallelism=1)  # fmt: skip
        with pytest.raises(windlass.ItemsFailed) as raised:
            client.value(job)
        assert {number: array.tolist() for number, array in raised.value.results.items()} == {0: [0, 1]}
        assert raised.value.errors[0].item == 1
        assert client.get(job).status.phase == "Failed"


def test_other_arguments_go_beside_the_items(real):
    from functools import partial

    with real.executor("picky", parallelism=2) as pool:
        add = partial(styles.picky, add=numpy.full(2, 10))
        assert [each.tolist() for each in pool.map(add, [numpy.arange(2)] * 2)] == [[10, 11]] * 2
        assert list(pool.map(add, [1, 2])) == [[11, 11], [12, 12]]
        first, *others = pool.map(add, [1, numpy.arange(2)])
        assert first == [11, 11] and [each.tolist() for each in others] == [[10, 11]]
    with real.executor("multiplied", parallelism=1) as pool:
        for items in ([1, 2], [numpy.arange(2)]):
            # As a list it would be another value: 2 * [1, 2] is [1, 2, 1, 2].
            with pytest.raises(TypeError, match=r"by goes as a file, .*: annotate it, as by: ndarray"):
                pool.map(partial(styles.multiplied, by=numpy.arange(2)), items)


def test_what_a_job_leaves_open_is_closed(real):
    if "warm" not in real.manifests.joinpath("same.yaml").read_text():
        pytest.skip("processes end with their job")
    with real.executor("same", parallelism=2) as pool, real.client() as client:
        for _ in range(3):
            list(pool.map(styles.same, [numpy.arange(1000)] * 20))
        for job in client.list(function="same"):
            assert "replaced" not in client.logs(job)


def test_a_function_may_say_that_its_results_are_arrays(real):
    with real.executor("made", parallelism=2) as pool:
        back = list(pool.map(styles.made, [3, 0, 2]))
        assert back[1] == "none" and back[0].tolist() == [1.5] * 3 and back[2].tolist() == [1.5] * 2
    with real.client() as client:
        assert client.call("made", {"items": [1]}, parallelism=1)["results"][0].tolist() == [1.5]
        # All of them JSON.
        assert client.call("made", {"items": [0]}, parallelism=1) == {"results": ["none"]}


def test_a_dict_of_arrays_as_the_file_items_is_its_arrays(real):
    with real.client() as client:
        told = client.call("of-shape", files={"items": {"b": numpy.arange(2), "a": numpy.zeros((3, 1))}}, parallelism=1)
        assert [each["shape"] for each in told["results"]] == [[2], [3, 1]]


def test_without_the_function_itself_arrays_go_as_they_are(real):
    """A web service need not import what its functions do."""
    arrays = [numpy.arange(3), numpy.zeros((2, 2), dtype=numpy.float32)]
    with real.executor("same", parallelism=2) as pool:
        for back, array in zip([*pool.map(arrays), pool.submit(arrays[1]).result(20)], [*arrays, arrays[1]]):
            assert back.dtype == array.dtype and numpy.array_equal(back, array)
        assert list(pool.map([b"\0bytes", b""])) == [b"\0bytes", b""]
        # From the first array on.
        mixed = list(pool.map([1, [numpy.arange(2)], numpy.arange(2), 3, {"a": 1}]))
        assert mixed[:2] == [1, [[0, 1]]] and mixed[2].tolist() == [0, 1] and mixed[3:] == [3, {"a": 1}]
        assert list(pool.map(styles.same, [1, numpy.arange(2)]))[1].tolist() == [0, 1]
        assert list(pool.map([])) == []
    with real.executor("pair", parallelism=2) as pool:
        rows = numpy.array([[1, 2], [3, 4]])
        assert list(pool.map(rows)) == list(pool.map(rows.tolist())) == [-1, -1]
        assert pool.submit(rows[1]).result(20) == -1
    # A file of the parameter's name would be its argument.
    with real.executor("named-items", parallelism=2) as pool:
        for given in ([arrays], [styles.named_items, arrays]):
            assert list(pool.map(*given)) == [3, 0]
        assert pool.submit(arrays[0]).result(20) == 3
    with real.client() as client:
        assert client.call("named-items", {}, files={"items": arrays[0]}, parallelism=1) == 3
        with pytest.raises(windlass.JobFailed, match="/items is missing"):
            client.call("named-items", {"keepGoing": True}, parallelism=1)
    with real.executor("picky", parallelism=2) as pool, pytest.raises(windlass.ItemsFailed) as raised:
        list(pool.map([numpy.arange(2), "bad", numpy.arange(4)], chunksize=1))
    assert raised.value.errors[0].item == 1


def test_a_large_array_as_json_is_told_to_be_slow(real, caplog):
    _registered._tell_list.cache_clear()
    # Without a question to the server.
    with real.executor("same", parallelism=1, items=True) as pool:
        assert list(pool.map([numpy.zeros(2)])) == [[0.0, 0.0]]
        assert not caplog.records
        for _ in range(2):
            assert pool.submit(numpy.zeros(2)).result(20) == [0.0, 0.0]
        assert [each.getMessage() for each in caplog.records] == [
            "an array that is handed in for 'same' goes as nested lists: nothing says that the function takes files"
        ]
        caplog.clear()
        pool.map([1, numpy.zeros(40_000), numpy.zeros(40_000)])
    assert [each.getMessage() for each in caplog.records] == [
        "item 1 is an array, and goes as a list of 160002 bytes: nothing says that the function takes files"
    ]


@pytest.mark.parametrize(
    "data,said",
    [
        (b"no archive", "the file 'items': it is no zip archive of items, such as .npz: File is not a zip file"),
        (file_of([numpy.arange(9)]).replace(b"NUMPY", b"NOTHG", 1), "item 0 of the job: Bad CRC-32 for file '0.npy'"),
    ],
)
def test_a_file_of_items_that_cannot_be_read_is_refused(attempt, data, said):
    assert said in attempt("styles:same", "{}", files={"items": data}).refusal()


def test_an_item_that_is_not_what_its_name_says_is_refused(attempt):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("a/", "")
        zipped.writestr("a/0.json", "1")
        zipped.writestr("a/1.json", "{")
        zipped.writestr("a/2.npy", "x")
    said = attempt("styles:same", "{}", files={"items": file.getvalue()}).refusal()
    assert "item 1 of the job: not JSON" in said


def test_items_of_the_input_are_not_those_of_a_file(attempt):
    files = {"items": b"no archive"}
    assert attempt("styles:same", json.dumps({"items": [1]}), files=files).value() == {"results": [1]}


def test_several_arguments_of_an_item_are_in_its_json(attempt):
    one = attempt("styles:pair", '{"scale": 2}', files={"items": file_of([[3, 1], {"a": 5, "b": 1}])})
    assert one.results() == [4, 8]
    assert "/items/0 has 3 arguments" in attempt("styles:pair", "{}", files={"items": file_of([[1, 2, 3]])}).refusal()


def test_without_a_type_the_result_is_an_archive_all_the_same(attempt):
    one = attempt("styles:same", '{"keepGoing": true}', files={"items": file_of([b"x", 2, b""])})
    assert read_results(one.output()) == {"results": [b"x", 2, b""], "errors": []}
    assert sorted(path.name for path in one.path.iterdir()) == ["files", "input", "output", "progress"]
    assert one.progress()[-1] == "3 3"


def test_a_file_has_as_many_items_as_keep_all_processes_busy():
    array = numpy.zeros(1 << 20, dtype=numpy.uint8)

    def sizes(items, at_most=None, most_bytes=512 << 20):
        return [len(batch) for batch in archives(zip(items), at_most, most_bytes)]

    assert sizes([array] * 130) == [64, 64, 2]
    assert sizes([array] * 5, at_most=2) == [2, 2, 1]
    assert sizes([array] * 5, most_bytes=3 << 20) == [2, 2, 1]
    large = numpy.zeros(16 << 20, dtype=numpy.uint8)
    assert sizes([large] * 33) == [31, 2]
    assert sizes([]) == []
    assert archive([]).media_type == ARCHIVE


def test_the_file_of_an_item_is_there_during_its_call_only_and_has_the_name_of_nothing_else(attempt):
    one = attempt("styles:beside", '{"keepGoing": true}', files={"items": file_of([b"x"] * 5)}, parallelism=1)
    names = [each.decode().split("\n") for each in read_results(one.output())["results"]]
    for number, seen in enumerate(names):
        assert [name for name in seen if name.startswith("output.") and "results" not in name] == [
            f"output.{number}.bin"
        ]
    # Results are written to a file that no item can have, whatever the process's number is.
    assert any(re.fullmatch(r"output\.results-\d+", name) for name in names[-1]), names


def test_a_function_that_says_its_bytes_are_json_cannot_answer_for_other_items(attempt):
    one = attempt("styles:told_as_json", '{"keepGoing": true}', files={"items": file_of([b"x", b"y"])})
    failed = one.value()["errors"]
    assert [(each["item"], each["type"]) for each in failed] == [(0, "NoJson"), (1, "NoJson")]


def zip_of(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        for name, data in members.items():
            zipped.writestr(name, data)
    return file.getvalue()


def of_a_later_version(data):
    # The version that is needed to read a member, in the directory of the archive.
    at = data.index(b"PK\1\2")
    return data[: at + 6] + b"\x63" + data[at + 7 :]


@pytest.mark.parametrize(
    "data,said",
    [
        (of_a_later_version(zip_of({"0.bin": b"x"})), "it is no zip archive of items"),
        (zip_of({"0.bin": b"x" * 99}, zipfile.ZIP_LZMA).replace(b"\x5d\0\0", b"\xff\xff\xff"), "item 0 of the job: "),
    ],
)
def test_an_archive_that_cannot_be_opened_is_a_bad_input(attempt, data, said):
    assert said in attempt("styles:same", "{}", files={"items": data}).refusal()


def test_a_long_ending_is_no_reason_to_fail(attempt):
    one = attempt("styles:where", "{}", files={"items": zip_of({"a." + "x" * 300: b"one"})})
    assert one.results() == [["one", None]]


@pytest.mark.parametrize(
    "data",
    [
        b"no archive",
        zip_of({"0.bin": b"\0" * (1 << 20)}, zipfile.ZIP_DEFLATED),
        zip_of({"0.json": b"1", "failed.json": b"[1]"}),
        of_a_later_version(zip_of({"0.bin": b"x"})),
    ],
)
def test_an_archive_of_results_that_is_none_is_told(data):
    with pytest.raises(Undecodable):
        read_results(data)


def test_what_is_told_of_items_that_failed_replaces_no_result():
    data = zip_of({"0.json": b"1", "failed.json": b'{"results": [], "errors": [], "other": 1}'})
    assert read_results(data) == {"results": [1], "errors": []}


def names_of(data):
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_arrays_of_one_type_and_shape_are_one_member():
    same = [numpy.full(3, number) for number in range(4)]
    given = [*same[:2], numpy.zeros(3), *same[2:], b"abc", b"abc", numpy.zeros((3, 1)), numpy.zeros((3, 1))]
    data = file_of(given)
    assert names_of(data) == ["0-1.npy", "2.npy", "3-4.npy", "5.bin", "6.bin", "7-8.npy"]
    back = read_results(data)["results"]
    assert back[5:7] == given[5:7]
    assert all(is_same(one, other) for one, other in zip(back, given) if not isinstance(other, bytes))
    # Each has its own memory, as what `multiprocessing` gives.
    back[0][0] = 9
    assert back[1].tolist() == [1, 1, 1] and back[0].base is None
    # Whoever reads it with numpy finds the arrays as one.
    assert numpy.load(io.BytesIO(data))["0-1"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_arrays_of_all_kinds_are_what_they_were_also_where_there_are_several_of_each():
    arrays = [array for array in unusual_arrays() for _ in range(3)]
    data = file_of(arrays)
    # Fortran's order is not that of several arrays as one, and without a byte there is no bound of how many they are.
    assert sum(name.count("-") for name in names_of(data)) == 12 and len(names_of(data)) == 12 + 6
    back = read_results(data)["results"]
    assert len(back) == len(arrays) and all(map(is_same, back, arrays))
    assert [array.flags.f_contiguous for array in back[15:18]] == [True] * 3


def test_new_names_of_one_arrays_fields_are_those_of_no_other():
    array = numpy.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")])
    data = file_of([array, array])
    for _ in range(2):
        first, second = read_results(data)["results"]
        first.dtype.names = ("x", "y")
        assert second.dtype.names == ("a", "b")


def test_arrays_that_are_damaged_on_their_way_back_are_told():
    data = file_of([numpy.arange(9), numpy.arange(9)])
    at = data.index(numpy.arange(9).tobytes())
    with pytest.raises(Undecodable, match=r"Bad CRC-32 for file '0-1\.npy'"):
        read_results(data[:at] + b"\1" + data[at + 1 :])


def test_a_function_beside_a_file_that_hides_a_part_of_python_is_given_its_arrays(attempt, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "ast.py").write_text("")
    (code / "hidden.py").write_text("def size(array: bytes):\n    return len(array)\n")
    one = attempt("hidden:size", "{}", files={"items": file_of([numpy.zeros(100)] * 2)}, cwd=code)
    assert [size > 800 for size in one.results()] == [True] * 2


def test_results_of_one_type_and_shape_are_one_member(attempt):
    items = [numpy.arange(2) + number for number in range(5)]
    one = attempt("styles:picky", '{"keepGoing": true}', files={"items": file_of([*items[:3], "bad", *items[3:]])})
    assert names_of(one.output()) == ["0-2.npy", "3.json", "4-5.npy", "failed.json"]
    back = read_results(one.output())["results"]
    assert back.pop(3) is None and all(map(is_same, back, items))


def test_an_array_of_several_in_a_member_is_a_file_by_itself_where_bytes_are_wanted(attempt):
    items = [numpy.arange(2), numpy.arange(2) + 7]
    files = read_results(attempt("styles:raw", "{}", files={"items": file_of(items)}).output())["results"]
    assert len(files) == 2
    assert all(is_same(numpy.load(io.BytesIO(file)), item) for file, item in zip(files, items))


def test_a_member_of_somebody_elses_archive_is_one_item_whatever_it_is_called(attempt):
    file = io.BytesIO()
    numpy.savez(file, **{"2020-2021": numpy.zeros((2, 3))})
    assert attempt("styles:of_shape", "{}", files={"items": file.getvalue()}).results()[0]["shape"] == [2, 3]


def of_run(name, data, comment=b"windlass", compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        zipped.comment = comment
        zipped.writestr(name, data)
    return file.getvalue()


def twice(data):
    """The same archive, whose directory has its member twice."""
    begin, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    member = data[begin:end]
    tail = bytearray(data[end:])
    tail[8:12] = b"\2\0\2\0"
    tail[12:16] = (2 * len(member)).to_bytes(4, "little")
    return data[:end] + member + bytes(tail)


def npy(array):
    return b"".join(encode_item(array).pieces())


@pytest.mark.parametrize(
    "data,said",
    [
        (of_run("0-2.npy", npy(numpy.zeros((2, 3)))), "0-2.npy has other arrays than it says"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3)))[:-1]), "0-1.npy has other arrays than it says"),
        (of_run("0-1.npy", b"no array"), "no zip archive of items"),
        (of_run("0-1.npy", npy(numpy.zeros(()))), "no zip archive of items"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3))).replace(b"(2, 3)", b"[2, 3]")), "none of an array"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3))).replace(b"(2, 3)", b"(2, 3(")), "no zip archive of items"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3))).replace(b"(2, 3)", b"(-1,3)")), "none of several arrays"),
        (of_run("0-x.npy", npy(numpy.zeros((2, 3)))), "no zip archive of items"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3))), compression=zipfile.ZIP_DEFLATED), "0-1.npy is compressed"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3))).replace(b"'<f8'", b"{[]:1}")), "no zip archive of items"),
        (of_run("0-1.npy", npy(numpy.zeros((2, 3))).replace(b"(2, 3)", b"------")), "no zip archive of items"),
        # A few bytes that would be twenty million items.
        (of_run("0-19999999.npy", npy(numpy.zeros((20_000_000, 0)))), "0-19999999.npy has other arrays than it says"),
        (twice(of_run("0-1.npy", npy(numpy.zeros((2, 300))))), "its members are larger than the archive"),
    ],
)
def test_a_member_of_several_arrays_that_is_none_is_refused(attempt, data, said):
    refusal = attempt("styles:same", "{}", files={"items": data}).refusal()
    assert said in refusal and "Traceback" not in refusal
    with pytest.raises(Undecodable, match=re.escape(said)):
        read_results(data)
