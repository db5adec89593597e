"""A photo and an array of 50 MB, before and after: the same answers, and what they cost the web process."""

import difflib
import http.client
import io
import re
import time
from pathlib import Path

import pytest
from test_flask import HERE, children, serving

FUNCTIONS = ("analysis:thumbnail", "analysis:means")


@pytest.fixture
def before(tmp_path):
    yield from serving("before/uploads", tmp_path / "before", FUNCTIONS)


@pytest.fixture
def after(tmp_path):
    yield from serving("after/uploads", tmp_path / "after", FUNCTIONS)


@pytest.fixture(autouse=True)
def directories(tmp_path):
    for name in ("before", "after"):
        (tmp_path / name).mkdir()


@pytest.fixture(scope="module")
def table():
    """Rows of what was measured, shown once all is: what it is, before, after."""
    rows = [("", "before", "after")]
    yield rows
    for what, *figures in rows:
        print(f"{what:<55}", *(f"{figure:>10}" for figure in figures))


def post(service, path, body, media_type):
    """The answer of Gunicorn: nginx would take no body of this size without being told so."""
    connection = http.client.HTTPConnection("127.0.0.1", service.web_port, timeout=120)
    connection.request("POST", path, body, {"Content-Type": media_type})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def peak_mib(service):
    """The most memory that a web worker has held."""
    return max(int(re.search(r"VmHWM:\s+(\d+)", status(pid))[1]) for pid in children(service.gunicorn.pid)) >> 10


def status(pid):
    return Path(f"/proc/{pid}/status").read_text()


def seconds_of(service, path, body, media_type, times=3):
    """The answer, and the shortest time of a few."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        told = post(service, path, body, media_type)
        taken.append(time.perf_counter() - began)
        assert told[0] == 200, told
    return told[1], min(taken)


def measured(services, table, what, path, body, media_type):
    """The answer of each service. Adds rows with the time and the memory that it took."""
    answers, times, grown = [], [], []
    for service in services:
        at_first = peak_mib(service)
        answer, seconds = seconds_of(service, path, body, media_type)
        answers.append(answer)
        times.append(f"{seconds * 1000:.0f} ms")
        grown.append(peak_mib(service) - at_first)
    table.append((what, *times))
    table.append(("  more memory in the web worker for that", *(f"{mib} MiB" for mib in grown)))
    return answers, grown


def test_a_photo_becomes_a_thumbnail(before, after, table):
    Image = pytest.importorskip("PIL.Image")
    photo = io.BytesIO()
    Image.linear_gradient("L").resize((4000, 3000)).convert("RGB").save(photo, "JPEG")
    what = f"a photo of 4000 x 3000, {len(photo.getvalue()) >> 10} KiB, to a thumbnail"
    (old, new), _ = measured((before, after), table, what, "/thumbnails", photo.getvalue(), "image/jpeg")
    assert old == new
    assert Image.open(io.BytesIO(new)).size == (256, 192)
    code, told = post(after, "/thumbnails", b"no photo", "image/jpeg")
    assert code == 502 and b": UnidentifiedImageError: " in told, told


def test_an_array_of_50_mb_takes_no_memory_of_the_web_process(before, after, table):
    numpy = pytest.importorskip("numpy")
    array, body = numpy.arange(6_553_600, dtype=float).reshape(-1, 4), io.BytesIO()
    numpy.save(body, array)
    what = f"an array of {len(body.getvalue()) >> 20} MiB to the means of its columns"
    media_type = "application/octet-stream"
    (old, new), grown = measured((before, after), table, what, "/means", body.getvalue(), media_type)
    assert old.split() == new.split()
    assert grown[0] > 100 and grown[1] < 16


def test_the_functions_have_not_changed_and_the_app_is_shorter(table):
    assert (HERE / "before/analysis.py").read_text() == (HERE / "after/analysis.py").read_text()
    old, new = ((HERE / name).read_text().splitlines() for name in ("before/uploads.py", "after/uploads.py"))
    changed = [line for line in difflib.unified_diff(old, new, n=0) if re.match(r"[+-](?![+-])", line)]
    new_lines = sum(line[0] == "+" for line in changed)
    table.append(("lines that only one of them has", len(changed) - new_lines, new_lines))
    assert new_lines <= 12
