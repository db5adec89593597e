"""The service before and after, behind nginx, and what a SIGKILL of its Gunicorn workers leaves."""

import difflib
import getpass
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import windlass

HERE = Path(__file__).resolve().parent

# A request of some seconds, to be struck in the middle.
LONG = [{"seed": seed, "rounds": 80_000} for seed in range(8)]
SHORT = [{"seed": seed, "rounds": 10} for seed in range(8)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def children(pid):
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        listed = [Path(f"/proc/{pid}/task/{thread}/children").read_text().split() for thread in threads]
    except OSError:
        return []
    return [int(child) for some in listed for child in some]


def descendants(pid):
    found = children(pid)
    for child in found:
        found.extend(children(child))
    return found


def cpu_seconds(pid):
    """What a process has used; None when it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] == "Z" else (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)
    return found


class Service:
    """nginx, Gunicorn and the application of one directory; `windlass serve` beside the application of `after`."""

    def __init__(self, kind, directory):
        self.processes, self.directory, self.app = [], directory, directory / kind
        shutil.copytree(HERE / kind, self.app)
        self.port, self.web_port = free_port(), free_port()
        self.env = {**os.environ, "WEB_PORT": str(self.web_port), "XDG_DATA_HOME": str(directory)}
        if kind == "after":
            port = free_port()
            self.env["WINDLASS_SERVER"] = f"http://127.0.0.1:{port}"
            self.data = directory / "windlass"
            self.windlass = self.start(
                os.environ["WINDLASS_BIN"], "serve", "--listen", f"127.0.0.1:{port}", "--cpus", "4",
                "--function", f"estimate={sys.executable} -m windlass.worker estimate:estimate",
            )  # fmt: skip
            self.client = windlass.Client(self.env["WINDLASS_SERVER"], data=self.data)
            until((self.data / "token").exists)
        self.gunicorn = self.start(sys.executable, "-m", "gunicorn", "--no-control-socket", "app:app")
        self.nginx()
        until(self.answers)

    def start(self, *command):
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.app, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def nginx(self):
        """With its configuration, on ports that are free."""
        text = (self.app / "nginx.conf").read_text()
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}").replace(":8000", f":{self.web_port}")
        if os.getuid() == 0:
            text = f"user {getpass.getuser()};\n{text}"
        (self.app / "nginx.conf").write_text(text)
        self.start(shutil.which("nginx"), "-p", self.directory, "-e", "stderr", "-c", self.app / "nginx.conf")

    def answers(self):
        assert all(process.poll() is None for process in self.processes), (self.directory / "log").read_text()
        try:
            return self.post(SHORT)[0] == 200
        except OSError:
            return False

    def post(self, data, key=None):
        """Status and results of a request to the service, through nginx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        connection.request("POST", "/estimate", json.dumps({"data": data}), headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, json.loads(body)["results"] if answer.status == 200 else None

    def post_beside(self, *arguments):
        """The same in a thread; gives a function that waits for the answer."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.post(*arguments)))
        thread.start()

        def answer():
            thread.join(120)
            return answers[0]

        return answer

    def kill_workers(self):
        """SIGKILL to every worker of Gunicorn."""
        for pid in children(self.gunicorn.pid):
            if "spawn_main" not in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(params=["before", "after"])
def service(request, tmp_path):
    yield from serving(request.param, tmp_path)


@pytest.fixture
def before(tmp_path):
    yield from serving("before", tmp_path)


@pytest.fixture
def after(tmp_path):
    yield from serving("after", tmp_path)


def serving(kind, directory):
    service = Service.__new__(Service)
    service.processes = []
    try:
        service.__init__(kind, directory)
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def expected():
    sys.path.insert(0, str(HERE / "before"))
    from estimate import estimate

    return lambda data: [estimate(item) for item in data]


def test_the_move_is_a_dozen_lines():
    old, new = ((HERE / kind / "app.py").read_text().splitlines() for kind in ("before", "after"))
    changed = [line for line in difflib.unified_diff(old, new, n=0) if re.match(r"[+](?![+])", line)]
    assert len(changed) <= 12
    for name in ("estimate.py", "gunicorn.conf.py", "nginx.conf"):
        assert (HERE / "before" / name).read_text() == (HERE / "after" / name).read_text()


def test_the_answers_are_the_same(service, expected):
    assert service.post(SHORT) == (200, expected(SHORT))


def test_before_a_killed_worker_loses_the_result_and_its_pool_burns_on(before):
    answer = before.post_beside(LONG)
    pool = until(
        lambda: [pid for pid in descendants(before.gunicorn.pid) if (cpu_seconds(pid) or 0) > 0.3 and is_pool(pid)]
    )
    before.kill_workers()
    struck = {pid: cpu_seconds(pid) for pid in pool}
    assert answer()[0] == 502
    # Nobody waits for it any more, and it burns on; how soon that shows depends on what else the machine does.
    until(lambda: sum((cpu_seconds(pid) or used) - used for pid, used in struck.items() if used is not None) > 0.1)
    # They end by themselves, after their chunks, and there is no way to ask for what they found.
    until(lambda: all(cpu_seconds(pid) is None for pid in pool), 60)


def is_pool(pid):
    try:
        return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_after_a_killed_worker_leaves_no_process_and_the_result_is_there_by_its_key(after, expected):
    answer = after.post_beside(LONG, "order-17")

    def running():
        jobs = [job for job in after.client.list(function="estimate") if job.status.phase == "Running"]
        return jobs[0] if jobs else None

    job = until(running)
    web = descendants(after.gunicorn.pid)
    after.kill_workers()
    assert answer()[0] == 502
    until(lambda: all(cpu_seconds(pid) is None for pid in web), 5)
    # The same request with the same key: the job's result, which was not computed again.
    assert after.post(LONG, "order-17") == (200, expected(LONG))
    told = after.client.get(job)
    assert (told.status.phase, told.status.attempt) == ("Succeeded", 1)
    same = [job for job in after.client.list(function="estimate") if job.spec.input["items"] == LONG]
    assert len(same) == 1
    assert until(lambda: not [pid for pid in descendants(after.windlass.pid) if is_function(pid)] or None)
    # Another request under that key is refused, and says so.
    assert after.post(SHORT, "order-17")[0] == 409


def is_function(pid):
    try:
        return "estimate:estimate" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_after_a_refusal_of_windlass_is_an_answer(after):
    assert after.post([{"seed": 1, "rounds": 10, "text": "x" * 150_000}])[0] == 413
