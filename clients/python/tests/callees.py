"""What the tests have called. A function runs in its manifest's directory, where a copy of this is."""

import ctypes
import dataclasses
import datetime
import decimal
import os
import pathlib
import pdb
import signal
import sys
import time
import uuid


def square(x):
    return x * x


def slow(seconds):
    time.sleep(seconds)
    return seconds


def fail(x):
    if x == "bad":
        raise ValueError(f"{x} cannot be had")
    if x == "die":
        os.kill(os.getpid(), 9)
    if x == "nan":
        return float("nan")
    if x == "exit":
        os._exit(3)
    return x


def fail_or_sleep(x):
    time.sleep(0.5 if x == "bad" else x)
    fail(x)
    return os.getpid()


def who(seconds):
    time.sleep(seconds)
    return [os.getpid(), os.environ["OMP_NUM_THREADS"]]


def meet(files):
    """Its process, once the call whose file is the other one has begun as well."""
    mine, other = files
    pathlib.Path(mine).touch()
    until = time.monotonic() + 30
    while not os.path.exists(other):
        assert time.monotonic() < until, "it waits in vain"
        time.sleep(0.01)
    return os.getpid()


def crash_once(_item):
    attempt = os.environ["WINDLASS_ATTEMPT"]
    print("attempt", attempt)
    if attempt == "1":
        time.sleep(0.5)
        os.kill(os.getpid(), 9)
    print("over")


def talk(seconds):
    time.sleep(seconds)
    print(f"{seconds} s")


def say(lines):
    for number in range(lines):
        print("line", number, "x" * 40)


def say_unfinished(last):
    if last == "bytes":
        sys.stdout.buffer.write(b"bytes \xff")
        os._exit(3)
    print(f"{last} has no end", end="")


def print_in_a_handler(count):
    before = signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for _ in range(count):
        print("x" * 60)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def text(n):
    return "é" * n


def dies(_):
    os.kill(os.getpid(), 9)


class Thing:
    pass


@dataclasses.dataclass
class Named:
    name: str
    inner: object


class Giver:
    def give(self, x):
        return x

    def take(x):
        return x


giver = Giver()


def counted(x):
    yield x


async def counted_slowly(x):
    yield x


def make(kind):
    """A value of this kind, or what it does."""
    return {
        "tuple": lambda: (1, (2, "x")),
        "date": lambda: [
            datetime.datetime(2026, 11, 28, 6, 30, tzinfo=datetime.timezone.utc),
            datetime.date(2026, 11, 28),
            datetime.time(6, 30),
        ],
        "dataclass": lambda: Named("a", Named("b", [1.5])),
        "path": lambda: [pathlib.Path("/tmp/x"), uuid.UUID("12345678-1234-5678-1234-567812345678")],
        "numpy": numpy_values,
        "numpy-nan": lambda: __import__("numpy").array([1.0, float("nan")]),
        "nan": lambda: {"x": [float("nan")]},
        "wide": lambda: {"x": [2**63]},
        "half": lambda: {"x": "\ud800"},
        "twice": lambda: {1: "a", "1": "b"},
        "bytes": lambda: b"x",
        "set": lambda: {1, 2},
        "decimal": lambda: decimal.Decimal("0.1"),
        "complex": lambda: 1j,
        "object": Thing,
        "cycle": cycle,
        "keys": lambda: {(1, 2): 3},
        "breakpoint": lambda: breakpoint(),
        "input": lambda: input("what? "),
        "pdb": lambda: pdb.set_trace(),
        "segfault": lambda: ctypes.string_at(0),
        "memory": lambda: bytearray(1 << 62),
        "orphan": orphan,
    }[kind]()


def numpy_values():
    import numpy

    return {
        "int": numpy.int64(3),
        "float": numpy.float32(0.5),
        "bool": numpy.bool_(True),
        "array": numpy.array([[1, 2], [3, 4]]),
        "word": numpy.str_("é"),
        "empty": numpy.array([]),
    }


def cycle():
    value = []
    value.append(value)
    return value


def orphan():
    """Leaves a process behind that holds all that this one has open, and ends."""
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os._exit(4)
