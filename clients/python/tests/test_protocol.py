"""What needs no server: events, batches, models."""

import enum
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from fake_server import job

import windlass
from windlass import _events, _json
from windlass import _protocol as protocol
from windlass._batches import batches, maps_items
from windlass._events import Decoder
from windlass._http import Target
from windlass._json import NoJson
from windlass.models import Function, Job

HERE = Path(__file__).resolve().parent

STREAM = (
    'event: job\nid: 7\ndata: {"a": 1}\n\n: comment\n\ndata: x\r\ndata:  y\u2028z\r\n\r\nevent: e\rdata\r\rdata: cut'
).encode()


def test_authorities_are_read_for_tls_and_for_nothing_else():
    for server, expected in [
        ("http://127.0.0.1:7070", False),
        ("https://a.example", True),
        ("HTTPS://a.example", True),
    ]:
        assert Target(server, "token", None, None).verify is expected, server


def test_events_are_the_same_however_their_bytes_come():
    whole = list(Decoder().feed(STREAM))
    assert [(event.kind, event.data, event.id) for event in whole] == [
        ("job", '{"a": 1}', "7"),
        ("message", "x\n y\u2028z", "7"),
        ("e", "", "7"),
    ]
    for size in range(1, len(STREAM)):
        decoder = Decoder()
        pieces = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]
        assert [event for piece in pieces for event in decoder.feed(piece)] == whole, size


def test_an_endless_event_is_refused(monkeypatch):
    monkeypatch.setattr(_events, "MAX_EVENT_BYTES", 1000)
    for piece in (b"x" * 100, b"data: " + b"x" * 90 + b"\n"):
        decoder = Decoder()
        with pytest.raises(ValueError, match="more than 1000 bytes"):
            for _ in range(20):
                list(decoder.feed(piece))


def test_batches_hold_what_an_input_can_hold():
    items = ["x" * 1000] * 300
    whole = list(batches(iter(items), None))
    assert [item for batch in whole for item in batch] == items
    assert [len(batch) for batch in whole] == [122, 122, 56]
    assert all(len(protocol.encode({"items": batch})) <= 128 * 1024 for batch in whole)
    assert [len(batch) for batch in batches(iter(items), 50)] == [50] * 6
    assert list(batches(iter([]), None)) == []
    # One that is too large is left for the server to refuse.
    assert [len(batch) for batch in batches(iter(["", "x" * 200_000, ""]), None)] == [1, 1, 1]


@pytest.mark.parametrize("half", ["\ud800", ["a", "x\udfff"], {"\udc00": 1}])
def test_half_of_a_surrogate_pair_is_refused_and_its_item_named(half):
    with pytest.raises(NoJson, match=r"^a string has half of a surrogate pair"):
        protocol.encode(half)
    with pytest.raises(NoJson, match=r"^item 2: a string has half of a surrogate pair"):
        list(batches(iter(["é", "😀", half]), None))
    assert protocol.encode(["é", "😀", "\\ud800"]) == '["é","😀","\\\\ud800"]'.encode()


def test_a_whole_number_of_seconds_may_be_a_float():
    spec = protocol.spec_of("f", {}, timeout_seconds=1.5 * 60, ttl_seconds=0.5)
    assert (repr(spec["timeoutSeconds"]), spec["ttlSecondsAfterFinished"]) == ("90", 0.5)


def test_only_what_may_be_an_integer_beyond_64_bits_is_looked_at_again(monkeypatch):
    looked_at = []
    monkeypatch.setattr(_json, "check", looked_at.append)
    for value in ([0.00012345678901234567, 1e300], {"x": -0.1234567890123456789}, "12345678901234567890"):
        _json.encode(value)
    assert looked_at == []
    for value in (2**63, -(2**63) - 1, [1, 2**63], {"x": -(2**70)}):
        _json.encode(value)
    assert len(looked_at) == 4


def test_the_function_says_whether_it_maps_items():
    def function(**spec):
        return Function.from_json(
            {
                "apiVersion": "",
                "kind": "",
                "metadata": {"name": "f"},
                "spec": {
                    "command": ["x"],
                    "contentType": "",
                    "maxResultBytes": 1,
                    "startDeadlineSeconds": 1,
                    "parallelism": {"default": 1, "max": 1},
                    "memory": {"base": "", "perCpu": ""},
                    "timeoutSeconds": {"default": 1, "max": 1},
                    **spec,
                },
            }
        )

    assert not maps_items(function())
    assert maps_items(function(command=["python", "-m", "windlass.worker", "a:b"]))
    assert maps_items(function(inputSchema={"required": ["items"], "properties": {"items": {}}}))
    assert not maps_items(function(inputSchema={"required": ["items", "x"]}))


def test_the_models_are_those_of_the_openapi_document(tmp_path):
    package = HERE.parent
    subprocess.run(
        [sys.executable, package / "generate", package / "../../docs/openapi.json", tmp_path / "models.py"], check=True
    )
    assert (tmp_path / "models.py").read_text() == (package / "src/windlass/models.py").read_text(), (
        "clients/python/generate writes them anew"
    )


def test_the_submissions_fields_are_those_of_the_openapi_document():
    document = json.loads((HERE.parent / "../../docs/openapi.json").read_text())
    options = dict.fromkeys(protocol.Options.__annotations__, 1)
    spec = protocol.spec_of("f", {}, "n", **options)
    # `cancel` is a call of its own.
    spec |= protocol.given_of("f", None, data=b"", files={"a": b""}).spec
    assert {*spec, "cancel"} == {"name", "labels", *document["components"]["schemas"]["JobSpec"]["properties"]}


def misused():
    """Each kind of misuse, and what is to be said of it."""
    client = windlass.Client(token="t")
    for use in (client.get, client.cancel, client.retry, client.delete, client.result, client.logs, client.wait):
        yield lambda u=use: u(4), "as a Job or by its name, and not as 4"
    yield lambda: next(client.follow_logs(None)), "as a Job or by its name, and not as None"
    yield lambda: client.function(4), "a name is a text, and not 4"
    yield lambda: client.submit("f", {}, idempotency_key=7), "an Idempotency-Key is a text, and not 7"
    yield lambda: windlass.Client(namespace=4), "a name is a text, and not 4"
    for kind in (windlass.Client, windlass.AsyncClient):
        yield lambda k=kind: k(7070), "by its URL, such as 'http://127.0.0.1:7070', and not as 7070"
        # Not what it is: it may be a secret.
        yield lambda k=kind: k(token=b"secret"), "a token is a text, or a function that gives one, and no bytes$"


@pytest.mark.parametrize("use, said", list(misused()))
def test_what_is_no_name_no_url_and_no_token_is_told(use, said):
    with pytest.raises(TypeError, match=said):
        use()


def test_what_cannot_be_sent_is_an_error_of_this_package():
    paths = protocol.Paths("default")
    for value in (float("nan"), 2**70, "\ud800", b"bytes"):
        with pytest.raises(windlass.NoJson) as refused:
            paths.submit({"function": "f", "input": {"value": value}}, None)
        assert isinstance(refused.value, windlass.WindlassError) and isinstance(refused.value, ValueError)
        assert (refused.value.http_status, refused.value.summary) == (422, str(refused.value))

    class Colour(enum.Enum):
        RED = 1

    for value, advice in ((Colour.RED, "value.value"), (range(2), "list(value)"), (timedelta(1), "total_seconds")):
        with pytest.raises(windlass.NoJson, match=re.escape(advice)):
            paths.submit({"function": "f", "input": {"value": value}}, None)
    for key in ("schl\xfcssel", "two\nlines"):
        with pytest.raises(windlass.Invalid, match="printable ASCII"):
            paths.submit({"function": "f"}, key)


def test_a_wrong_option_is_told_with_those_that_there_are():
    with windlass.Client("http://127.0.0.1:1", token="t") as client:
        for misuse in (client.submit, client.call):
            with pytest.raises(TypeError, match="no option 'parallelizm'; there are parallelism, min_parallelism"):
                misuse("f", {}, parallelizm=2)
            with pytest.raises(TypeError, match="the name of a function on the server, not <built-in function len>"):
                misuse(len, {})


def test_an_executor_makes_its_client_itself():
    client = windlass.AsyncClient("http://127.0.0.1:1", token="t")
    sync = windlass.Client("http://127.0.0.1:1", token="t")
    for misuse in (client, sync, lambda: sync):
        with pytest.raises(TypeError, match=r"write client=lambda: windlass\.AsyncClient\(\.\.\.\)"):
            windlass.Executor("f", client=misuse, items=True)


def test_a_script_that_works_when_it_is_imported_is_told_why_its_function_has_no_token(tmp_path):
    (tmp_path / "script.py").write_text("import windlass\ndef f(x): pass\nwindlass.Client().functions()\n")
    for command, why in (
        (["-m", "windlass.worker", "--check", "script:f"], "below `if __name__ == '__main__':`"),
        (["script.py"], "with another --data"),
    ):
        environment = {**os.environ, "HOME": str(tmp_path)}
        ended = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 1 and why in ended.stderr.splitlines()[-1], ended.stderr


def test_an_executor_takes_the_name_of_a_function():
    # As concurrent.futures has it, and without an argument for the server.
    for misuse in (4, len):
        with pytest.raises(TypeError, match=r"windlass\.Executor\('price'\).*parallelism"):
            windlass.Executor(misuse)


@pytest.mark.parametrize(
    "value",
    [
        {"results": [None], "errors": ["a text"]},
        {"results": [None], "errors": [{"item": 7, "type": "E", "message": ""}]},
        {"results": [1], "errors": [{"item": 0, "type": "E", "message": ""}]},
        {"results": [None], "errors": [{"item": "0"}]},
        {"results": {}, "errors": [1]},
    ],
)
def test_a_result_that_only_looks_like_failed_items_is_a_result(value):
    text = json.dumps(value)
    result = {"text": text, "contentType": "application/json", "bytes": len(text), "sha256": ""}
    told = Job.from_json(job("j", "Succeeded", 1, {}, result=result))
    assert protocol.value_of(told, text.encode()) == value
