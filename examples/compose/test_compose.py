"""The services of compose.yaml by their commands as they are written, in namespaces such as containers have."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).resolve().parent
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DATA = [{"seed": seed, "rounds": 10} for seed in range(8)]
# What a container has of its own, but for files and network.
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_rights_that_it_does_not_need(name):
    service = SERVICES[name]
    user, group = map(int, service["user"].split(":"))
    assert user > 0 and group > 0
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (HERE / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    if name != "network":
        assert service["network_mode"] == "service:network" and "ports" not in service


def test_the_server_has_time_to_stop_and_is_not_published():
    service = SERVICES["windlass"]
    assert SERVICES["network"]["ports"] == ["8080:8080"]
    help_text = subprocess.run([os.environ["WINDLASS_BIN"], "serve", "--help"], capture_output=True, text=True).stdout
    grace = help_text.split("--grace")[1].split("[default: ")[1].split("]")[0]
    assert int(service["stop_grace_period"].rstrip("s")) > int(grace)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.05)
    return found


class Stack:
    """The services in one network. The server is the first process of its namespace."""

    def __init__(self, directory):
        self.directory, self.started = directory, {}
        shutil.copytree(HERE.parent / "flask" / "after", directory / "app")
        shutil.copy(HERE / "nginx.conf", directory / "app")
        (directory / "bin").mkdir()
        (directory / "data").mkdir(mode=0o700)
        (directory / "tmp").mkdir()
        (directory / "bin" / "windlass").symlink_to(os.environ["WINDLASS_BIN"])
        for name, words in {"python": "", "gunicorn": "-m gunicorn"}.items():
            script = directory / "bin" / name
            script.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            script.chmod(0o755)

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self):
        self.start("network", "unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
        until(lambda: Path(f"/proc/{self.started['network'].pid}/cmdline").read_text().startswith("sleep\0"))
        self.start_server()
        self.start("web", *self.inside)
        self.start("nginx", *self.inside)
        until(lambda: self.ask("GET", "/no-such")[0] == 404)

    def start_server(self):
        self.start("windlass", *self.inside, *NAMESPACES)
        until(self.is_healthy)

    def stop_server(self, number):
        """Ends the server, and tells its status. `unshare` has its status, and ends with it."""
        outer = self.started["windlass"]
        os.kill(until(lambda: self.child_of(outer.pid)), number)
        return outer.wait(30)

    @property
    def inside(self):
        return ["nsenter", "--net", "--target", str(self.started["network"].pid)]

    def start(self, name, *before):
        """Starts the command of a service. Its paths are those of this test."""
        service, here = SERVICES[name], str(self.directory)
        move = lambda text: text.replace("/data", f"{here}/data").replace("/app/", f"{here}/app/")  # noqa: E731
        environment = {key: move(value) for key, value in service.get("environment", {}).items()}
        path = f"{here}/bin:{os.environ['PATH']}"
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [*before, *map(move, service["command"])], cwd=self.directory / "app",
                env={"PATH": path, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.started[name] = process

    def child_of(self, pid):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None

    def is_healthy(self):
        """What the health check of the service says."""
        assert self.started["windlass"].poll() is None, (self.directory / "log").read_text()
        check = SERVICES["windlass"]["healthcheck"]["test"][1:]
        command = [*self.inside, sys.executable, *check[1:]]
        return subprocess.run(command, capture_output=True).returncode == 0

    def ask(self, method, path, value=None):
        """Status, `Location` and text of an answer of the app, through nginx at the port that is published."""
        port = SERVICES["network"]["ports"][0].split(":")[1]
        command = [
            *self.inside,
            "curl",
            "-s",
            "-w",
            "\n%{http_code} %header{location}",
            "-X",
            method,
            f"http://127.0.0.1:{port}{path}",
        ]
        if value is not None:
            command += ["--json", json.dumps(value)]
        text = subprocess.run(command, capture_output=True, text=True).stdout
        body, _, told = text.rpartition("\n")
        status, _, location = told.partition(" ")
        return int(status), location, body

    def __exit__(self, *_):
        """Nothing stays. The server ends with its `unshare`, which passes over SIGTERM."""
        for name, process in reversed(self.started.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL if name == "windlass" else signal.SIGTERM)
                process.wait(30)


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes these namespaces")
def test_the_commands_of_the_services_make_a_service_that_computes(tmp_path):
    with Stack(tmp_path) as stack:
        status, location, body = stack.ask("POST", "/estimates", {"data": DATA})
        assert status == 202, body

        def ended():
            status, _, body = stack.ask("GET", location)
            return json.loads(body) if status == 200 else None

        assert len(until(ended)["results"]) == len(DATA)
        # The server ends and starts anew: the others still reach it.
        stack.stop_server(signal.SIGKILL)
        stack.start_server()
        assert len(until(ended)["results"]) == len(DATA)
        assert stack.stop_server(signal.SIGTERM) == 0, (tmp_path / "log").read_text()
