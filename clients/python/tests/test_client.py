"""`windlass.Client` against a real server."""

import json
import pickle
import re
import threading
import time
import uuid
from datetime import datetime

import httpx
import pytest
from checks import assert_progress_in_between

import windlass
from windlass import _discovery

ECHO = {"hello": "world"}
ANSWER = {"input": ECHO, "parallelism": 1, "threads": 1}


def test_a_call_gives_the_result(client):
    assert client.call("echo", ECHO) == ANSWER
    assert client.call("square", {"items": [1, 2, 3]}) == {"results": [1, 4, 9]}


def test_a_call_is_one_request_on_a_connection_that_stays(client, monkeypatch):
    sent, send = [], httpx.Client.send

    def counted(self, request, **options):
        sent.append(request)
        return send(self, request, **options)

    monkeypatch.setattr(httpx.Client, "send", counted)
    for _ in range(5):
        assert client.call("square", {"items": [3]}) == {"results": [9]}
    assert [request.method for request in sent] == ["POST"] * 5
    (connection,) = client._connections.http._transport._pool.connections
    assert connection.is_idle()


def test_a_job_is_submitted_followed_and_read(client):
    job = client.submit("slow", {"items": [0.4] * 6}, parallelism=2, priority=3, ttl_seconds=100_000, retries=0)
    assert job.spec.priority == 3 and job.spec.ttl_seconds_after_finished == 100_000
    told = list(client.progress(job))
    assert told[-1].status.phase == "Succeeded"
    assert_progress_in_between(told, 6)
    assert json.loads(client.result(job)) == {"results": [0.4] * 6}
    assert client.value(job) == {"results": [0.4] * 6}
    assert client.get(job.metadata.name).status.result.bytes > 0
    assert client.explain(job).phase == "Succeeded"
    assert client.logs(job) == ""
    client.delete(job)
    with pytest.raises(windlass.NotFound):
        client.get(job)


def test_a_result_above_32_kib_is_fetched_whole(client):
    assert client.call("text", {"items": [100_000]}) == {"results": ["é" * 100_000]}


def test_a_list_goes_over_its_pages(client, monkeypatch):
    monkeypatch.setattr("windlass._protocol.PAGE", 3)
    names = {client.submit("square", {"items": [i]}).metadata.name for i in range(8)}
    assert names <= {job.metadata.name for job in client.list(function="square")}
    assert not list(client.list(function="price"))
    with pytest.raises(windlass.Invalid):
        list(client.list(phase="Nowhere"))


def test_jobs_are_found_by_their_labels(client):
    labels = {"test": "labels", "example.com/team": "blue"}
    job = client.submit("square", {"items": [1]}, labels=labels)
    assert job.metadata.labels == labels
    assert client.call("square", {"items": [2]}, labels={"test": "labels"}) == {"results": [4]}
    (found,) = client.list(label_selector="test=labels,example.com/team in (blue)")
    assert found.metadata.uid == job.metadata.uid
    assert len(list(client.list(label_selector="test=labels"))) == 2
    with pytest.raises(windlass.Invalid, match="labelSelector"):
        list(client.list(label_selector="a in ("))
    with pytest.raises(windlass.Invalid) as refused:
        client.submit("square", {"items": [1]}, labels={"windlass.dev/a": "b"})
    assert [problem.pointer for problem in refused.value.problems] == ["/labels/windlass.dev~1a"]


def test_a_job_that_has_ended_is_handed_in_again(client):
    job = client.submit("slow", {"items": [30]}, labels={"test": "retry"}, priority=7)
    with pytest.raises(windlass.Conflict, match="only a job that has ended"):
        client.retry(job)
    client.cancel(job)
    client.wait(job, timeout_seconds=60)
    again = client.retry(job, idempotency_key="retry-test")
    assert again.metadata.uid != job.metadata.uid and again.spec.priority == 7
    assert again.metadata.annotations["windlass.dev/retry-of"] == job.metadata.name
    assert again.metadata.labels == {"test": "retry"}
    assert client.retry(job, idempotency_key="retry-test").metadata.uid == again.metadata.uid
    client.cancel(again)


def test_a_job_is_meant_itself_and_a_name_means_whoever_has_it(client):
    old = client.submit("slow", {"items": [30]}, name="made-again")
    client.delete(old)
    new = client.submit("slow", {"items": [30]}, name="made-again")
    for refused in (client.cancel, client.retry, client.delete):
        with pytest.raises(windlass.Conflict, match="was deleted and made again"):
            refused(old)
    assert not client.get(new).spec.cancel
    assert client.cancel("made-again").metadata.uid == new.metadata.uid
    client.wait(new, timeout_seconds=60)
    client.delete(new)


def test_wait_has_a_timeout(client):
    job = client.submit("slow", {"items": [20]})
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        client.wait(job, timeout_seconds=0.5)
    assert time.monotonic() - began < 3
    with pytest.raises(windlass.Conflict):
        client.result(job)
    client.cancel(job)
    assert client.wait(job, timeout_seconds=20).status.phase == "Cancelled"
    with pytest.raises(windlass.JobCancelled):
        client.value(job)


def test_a_failure_is_an_exception_with_the_traceback(client):
    with pytest.raises(windlass.JobFailed, match="ValueError: bad cannot be had") as caught:
        client.call("fail", {"items": [1, "bad"]})
    # The same item would raise again: it is told at once, after one attempt.
    assert caught.value.reason == "FunctionError" and caught.value.http_status == 502
    assert "callees.py" in str(caught.value) and "_pool_process.py" not in str(caught.value)
    assert "item 1: " in str(caught.value) and caught.value.job.status.attempt == 1
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.job) == (str(caught.value), caught.value.job)
    with pytest.raises(windlass.JobFailed) as caught:
        client.call("fail", {"items": [1, "bad"]}, retries=1)
    assert caught.value.reason == "FunctionError" and caught.value.job.status.attempt == 2, "it was asked for"
    with pytest.raises(windlass.JobFailed) as caught:
        client.call("square", {"itmes": []})
    assert caught.value.reason == "BadInput" and "/itmes" in caught.value.summary
    assert "did you mean items?" in caught.value.summary


def test_what_was_computed_is_on_the_exception_when_items_fail(client):
    going = {"items": [1, "bad", "c", "nan"], "keepGoing": True}
    with pytest.raises(windlass.ItemsFailed, match="item 1: ValueError: bad cannot be had") as caught:
        client.call("fail", going)
    assert caught.value.results == {0: 1, 2: "c"}
    assert [(error.item, error.type) for error in caught.value.errors] == [(1, "ValueError"), (3, "NoJson")]
    assert isinstance(caught.value, windlass.JobFailed) and caught.value.http_status == 502
    job = caught.value.job.metadata.name
    assert caught.value.summary == f"job {job}: item 1: ValueError: bad cannot be had"
    # By the name alone as well, and not where nothing failed.
    with pytest.raises(windlass.ItemsFailed):
        client.value(job)
    assert json.loads(client.result(job))["results"] == [1, None, "c", None]
    assert client.call("fail", {"items": [1], "keepGoing": True}) == {"results": [1], "errors": []}


def test_what_was_computed_before_an_item_failed_is_on_the_exception(client):
    # One process, so that it is known how far it has come.
    with pytest.raises(windlass.ItemsFailed, match="item 2: ValueError: bad cannot be had") as caught:
        client.call("fail", {"items": [1, "b", "bad", 4, 5]}, parallelism=1)
    assert caught.value.results == {0: 1, 1: "b"} and caught.value.not_computed == (3, 4)
    (error,) = caught.value.errors
    assert (error.item, error.type, error.message) == (2, "ValueError", "bad cannot be had")
    assert "callees.py" in (error.traceback or "")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.results, again.not_computed) == (caught.value.results, caught.value.not_computed)
    # The job has failed, for all who look: this is no result.
    job = client.get(caught.value.job)
    assert (job.status.phase, caught.value.reason) == ("Failed", "FunctionError")
    with pytest.raises(windlass.Conflict, match="only what it had computed before"):
        client.result(job)
    # However much it is.
    long = "x" * 50_000
    with pytest.raises(windlass.ItemsFailed) as caught:
        client.call("fail", {"items": [long, "bad"]}, parallelism=1)
    assert caught.value.results == {0: long} and caught.value.job.status.result.text is None
    with pytest.raises(windlass.ItemsFailed, match="item 1: BadInput: -1 is negative") as caught:
        client.value(client.submit("refuses", {"items": [1, -1]}, parallelism=1))
    assert caught.value.results == {0: 1} and caught.value.http_status == 422
    assert caught.value.summary.endswith("item 1: BadInput: -1 is negative")
    # Each attempt computes all of it; that of the last one is kept.
    with pytest.raises(windlass.ItemsFailed) as caught:
        client.call("fail", {"items": [1, "bad"]}, parallelism=1, retries=1)
    assert caught.value.results == {0: 1} and caught.value.job.status.attempt == 2


def test_a_call_that_waits_for_what_is_not_there_says_so(client, caplog):
    began = time.monotonic()

    def call():
        with pytest.raises(windlass.JobCancelled):
            client.call("echo", {}, queue="nowhere", labels={"lacks": "queue"})

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    while not caplog.records:
        assert time.monotonic() - began < 20, "in vain"
        time.sleep(0.05)
    assert re.fullmatch(r'job \S+ waits \(QueueNotFound\): queue "nowhere" is not there', caplog.messages[0])
    (job,) = client.list(label_selector="lacks=queue")
    client.cancel(job)
    caller.join(20)
    assert len(caplog.records) == 1 and not caller.is_alive()


def test_what_is_wrong_with_a_request_is_told_with_pointers(client):
    with pytest.raises(windlass.Invalid) as caught:
        client.submit("square", {"items": []}, parallelism=5000, priority=7000)
    assert caught.value.status == 422
    assert {problem.pointer for problem in caught.value.problems} >= {"/parallelism", "/priority"}
    assert "/parallelism" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
    with pytest.raises(windlass.Invalid) as caught:
        client.submit("no-such", {})
    assert caught.value.problems[0].pointer == "/function"
    for function in (client.submit, client.call):
        # Told before it is sent.
        with pytest.raises(windlass.NoJson, match="18446744073709551616 has more than 64 bits") as refused:
            function("echo", {"seeds": [1, 2**64]})
        assert refused.value.http_status == 422
    # In a line, as a web service tells it.
    assert caught.value.summary == f"/function: {caught.value.problems[0].message}"
    with pytest.raises(TypeError):
        client.submit("echo", {}, parallelisms=2)


def test_a_map_gives_results_in_order_and_cancels_the_rest(client):
    results = client.map("square", ({"items": [i]} for i in range(10)), ahead=3)
    assert [result["results"] for result in results] == [[i * i] for i in range(10)]
    slow = ({"items": [seconds]} for seconds in (0.01, 30, 30, 30))
    results = client.map("slow", slow, parallelism=1, labels={"test": "map"})
    assert next(results) == {"results": [0.01]}
    active = ("Queued", "Starting", "Running")
    running = [job for job in client.list(label_selector="test=map") if job.status.phase in active]
    assert len(running) == 3
    results.close()
    assert {client.wait(job, timeout_seconds=20).status.phase for job in running} == {"Cancelled"}


def test_a_log_is_followed_to_the_jobs_end(client):
    job = client.submit("talk", {"items": [0, 0.3, 0.3]}, parallelism=1)
    pieces = list(client.follow_logs(job))
    assert "".join(pieces).splitlines() == ["0 s", "0.3 s", "0.3 s"]
    assert len(pieces) > 1
    assert client.logs(job) == "".join(pieces)
    timed = client.logs(job, timestamps=True)
    times, lines = zip(*(line.split(" ", 1) for line in timed.splitlines()), strict=True)
    assert list(lines) == ["0 s", "0.3 s", "0.3 s"]
    assert list(times) == sorted(times) and all(datetime.fromisoformat(time).tzinfo for time in times)
    assert "".join(client.follow_logs(job, timestamps=True)) == timed
    assert client.logs(job, attempt=1) == "".join(pieces)
    for beyond in (2, 4_294_967_295):
        with pytest.raises(windlass.NotFound, match="attempt"):
            client.logs(job, attempt=beyond)
    with pytest.raises(windlass.Invalid, match="attempt"):
        client.logs(job, attempt=0)
    with pytest.raises(windlass.NotFound):
        list(client.follow_logs("no-such"))


def test_a_log_is_followed_from_one_server_to_the_next(own_server):
    with own_server.client() as client:
        job = client.submit("talk", {"items": [0, 2, 0]}, parallelism=1)
        pieces = client.follow_logs(job)
        said = next(pieces)
        own_server.kill()
        own_server.start()
        said += "".join(pieces)
    # The second server has begun another attempt, which says everything again.
    assert said.splitlines() == ["0 s", "0 s", "2 s", "0 s"]


def test_a_log_of_several_attempts_is_followed_as_one(client):
    job = client.submit("crash-once", {"items": [1]}, parallelism=1, retries=1)
    said = "".join(client.follow_logs(job)).splitlines()
    assert [line for line in said if line.startswith(("attempt", "over"))] == ["attempt 1", "attempt 2", "over"]


def test_queues_are_listed_and_jobs_by_their_queue(client):
    (queue,) = [queue for queue in client.queues() if queue.metadata.name == "narrow"]
    assert queue.spec.cpus == 1
    job = client.submit("square", {"items": [2]}, queue="narrow", parallelism=1)
    assert [found.metadata.name for found in client.list(queue="narrow")] == [job.metadata.name]


def test_functions_are_listed(client):
    assert {"echo", "price", "square"} <= {function.metadata.name for function in client.functions()}
    assert client.function("square").spec.parallelism.max == 8


def test_a_wrong_token_is_an_error_at_once(server):
    with windlass.Client(server.url, token="wrong") as client, pytest.raises(windlass.Unauthenticated):
        client.get("any")
    with windlass.Client(server.url, token="two words"), pytest.raises(_discovery.NoToken):
        windlass.Client(server.url, token="a\nb").get("any")
    with windlass.Client(server.url, token=lambda: "") as client, pytest.raises(_discovery.NoToken, match="empty"):
        client.get("any")


def test_the_server_and_its_token_are_found_as_the_command_line_finds_them(server, monkeypatch, tmp_path):
    token = (server.data / "token").read_text()
    monkeypatch.setenv("WINDLASS_SERVER", server.url + "/")
    monkeypatch.setenv("WINDLASS_TOKEN", token)
    assert windlass.Client().call("echo", ECHO) == ANSWER
    monkeypatch.delenv("WINDLASS_TOKEN")
    # Its data directory says where it is and what opens it.
    monkeypatch.delenv("WINDLASS_SERVER")
    assert windlass.Client(data=server.data).call("echo", ECHO) == ANSWER
    (tmp_path / "address").write_text("nothing\n")
    assert _discovery.server_url(None, tmp_path) == _discovery.server_url(None, tmp_path / "none") == _discovery.LOCAL
    monkeypatch.setenv("WINDLASS_SERVER", server.url + "/")
    # A token in a file is read at each request, since it is renewed.
    monkeypatch.setenv("WINDLASS_TOKEN_FILE", str(tmp_path / "renewed"))
    with windlass.Client() as client:
        with pytest.raises(_discovery.NoToken, match="WINDLASS_TOKEN_FILE"):
            client.call("echo", ECHO)
        for text, said in (("", "empty"), (" \n", "empty"), ("a" * 20_000, "too large")):
            (tmp_path / "renewed").write_text(text)
            with pytest.raises(_discovery.NoToken, match=said):
                client.call("echo", ECHO)
        (tmp_path / "renewed").write_text("old")
        with pytest.raises(windlass.Unauthenticated):
            client.call("echo", ECHO)
        (tmp_path / "renewed").write_text(token)
        assert client.call("echo", ECHO) == ANSWER
    monkeypatch.delenv("WINDLASS_TOKEN_FILE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(_discovery.NoToken, match="windlass/token"):
        windlass.Client().call("echo", ECHO)
    (tmp_path / "windlass").mkdir()
    (tmp_path / "windlass" / "token").write_text(token)
    assert windlass.Client().call("echo", ECHO) == ANSWER
    # The token of this machine's server is for no other.
    for other in (
        "https://windlass.example",
        "http://127.0.0.1.example:7070",
        "http://10.0.0.1",
        "http://localhost.example",
    ):
        with pytest.raises(_discovery.NoToken, match=re.escape(other)):
            windlass.Client(other)
    for own in ("http://127.0.0.1:7070", "http://127.9.9.9", "https://localhost", "http://[::1]:7070"):
        assert _discovery.is_loopback(own)
    for bad in ("ftp://x", "http://", "127.0.0.1:7070", "http://user@host", "http://host/?a"):
        with pytest.raises(ValueError):
            windlass.Client(bad, token="t")


def test_a_name_cannot_lead_to_another_path(client):
    with pytest.raises(windlass.ApiError):
        client.get("../functions")
    for name in ("", ".", ".."):
        with pytest.raises(ValueError):
            client.get(name)


def test_the_same_idempotency_key_is_the_same_job(client):
    key = uuid.uuid4().hex
    first = client.submit("square", {"items": [2]}, idempotency_key=key)
    again = client.submit("square", {"items": [2]}, idempotency_key=key)
    assert again.metadata.uid == first.metadata.uid
    assert client.call("square", {"items": [2]}, idempotency_key=key) == {"results": [4]}
    with pytest.raises(windlass.Conflict):
        client.submit("square", {"items": [3]}, idempotency_key=key)


def test_a_job_may_be_named(client):
    name = f"named-{uuid.uuid4().hex[:8]}"
    assert client.submit("square", {"items": [2]}, name=name).metadata.name == name
    assert client.value(name) == {"results": [4]}
    # What is there already is not ours, whatever it asks for.
    for number in (2, 3):
        with pytest.raises(windlass.Conflict):
            client.submit("square", {"items": [number]}, name=name)


def test_a_wait_outlives_the_server(own_server):
    client = own_server.client()
    job = client.submit("slow", {"items": [1.0]})
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(client.wait(job)))
    waiting.start()
    time.sleep(0.3)
    own_server.kill()
    time.sleep(0.5)
    own_server.start()
    waiting.join(30)
    assert [job.status.phase for job in ended] == ["Succeeded"]
