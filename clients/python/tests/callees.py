"""What the tests have called. A function runs in its manifest's directory, where a copy of this is."""

import os
import sys
import time


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
        sys.exit(3)
    return x


def who(seconds):
    time.sleep(seconds)
    return [os.getpid(), os.environ["OMP_NUM_THREADS"]]


def talk(seconds):
    time.sleep(seconds)
    print(f"{seconds} s")


def text(n):
    return "é" * n
