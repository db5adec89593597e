"""Results that are written to files: whole or not at all, however often the connection is lost."""

import asyncio
import hashlib
import http.server
import io
import os
import threading
import tracemalloc

import pytest
from conftest import Server

import windlass

PIECE = 1 << 16


class Handler(http.server.BaseHTTPRequestHandler):
    """The route of one result of so many bytes, which breaks off as often as it is told."""

    def do_GET(self):
        server = self.server
        asked = self.headers["range"]
        server.asked.append(asked)
        begin = int(asked[6:-1]) if asked and server.knows_ranges else 0
        self.send_response(206 if begin else 200)
        self.send_header("etag", f'"sha256-{server.digests.pop(0) if len(server.digests) > 1 else server.digests[0]}"')
        self.send_header("content-length", str(server.size - begin))
        self.end_headers()
        end = server.size
        if server.breaks:
            server.breaks -= 1
            end = begin + (end - begin) // 2
        for at in range(begin, end, PIECE):
            self.wfile.write(bytes(min(PIECE, end - at)))

    def log_message(self, *_):
        pass


@pytest.fixture
def fake():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.size, server.breaks, server.knows_ranges, server.asked = 5 * PIECE + 3, 0, True, []
        server.digests = [hashlib.sha256(bytes(server.size)).hexdigest()]
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def downloaded(style, server, to, **options):
    """Downloads with one of the two clients."""
    if style == "threads":
        with windlass.Client(server.url, token="t", **options) as client:
            client.download("j", to)
        return

    async def run():
        async with windlass.AsyncClient(server.url, token="t", **options) as client:
            await client.download("j", to)

    asyncio.run(run())


@pytest.mark.parametrize("style", ["threads", "asyncio"])
@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_that_breaks_off_goes_on(fake, tmp_path, style, knows_ranges):
    fake.breaks, fake.knows_ranges = 3, knows_ranges
    to = tmp_path / "result"
    to.write_text("before")
    downloaded(style, fake, to)
    assert to.read_bytes() == bytes(fake.size)
    assert fake.asked[0] is None and len(fake.asked) == 4 and all(fake.asked[1:])
    assert os.listdir(tmp_path) == ["result"]
    file = io.BytesIO(b"before")
    file.seek(0, io.SEEK_END)
    downloaded(style, fake, file)
    assert file.getvalue() == b"before" + bytes(fake.size)


@pytest.mark.parametrize("style", ["threads", "asyncio"])
def test_a_download_that_fails_leaves_what_was_there(fake, tmp_path, style):
    to = tmp_path / "result"
    to.write_text("before")
    for digests, why in [(["0" * 64], "damaged"), (["0" * 64, "1" * 64], "another")]:
        fake.digests, fake.breaks = digests, 1
        with pytest.raises(windlass.WindlassError, match=why):
            downloaded(style, fake, to)
    fake.breaks = 1 << 20
    with pytest.raises(windlass.Unreachable):
        downloaded(style, fake, to, patience_seconds=0)
    with pytest.raises(TypeError, match="a path or to a binary file"):
        downloaded(style, fake, None)
    assert to.read_text() == "before" and os.listdir(tmp_path) == ["result"]


@pytest.mark.parametrize("style", ["threads", "asyncio"])
def test_a_download_goes_where_a_link_leads_and_replaces_no_device_or_directory(fake, tmp_path, style):
    private = tmp_path / "private"
    private.touch(mode=0o600)
    link = tmp_path / "link"
    link.symlink_to("private")
    downloaded(style, fake, link)
    assert link.is_symlink() and private.stat().st_size == fake.size and private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(IsADirectoryError, match="is a directory"):
        downloaded(style, fake, tmp_path)
    asked = len(fake.asked)
    assert asked == 1, "what cannot be written is not asked for"
    os.mkfifo(pipe := tmp_path / "pipe")
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    read = []
    reader.start()
    downloaded(style, fake, pipe)
    reader.join(10)
    assert read == [bytes(fake.size)] and pipe.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe", "private"]


@pytest.mark.parametrize("style", ["threads", "asyncio"])
def test_a_download_takes_no_memory(fake, tmp_path, style):
    fake.size = 256 << 20
    fake.digests = ["a6d72ac7690f53be6ae46ba88506bd97302a093f7108472bd9efc3cefda06484"]
    tracemalloc.start()
    try:
        downloaded(style, fake, tmp_path / "result")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "result").stat().st_size == fake.size


def test_a_result_of_a_real_server_goes_to_a_file(tmp_path):
    server = Server(tmp_path, ["styles:raw"], {"inputTypes": ["*/*"]})
    try:
        sent = os.urandom(3 << 20)
        with server.client() as client:
            job = client.submit("raw", data=sent, parallelism=1)
            with pytest.raises(windlass.NotFound):
                client.download("nowhere", tmp_path / "nowhere")
            client.wait(job)
            client.download(job, tmp_path / "result")
            client.download(job.metadata.name, file := io.BytesIO())
        assert (tmp_path / "result").read_bytes() == sent == file.getvalue()
        assert not list(tmp_path.glob("nowhere*")) and not list(tmp_path.glob("*.partial"))
    finally:
        server.stop()
