#!/usr/bin/env python3
"""Counts the primes in a range, on as many processes as CPUs were granted.

A function of Windlass in plain Python: it knows the worker contract, that is a few environment variables, and nothing
else of Windlass. Python 3.9 or later, only the standard library.

In: WINDLASS_INPUT names a file with {"from": 0, "to": 100000000}; the range is from <= n < to.
Out: WINDLASS_OUTPUT gets {"primes", "twinPairs", "largestGap": {"size", "after"}}; the gap is null with fewer than two
primes. Exit 0; or 65 if the input can never work, 143 if asked to stop, 2 outside a worker, 1 for anything else.
"""

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

LARGEST = 10**12  # its base primes, below 10**6, fit into memory easily
LONGEST = 10**10  # 2385 segments
SEGMENT = 1 << 22  # numbers; a task of 0.1 s or so, which bounds how long a stop takes

BAD_INPUT, CANCELLED, NO_CONTRACT = 65, 143, 2


class BadInput(Exception):
    """The input can never work; retrying is pointless."""


class Stop(Exception):
    """The worker asked to stop."""


def read_input(path):
    """The range, checked; names the field that is to blame."""
    try:
        with open(path, "rb") as file:
            value = json.load(file)
    except ValueError as error:
        raise BadInput(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("must be an object")
    for name in value:
        if name not in ("from", "to"):
            raise BadInput(f"unknown field at /{name}")
    for name in ("from", "to"):
        # In Python True is an int.
        if not isinstance(value.get(name), int) or isinstance(value.get(name), bool):
            raise BadInput(f"/{name} must be an integer")
        if not 0 <= value[name] <= LARGEST:
            raise BadInput(f"/{name} must be from 0 to {LARGEST}")
    if not 0 < value["to"] - value["from"] <= LONGEST:
        raise BadInput(f"/to must be above /from, by at most {LONGEST}")
    return value["from"], value["to"]


def primes_below(limit):
    """All odd primes below `limit`, by the sieve of Eratosthenes on odd numbers."""
    half = max(limit // 2, 1)
    sieve = bytearray([1]) * half  # index i is the number 2 i + 1
    sieve[0] = 0
    for i in range(1, (math.isqrt(max(limit - 1, 0)) + 1) // 2):
        if sieve[i]:
            start = 2 * i * (i + 1)
            sieve[start::2 * i + 1] = bytes(len(range(start, half, 2 * i + 1)))
    return [2 * i + 1 for i in range(half) if sieve[i]]


_base = []  # of this process, made once by start_process


def start_process(largest):
    """Runs first in each process of the pool."""
    # Ctrl-C goes to the whole terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _base[:] = primes_below(math.isqrt(largest) + 1)


def survey(low, high):
    """The primes in low <= n < high: count, pairs of twins, largest gap with its first prime, first and last."""
    first_odd = low | 1
    half = max((high - first_odd + 1) // 2, 0)
    sieve = bytearray([1]) * half  # index i is the number first_odd + 2 i
    if first_odd == 1 and half:
        sieve[0] = 0
    for prime in _base:
        if prime * prime >= high:
            break
        # The first odd multiple that is not below the segment, and not the prime itself.
        multiple = max(prime * prime, (first_odd + prime - 1) // prime * prime)
        multiple += prime * (multiple % 2 == 0)
        start = (multiple - first_odd) // 2
        sieve[start::prime] = bytes(len(range(start, half, prime)))
    found = {"count": sieve.count(1), "twins": 0, "gap": (0, 0), "first": None, "last": None}
    previous = None
    if low <= 2 < high:
        found["count"] += 1
        found["first"] = previous = 2
    index = sieve.find(1)
    while index >= 0:
        prime = first_odd + 2 * index
        if previous is None:
            found["first"] = prime
        else:
            note_gap(found, previous, prime)
        previous = prime
        index = sieve.find(1, index + 1)
    found["last"] = previous
    return found


def note_gap(found, prime, following):
    """Takes the gap between two neighbours into account; of equal gaps the first counts."""
    gap = following - prime
    found["twins"] += gap == 2
    if gap > found["gap"][0]:
        found["gap"] = (gap, prime)


def join(segments):
    """The survey of a range from those of its segments, in order."""
    whole = {"count": 0, "twins": 0, "gap": (0, 0), "first": None, "last": None}
    for segment in segments:
        if segment["first"] is None:
            continue
        if whole["last"] is not None:
            note_gap(whole, whole["last"], segment["first"])
        whole["count"] += segment["count"]
        whole["twins"] += segment["twins"]
        if segment["gap"][0] > whole["gap"][0]:
            whole["gap"] = segment["gap"]
        if whole["first"] is None:
            whole["first"] = segment["first"]
        whole["last"] = segment["last"]
    return whole


class Progress:
    """Appends lines `done total message`, ten a second at most, each with one write."""

    def __init__(self, path, total):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.file = os.open(path, flags, 0o644) if path else None
        self.total = total
        self.due = 0.0

    def tell(self, done, message):
        now = time.monotonic()
        if self.file is not None and (now >= self.due or done == self.total):
            self.due = now + 0.1
            os.write(self.file, f"{done} {self.total} {message}\n".encode())


def compute(low, high, parallelism, progress_path):
    """Surveys the range in parallel. However it ends, no process of the pool is left behind."""
    edges = list(range(low, high, SEGMENT)) + [high]
    progress = Progress(progress_path, len(edges) - 1)
    # "spawn" and never "fork": a forked copy of a process with threads, and the pool has some, may hang for ever.
    pool = ProcessPoolExecutor(
        max_workers=min(parallelism, len(edges) - 1),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_process,
        initargs=(high,),
    )
    try:
        futures = [pool.submit(survey, *edge) for edge in zip(edges, edges[1:])]
        primes = 0
        for done, future in enumerate(as_completed(futures), start=1):
            primes += future.result()["count"]
            progress.tell(done, f"{primes} primes so far")
        return join(future.result() for future in futures)
    finally:
        # Waits for the tasks that run, a fraction of a second, and drops those that do not.
        pool.shutdown(wait=True, cancel_futures=True)


def write_output(path, result):
    """Next to its place first, then renamed: half a result is never taken for one."""
    with open(path + ".partial", "w", encoding="utf-8") as file:
        json.dump(result, file)
        file.write("\n")
    os.replace(path + ".partial", path)


def stop(_number, _frame):
    # Once: a second SIGTERM must not interrupt the clearing up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop


def main():
    signal.signal(signal.SIGTERM, stop)
    try:
        source, target = os.environ["WINDLASS_INPUT"], os.environ["WINDLASS_OUTPUT"]
        parallelism = int(os.environ["WINDLASS_PARALLELISM"])
    except (KeyError, ValueError) as error:
        print(f"not started by a Windlass worker: {error!r}", file=sys.stderr)
        return NO_CONTRACT
    try:
        low, high = read_input(source)
        found = compute(low, high, parallelism, os.environ.get("WINDLASS_PROGRESS"))
        size, after = found["gap"]
        gap = {"size": size, "after": after} if size else None
        write_output(target, {"primes": found["count"], "twinPairs": found["twins"], "largestGap": gap})
        return 0
    except BadInput as error:
        print(f"bad input: {error}", file=sys.stderr)
        return BAD_INPUT
    except (Stop, BrokenProcessPool):
        # The pool breaks, too, if SIGTERM went to the whole group and the children were faster. If it breaks
        # without SIGTERM, a child was killed, most likely for want of memory: a failure, with its traceback.
        if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
            raise
        print("stopped as asked", file=sys.stderr)
        return CANCELLED


# "spawn" imports this file again in every process of the pool: nothing may run on import.
if __name__ == "__main__":
    sys.exit(main())
