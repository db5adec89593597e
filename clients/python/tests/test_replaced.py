"""The server's log says that a process of a function that serves was replaced, and why."""

import json
import re
import sys

import pytest
from conftest import Server
from programs import until

import windlass

# A name for each, as one function is told of once a minute.
FUNCTIONS = {
    "holds": ({}, "the function holds .* MiB of memory between jobs, more than .*"),
    "opens": ({}, "the function left open .*"),
    "dies": ({}, "a process of the pool ended by signal 9"),
    "edited": ({}, ".*/edited.py has changed"),
    "last": ({"maxJobs": 1}, "it has had as many jobs as maxJobs says"),
    "orphans": ({}, "it has ended in its job, which failed: Killed"),
}
CODE = {
    "holds": "KEPT = []\ndef f(x):\n    KEPT.append(b'x' * (200 << 20))\n    return x\n",
    "opens": "KEPT = []\ndef f(x):\n    KEPT.append(open(__file__))\n    return x\n",
    "dies": "import os\ndef f(x):\n    os.kill(os.getpid(), 9)\n",
    "edited": "def f(x):\n    return x\n",
    "last": "def f(x):\n    return x\n",
    # The program that the server knows.
    "orphans": "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x\n",
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("replaced"), [])
    yield server
    server.stop()


def declare(server, name):
    (server.manifests / f"{name}.py").write_text(CODE[name])
    (server.manifests / f"{name}.yaml").write_text(json.dumps({
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "ComputeFunction",
        "metadata": {"name": name},
        "spec": {
            "command": [sys.executable, "-m", "windlass.worker", f"{name}:f"],
            "parallelism": {"default": 1, "max": 2},
            "warm": FUNCTIONS[name][0],
        },
    }))  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_why_once(real, name):
    declare(real, name)

    def said():
        told = map(json.loads, (real.directory / "serve.log").read_text().splitlines())
        lines = [line for line in told if line.get("message") == "a process of a function is replaced"]
        return [line for line in lines if line["function"] == name]

    with real.client() as client:
        until(lambda: any(each.metadata.name == name for each in client.functions()))
        for number in range(2):
            if number == 1 and name == "edited":
                (real.manifests / "edited.py").write_text("def f(x):\n    return -x\n")
            try:
                client.call(name, {"items": [number]}, retries=0)
            except windlass.JobFailed:
                assert name in ("dies", "orphans")
        until(said)
    # What was replaced since is not told yet.
    (line,) = said()
    assert re.fullmatch(FUNCTIONS[name][1], line["why"]) and line["others"] == 0, line
