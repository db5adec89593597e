"""Flask in Gunicorn behind nginx as before, its pool replaced by Windlass: what the move of a Python service gives."""

import json
import os
import sys

from bench import processes
from bench.kernel import CPUS
from bench.systems import Refused, Way
from bench.systems.gunicorn import GunicornSpawn


def way(chunks, parallelism):
    return Way(f"{chunks} chunks on {parallelism} CPU{'s' if parallelism > 1 else ''}", (chunks, parallelism))


class WindlassFlask(GunicornSpawn):
    key = "windlass-flask"
    name = "Flask with Windlass"
    about = (
        "nginx and Flask in Gunicorn (2 x cores + 1 sync workers, preloaded) as with a pool, `windlass.Client` and "
        "`python -m windlass.worker` in `windlass serve`, whose processes stay between requests"
    )
    function = "run"  # of bench.apps.windlass_tasks
    tiny = [way(1, 1)]
    one_second = [way(4, CPUS)]
    small = [way(4, CPUS), way(1, 1)]
    mix = [(way(4, CPUS), way(1, 1)), (way(4, 1), way(1, 1))]
    victims = ("the web worker",)

    def start(self):
        self.server_port, functions = processes.free_port(), self.directory / "functions"
        # Where a client looks for the token.
        self.data = self.directory / "windlass"
        functions.mkdir()
        # A function sees nothing of the server's environment.
        seen = ("BENCH_KERNEL", "PYTHONPATH", "PYTHONPYCACHEPREFIX")
        manifest = {
            "apiVersion": "windlass.dev/v1alpha1",
            "kind": "ComputeFunction",
            "metadata": {"name": "chunks"},
            "spec": {
                "command": [sys.executable, "-m", "windlass.worker", f"bench.apps.windlass_tasks:{self.function}"],
                "env": [{"name": name, "value": os.environ[name]} for name in seen],
                "parallelism": {"default": 1, "max": CPUS},
                "warm": {"max": CPUS},
            },
        }
        (functions / "chunks.yaml").write_text(json.dumps(manifest))  # JSON is YAML
        self.server = processes.start(
            [self.bench.windlass, "serve", "--listen", f"127.0.0.1:{self.server_port}", "--data", self.data,
             "--functions", functions], self.log("serve"),
        )  # fmt: skip
        super().start()
        self.processes.append(self.server)

    def gunicorn(self, _application, port, _env):
        env = {"WINDLASS_SERVER": f"http://127.0.0.1:{self.server_port}", "XDG_DATA_HOME": str(self.directory)}
        return super().gunicorn("bench.apps.windlass_web:app", port, env)

    def victim(self, label):
        """The worker that has a connection to nginx: all others have at most theirs to Windlass."""
        workers = processes.descendants(self.web.pid)
        return max(workers, key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")), default=None)

    def request(self, work, way, name=None):
        chunks, parallelism = way
        if name:
            self.named = work
        body = {"seed": work.seed, "units": work.units, "steps": work.steps, "chunks": chunks, "parallelism": parallelism}
        status, answer = self.http.post(self.port, "/compute", body, {"Idempotency-Key": name} if name else None)
        if status != 200:
            raise Refused(f"HTTP {status}")
        return int(json.loads(answer)["value"])

    def find(self, name, seconds):
        """The same request with the same key."""
        return self.request(self.named, self.one_second[0].value, name)


class WindlassFlaskNumpy(WindlassFlask):
    key = "windlass-flask-numpy"
    name = "Flask with Windlass, numpy"
    about = "as the row before it, with `import numpy` in the function"
    function = "run_with_numpy"
    victims = ()  # as without
