"""Data beside JSON: how the clients send it, and what they make of a result."""

import asyncio
import hashlib
import importlib.util
import io
import tracemalloc

import fake_server
import pytest

import windlass
from windlass._arguments import argument
from windlass._codecs import Undecodable
from windlass._data import LARGE_JSON_BYTES, Data

LARGE = b"0123456789abcdef" * (1 << 16)  # 1 MiB: it is asked for before it is sent


@pytest.fixture
def fake():
    with fake_server.running() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def call(request, fake):
    """`call` of a client of each kind."""
    if request.param == "sync":
        return windlass.Client(fake.url, token="t", patience_seconds=5).call
    client = windlass.AsyncClient(fake.url, token="t", patience_seconds=5)

    def run(*arguments, **options):
        async def called():
            try:
                return await client.call(*arguments, **options)
            finally:
                await client.close()

        return asyncio.run(called())

    return run


class Unseekable(io.RawIOBase):
    """As the body of a request of a web framework."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, count=-1):
        return self.data.read(count)


def test_data_of_each_kind_is_sent_as_it_is(fake, call, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(LARGE)
    later = io.BytesIO(b"head" + LARGE)
    later.seek(4)
    for data, media_type in [
        (LARGE, "application/octet-stream"),
        (bytearray(LARGE), "application/octet-stream"),
        (memoryview(LARGE), "application/octet-stream"),
        (tmp_path / "photo.jpg", "image/jpeg"),
        ((tmp_path / "photo.jpg").open("rb"), "image/jpeg"),
        (later, "application/octet-stream"),
        (Unseekable(LARGE), "application/octet-stream"),
        (b"", "application/octet-stream"),
    ]:
        expected = b"" if data == b"" else LARGE
        assert call("f", data=data) == expected
        blob = fake.state.submitted[-1][0]["inputBlob"]
        assert blob == {"sha256": hashlib.sha256(expected).hexdigest(), "bytes": len(expected), "mediaType": media_type}
        assert "input" not in fake.state.submitted[-1][0]
    # The same bytes went once, and the little ones without a question.
    assert fake.state.puts == [len(LARGE), 0] and len(fake.state.asked) == 7
    assert call("f", data=b"x", content_type="image/png") == b"x"
    assert fake.state.submitted[-1][0]["inputBlob"]["mediaType"] == "image/png"


def test_an_input_that_is_too_large_for_a_job_goes_as_data(fake, call):
    around = len('{"items":[""]}')
    given = {"items": ["é" * ((131_072 - around) // 2)]}
    call("f", given, files={"a": b""})
    assert fake.state.submitted[-1][0]["input"] == given
    given = {"items": [given["items"][0] + "é"]}
    assert call("f", given) == given
    sent, _ = fake.state.submitted[-1]
    assert "input" not in sent and sent["inputBlob"]["mediaType"] == "application/json"


def test_what_takes_long_as_json_is_said(fake, call, caplog):
    call("f", {"text": "x" * LARGE_JSON_BYTES})
    (record,) = [each for each in caplog.records if each.name == "windlass"]
    assert "the input for f is 8 MB of JSON: arrays, bytes and tables are quicker" in record.getMessage()


def test_what_is_read_by_awaiting_it_is_data_as_well(fake, tmp_path):
    class Uploaded:
        """As a web framework for asyncio has it."""

        content_type = "image/png"

        def __init__(self, data):
            self.data = io.BytesIO(data)

        async def read(self, count=-1):
            return self.data.read(count)

    class Plain(Uploaded):
        """Its `read` is no `async def` and gives what is awaited."""

        def read(self, count=-1):
            return super().read(count)

    class Whole(Plain):
        """It gives all that it has."""

        def read(self, count=-1):
            return super().read()

    class Aside(Whole):
        """The same without an awaitable."""

        def read(self, count=-1):
            return self.data.read()

    async def body(pieces):
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece

    async def called():
        async with windlass.AsyncClient(fake.url, token="t", patience_seconds=5) as client:
            assert await client.call("f", data=body([LARGE[:100], b"", LARGE[100:]])) == LARGE
            blob = fake.state.submitted[-1][0]["inputBlob"]
            assert blob["mediaType"] == "application/octet-stream" and blob["bytes"] == len(LARGE)
            assert await client.call("f", data=body([]), content_type="text/csv") == b""
            assert fake.state.submitted[-1][0]["inputBlob"]["mediaType"] == "text/csv"
            assert await client.call("f", data=Uploaded(b"png"), files={"more": body([b"m"])}) == b"png"
            job = fake.state.submitted[-1][0]
            assert job["inputBlob"]["mediaType"] == "image/png" and job["files"]["more"]["bytes"] == 1
            assert await client.call("f", data=Plain(LARGE)) == LARGE == await client.call("f", data=Whole(LARGE))
            assert await client.call("f", data=body([bytearray(b"a"), memoryview(b"b")])) == b"ab"
            with pytest.raises(TypeError, match=r"read as bytes, and not as str.*opened for bytes"):
                await client.call("f", data=body(["text"]))
            with pytest.raises(TypeError, match="gives nothing where nothing is asked"):
                await client.call("f", data=Aside(b"x"))

    asyncio.run(called())


def test_files_go_beside_the_input(fake, call, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"1,2")
    call("f", {"scale": 2}, files={"table": tmp_path / "a.csv", "photo": b"\xff"}, parallelism=2)
    (spec, _) = fake.state.submitted[-1]
    assert spec["input"] == {"scale": 2} and spec["parallelism"] == 2
    assert {name: (each["bytes"], each["mediaType"]) for name, each in spec["files"].items()} == {
        "table": (3, "text/csv"),
        "photo": (1, "application/octet-stream"),
    }
    call("f", files={"photo": b"\xff"})
    assert fake.state.submitted[-1][0]["input"] == {}


def test_a_lost_upload_is_sent_again_and_what_was_deleted_meanwhile_as_well(fake, call, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(LARGE)
    fake.state.lost_puts = 2
    assert call("f", data=path) == LARGE
    assert fake.state.puts == [len(LARGE)] * 3
    fake.state.forgets = True
    assert call("f", data=path) == LARGE
    assert fake.state.puts == [len(LARGE)] * 4
    keys = [key for _, key in fake.state.submitted]
    assert len(keys) == 3 and keys[1] == keys[2] != keys[0]


def test_arrays_and_tables_go_in_and_come_out(fake, call):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(12.0).reshape(3, 4)
    for each in (array, numpy.asfortranarray(array), array[:, ::2], numpy.zeros(0)):
        back = call("f", data=each)
        assert back.dtype == each.dtype and numpy.array_equal(back, each)
    back = call("f", data={"a": array, "b": numpy.arange(3)})
    assert back["a"].tolist() == array.tolist() and back["b"].tolist() == [0, 1, 2]
    with pytest.raises(windlass.NoJson, match="array of Python objects"):
        call("f", data=numpy.array([{}]))
    with pytest.raises(windlass.NoJson, match=r"masked array .* value.filled"):
        call("f", data=numpy.ma.array([1, 2], mask=[0, 1]))
    with pytest.raises(TypeError, match="and no dict of other values than arrays: what is JSON"):
        call("f", data={"a": array, "setting": 3})
    with pytest.raises(TypeError, match="and no ndarray: an array, bytes and a table are given as data"):
        call("f", array)
    with pytest.raises(windlass.WindlassError, match="the result of job d: it is no application/x-npy"):
        call("f", data=b"damaged", content_type="application/x-npy")


def test_tables_go_in_and_come_out(fake, call):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": [1, 2]})
    assert call("f", data=table) == table


def test_a_data_frame_stays_one(fake, call, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
    pandas.testing.assert_frame_equal(call("f", data=frame), frame)
    with pytest.raises(windlass.NoJson, match="the DataFrame cannot be an Arrow table") as refused:
        call("f", data=pandas.DataFrame({"a": [1, "x", {}]}))
    assert refused.value.http_status == 422
    frame.to_parquet(tmp_path / "table")
    # As a parameter of the function wants it.
    for wanted in ("DataFrame", "Table"):
        assert type(argument(tmp_path / "table", None, wanted, False)).__name__ == wanted


def test_data_that_does_not_say_what_it_is_is_what_its_parameter_wants(tmp_path):
    numpy, pyarrow = pytest.importorskip("numpy"), pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"a": [1, 2]}), tmp_path / "table.parquet")
    numpy.save(tmp_path / "array.npy", [1.0, 2.0])
    (tmp_path / "table.csv").write_text("a\n1\n")
    kinds = [("table.parquet", "Table", "Table"), ("array.npy", "ndarray", "ndarray")]
    if importlib.util.find_spec("pandas"):
        kinds.append(("table.parquet", "DataFrame", "DataFrame"))
    # By `data=`, whose type is guessed by the file's name, as by `files=`, which has none.
    for name, wanted, kind in kinds:
        for media_type in (None, Data(tmp_path / name, None).media_type):
            assert type(argument(tmp_path / name, media_type, wanted, False)).__name__ == kind, media_type
    for wanted, words in [
        ("DataFrame", "Parquet, or an Arrow file or stream;.*pathlib.Path.*pandas.read_csv"),
        ("ndarray", ".npy or .npz,.*numpy.loadtxt"),
    ]:
        for media_type in (None, Data(tmp_path / "table.csv", None).media_type):
            with pytest.raises(Undecodable, match=f"it is no file of a {wanted}: that is {words}"):
                argument(tmp_path / "table.csv", media_type, wanted, False)
    assert argument(tmp_path / "table.csv", "text/csv", "str", False).startswith("a")
    assert isinstance(argument(tmp_path / "table.parquet", "application/octet-stream", "", False), bytes)


def test_misuse_is_told_before_anything_is_sent(fake, call, tmp_path):
    for wrong, why in [
        (dict(data="photo.jpg"), "data is bytes, a pathlib.Path, .* and no str"),
        (dict(data={"a": 1}), "and no dict: what is JSON is given as the input"),
        (dict(input={}, data=b"x"), "either an input or data"),
        (dict(content_type="image/png"), "content_type is that of data"),
        (dict(data=io.StringIO("text")), "opened for bytes"),
        (dict(data=b"x", parallelizm=1), "no option 'parallelizm'"),
    ]:
        with pytest.raises(TypeError, match=why):
            call("f", **wrong)
    with pytest.raises(FileNotFoundError):
        call("f", data=tmp_path / "nowhere")
    assert fake.state.puts == [] == fake.state.submitted


def test_to_read_a_large_file_or_array_takes_no_memory(tmp_path):
    numpy = pytest.importorskip("numpy")
    path, array = tmp_path / "large", numpy.zeros(64 << 17)  # 64 MiB each
    path.write_bytes(bytes(64 << 20))
    for data in (path, array):
        tracemalloc.start()
        try:
            made = Data(data, None)
            assert sum(map(len, made.pieces())) == made.size >= 64 << 20
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
