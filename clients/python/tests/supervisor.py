"""Plays `windlass worker` for a function that serves: version 2 of the contract, over a real socket."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from attempt import computed

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 60


class Supervisor:
    """One process that serves, in a process group of its own, and the jobs that it was given."""

    def __init__(self, path, target, arguments=(), environment=None, module=("-m", "windlass.worker"), cwd=HERE):
        self.path, self.jobs = path, 0
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path / "socket"))
        listener.listen()
        self.work = path / "work"
        self.work.mkdir()
        self.stderr = (path / "stderr").open("w+b")
        ours = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS")}
        self.process = subprocess.Popen(
            [sys.executable, *module, *arguments, target],
            env={**ours, "WINDLASS_SERVE": str(path / "socket"), "TMPDIR": str(self.work), **(environment or {})},
            cwd=cwd,
            stderr=self.stderr,
            start_new_session=True,
        )
        listener.settimeout(SECONDS)
        self.socket, _ = listener.accept()
        self.socket.settimeout(SECONDS)
        self.lines = self.socket.makefile("rb")
        listener.close()

    def ready(self):
        assert self.hear() == {"ready": 2}
        return self

    def hear(self):
        line = self.lines.readline()
        assert len(line) <= 64 * 1024
        return json.loads(line) if line else None

    def say(self, told):
        self.socket.sendall(json.dumps(told).encode() + b"\n")

    def begin(self, items, parallelism=1, **fields):
        """Gives it a job; its name."""
        self.jobs += 1
        name = f"job-{self.jobs}"
        # Without items the input is what is there.
        if items is not None:
            (self.path / "input").write_text(
                items if isinstance(items, str) else json.dumps({"items": items, **fields.pop("more", {})})
            )
        for file in self.work.iterdir():
            file.unlink()
        (self.work / "progress").touch()
        self.said_before = self.stderr_bytes()
        self.say(
            {
                **{"job": name, "attempt": 1, "parallelism": parallelism, "input": str(self.path / "input")},
                **{"inputType": "application/json", "files": {}, "output": str(self.work / "output")},
                **{"progress": str(self.work / "progress"), "directory": str(self.work)},
                **{"deadline": "2026-11-28T14:00:00Z", "unknown": 1, **fields},
            }
        )
        return name

    def answer(self, name):
        """What it answers for a job; what it keeps and nothing else is left of processes."""
        answer = self.hear()
        assert answer is not None, self.said()
        assert name in (answer.get("done"), answer.get("failed"), answer.get("cancelled")), answer
        assert set(answer["processes"]) == set(self.children())
        self.answered = answer.pop("result", None)
        return answer

    def output(self):
        """The whole result of the last job, from its answer or from the file."""
        file = self.work / "output"
        assert file.exists() == (self.answered is None)
        return json.loads(file.read_text() if self.answered is None else self.answered)

    def result(self, items, parallelism=1, **fields):
        """The results of a job that succeeds."""
        name = self.begin(items, parallelism, **fields)
        answer = self.answer(name)
        assert answer.get("done") == name, (answer, self.said())
        assert "replace" not in answer, answer
        return self.output()["results"]

    def failure(self, items, parallelism=1, **fields):
        """Why a job fails, and what was said."""
        answer = self.answer(self.begin(items, parallelism, **fields))
        assert "failed" in answer and "message" not in answer, answer
        assert self.answered is None
        self.computed = computed(self.work / "output")
        return answer["reason"], self.said()

    def stderr_bytes(self):
        return os.fstat(self.stderr.fileno()).st_size

    def said(self):
        """On stderr, since the job has begun."""
        text = (self.path / "stderr").read_text()
        return text[getattr(self, "said_before", 0) :]

    def progress(self):
        return (self.work / "progress").read_text().splitlines()

    def children(self, of=None):
        of = of or self.process.pid
        listed = [path.read_text() for path in pathlib.Path(f"/proc/{of}/task").glob("*/children")]
        return [int(pid) for text in listed for pid in text.split()]

    def until(self, condition):
        until = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, "in vain"
            time.sleep(0.005)

    def ends(self, status):
        assert self.process.wait(SECONDS) == status, self.said()
        until = time.monotonic() + SECONDS
        while self.group_is_there():
            assert time.monotonic() < until, "a process is left"
            time.sleep(0.01)

    def group_is_there(self):
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self):
        self.lines.close()
        self.socket.close()

    def kill(self):
        if self.group_is_there():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.close()
        self.stderr.close()
