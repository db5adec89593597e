"""What a client tries again, and for how long."""

import asyncio
import contextlib
import http.server
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import windlass
from windlass._retry import FIRST_CONTACT_SECONDS

ECHO = {"hello": "world"}


class Moody(http.server.BaseHTTPRequestHandler):
    """A server that goes through a list of moods, and notes what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((time.monotonic(), self.headers["idempotency-key"], body))
        mood = self.server.moods.pop(0)
        if mood == "lost":
            self.close_connection = True
            return
        status, headers, answer = mood
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_DELETE = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def moody():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody) as server:
        server.seen, server.moods = [], []
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def answered_job(client):
    """What a server answers to a submission."""
    return {
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "ComputeJob",
        "metadata": {"name": "j", "namespace": "default", "uid": "u", "resourceVersion": "1", "aFieldOfLater": 1},
        "spec": {"function": "echo", "input": {}, "priority": 0, "ttlSecondsAfterFinished": 1, "cancel": False},
        "status": {"phase": "APhaseOfLater", "timeline": {}},
    }


def test_what_is_tried_again_has_the_same_key_and_waits_as_it_was_told(moody):
    busy = (429, {"Retry-After": "1", "Content-Type": "application/problem+json"}, b'{"detail": "full"}')
    moody.moods = ["lost", (503, {}, b"not JSON at all"), busy, (201, {}, json.dumps(answered_job(None)).encode())]
    with windlass.Client(moody.url, token="t") as client:
        job = client.submit("echo", {})
    assert job.status.phase == "APhaseOfLater"
    assert len({(key, body) for _, key, body in moody.seen}) == 1 and len(moody.seen) == 4
    assert moody.seen[0][1]
    assert moody.seen[3][0] - moody.seen[2][0] >= 1
    moody.moods = [(201, {}, json.dumps(answered_job(None)).encode())]
    with windlass.Client(moody.url, token="t") as client:
        client.submit("echo", {})
    assert moody.seen[4][1] != moody.seen[0][1]


@pytest.mark.parametrize("method", ["submit", "call"])
@pytest.mark.parametrize("kind", [windlass.Client, windlass.AsyncClient])
def test_each_way_to_hand_in_keeps_its_key(moody, kind, method):
    result = {"bytes": 1, "contentType": "application/json", "sha256": "", "text": "1"}
    done = {**answered_job(None), "status": {"phase": "Succeeded", "timeline": {}, "result": result}}
    moody.moods = ["lost", (429, {}, b"{}"), (201, {}, json.dumps(done).encode())]

    async def in_loop():
        async with kind(moody.url, token="t") as client:
            await getattr(client, method)("echo", {})

    if kind is windlass.Client:
        with kind(moody.url, token="t") as client:
            getattr(client, method)("echo", {})
    else:
        asyncio.run(in_loop())
    keys = [key for _, key, _ in moody.seen]
    assert keys[0] and keys == [keys[0]] * 3


def test_a_named_submission_whose_answer_was_lost_is_found_by_its_name(moody):
    taken = (409, {}, b'{"detail": "it exists"}')
    found = {**answered_job(None), "spec": {**answered_job(None)["spec"], "input": {"n": 1.0}, "parallelism": 1}}
    with windlass.Client(moody.url, token="t") as client:
        client._target.head = lambda request: {"content-length": "0"} if request.method == "GET" else request.headers
        moody.moods = ["lost", taken, (200, {}, json.dumps(found).encode())]
        assert client.submit("echo", {"n": 1}, name="j").metadata.name == "j"
        assert [key for _, key, _ in moody.seen] == [None] * 3
        # Somebody else's job of that name.
        moody.moods = ["lost", taken, (200, {}, json.dumps(found).encode())]
        with pytest.raises(windlass.Conflict, match="it exists"):
            client.submit("echo", {"n": 2}, name="j")
        # Nothing was lost: it is not ours.
        moody.moods = [taken]
        with pytest.raises(windlass.Conflict, match="it exists"):
            client.submit("echo", {"n": 1}, name="j")


def nobody():
    """The address of a server that does not run."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_client_is_shown_with_its_server_and_without_its_token():
    for kind in (windlass.Client, windlass.AsyncClient):
        assert repr(kind("http://127.0.0.1:7", token="secret")) == f"<windlass.{kind.__name__} of http://127.0.0.1:7>"
    pool = windlass.Executor("f", client=lambda: windlass.AsyncClient("http://127.0.0.1:7", token="t"), items=True)
    assert repr(pool) == "<windlass.Executor of 'f' by <windlass.AsyncClient of http://127.0.0.1:7>>"
    pool.shutdown()


def test_a_server_that_does_not_run_is_told_soon_and_with_words():
    url = nobody()

    async def call():
        async with windlass.AsyncClient(url, token="t") as client:
            await client.call("echo", ECHO)

    # It may be made before its server is there.
    pool = windlass.Executor("echo", client=lambda: windlass.AsyncClient(url, token="t"))
    uses = [
        lambda: windlass.Client(url, token="t").call("echo", ECHO),
        lambda: windlass.Client(url, token="t").wait("j"),
        lambda: asyncio.run(call()),
        lambda: pool.submit(ECHO),
    ]
    for use in uses:
        began = time.monotonic()
        with pytest.raises(windlass.Unreachable) as caught:
            use()
        assert time.monotonic() - began < 4
        assert url in str(caught.value) and "`windlass serve`" in str(caught.value)
    pool.shutdown()


def test_a_server_that_starts_after_its_client_or_at_another_port_is_found(own_server):
    async def call(client):
        return await client.call("who", {"items": [1]})

    own_server.stop()
    loop = asyncio.new_event_loop()
    with windlass.Client(data=own_server.data) as client, contextlib.closing(loop):
        other = windlass.AsyncClient(data=own_server.data)
        ports = {own_server.port}
        for _ in range(2):
            own_server.port = 0
            own_server.start()
            assert own_server.port not in ports
            ports.add(own_server.port)
            assert client.call("who", {"items": [1]}) and loop.run_until_complete(call(other))
            own_server.stop()
        loop.run_until_complete(other.close())
    with pytest.raises(windlass.Unreachable, match=f"has written where it is to {own_server.data}/address"):
        windlass.Client(data=own_server.data).call("who", {"items": [1]})


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_stranger_at_the_port_of_a_server_that_has_moved_is_not_taken_for_it(own_server, status):
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_error(status)

        def log_message(self, *_):
            pass

    async def call():
        async with windlass.AsyncClient(data=own_server.data) as other:
            assert await other.call("who", {"items": [1]})
            with moved():
                return await asyncio.gather(*(other.call("who", {"items": [1]}) for _ in range(8)))

    @contextlib.contextmanager
    def moved():
        own_server.stop()
        with http.server.ThreadingHTTPServer(("127.0.0.1", own_server.port), Stranger) as stranger:
            threading.Thread(target=stranger.serve_forever).start()
            try:
                own_server.port = 0
                own_server.start()
                yield
            finally:
                stranger.shutdown()

    with windlass.Client(data=own_server.data) as client:
        assert client.call("who", {"items": [1]})
        with moved():
            assert client.call("who", {"items": [1]})
    assert asyncio.run(call())


def test_a_first_call_outlives_a_kill_of_its_server(own_server):
    with own_server.client() as client, own_server.client() as other, ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.call, "slow", {"items": [3]})
        until = time.monotonic() + 30
        while not any(job.status.phase == "Running" for job in other.list()):
            assert time.monotonic() < until and not call.done()
        own_server.kill()
        # Longer than a server is called that was never reached.
        time.sleep(FIRST_CONTACT_SECONDS + 0.5)
        own_server.start()
        assert len(call.result(60)["results"]) == 1


def test_patience_has_an_end_and_refusals_have_none(moody):
    moody.moods = [(429, {"Retry-After": "3600"}, b'{"detail": "come tomorrow"}')]
    with windlass.Client(moody.url, token="t") as client:
        with pytest.raises(windlass.Busy, match="come tomorrow") as caught:
            client.submit("echo", {})
        assert caught.value.retry_after_seconds == 3600
        moody.moods = [(500, {}, b"<html>")]
        with pytest.raises(windlass.ServerError):
            client.submit("echo", {})
        moody.moods = [(410, {}, b'{"detail": "nothing is kept"}')]
        with pytest.raises(windlass.Gone, match="nothing is kept"):
            client.submit("echo", {})
    assert len(moody.seen) == 3
    moody.moods = ["lost"] * 100
    with windlass.Client(moody.url, token="t", patience_seconds=1) as client:
        began = time.monotonic()
        with pytest.raises(windlass.Unreachable):
            client.submit("echo", {})
        assert time.monotonic() - began < 3
    assert len(moody.seen) < 12


def test_a_deletion_whose_answer_was_lost_is_done(moody):
    moody.moods = ["lost", (404, {}, b"{}")]
    with windlass.Client(moody.url, token="t") as client:
        # The handler reads a body's length.
        client._target.head = lambda request: {"content-length": "0"}
        client.delete("j")


def test_an_answer_that_is_none_of_windlass_is_told(moody):
    with windlass.Client(moody.url, token="t") as client:
        for body in (b"<html>Welcome", b"[]", b"{}", b'{"metadata": {}, "spec": 3, "status": {}}'):
            moody.moods = [(200, {}, body)]
            with pytest.raises(windlass.WindlassError, match="not that of a Windlass server") as caught:
                client.submit("echo", {})
            assert caught.value.http_status == 502 and body.decode()[:6] in str(caught.value)


def test_a_damaged_result_is_noticed(moody):
    moody.moods = [(200, {"ETag": '"sha256-' + "0" * 64 + '"'}, b"x")]
    with windlass.Client(moody.url, token="t") as client:
        client._target.head = lambda request: {"content-length": "0"}
        with pytest.raises(windlass.Unreachable, match="damaged"):
            client.result("j")
