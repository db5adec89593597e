"""Programs with a `windlass.Executor` that end, or are interrupted."""

import signal
import subprocess
import sys
import time

import fake_server
import pytest
from conftest import Server
from programs import script, until

from windlass._life import WITHOUT_SECONDS
from windlass._protocol import LEAVING_SECONDS


@pytest.fixture
def nothing_left(client):
    """Ends what a test leaves behind."""
    yield
    for job in client.list(function="slow", with_input=False):
        if job.status.phase in ("Queued", "Starting", "Running"):
            client.cancel(job)


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise SystemExit(0)", "pool.shutdown(wait=False)", ""])
def test_a_program_that_ends_is_not_held_up_by_its_jobs(server, nothing_left, end):
    ended = script(server, f"client.submit('slow', {{'items': [60]}}); pool.submit(60)\n{end}")
    _, wrong = ended.communicate(timeout=20)
    assert (ended.returncode, wrong) == (0, "")


@pytest.mark.parametrize("end", ["pool.shutdown(wait=False)", "sys.exit(0)", ""])
def test_a_program_that_ends_has_handed_in_what_it_has_submitted(server, client, end):
    label = f"test=leaving-{len(end)}"
    submit = "pool = windlass.Executor('square', client=lambda: make(windlass.AsyncClient),"
    submit += f" labels=dict([{label!r}.split('=')]))\nfor number in range(40): pool.submit(number)\n"
    _, wrong = script(server, submit + end).communicate(timeout=30)
    assert wrong == ""
    jobs = list(client.list(label_selector=label, with_input=False))
    assert len(jobs) == 40
    # They hold up no other test.
    assert {client.wait(job, timeout_seconds=60).status.phase for job in jobs} == {"Succeeded"}


def test_a_program_that_ends_does_not_wait_for_a_server_that_hangs(own_server):
    ended = script(own_server, "print('waits', flush=True)\nsys.stdin.readline()\npool.submit(1)")
    assert ended.stdout.readline() == "waits\n"
    own_server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    _, wrong = ended.communicate("\n", timeout=30)
    own_server.process.send_signal(signal.SIGCONT)
    assert "1 submissions of slow are lost: the program has ended before" in wrong
    assert time.monotonic() - began < WITHOUT_SECONDS + 5


@pytest.mark.parametrize(
    "waits", ["client.call('slow', {'items': [60]})", "pool.submit(60).result()", "list(pool.map([60]))"]
)
def test_an_interrupt_ends_a_wait(server, nothing_left, waits):
    waiting = script(server, f"print('waits', flush=True)\n{waits}")
    assert waiting.stdout.readline() == "waits\n"
    time.sleep(0.5)
    waiting.send_signal(signal.SIGINT)
    _, wrong = waiting.communicate(timeout=10)
    assert waiting.returncode != 0 and wrong.rstrip().endswith("KeyboardInterrupt")


def test_an_interrupt_cancels_the_job_of_a_call_that_nobody_could_find_again(server, client, nothing_left):
    for options, phase in (("", "Cancelled"), (", idempotency_key='mine'", "Running")):
        label = f"test=interrupt-{phase}"
        call = f"client.call('slow', {{'items': [60]}}, labels=dict([{label!r}.split('=')]){options})"
        waiting = script(server, call)
        until(lambda label=label: [job.status.phase for job in client.list(label_selector=label)] == ["Running"])
        waiting.send_signal(signal.SIGINT)
        _, wrong = waiting.communicate(timeout=20)
        assert wrong.rstrip().endswith("KeyboardInterrupt"), wrong
        (job,) = client.list(label_selector=label)
        if phase == "Cancelled":
            job = client.wait(job, timeout_seconds=20)
        assert job.status.phase == phase


@pytest.mark.parametrize("rest", ["sys.stdin.read()", ""])
def test_an_interrupt_of_an_executors_block_cancels_its_jobs(server, client, nothing_left, rest):
    label = f"test=block-{len(rest)}"
    waiting = script(
        server,
        f"""
pool = windlass.Executor("slow", client=lambda: make(windlass.AsyncClient), labels=dict([{label!r}.split("=")]))
with pool:
    pool.submit(60)
    print("at the end", flush=True)
    {rest}
""",
    )
    assert waiting.stdout.readline() == "at the end\n"
    until(lambda: [job.status.phase for job in client.list(label_selector=label)] == ["Running"])
    waiting.send_signal(signal.SIGINT)
    waiting.wait(20)
    (job,) = client.list(label_selector=label)
    # Whoever has waited for the cancel has ended after it.
    assert client.wait(job, timeout_seconds=20).status.phase == "Cancelled"
    assert waiting.communicate()[1].rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("rest", ["sys.stdin.read()", ""])
def test_a_second_interrupt_of_an_executors_block_leaves_at_once(own_server, rest):
    waiting = script(
        own_server,
        f"""
with pool:
    pool.submit(60).add_done_callback(lambda _: print("cancelled", flush=True))
    print("at the end", flush=True)
    {rest}
""",
    )
    assert waiting.stdout.readline() == "at the end\n"
    with own_server.client() as client:
        until(lambda: [job.status.phase for job in client.list()] == ["Running"])
    # Now nobody answers the cancel.
    own_server.process.send_signal(signal.SIGSTOP)
    waiting.send_signal(signal.SIGINT)
    assert waiting.stdout.readline() == "cancelled\n"
    began = time.monotonic()
    waiting.send_signal(signal.SIGINT)
    waiting.wait(20)
    took = time.monotonic() - began
    own_server.process.send_signal(signal.SIGCONT)
    assert waiting.communicate()[1].rstrip().endswith("KeyboardInterrupt")
    assert took < LEAVING_SECONDS - 0.5


@pytest.fixture
def data_server(tmp_path):
    server = Server(tmp_path, ["callees:slow", "styles:double", "styles:where"], {"inputTypes": ["*/*"]})
    yield server
    server.stop()


@pytest.mark.parametrize("end", ["pool.shutdown(wait=False)", ""])
@pytest.mark.parametrize("call", ["callees.slow, 0", "styles.double, numpy.zeros(10**5)", "styles.where, b'bytes'"])
def test_a_program_that_ends_has_looked_up_names_and_read_data(data_server, call, end):
    pytest.importorskip("numpy")
    program = f"""
import callees, numpy, styles
make = lambda kind: kind("http://localhost:{data_server.port}", data={str(data_server.data)!r})
function, argument = {call}
pool = windlass.Executor(function.__name__, client=lambda: make(windlass.AsyncClient))
for _ in range(3):
    pool.submit(function, argument)
{end}
"""
    _, wrong = script(data_server, program, data_server.manifests).communicate(timeout=30)
    assert wrong == ""
    with data_server.client() as client:
        jobs = list(client.list())
        assert len(jobs) == 3
        assert {client.wait(job, timeout_seconds=60).status.phase for job in jobs} == {"Succeeded"}


def of_slow(fake, text):
    """What a program says that submits this to a slow server and ends."""
    client = f"windlass.AsyncClient({fake.url!r}, token='t')"
    program = (
        f"import windlass\npool = windlass.Executor('f', items=True, client=lambda: {client})\npool.submit({text})"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    return ended.stderr


def test_a_program_that_ends_waits_for_what_a_server_takes_slowly():
    with fake_server.running() as fake:
        fake.state.megabyte_seconds = 1.0
        said = of_slow(fake, "'x' * 8_000_000")
        assert len(fake.state.submitted) == 1
    assert said == "the program ends when 1 submissions of f are handed in: data is being sent\n"


def test_a_program_that_ends_comes_again_as_a_server_asks_it_to():
    with fake_server.running() as fake:
        fake.state.refusals = 1
        said = of_slow(fake, "1")
        assert len(fake.state.jobs) == 1
    assert said == "the program ends when 1 submissions of f are handed in: the server has asked for patience\n"


def test_a_program_that_ends_says_what_was_refused(server):
    _, wrong = script(
        server,
        """
pool = windlass.Executor("square", client=lambda: make(windlass.AsyncClient), parallelism=5000)
for number in range(3):
    pool.submit(number)
""",
    ).communicate(timeout=30)
    assert wrong.startswith("3 submissions of square have failed: Invalid: "), wrong
