"""Plays `windlass worker` for a function that does one job: version 1 of the contract."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


def items(values):
    return json.dumps({"items": values})


def computed(output):
    """What a job that has failed has left as its output."""
    if not output.exists():
        return None
    left = json.loads(output.read_text())
    assert set(left) == {"results", "errors", "notComputed"}, left
    return left


class Attempt:
    """One run, in a directory and a process group of its own."""

    def __init__(
        self,
        path,
        target,
        given,
        parallelism=2,
        without=None,
        arguments=(),
        media_type=None,
        files=None,
        program=("-m", "windlass.worker"),
        cwd=HERE,
    ):
        self.path = path
        (path / "input").write_bytes(given if isinstance(given, bytes) else given.encode())
        variables = {
            **{f"WINDLASS_{name.upper()}": str(path / name) for name in ("input", "output", "progress")},
            **dict.fromkeys(("WINDLASS_PARALLELISM", "OMP_NUM_THREADS"), str(parallelism)),
        }
        if media_type:
            variables |= {"WINDLASS_INPUT_TYPE": media_type, "WINDLASS_OUTPUT_TYPE": str(path / "type")}
        if files:
            (path / "files").mkdir()
            variables["WINDLASS_FILES"] = str(path / "files")
        for name, data in (files or {}).items():
            (path / "files" / name).write_bytes(data)
        variables.pop(without, None)
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments, target],
            env={**os.environ, **variables},
            cwd=cwd,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self):
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def output(self):
        assert self.end() == (0, "")
        return (self.path / "output").read_bytes()

    def value(self):
        return json.loads(self.output())

    def results(self):
        return self.value()["results"]

    def type(self):
        return (self.path / "type").read_text().strip()

    def refusal(self):
        """What is said of an input that is never tried again."""
        status, said = self.end()
        assert status == 65 and "Traceback" not in said, said
        # Only where an item is refused was something computed before.
        assert self.computed() is None or "item " in said, said
        return said

    def computed(self):
        """What was left of a job that has failed; None for nothing. It is no result."""
        return computed(self.path / "output")

    def progress(self):
        path = self.path / "progress"
        return path.read_text().splitlines() if path.exists() else []

    def until(self, condition):
        until = time.monotonic() + 30
        while not condition():
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < until, "in vain"
            time.sleep(0.01)

    def children(self):
        listed = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in listed.read_text().split()]

    def group_is_empty(self):
        for _ in range(100):
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
