"""The client: requests from threads, each with its own connection. Every answer is checked."""

import threading
import time
from dataclasses import dataclass, field


class WrongAnswer(Exception):
    """A system gave an answer that the kernel does not give. Nothing excuses it."""


@dataclass
class Loaded:
    """One load, measured."""

    total: float = 0.0
    seconds: list = field(default_factory=list)  # of each request, in the order of the works; None: no answer
    client_cpu: float = 0.0
    problem: str = ""

    def percentile(self, percent, start=0):
        """By nearest rank, of the requests from `start` on."""
        times = sorted(t for t in self.seconds[start:] if t is not None)
        return times[max(0, -(-len(times) * percent // 100) - 1)] if times else None


def load(kernel, system, works, at_a_time, options, at_most):
    """Sends the works in order from so many clients. `options` has one entry a work, for the system to read.

    A system that has not answered all of them after `at_most` seconds hangs; that is told in `problem`.
    """
    loaded = Loaded(seconds=[None] * len(works))
    lock, waiting, failures, wrong = threading.Lock(), list(reversed(range(len(works)))), [], []
    gate = threading.Barrier(at_a_time + 1)

    def client():
        gate.wait()
        while True:
            with lock:
                if not waiting:
                    return
                index = waiting.pop()
            began = time.perf_counter()
            try:
                value = system.request(works[index], options[index])
            except Exception as error:  # whatever a system throws is its answer
                failures.append(f"{type(error).__name__}: {error}")
                continue
            loaded.seconds[index] = time.perf_counter() - began
            if not kernel.is_right(works[index], value):
                wrong.append(f"{system.name} answered {value} to {works[index]}")

    threads = [threading.Thread(target=client, daemon=True) for _ in range(at_a_time)]
    for thread in threads:
        thread.start()
    cpu = time.process_time()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join(max(0.0, began + at_most - time.perf_counter()))
    loaded.total = time.perf_counter() - began
    loaded.client_cpu = time.process_time() - cpu
    if wrong:
        raise WrongAnswer(wrong[0])
    unanswered = sum(seconds is None for seconds in loaded.seconds)
    if any(thread.is_alive() for thread in threads):
        with lock:
            waiting.clear()
        loaded.problem = f"hangs: {unanswered} of {len(works)} unanswered after {at_most:.0f} s"
    elif failures:
        loaded.problem = f"{len(failures)} of {len(works)} failed: {failures[0]}"
    return loaded
