"""What the processes of a job print at the same time: each line is whole, and none is lost."""

import re

LINES, PROCESSES = 2_000, 4


def test_lines_of_processes_that_print_at_the_same_time_are_not_mixed(client):
    job = client.submit("say", {"items": [LINES] * PROCESSES}, parallelism=PROCESSES)
    client.value(job)
    lines = client.logs(job).splitlines()
    assert [line for line in lines if not re.fullmatch(r"line \d+ x{40}", line)] == []
    assert len(lines) == LINES * PROCESSES


def test_a_line_without_an_end_is_in_the_log_when_its_call_has_ended(client):
    job = client.submit("say-unfinished", {"items": ["one", "two"]}, parallelism=1)
    client.value(job)
    assert client.logs(job) == "one has no endtwo has no end"


def test_bytes_are_in_the_log_at_once(client):
    job = client.wait(client.submit("say-unfinished", {"items": ["bytes"]}, parallelism=1))
    assert job.status.phase == "Failed"
    assert client.logs(job).startswith("bytes \ufffd")


def test_lines_are_whole_however_they_are_printed(client):
    items = [{"lines": 200, "way": way} for way in ("joined", "written", "bytes", "long")]
    job = client.submit("say-lines", {"items": items}, parallelism=PROCESSES)
    client.value(job)
    lines = client.logs(job).splitlines()
    assert [line for line in lines if not re.fullmatch(r"(joined|written|bytes|long) x{40,3000} \d+", line)] == []
    assert len(lines) == 200 * len(items)


def test_a_handler_of_a_signal_may_print(client):
    job = client.submit("print-in-a-handler", {"items": [5000]}, parallelism=1)
    client.value(job)
    assert client.logs(job).count("x" * 60) == 5000


def test_what_an_import_has_printed_is_in_the_log_of_the_job_that_it_ends(own_server):
    (own_server.manifests / "torn.py").write_text("print('on its way', end='')\nraise OSError('no')\n")
    (own_server.manifests / "callees.py").write_text("import torn\n")
    with own_server.client() as client:
        job = client.wait(client.submit("square", {"items": [1]}, parallelism=1))
        assert job.status.phase == "Failed" and client.logs(job).startswith("on its way")
