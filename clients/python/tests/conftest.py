"""A real `windlass serve`, with functions of `windlass.worker`, in a directory of its own."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import windlass

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent.parent

FUNCTIONS = [
    *(f"callees:{name}" for name in ("square", "slow", "fail", "who", "talk", "text", "crash_once")),
    *(f"callees:{name}" for name in ("say", "say_unfinished", "print_in_a_handler")),
    *(f"styles:{name}" for name in ("with_setting", "several", "pair", "refuses", "fails", "say_lines")),
]
QUEUE = {
    "apiVersion": "windlass.dev/v1alpha1",
    "kind": "ComputeQueue",
    "metadata": {"name": "narrow"},
    "spec": {"cpus": 1},
}


def windlass_program() -> str:
    """`WINDLASS_BIN`, or what `cargo build --release` has built."""
    named = os.environ.get("WINDLASS_BIN")
    return (
        named
        or subprocess.run([REPOSITORY / "tests/windlass"], check=True, capture_output=True, text=True).stdout.strip()
    )


class Server:
    """One server; it can be killed and started again."""

    def __init__(
        self, directory: Path, functions: list[str] = FUNCTIONS, more: dict | None = None, options: tuple[str, ...] = ()
    ) -> None:
        """`more` is for the `spec` of each function, `options` are further ones of `windlass serve`."""
        self.directory, self.data, self.options = directory, directory / "data", options
        self.manifests = directory / "functions"
        self.manifests.mkdir()
        for target in functions:
            module, name = target.split(":")
            (self.manifests / f"{module}.py").write_text((HERE / f"{module}.py").read_text())
            # JSON is YAML.
            (self.manifests / f"{name}.yaml").write_text(json.dumps({
                "apiVersion": "windlass.dev/v1alpha1",
                "kind": "ComputeFunction",
                "metadata": {"name": name.replace("_", "-")},
                "spec": {
                    "command": [sys.executable, "-m", "windlass.worker", target],
                    "parallelism": {"default": 2, "max": 8},
                    **(more or {}),
                },
            }))  # fmt: skip
        (self.manifests / "queue.yaml").write_text(json.dumps(QUEUE))
        self.port = 0
        self.start()

    def start(self) -> None:
        log = self.directory / "serve.log"
        said = log.stat().st_size if log.exists() else 0
        command = [windlass_program(), "serve", "--listen", f"127.0.0.1:{self.port}", "--data", self.data,
                   "--functions", self.manifests, "--cpus", "4", "--grace", "5", *self.options]  # fmt: skip
        with log.open("ab") as file:
            # A function that an option names is found from here.
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=self.manifests
            )
        until = time.monotonic() + 30
        while True:
            found = re.search(rb"127\.0\.0\.1:(\d+)", log.read_bytes()[said:])
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server does not start:\n{log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options) -> windlass.Client:
        return windlass.Client(self.url, data=self.data, **options)

    def async_client(self, **options) -> windlass.AsyncClient:
        return windlass.AsyncClient(self.url, data=self.data, **options)

    def executor(self, function: str, **options) -> windlass.Executor:
        return windlass.Executor(function, client=self.async_client, **options)


@pytest.fixture(autouse=True)
def nothing_from_the_environment(monkeypatch):
    for name in ("WINDLASS_SERVER", "WINDLASS_TOKEN", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("windlass"))
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path):
    """For tests that kill it."""
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def phases(client):
    """The phases of a function's jobs, those that have been there before left out."""
    before = {}

    def now(function):
        jobs = list(client.list(function=function))
        return [job.status.phase for job in jobs if job.metadata.uid not in before]

    for job in client.list():
        before[job.metadata.uid] = True
    return now


@pytest.fixture
def starter(tmp_path):
    """Starts things of a kind, each in a directory of its own, and kills them in the end."""
    started = []

    def of(kind):
        def start(*arguments, **options):
            path = tmp_path / str(len(started))
            path.mkdir()
            started.append(kind(path, *arguments, **options))
            return started[-1]

        return start

    yield of
    for one in started:
        one.kill()
