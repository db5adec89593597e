"""Windlass: `windlass serve`, and the native function on the worker contract, which is started for each request or stays."""

import json
import time

from bench import processes
from bench.kernel import CPUS
from bench.systems import HttpClient, Refused, System, Way

ONE = Way("1 CPU", {"parallelism": 1})
ALL = Way(f"{CPUS} CPUs", {"parallelism": CPUS})
UP_TO_ALL = Way(f"{CPUS} CPUs, at least 1", {"parallelism": CPUS, "minParallelism": 1})
JOBS = "/v1/namespaces/default/jobs"


class Windlass(System):
    key = "windlass"
    name = "Windlass"
    about = "`windlass serve`, HTTP, `Prefer: wait`; a process per request, with exactly the threads that were granted"
    tiny = [ONE]
    one_second = [ALL]
    small = [ONE, ALL, UP_TO_ALL]
    mix = [(ALL, ONE), (ONE, ONE), (UP_TO_ALL, ONE)]
    victims = ("its `windlass worker`", "the server, then restarted")
    spec = {}  # beside the command

    def start(self):
        self.http = HttpClient()
        self.data, functions = self.directory / "data", self.directory / "functions"
        self.port = processes.free_port()
        functions.mkdir()
        manifest = {
            "apiVersion": "windlass.dev/v1alpha1",
            "kind": "ComputeFunction",
            "metadata": {"name": "bench"},
            "spec": {"command": [str(self.bench.function)], "parallelism": {"default": 1, "max": CPUS}, **self.spec},
        }
        (functions / "bench.yaml").write_text(json.dumps(manifest))  # JSON is YAML
        self.command = [self.bench.windlass, "serve", "--listen", f"127.0.0.1:{self.port}", "--data", self.data,
                        "--functions", functions]  # fmt: skip
        self.serve()

    def serve(self):
        self.server = processes.start(self.command, self.log("serve"))
        self.processes.append(self.server)

    def headers(self):
        return {"Authorization": f"Bearer {(self.data / 'token').read_text().strip()}", "Prefer": "wait=120"}

    def request(self, work, way, name=None):
        body = {"function": "bench", "input": {"seed": work.seed, "units": work.units, "steps": work.steps}, **way}
        if name:
            body["name"] = name
        # The token is read for each client once.
        if not hasattr(self.http, "headers"):
            self.http.headers = self.headers()
        return self.answer(*self.http.post(self.port, JOBS, body, self.http.headers))

    def answer(self, status, body):
        job = json.loads(body)
        if status != 200:  # a problem document
            raise Refused(f"HTTP {status} {job.get('detail') or job.get('title') or ''}".strip())
        if "result" not in job["status"]:
            raise Refused(f"{job['status'].get('phase')} {job['status'].get('failure') or ''}".strip())
        return int(json.loads(job["status"]["result"]["text"])["value"])

    def victim(self, label):
        if label == self.victims[1]:
            return self.server.pid
        children = processes.descendants(self.server.pid).values()
        return next((p.pid for p in children if p.command.split()[1:2] == ["worker"]), None)

    def recover(self, label):
        if label == self.victims[1]:
            self.serve()

    def find(self, name, seconds):
        until = time.monotonic() + seconds
        while True:
            try:
                status, body = self.http.ask("GET", self.port, f"{JOBS}/{name}", headers=self.headers())
                if status != 200 or json.loads(body)["status"].get("phase") in ("Succeeded", "Failed", "Cancelled"):
                    return self.answer(status, body)
            except OSError:
                pass  # it starts
            if time.monotonic() > until:
                raise TimeoutError(f"not finished after {seconds:.0f} s")
            time.sleep(0.05)


class WindlassWarm(Windlass):
    key = "windlass-warm"
    name = "Windlass, warm"
    about = "`windlass serve`, HTTP, `Prefer: wait`; the function serves, so that its processes stay between requests"
    spec = {"warm": {"max": CPUS}}
    victims = ()  # as without
