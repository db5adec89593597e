"""The kernel on bare threads: compiling, calibrating, expected answers and the ideal that systems are held against."""

import hashlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.chunk import chunk, total

SOURCES = Path(__file__).resolve().parent.parent
CPUS = len(os.sched_getaffinity(0))
UNITS = 64  # of a request; it can be split that finely


@dataclass(frozen=True)
class Work:
    """One request: its answer depends on nothing else."""

    seed: int
    units: int
    steps: int


def build(cache):
    """Compiles the library and the native function, once for each state of the sources. Their paths."""
    sources = b"".join((SOURCES / name).read_bytes() for name in ("kernel.rs", "function.rs"))
    compiler = subprocess.run(["rustc", "-vV"], cwd=SOURCES, check=True, capture_output=True).stdout
    target = Path(cache) / f"kernel-{hashlib.sha256(sources + compiler).hexdigest()[:12]}"
    library, function = target / "libkernel.so", target / "function"
    target.mkdir(parents=True, exist_ok=True)
    for output, kind, source in [(library, "cdylib", "kernel.rs"), (function, "bin", "function.rs")]:
        if not output.exists():
            command = ["rustc", "-O", "--edition", "2021", "--crate-type", kind, "-o", str(output), source]
            subprocess.run(command, cwd=SOURCES, check=True)
    return library, function


def _on_threads(jobs):
    """Runs the jobs, functions without arguments, on as many threads as there are CPUs. Wall and CPU seconds."""
    waiting, lock, spent = list(reversed(jobs)), threading.Lock(), []

    def run():
        began = time.thread_time()
        while True:
            with lock:
                if not waiting:
                    spent.append(time.thread_time() - began)
                    return
                job = waiting.pop()
            job()

    threads = [threading.Thread(target=run) for _ in range(CPUS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, sum(spent)


class Kernel:
    """A calibrated kernel."""

    def __init__(self, probe_seconds):
        self.probe_seconds = probe_seconds
        self.expected = {}
        steps = 5_000_000
        for _ in range(2):  # the first warms up and finds the order of magnitude
            jobs = [lambda i=i: chunk(i, 0, 1, steps) for i in range(32)]
            _, spent = _on_threads(jobs)
            self.steps_per_second = len(jobs) * steps / spent
            steps = int(self.steps_per_second / 16)

    def work(self, seed, cpu_seconds):
        return Work(seed, UNITS, int(self.steps_per_second * cpu_seconds / UNITS))

    def seconds(self, works):
        """CPU-seconds of work, as calibrated."""
        return sum(work.units * work.steps for work in works) / self.steps_per_second

    def expect(self, works):
        """Computes the right answers directly. CPU-seconds of work done in a second of wall time."""
        works = [work for work in works if work not in self.expected]

        def answer(work):
            self.expected[work] = chunk(work.seed, 0, work.units, work.steps)

        wall, _ = _on_threads([lambda work=work: answer(work) for work in works])
        return self.seconds(works) / wall

    def probe(self):
        """What the machine gives just now: CPU-seconds of work in a second, on bare threads."""
        work = self.work(1, self.probe_seconds * CPUS)
        jobs = [lambda u=u: chunk(work.seed, u, u + 1, work.steps) for u in range(work.units)]
        wall, _ = _on_threads(jobs)
        return self.seconds([work]) / wall

    def is_right(self, work, value):
        return total([value]) == self.expected[work]
