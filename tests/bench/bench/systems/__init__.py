"""The systems, one file each, and what they have in common."""

import http.client
import json
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.kernel import CPUS, Work


class Refused(Exception):
    """An answer that is no result."""


@dataclass(frozen=True)
class Way:
    """A way to send a request, such as the number of chunks, and its name in the report."""

    label: str
    value: Any


def chunks(*numbers):
    return [Way(f"{n} chunk{'s' if n > 1 else ''}", n) for n in numbers]


class System:
    """A system. Subclasses say how it is started, asked and ended."""

    key = ""  # for --only
    name = ""  # in the report
    about = ""  # how it is set up, for the report
    # Ways to send what the workloads have; where there are several, all are measured.
    tiny = chunks(1)
    one_second = chunks(4)
    small = chunks(1, 2)
    mix = [(chunks(4)[0], chunks(1)[0])]  # of the long request and of the short ones
    victims = ("the worker process",)  # labels of what is killed in mid-request

    def __init__(self, bench):
        self.bench = bench
        self.directory = None
        self.processes = []  # to be ended, in this order

    def up(self):
        """Starts and returns when the first request was answered."""
        self.directory = self.bench.directory / self.key
        self.directory.mkdir()
        self.start()
        self.await_answer()

    def down(self):
        """Ends; what does not go by itself is killed. How many processes had to be."""
        try:
            self.stop()
        finally:
            processes.end(self.processes)
            self.processes = []
            killed = processes.end_all()
            shutil.rmtree(self.directory, ignore_errors=True)
        return killed

    def await_answer(self, seconds=60):
        until = time.monotonic() + seconds
        while True:
            try:
                return self.request(Work(1, 1, 1), self.tiny[0].value)
            except Exception:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def log(self, name):
        return self.directory / f"{name}.log"

    # What a system has to say for itself.

    def start(self):
        raise NotImplementedError

    def request(self, work, way, name=None):
        """The answer, or an exception. Called from many threads. `name` makes it known for `find`."""
        raise NotImplementedError

    def stop(self):
        """Whatever has to be done before the processes get SIGTERM."""

    def victim(self, label):
        """The process to kill, while a request is under way."""
        raise NotImplementedError

    def recover(self, label):
        """What an operator's supervisor would do after the kill."""

    def find(self, name, seconds):
        """The answer to a request whose client was cut off; None when there is no way to ask."""
        return None


class HttpClient(threading.local):
    """A connection that is kept, for each thread."""

    connection = None

    def post(self, port, path, body, headers=None, timeout=300):
        return self.ask("POST", port, path, json.dumps(body).encode(), headers, timeout)

    def ask(self, method, port, path, body=None, headers=None, timeout=300):
        """Status and body."""
        if self.connection is None or self.connection.port != port:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            self.connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except Exception:
            self.connection.close()
            self.connection = None
            raise


class WebSystem(System):
    """A system whose requests are POST /compute, answered with {"value": ...}."""

    def __init__(self, bench):
        super().__init__(bench)
        self.http, self.port = HttpClient(), None

    def request(self, work, way, name=None):
        body = {"seed": work.seed, "units": work.units, "steps": work.steps, "chunks": way}
        status, answer = self.http.post(self.port, "/compute", body)
        if status != 200:
            raise Refused(f"HTTP {status}")
        return int(json.loads(answer)["value"])

    def gunicorn(self, application, port, env):
        """2 x cores + 1 sync workers, Gunicorn's own advice, with the application preloaded."""
        self.web = processes.start(
            [self.bench.program("gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", 2 * CPUS + 1,
             "--worker-class", "sync", "--preload", "--timeout", 300, "--no-control-socket", application],
            self.log("gunicorn"), env,
        )  # fmt: skip
        return self.web


def all_systems():
    from bench.systems import celery, dask, gunicorn, hyperqueue, ray, windlass, windlass_flask

    return [
        windlass_flask.WindlassFlask,
        windlass_flask.WindlassFlaskNumpy,
        windlass.WindlassWarm,
        windlass.Windlass,
        gunicorn.GunicornSpawn,
        gunicorn.GunicornForkserver,
        celery.Celery,
        ray.Ray,
        dask.Dask,
        hyperqueue.HyperQueue,
    ]


def read(path):
    return Path(path).read_text(errors="replace")
