"""Ray: tasks from a driver in this process, in memory, no HTTP."""

import logging
import os
import tempfile

from bench import processes
from bench.chunk import chunk, split, total
from bench.kernel import CPUS
from bench.systems import System


class Ray(System):
    key = "ray"
    name = "Ray"
    about = "tasks of 1 CPU from a driver inside the benchmark's client, warm workers, no HTTP, no dashboard"

    def start(self):
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
        import ray

        self.ray = ray
        # Its socket names leave little room for a long directory name.
        self.temporary = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
        ray.init(
            num_cpus=CPUS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=200 << 20,
            _node_ip_address="127.0.0.2",  # 127.0.0.1 would be replaced by an outer address
            _temp_dir=self.temporary.name,
        )
        self.remote = ray.remote(num_cpus=1)(chunk)

    def request(self, work, way, name=None):
        parts = [self.remote.remote(*part) for part in split(work.seed, work.units, work.steps, way)]
        return total(self.ray.get(parts, timeout=300))

    def victim(self, label):
        running = [p.pid for p in processes.Tree().scan().values() if p.command.startswith("ray::chunk")]
        return processes.busiest(running)

    def stop(self):
        self.ray.shutdown()
        self.temporary.cleanup()
