"""HyperQueue: its local cluster of the PyPI package, the native function as a process of 2 CPUs per request."""

import itertools
import os
import select
import sys
import threading

from bench import processes
from bench.kernel import CPUS
from bench.systems import Refused, System, Way

ONE, ALL = Way("1 CPU", 1), Way(f"{CPUS} CPUs", CPUS)


class HyperQueue(System):
    key = "hyperqueue"
    name = "HyperQueue"
    about = (
        "`LocalCluster` of the PyPI package (server and worker are one process), the same native function, no HTTP. "
        "The client learns of the end from the function itself through a pipe: the package's own wait polls once a second"
    )
    tiny = [ONE]
    one_second = [ALL]
    small = [ONE, ALL]
    mix = [(ALL, ONE), (ONE, ONE)]
    victims = ("server and worker, which are one",)

    def start(self):
        self.local, self.numbers = threading.local(), itertools.count()
        self.cluster = self.directory / "cluster"
        self.cluster.mkdir()
        command = [sys.executable, "-m", "bench.apps.hyperqueue_host", self.cluster, CPUS]
        self.host = processes.start(command, self.log("hyperqueue"))
        self.processes = [self.host]

    def request(self, work, way, name=None):
        from hyperqueue import Job
        from hyperqueue.client import Client
        from hyperqueue.ffi.protocol import ResourceRequest

        if not hasattr(self.local, "client"):
            self.local.client = Client(self.cluster)
        pipe = self.directory / f"answer-{next(self.numbers)}"
        os.mkfifo(pipe)
        # Opened before the function does, so that its write does not block.
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            words = [self.bench.function, work.seed, work.units, work.steps, way, pipe]
            job = Job(self.directory, max_fails=None)
            job.program([str(word) for word in words], stdout=None, stderr=None, resources=ResourceRequest(cpus=str(way)))
            submitted = self.local.client.submit(job)
            poll = select.poll()
            poll.register(reader, select.POLLIN)
            while not poll.poll(1000):
                # An exception when the server is gone.
                if self.local.client.connection.get_failed_tasks([submitted.id]).get(submitted.id):
                    raise Refused("the job failed")
            answer = os.read(reader, 100)
        finally:
            os.close(reader)
            os.unlink(pipe)
        if not answer:
            raise Refused("the function was killed")
        return int(answer)

    def victim(self, label):
        return self.host.pid
