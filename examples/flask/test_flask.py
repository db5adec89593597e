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
    """nginx, Gunicorn and the application of one file; `windlass serve` beside the applications of `after`."""

    def __init__(self, kind, directory, functions=("estimate:estimate",)):
        folder, module = kind.split("/")
        self.processes, self.directory, self.app = [], directory, directory / folder
        shutil.copytree(HERE / folder, self.app)
        self.port, self.web_port = free_port(), free_port()
        self.env = {**os.environ, "WEB_PORT": str(self.web_port), "XDG_DATA_HOME": str(directory)}
        if folder == "after":
            port, worker = free_port(), f"{sys.executable} -m windlass.worker"
            self.env["WINDLASS_SERVER"] = f"http://127.0.0.1:{port}"
            self.data = directory / "windlass"
            self.windlass = self.start(
                os.environ["WINDLASS_BIN"], "serve", "--listen", f"127.0.0.1:{port}", "--cpus", "4",
                *(f"--function={each.partition(':')[2]}={worker} {each}" for each in functions),
            )  # fmt: skip
            self.client = windlass.Client(self.env["WINDLASS_SERVER"], data=self.data)
            until(self.serves)
        self.gunicorn = self.start(sys.executable, "-m", "gunicorn", "--no-control-socket", f"{module}:app")
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

    def serves(self):
        try:
            return self.client.functions()
        except windlass.WindlassError:
            return None

    def answers(self):
        assert all(process.poll() is None for process in self.processes), (self.directory / "log").read_text()
        try:
            # An error's text is the application's own, or that of a proxy which reaches nobody.
            return self.ask("GET", "/no-such")[0] == 404
        except OSError:
            return False

    def ask(self, method, path, value=None, headers=None):
        """Status, headers and JSON of an answer of the service, through nginx; None for what is no JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {**({} if value is None else {"Content-Type": "application/json"}), **(headers or {})}
        connection.request(method, path, value if isinstance(value, (str, type(None))) else json.dumps(value), headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, answer.headers, json.loads(body) if is_json else None

    def post(self, data, key=None):
        """Status and results of a request that waits."""
        status, _, told = self.ask("POST", "/estimate", {"data": data}, {"Idempotency-Key": key} if key else {})
        return status, told["results"] if status == 200 else None

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


@pytest.fixture(params=["before/app", "after/waiting"])
def service(request, tmp_path):
    yield from serving(request.param, tmp_path)


@pytest.fixture
def before(tmp_path):
    yield from serving("before/app", tmp_path)


@pytest.fixture
def waiting(tmp_path):
    yield from serving("after/waiting", tmp_path)


@pytest.fixture
def after(tmp_path):
    yield from serving("after/app", tmp_path)


def serving(kind, directory, *functions):
    service = Service.__new__(Service)
    service.processes = []
    try:
        service.__init__(kind, directory, *functions)
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def expected():
    sys.path.insert(0, str(HERE / "before"))
    from estimate import estimate

    return lambda data: [estimate(item) for item in data]


def test_the_move_is_a_dozen_lines_and_the_readme_shows_them():
    old, new = ((HERE / name).read_text().splitlines() for name in ("before/app.py", "after/waiting.py"))
    changed = [line for line in difflib.unified_diff(old, new, n=0) if re.match(r"[+](?![+])", line)]
    assert len(changed) <= 12
    shown = (HERE / "README.md").read_text().partition("```diff\n")[2].partition("```")[0].splitlines()
    kept = [line[1:] for line in shown if not line.startswith("-")]
    assert kept == new[new.index("import windlass") :]
    assert [line[1:] for line in shown if not line.startswith("+")] == old[old.index("import multiprocessing") :]
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


def test_after_a_killed_worker_leaves_none_at_work_and_the_result_is_there_by_its_key(waiting, expected):
    answer = waiting.post_beside(LONG, "order-17")

    def running():
        jobs = [job for job in waiting.client.list(function="estimate") if job.status.phase == "Running"]
        return jobs[0] if jobs else None

    job = until(running)
    web = descendants(waiting.gunicorn.pid)
    waiting.kill_workers()
    assert answer()[0] == 502
    until(lambda: all(cpu_seconds(pid) is None for pid in web), 5)
    # The same request with the same key: the job's result, which was not computed again.
    assert waiting.post(LONG, "order-17") == (200, expected(LONG))
    told = waiting.client.get(job)
    assert (told.status.phase, told.status.attempt) == ("Succeeded", 1)
    same = [job for job in waiting.client.list(function="estimate") if job.spec.input["items"] == LONG]
    assert len(same) == 1
    # The processes of the function stay for the next job, and do nothing meanwhile.
    stay = [pid for pid in descendants(waiting.windlass.pid) if is_function(pid)]
    used = [cpu_seconds(pid) for pid in stay]
    time.sleep(1)
    assert all((cpu_seconds(pid) or 0) - (before or 0) < 0.2 for pid, before in zip(stay, used, strict=True)), stay
    # Another request under that key is refused, and says so.
    assert waiting.post(SHORT, "order-17")[0] == 409


def is_function(pid):
    try:
        return "estimate:estimate" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_the_waiting_form_answers_failures_with_words(waiting):
    # As before the move, a large request is none.
    large = [{"seed": 1, "rounds": 1, "text": "x" * 150_000}]
    assert waiting.ask("POST", "/estimate", {"data": large})[0] == 200
    status, _, told = waiting.ask("POST", "/estimate", {"data": [{"seed": 1}]})
    assert status == 502 and told["error"].endswith(": item 0: KeyError: 'rounds'"), told


def until_ended(service, place):
    """The last answer of a place, and the progress that it told before."""
    told = []

    def ended():
        status, headers, value = service.ask("GET", place)
        if status == 202:
            assert headers["Retry-After"] == "1"
            told.append(value["progress"])
        return (status, value) if status != 202 else None

    return until(ended, 60), told


def test_nobody_waits_for_an_answer_and_all_see_how_far_it_is(after, expected):
    # More than there are web workers.
    places = []
    for number in range(3 * os.cpu_count() + 3):
        began = time.monotonic()
        status, headers, told = after.ask("POST", "/estimates", {"data": [*LONG, {"seed": number, "rounds": 10}]})
        assert status == 202 and told["phase"] in ("Queued", "Starting", "Running")
        assert time.monotonic() - began < 5
        places.append(headers["Location"])
    began = time.monotonic()
    status, headers, _ = after.ask("GET", "/")
    assert status == 200 and headers.get_content_type() == "text/html" and time.monotonic() - began < 2
    for place in places[1:]:
        assert after.ask("DELETE", place)[0] == 202
    (status, value), told = until_ended(after, places[0])
    assert (status, value["results"]) == (200, expected([*LONG, {"seed": 0, "rounds": 10}]))
    assert told == sorted(told) and any(0 < each < 1 for each in told)
    assert until_ended(after, places[1])[0][0] == 409


def test_the_same_key_is_the_same_place_also_after_the_web_workers_are_killed(after):
    key = {"Idempotency-Key": "order-17"}
    place = after.ask("POST", "/estimates", {"data": SHORT}, key)[1]["Location"]
    after.kill_workers()
    until(lambda: after.ask("GET", "/")[0] == 200)
    assert after.ask("POST", "/estimates", {"data": SHORT}, key)[1]["Location"] == place
    assert until_ended(after, place)[0][0] == 200
    assert after.ask("POST", "/estimates", {"data": LONG}, key)[0] == 409


def test_each_failure_is_an_answer_in_json_with_a_status_that_fits(after):
    def refused(status, method, path, value=None):
        got, headers, told = after.ask(method, path, value)
        assert (got, list(told or {})) == (status, ["error"]), (got, told)
        assert "Traceback" not in told["error"] and "127.0.0.1" not in told["error"]

    for value in ({}, [], {"data": 3}, "no JSON"):
        refused(400, "POST", "/estimates", value)
    refused(404, "GET", "/nowhere")
    refused(405, "GET", "/estimates")
    refused(404, "GET", "/estimates/no-such")
    # A job of another function is none of this service.
    other = after.client.submit("echo", {})
    refused(404, "GET", f"/estimates/{other.metadata.name}")
    # Answered before it was read. Where the rest is left, nginx says 502 for one of fourteen and one of forty.
    for _ in range(60):
        refused(413, "POST", "/estimates", {"data": ["x" * 150_000]})
        refused(404, "POST", "/nowhere", {"data": ["x" * 900_000]})
    # What Python reads as JSON, and JSON has not.
    for value in (float("nan"), 2**70, "\ud800"):
        refused(422, "POST", "/estimates", {"data": [value]})
    place = after.ask("POST", "/estimates", {"data": [{"seed": 1}]})[1]["Location"]
    status, told = until_ended(after, place)[0]
    assert status == 502 and told["error"].endswith(": item 0: KeyError: 'rounds'"), told
    after.windlass.kill()
    after.windlass.wait()
    after.processes.remove(after.windlass)
    began = time.monotonic()
    refused(503, "GET", place)
    refused(503, "POST", "/estimates", {"data": SHORT})
    assert time.monotonic() - began < 15


def test_the_page_asks_for_what_there_is():
    page = (HERE / "after/static/page.html").read_text()
    app = (HERE / "after/app.py").read_text()
    for route in re.findall(r'fetch\("(/[^"]*)"', page):
        assert f'"{route}"' in app
    assert "202" in page and "503" in page
