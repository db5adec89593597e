"""Functions that were called by a `multiprocessing.Pool`, as they are there and as they are here.

As a program it prints what each line of the page's table gives by a pool. It may make the file that it is given.
"""

import ctypes
import functools
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import windlass

ITEMS, PAIRS, TABLE = [3, 1, 2], [(3, 1), (5, 2)], [0, 10, 20, 30]


def square(x):
    return x * x


def square_last(x, *, path):
    """The first item is done when somebody who has the results of the others has made a file."""
    until = time.monotonic() + 20
    while x == ITEMS[0] and not os.path.exists(path):
        if time.monotonic() > until:
            raise TimeoutError("the other results have not come")
        time.sleep(0.01)
    return x * x


def as_they_come(results, path):
    """All results in their order, where the first item is done last."""
    came = []
    for result in results:
        came.append(result)
        if len(came) == len(ITEMS) - 1:
            Path(path).touch()
    return came


def minus(a, b):
    return a - b


@windlass.function(items=True)
def minus_each(a, b):
    return a - b


def from_global(item):
    return table[item]


def from_argument(item, *, table):
    return table[item]


def load(size):
    global loaded
    loaded = list(range(0, size, 10))


def from_loaded(item):
    return loaded[item]


@functools.lru_cache
def load_once(size):
    return [*range(0, size, 10)], []


def from_cached(item, *, size):
    """And how often this process has used what it has loaded once."""
    values, used = load_once(size)
    used.append(item)
    return [values[item], os.getpid(), len(used)]


def from_shared(item):
    return shared[item]


def from_file(item, *, table: Path):
    import numpy

    return int(numpy.load(table, mmap_mode="r")[item])


def add(item):
    with counter.get_lock():
        counter.value += item


def who(_item):
    return os.getpid()


def pool_within(numbers):
    """It is called once, with as many CPUs as the job was granted."""
    with multiprocessing.Pool(windlass.parallelism()) as pool:
        return [windlass.parallelism(), pool.map(square, numbers)]


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    table, path = TABLE, sys.argv[1]
    late = functools.partial(square_last, path=path)
    shared, counter = context.Array(ctypes.c_long, TABLE), context.Value(ctypes.c_long, 0)
    with context.Pool(2) as pool, context.Pool(2, initializer=load, initargs=(40,)) as initialized:
        pool.map(add, ITEMS)
        given = {
            "global": pool.map(from_global, ITEMS),
            "initializer": initialized.map(from_loaded, ITEMS),
            "imap_unordered": as_they_come(pool.imap_unordered(late, ITEMS), path),
            "map_async": pool.map_async(square, ITEMS).get(),
            "chunksize": pool.map(square, ITEMS, chunksize=2),
            "starmap": pool.starmap(minus, PAIRS),
            "shared memory": pool.map(from_shared, ITEMS),
            "counter": counter.value,
            "within": pool.map(square, ITEMS),
        }
    with context.Pool(1, maxtasksperchild=1) as pool:
        given["maxtasksperchild"] = len(set(pool.map(who, ITEMS, chunksize=1)))
    print(json.dumps(given))
