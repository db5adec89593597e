"""Functions as people write them, for the tests."""

import functools
import os
import sys
import threading
import time
from pathlib import Path

import windlass


def one(x):
    return x * 2


def with_setting(item, *, factor, add=0):
    return item * factor + add


def with_default(item, power=2):
    return item**power


def several(a, b, c=0):
    return {"sum": a + b + c, "process": os.getpid()}


def difference(a, b, *, by=1):
    return [(a - b) / by, windlass.parallelism()]


def scaled(array: "np.ndarray", by, offset: "np.ndarray" = 0):  # noqa: F821
    return array * by + offset


def sized(data: Path, other: bytes, text):
    return [data.stat().st_size, len(other), text, len(os.listdir(data.parent))]


@windlass.function(items=True)
def pair_of(a: "np.ndarray", b: "np.ndarray"):  # noqa: F821
    return a - b


def meet(a, b, at):
    met = Path(at, "met")
    met.mkdir(exist_ok=True)
    (met / str(os.getpid())).touch()
    until = time.monotonic() + 30
    while len(os.listdir(met)) < 2:
        assert time.monotonic() < until, "nobody came"
        time.sleep(0.01)
    return a + b


def stretched(value, times):
    import numpy

    return numpy.full(times, value) if times > 1 else str(value).encode()


@functools.singledispatch
def by_kind(a, b):
    return f"{type(a).__name__} {a} {b}"


def method(self, other):
    return [self, other]


@windlass.function(items=True)
def say_lines(lines, way):
    for number in range(0, lines, 4):
        text = "".join(f"{way} {'x' * (3000 if way == 'long' else 40)} {number + n}\n" for n in range(4))
        if way == "joined":
            # The end of the last comes by a write of its own.
            print(text[:-1])
        elif way == "written":
            sys.stdout.write(text[:60])
            sys.stdout.write(text[60:])
        elif way == "bytes":
            sys.stdout.buffer.write(text.encode())
        else:
            sys.stdout.writelines(text.splitlines(keepends=True))


@windlass.function(items=False)
def at_once(a, b):
    return [a, b, windlass.parallelism()]


def quote(price, *, spread):
    return price + spread


def options(strike, spread):
    return strike * spread


def anything(**given):
    return given


def nothing():
    return "called"


def item_and_anything(item, **given):
    return [item, given]


class Table:
    def __repr__(self):
        return "1 2\n 3 4"


def joined(item, *, sep="\u2192", table=Table(), gap="  "):  # noqa: B008
    return sep.join(item)


@windlass.function(items=True)
def pair(a, b, *, scale=1):
    return (a - b) * scale


@windlass.function(items=False)
def all_of(values):
    return sum(values)


def sum_of(items):
    return sum(items)


def mean_of(numbers: "list[float]"):
    return sum(numbers) / len(numbers)


@windlass.function
def marked(x):
    return x + 1


@windlass.function(input_types=["image/*"], output_type="image/png")
def picture(image):
    return image[::-1]


def content(data):
    return [type(data).__name__, len(data)]


def raw(data: bytes):
    return data


def where(data: Path, table: "Path | None" = None):
    return [data.read_bytes().decode(), table and table.read_text()]


def beside(data: Path):
    # What lies beside the output, as bytes: a result that is no JSON.
    return "\n".join(sorted(os.listdir(data.parent))).encode()


@windlass.function(output_type="application/json")
def told_as_json(value):
    return b"1\n2"


def lines(text):
    return text.splitlines()


def double(array):
    return array * 2


def arrays(a: "np.ndarray", b: "Optional[np.ndarray]" = None):  # noqa: F821
    return {"sum": a + b, "shape": a}


def of_shape(array):
    return {"shape": array.shape, "type": str(array.dtype)}


def named_items(items: "ndarray"):  # noqa: F821
    return items.sum()


def archive(arrays):
    return {name: array + 1 for name, array in arrays.items()}


def objects(_array):
    import numpy

    return numpy.array([{}])


def look_up(item, *, table: bytes):
    return table.decode().split()[item]


def names_of_files(_input=None):
    return sorted(windlass.files())


def total(table):
    return {"columns": table.column_names, "rows": table.num_rows}


def same(value):
    return value


def picky(value, *, add: "np.ndarray" = None):  # noqa: F821
    if isinstance(value, str):
        raise ValueError(f"{value} is no array")
    return value if add is None else value + add


def multiplied(value, *, by=1):
    return value * by


@windlass.function(output_type="application/x-npy")
def made(size):
    import numpy

    return numpy.full(size, 1.5) if size else "none"


def thing(value):
    return Thing(value)


class Thing:
    def __init__(self, value):
        self.value = value


def steps(count, *, seconds=0.0):
    """Tells its own progress, and how many threads it may use."""
    for done in range(count):
        time.sleep(seconds)
        windlass.progress(done + 1, count)
    return [windlass.parallelism(), os.getpid()]


@windlass.function(items=False)
def whole_steps(count, seconds=0.0):
    return steps(count, seconds=seconds)


def until_cancelled(path):
    """Runs until it is cancelled, and tidies up."""
    windlass.progress(0, 1)
    while not windlass.cancelled():
        Path(path).write_text("begun")
        time.sleep(0.01)
    Path(path).write_text("tidied up")


def asks_once(_item):
    return windlass.cancelled()


def fails(a, b):
    raise ValueError(f"{a} and {b} cannot be had")


def clashes(x, *, items):
    return x, items


def unnamed(a, b, /):
    return a, b


def size_of(_item, *, table: bytes):
    return [len(table), os.getpid()]


def refuses(x):
    if x < 0:
        raise windlass.BadInput(f"{x} is negative")
    return x


class Closed(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def raises_a_lock():
    raise Closed("a lock")
