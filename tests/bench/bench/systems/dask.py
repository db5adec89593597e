"""Dask distributed: a scheduler and one worker process per CPU, a client in this process."""

from bench import processes
from bench.chunk import chunk, split, total
from bench.kernel import CPUS
from bench.systems import System


class Dask(System):
    key = "dask"
    name = "Dask distributed"
    about = "`dask scheduler`, a worker process of 1 thread per CPU with nannies, the client inside the benchmark's"

    def start(self):
        from distributed import Client

        port = processes.free_port()
        address = f"tcp://127.0.0.1:{port}"
        dask = self.bench.program("dask")
        command = [dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show"]
        scheduler = processes.start(command, self.log("scheduler"))
        command = [dask, "worker", address, "--host", "127.0.0.1", "--nworkers", CPUS, "--nthreads", 1, "--no-dashboard",
                   "--memory-limit", 0, "--local-directory", self.directory]  # fmt: skip
        self.worker = processes.start(command, self.log("worker"))
        self.processes = [self.worker, scheduler]
        self.client = Client(address, timeout=30)
        self.client.wait_for_workers(CPUS, timeout=60)

    def request(self, work, way, name=None):
        parts = [self.client.submit(chunk, *part, pure=False) for part in split(work.seed, work.units, work.steps, way)]
        return total(part.result(timeout=300) for part in parts)

    def victim(self, label):
        tree = processes.descendants(self.worker.pid).values()
        return processes.busiest([p.pid for p in tree if "multiprocessing" in p.command])

    def stop(self):
        self.client.close()
