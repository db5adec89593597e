"""A Python function as a function of Windlass: `python -m windlass.worker package.module:function`.

Does what `multiprocessing.Pool(n).map(function, items)` does, on the worker contract:

- In: the file in `WINDLASS_INPUT`, a JSON object `{"items": [...]}`. Each item is one argument of one call.
- Out: `{"results": [...]}` in the file in `WINDLASS_OUTPUT`, whole or not at all, in the order of the items.
- With `"keepGoing": true` beside the items, one that fails does not end the others: its result is null, and `errors` in
  the output has its number (`item`), the exception's `type` and `message` and, for the first ones, the `traceback`.
- It runs exactly `WINDLASS_PARALLELISM` processes beside itself. They are started, and have imported the function,
  while the input is being read, and each runs one call at a time: what they import sees 1 in the variables by which
  runtimes size their thread pools (`OMP_NUM_THREADS` and so on).
- `WINDLASS_PROGRESS` gets `done total`, counted in items, ten times a second at most.

| exit | when |
| --- | --- |
| 0 | the result is written |
| 1 | the function cannot be imported, or a process was killed or ran out of memory; stderr says which |
| 2 | not started by a Windlass worker, or wrong arguments |
| 65 | the input is not JSON, has no `items`, or something beside them; or the function raised or returned no JSON |
| 143 | SIGTERM; no process is left |

An exception is not tried again: the same item would raise again. With `--retry-exceptions` the exit status is 1
instead, also with `keepGoing`, and the job's retries decide. Either way stderr has the number of the item, from 0, and
the traceback.

`--check` only looks whether the function can be imported and called with one item: exit 0, or 1 with the reason on
stderr. It needs no variables.

Arguments are JSON values. Results are what can be JSON in one way: numpy's numbers and arrays, tuples, dates and
dataclasses are converted, NaN and bytes are refused (`windlass._json` has the table).

The processes are fresh interpreters, as with `multiprocessing`'s `spawn`, and are no `multiprocessing` processes: its
resource tracker would be one process more, and a result would be encoded twice. Deliberately absent: anything outside
of the standard library, a retry of an item (the job has retries), and a process that outlives its job.
"""

from __future__ import annotations

import argparse
import faulthandler
import inspect
import json
import os
import signal
import sys
import time
import traceback
from typing import Any, NamedTuple, NoReturn

from windlass._pool import FAILED, Errors, Failed, NotFound, Pool, Progress, Raised, find, serve

NO_CONTRACT, BAD_INPUT, CANCELLED = 2, 65, 143


class BadInput(Exception):
    """The input can never work; retrying is pointless."""


class Stop(Exception):
    """The supervisor asked to stop."""


class Arguments(NamedTuple):
    """What the command line says."""

    target: str
    chunk: int | None
    retry_exceptions: bool
    check: bool
    # Descriptors of tasks in and results out, in a process of the pool.
    process: tuple[int, int] | None


def arguments(argv: list[str] | None = None) -> Arguments:
    """Reads the command line; exits 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m windlass.worker",
        description="Maps a Python function over the items of a job, in as many processes as CPUs were granted.",
    )
    parser.add_argument("target", metavar="PACKAGE.MODULE:FUNCTION", help="what is called with each item")
    parser.add_argument(
        "--chunk", metavar="N", type=int, help="items handed to a process at once [default: chosen by what is left]"
    )
    parser.add_argument(
        "--retry-exceptions",
        action="store_true",
        help="let the job's retries decide about an exception of the function [default: it is never tried again]",
    )
    parser.add_argument("--check", action="store_true", help="only see whether the function is there, and exit")
    parser.add_argument("--process", metavar="IN,OUT", help=argparse.SUPPRESS)
    read = parser.parse_args(argv)
    module, _, function = read.target.partition(":")
    if not module or not function:
        parser.error(f"{read.target!r} is not PACKAGE.MODULE:FUNCTION")
    if read.chunk is not None and read.chunk < 1:
        parser.error("--chunk must be at least 1")
    process = None
    if read.process is not None:
        tasks, results = read.process.split(",")
        process = int(tasks), int(results)
    return Arguments(read.target, read.chunk, read.retry_exceptions, read.check, process)


def read_input(path: str) -> tuple[list[Any], bool]:
    """The items of the input, and whether to keep going when one fails."""
    try:
        with open(path, "rb") as file:
            value = json.load(file)
    except ValueError as error:
        raise BadInput(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("must be an object with the list `items`")
    for name in value:
        if name not in ("items", "keepGoing"):
            raise BadInput(f"unknown field at /{name}; there is `items`, and `keepGoing`")
    items, keep_going = value.get("items"), value.get("keepGoing", False)
    if not isinstance(items, list):
        raise BadInput("/items must be a list")
    if not isinstance(keep_going, bool):
        raise BadInput("/keepGoing must be true or false")
    return items, keep_going


def write_results(path: str, results: list[bytes], errors: Errors | None) -> None:
    """Next to its place first, then renamed: half a result is never taken for one."""
    with open(path + ".partial", "wb") as file:
        file.write(b'{"results":[')
        file.write(b",".join(results))
        file.write(b"]")
        if errors is not None:
            errors.listed.sort(key=lambda error: error["item"])
            file.write(b',"errors":' + json.dumps(errors.listed, separators=(",", ":")).encode())
        file.write(b"}\n")
    os.replace(path + ".partial", path)


def stop(_number: int, _frame: object) -> NoReturn:
    """The handler of SIGTERM."""
    # Once: a second SIGTERM must not interrupt the clearing up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop


def stopping() -> bool:
    """Whether SIGTERM has come. Sent to the whole group, it may reach the processes first."""
    return signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def run(args: Arguments) -> int:
    """One job."""
    try:
        source, output = os.environ["WINDLASS_INPUT"], os.environ["WINDLASS_OUTPUT"]
        parallelism = int(os.environ["WINDLASS_PARALLELISM"])
        if parallelism < 1:
            raise ValueError("WINDLASS_PARALLELISM is less than 1")
    except (KeyError, ValueError) as error:
        print(f"not started by a Windlass worker: {error!r}", file=sys.stderr)
        return NO_CONTRACT
    try:
        with Pool(args.target, parallelism) as pool:
            items, keep_going = read_input(source)
            errors = Errors() if keep_going and not args.retry_exceptions else None
            progress = Progress(os.environ.get("WINDLASS_PROGRESS"), len(items))
            results = pool.map(items, progress, args.chunk, errors)
        write_results(output, results, errors)
        return 0
    except BadInput as error:
        print(f"bad input: {error}", file=sys.stderr)
        return BAD_INPUT
    except Failed as error:
        # The processes have ended by now, so that this is the end of stderr.
        if not stopping() and not killed_with_us():
            print(str(error).rstrip(), file=sys.stderr)
            return BAD_INPUT if isinstance(error, Raised) and not args.retry_exceptions else FAILED
    except Stop:
        pass
    print("stopped as asked", file=sys.stderr)
    return CANCELLED


def check(target: str) -> int:
    """Whether the function can be imported and called; its exit status."""
    try:
        function = find(target)
    except NotFound as error:
        print(f"cannot import {target}: {error}", file=sys.stderr)
        return FAILED
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        print(f"cannot import {target}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 0  # Some functions in C do not tell.
    try:
        signature.bind(None)
    except TypeError as error:
        print(f"{target}{signature} cannot be called with one item: {error}", file=sys.stderr)
        return FAILED
    return 0


def killed_with_us(patience_seconds: float = 0.05) -> bool:
    """Whether our own SIGTERM is only just arriving, when a process of the pool has died."""
    try:
        time.sleep(patience_seconds)
    except Stop:
        return True
    return False


def main(argv: list[str] | None = None) -> int:
    """The program; its exit status."""
    # Whoever started us may ignore the ends of its children; then nobody could tell how ours end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.enable()
    args = arguments(argv)
    if args.check:
        return check(args.target)
    if args.process is not None:
        tasks, results = args.process
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business
        with open(tasks, "rb") as source, open(results, "wb", closefd=False) as sink:
            return serve(args.target, source, sink)
    signal.signal(signal.SIGTERM, stop)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
