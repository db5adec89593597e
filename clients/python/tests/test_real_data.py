"""Data beside JSON, through a real server and `windlass.worker`."""

import asyncio
import hashlib
import os

import pytest
import styles
from conftest import Server

import windlass

FUNCTIONS = [f"styles:{name}" for name in ("raw", "picture", "of_shape", "double", "look_up", "arrays", "where")]


@pytest.fixture(scope="module", params=["cold", "warm"])
def real(request, tmp_path_factory):
    more = {"inputTypes": ["*/*"], **({"warm": {}} if request.param == "warm" else {})}
    server = Server(tmp_path_factory.mktemp("data"), FUNCTIONS, more)
    yield server
    server.stop()


def test_a_picture_goes_in_and_out(real, tmp_path):
    photo = os.urandom(3 << 20)
    (tmp_path / "photo.jpg").write_bytes(photo)
    with real.client() as client:
        for _ in range(2):
            job = client.submit("picture", data=tmp_path / "photo.jpg", parallelism=1)
            assert client.value(job) == photo[::-1]
        told = client.get(job).status.result
        assert told.content_type == "image/png" and told.sha256 == hashlib.sha256(photo[::-1]).hexdigest()
        with pytest.raises(windlass.JobFailed, match=r"takes an input of the type image/\*, not text/csv"):
            client.call("picture", data=b"", content_type="text/csv", parallelism=1)


def test_an_array_goes_in_and_out(real):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(1 << 18, dtype=float)
    with real.client() as client:
        assert numpy.array_equal(client.call("double", data=array, parallelism=1), array * 2)
        back = client.call("arrays", files={"a": array, "b": array}, parallelism=1)
        assert numpy.array_equal(back["sum"], array * 2)


def test_files_are_arguments(real, tmp_path):
    (tmp_path / "table.txt").write_text("zero one")
    with real.client() as client:
        assert client.call("look-up", {"items": [1, 0]}, files={"table": tmp_path / "table.txt"}) == {
            "results": ["one", "zero"]
        }
        assert client.call("where", data=b"x", files={"table": b"rows"}, parallelism=1) == ["x", "rows"]

    async def called():
        async with real.async_client() as client:
            return await client.call("raw", data=tmp_path / "table.txt", parallelism=1)

    assert asyncio.run(called()) == b"zero one"


def test_an_executor_takes_arrays_as_arguments(real):
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.arange(size) for size in (3, 4)]
    with real.executor("of-shape", parallelism=1) as pool:
        assert pool.submit(styles.of_shape, arrays[0]).result(timeout=60)["shape"] == [3]
        assert [told["shape"] for told in pool.map(styles.of_shape, arrays)] == [[3], [4]]
    with real.executor("arrays", parallelism=1) as pool:
        assert pool.submit(styles.arrays, arrays[0], arrays[0]).result(timeout=60)["sum"].tolist() == [0, 2, 4]
    with real.executor("look-up", parallelism=1) as pool:
        assert pool.submit(styles.look_up, 1, table=b"zero one").result(timeout=60) == "one"
    with real.executor("where", parallelism=1) as pool, pytest.raises(TypeError, match="data goes as a file"):
        pool.submit(styles.where, b"x", table=b"y")
