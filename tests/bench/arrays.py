"""What arrays cost as items and as results of a map, beside a `multiprocessing.Pool` on the same arrays.

A server of its own runs the functions of this file. Each way is measured a few times, in turn with the others; the
median counts. Every result is compared.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

import windlass

FUNCTIONS = ("both", "total", "made", "listed", "stack")


def both(array):
    """An array in, an array out."""
    return array + 1


def total(array):
    """An array in, a number out."""
    return float(array.sum())


@windlass.function(output_type="application/x-npy")
def made(size):
    """A number in, an array out."""
    return numpy.full(int(size), 1.5)


def listed(size):
    """The same; nothing says that it is not to be a list."""
    return made(size)


@windlass.function(items=False)
def stack(arrays: numpy.ndarray):
    """All arrays in one job, as one array."""
    return arrays + 1


class Server:
    """`windlass serve` with the functions above."""

    def __init__(self, directory: Path, cpus: int) -> None:
        self.data = directory / "data"
        command = [os.environ["WINDLASS_BIN"], "serve", "--listen", "127.0.0.1:0", "--data", self.data]
        command += ["--cpus", str(cpus)]
        for name in FUNCTIONS:
            command += ["--function", f"{name}={sys.executable} -m windlass.worker arrays:{name}"]
        log = directory / "log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, cwd=Path(__file__).parent)
        until = time.monotonic() + 30
        while not (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())):
            assert self.process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        self.url = f"http://{found[0]}"

    def client(self, kind=windlass.AsyncClient):
        return kind(self.url, data=self.data)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def ways(server, pool, cpus, items):
    """What is measured, by its load and its name."""
    called = dict(client=server.client, parallelism=cpus)
    executors = {name: windlass.Executor(name, **called) for name in FUNCTIONS[:-1]}
    client = server.client(windlass.Client)
    sizes = [items[0].size] * len(items)

    def submit(item):
        return executors["total"].submit(total, item)

    return {
        "array to array": {
            "Pool.map": lambda: pool.map(both, items),
            "Executor.map": lambda: list(executors["both"].map(both, items)),
            "one job of one array": lambda: list(client.call("stack", data=numpy.stack(items), parallelism=cpus)),
        },
        "array to number": {
            "Pool.map": lambda: pool.map(total, items),
            "Executor.map": lambda: list(executors["total"].map(total, items)),
            "one job for each array": lambda: [job.result() for job in [submit(item) for item in items]],
        },
        "number to array": {
            "Pool.map": lambda: pool.map(made, sizes),
            "Executor.map": lambda: list(executors["made"].map(made, sizes)),
            "Executor.map, as lists": lambda: list(executors["listed"].map(listed, sizes)),
        },
    }


def measure(loads, rounds):
    """The median of each way in seconds, and its ratio to the first."""
    for load, names in loads.items():
        expected = [numpy.asarray(each) for each in next(iter(names.values()))()]
        seconds = {name: [] for name in names}
        for _ in range(rounds):
            for name, way in names.items():
                began = time.monotonic()
                results = way()
                seconds[name].append(time.monotonic() - began)
                assert all(map(numpy.array_equal, results, expected)) and len(results) == len(expected), name
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        first = next(iter(medians.values()))
        for name, median in medians.items():
            print(f"{load:16} {name:22} {median:8.3f} s {median / first:8.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--mib", type=float, default=1.0, help="the size of each array")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="one of the loads")
    args = parser.parse_args()
    items = [numpy.random.default_rng(number).random(int(args.mib * 131072)) for number in range(args.items)]
    directory = Path(tempfile.mkdtemp(prefix="windlass-arrays-"))
    server = Server(directory, args.cpus)
    try:
        with multiprocessing.get_context("forkserver").Pool(args.cpus) as pool:
            loads = ways(server, pool, args.cpus, items)
            print(f"{args.items} arrays of {args.mib} MiB, {args.cpus} CPUs, median of {args.rounds}; beside Pool.map")
            measure({load: each for load, each in loads.items() if args.only in (None, load)}, args.rounds)
    finally:
        server.end()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
