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
