"""`windlass lambda` with the public clients of AWS Lambda's runtime API, unchanged. This plays the worker.

`tests/lambda/run` prepares the clients and calls this.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
WINDLASS = os.environ["WINDLASS_BIN"]
PYTHON = [os.environ["LAMBDA_PYTHON"], "-m", "awslambdaric", "app.handler"]
GO = [os.environ["LAMBDA_GO"]]
CLIENTS = {"Python": PYTHON, "Go": GO}
RAW = [sys.executable, str(HERE / "raw.py")]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DEADLINE = "2030-01-02T03:04:05Z"


class Adapter:
    """One adapter, and the worker's end of its socket."""

    def __init__(self, program, **variables):
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        self.environment = {
            "PATH": os.environ["PATH"], "LAMBDA_TASK_ROOT": str(HERE), "HOME": self.directory.name,
            "PYTHONDONTWRITEBYTECODE": "1", "AWS_LAMBDA_FUNCTION_NAME": "moved", **variables,
        }  # fmt: skip
        self.socket = None
        self.command = [WINDLASS, "lambda", "--", *program]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        if self.socket:
            self.lines.close()
            self.socket.close()
        self.directory.cleanup()

    def serve(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path / "s"))
            listener.listen()
            self.process = subprocess.Popen(
                self.command, stderr=subprocess.PIPE,
                env=self.environment | {"WINDLASS_SERVE": str(self.path / "s")},
            )  # fmt: skip
            listener.settimeout(20)
            self.socket, _ = listener.accept()
        self.socket.settimeout(20)
        self.lines = self.socket.makefile("rb")
        return self

    def hear(self):
        return json.loads(self.lines.readline() or b"null")

    def begin(self, name, event):
        (self.path / "input").write_text(json.dumps(event))
        (self.path / "output").unlink(missing_ok=True)
        line = {"job": name, "attempt": 1, "parallelism": 2, "input": str(self.path / "input"),
                "inputType": "application/json", "files": {}, "output": str(self.path / "output"),
                "progress": str(self.path / "progress"), "directory": self.directory.name,
                "deadline": DEADLINE, "traceparent": TRACE}  # fmt: skip
        self.say(line)

    def say(self, line):
        self.socket.sendall(json.dumps(line).encode() + b"\n")

    def run(self, name, event):
        self.begin(name, event)
        answer = self.hear()
        self.kept = answer.pop("processes", None) if answer else None
        return answer

    def output(self):
        return json.loads((self.path / "output").read_text())

    def close(self):
        self.lines.close()
        self.socket.close()
        return self.end()

    def end(self):
        """Exit status and stderr."""
        said = self.process.stderr.read().decode()
        return self.process.wait(20), said

    def cold(self, event):
        (self.path / "input").write_text(json.dumps(event))
        variables = {"WINDLASS_INPUT": "input", "WINDLASS_OUTPUT": "output"}
        variables = {name: str(self.path / file) for name, file in variables.items()}
        environment = self.environment | variables | {"WINDLASS_DEADLINE": DEADLINE, "TRACEPARENT": TRACE}
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, env=environment)
        return self.end()


def gone(process):
    """Whether the process has ended, or does so within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        status = Path(f"/proc/{process}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return True
        time.sleep(0.01)
    return False


class Clients(unittest.TestCase):
    def each(self):
        for name, program in CLIENTS.items():
            with self.subTest(name):
                yield program

    def test_one_process_has_event_after_event(self):
        for program in self.each():
            with Adapter(program).serve() as adapter:
                self.assertEqual(adapter.hear(), {"ready": 2})
                seen = []
                for number in range(100):
                    self.assertEqual(adapter.run(f"j{number}", {"number": number}), {"done": f"j{number}"})
                    seen.append(adapter.output())
                self.assertEqual([told["calls"] for told in seen], list(range(1, 101)))
                self.assertEqual([told["event"]["number"] for told in seen], list(range(100)))
                self.assertEqual(len({told["id"] for told in seen}), 100)
                self.assertEqual({told["deadline"] for told in seen}, {DEADLINE})
                self.assertEqual({told["function"] for told in seen}, {"moved"})
                self.assertEqual(adapter.kept, [seen[0]["pid"]])
                self.assertEqual(adapter.close()[0], 0)
                self.assertTrue(gone(seen[0]["pid"]))

    def test_an_error_is_the_inputs_and_the_process_goes_on(self):
        for program in self.each():
            with Adapter(program).serve() as adapter:
                adapter.hear()
                self.assertEqual(adapter.run("a", {"do": "fail"}), {"failed": "a", "reason": "exception"})
                self.assertEqual(adapter.run("b", {}), {"done": "b"})
                self.assertEqual(adapter.output()["calls"], 2)
                self.assertRegex(adapter.close()[1], "(ValueError|errorString): no such thing")

    def test_a_crash_ends_the_adapter(self):
        for program in self.each():
            with Adapter(program).serve() as adapter:
                adapter.hear()
                self.assertIsNone(adapter.run("a", {"do": "exit"}))
                status, said = adapter.end()
                self.assertEqual(status, 1)
                self.assertIn("the program ended with exit status 9", said)

    def test_a_cancel_ends_the_program(self):
        for program in self.each():
            with Adapter(program).serve() as adapter:
                adapter.hear()
                adapter.run("a", {})
                adapter.begin("b", {"do": "sleep"})
                adapter.say({"cancel": "another"})
                adapter.say({"cancel": "b"})
                answer = adapter.hear()
                self.assertEqual((answer["cancelled"], answer["processes"]), ("b", []))
                self.assertIn("replace", answer)
                self.assertTrue(gone(adapter.kept[0]))

    def test_sigterm_ends_both(self):
        for program in self.each():
            for event in (None, {"do": "sleep"}):
                with Adapter(program).serve() as adapter:
                    adapter.hear()
                    adapter.run("a", {})
                    if event:
                        adapter.begin("b", event)
                    adapter.process.send_signal(signal.SIGTERM)
                    self.assertEqual(adapter.end()[0], 143)
                    self.assertTrue(gone(adapter.kept[0]))

    def test_without_a_socket_it_does_one_job(self):
        for program in self.each():
            with Adapter(program) as adapter:
                self.assertEqual(adapter.cold({"a": 1})[0], 0)
                told = adapter.output()
                self.assertEqual((told["event"], told["deadline"]), ({"a": 1}, DEADLINE))
            with Adapter(program) as adapter:
                status, said = adapter.cold({"do": "fail"})
                self.assertEqual(status, 70)
                self.assertIn("no such thing", said)
                self.assertFalse((adapter.path / "output").exists())
            with Adapter(program) as adapter:
                self.assertEqual(adapter.cold({"do": "exit"})[0], 1)

    def test_a_panic_in_go_costs_the_process_and_the_job_is_answered(self):
        with Adapter(GO).serve() as adapter:
            adapter.hear()
            answer = adapter.run("a", {"do": "panic"})
            self.assertEqual((answer["failed"], "replace" in answer), ("a", True))

    def test_what_cannot_be_imported_is_told(self):
        with Adapter([*PYTHON[:3], "nowhere.handler"]).serve() as adapter:
            self.assertIsNone(adapter.hear())
            status, said = adapter.end()
            self.assertEqual(status, 1)
            self.assertIn("nowhere", said)


class RuntimeApi(unittest.TestCase):
    def test_codes_and_headers_are_those_of_the_documentation(self):
        with Adapter(RAW).serve() as adapter:
            adapter.hear()
            self.assertEqual(adapter.run("a", {"do": "codes"}), {"done": "a"})
            told = adapter.output()
            codes = {"next again": 403, "another's": 400, "another's error": 400, "no such path": 404}
            self.assertEqual(told["codes"], codes)
            self.assertEqual(told["type"], "application/json")
            headers = told["headers"]
            self.assertRegex(headers.pop("lambda-runtime-aws-request-id"), "^[0-9a-f-]{36}$")
            self.assertEqual(headers, {
                "lambda-runtime-deadline-ms": "1893553445000",
                "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:moved",
                "lambda-runtime-trace-id":
                    "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1",
            })  # fmt: skip

    def test_responses_may_be_streamed_fail_in_the_middle_or_be_too_long(self):
        with Adapter(RAW).serve() as adapter:
            adapter.hear()
            self.assertEqual(adapter.run("a", {"do": "stream"}), {"done": "a"})
            self.assertEqual(adapter.output(), {"a": 1})
            self.assertEqual(adapter.run("b", {"do": "broken stream"}), {"failed": "b", "reason": "exception"})
            self.assertEqual(adapter.run("c", {"do": "memory"}), {"failed": "c", "reason": "error"})
            self.assertEqual(adapter.run("d", {"do": "large"}), {"failed": "d", "reason": "exception"})
            said = adapter.close()[1]
            self.assertIn("Late: in the middle", said)
            self.assertIn("Function.ResponseSizeTooLarge", said)

    def test_an_error_of_initialization_fails_the_process(self):
        with Adapter([*RAW, "init"]).serve() as adapter:
            self.assertIsNone(adapter.hear())
            self.assertEqual(adapter.end(), (1, "Runtime.ImportModuleError: no such module\n"))

    def test_only_the_program_may_ask(self):
        with Adapter([*RAW, "other"]).serve() as adapter:
            adapter.hear()
            host, port = adapter.process.stderr.readline().decode().strip().split(":")
            with socket.create_connection((host, int(port)), 20) as other:
                other.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n")
                try:
                    self.assertEqual(other.recv(100), b"")
                except ConnectionResetError:
                    pass
            self.assertEqual(adapter.run("a", {"do": "stream"}), {"done": "a"})
            self.assertIn("not the function's", adapter.close()[1])


class Served(unittest.TestCase):
    def test_a_server_keeps_it_warm(self):
        with tempfile.TemporaryDirectory() as directory:
            functions = Path(directory, "functions")
            functions.mkdir()
            # None is started ahead: a job that comes before such a one is ready gets a process of its own.
            manifest = {
                "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction", "metadata": {"name": "moved"},
                "spec": {"command": [WINDLASS, "lambda", "--", *PYTHON], "warm": {"min": 0},
                         "env": [{"name": "LAMBDA_TASK_ROOT", "value": str(HERE)}]},
            }  # fmt: skip
            (functions / "moved.yaml").write_text(json.dumps(manifest))
            log = Path(directory, "log")
            data = str(Path(directory, "data"))
            with log.open("wb") as file:
                server = subprocess.Popen(
                    [WINDLASS, "serve", "--listen", "127.0.0.1:0", "--data", data, "--functions", functions],
                    stdout=file, stderr=file,
                )  # fmt: skip
            try:
                until = time.monotonic() + 30
                while not (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())):
                    self.assertTrue(server.poll() is None and time.monotonic() < until, log.read_text())
                    time.sleep(0.02)
                told = [self.call("http://" + found[0], data, number) for number in range(5)]
                self.assertEqual([one["event"]["number"] for one in told], list(range(5)))
                self.assertEqual({one["pid"] for one in told}, {told[0]["pid"]}, log.read_text())
            finally:
                server.terminate()
                server.wait(20)

    def call(self, url, data, number):
        command = [WINDLASS, "call", "moved", "--server", url, "--data", data, "--input", json.dumps({"number": number})]
        return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


if __name__ == "__main__":
    unittest.main()
