"""What the Python systems run: a chunk of a request, in the native library. Imported by every worker, so kept small."""

import ctypes
import functools
import os

MASK = (1 << 64) - 1


@functools.cache
def _range():
    # CDLL releases the GIL during a call.
    function = ctypes.CDLL(os.environ["BENCH_KERNEL"]).bench_range
    function.argtypes = [ctypes.c_uint64] * 4
    function.restype = ctypes.c_uint64
    return function


def chunk(seed, first, last, steps):
    """The units from `first` to before `last`, added up."""
    return _range()(seed, first, last, steps)


def split(seed, units, steps, chunks):
    """The arguments of `chunk` for a request in that many chunks of nearly the same size."""
    edges = [units * i // chunks for i in range(chunks + 1)]
    return [(seed, first, last, steps) for first, last in zip(edges, edges[1:])]


def total(values):
    return sum(values) & MASK
