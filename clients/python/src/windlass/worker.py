"""A Python function as a function of Windlass: `python -m windlass.worker package.module:function`.

Does what `multiprocessing.Pool(n).map(function, items)` does, on the worker contract, for a function of one item:

- In: the file in `WINDLASS_INPUT`, a JSON object `{"items": [...]}`. Each item is one argument of one call. What else
  is in the object are the function's other arguments, by name.
- Out: `{"results": [...]}` in the file in `WINDLASS_OUTPUT`, whole or not at all, in the order of the items.
- An item that fails ends the job at once. The output has the results that were there by then all the same: those of
  the other items are null, and their numbers are in `notComputed`; `errors` says why the item has failed.
- With `"keepGoing": true` beside the items, one that fails does not end the others: its result is null, and `errors` in
  the output has its number (`item`), the exception's `type` and `message` and, for the first ones, the `traceback`.
- It runs exactly `WINDLASS_PARALLELISM` processes beside itself. They are started, and have imported the function,
  while the input is being read, and each runs one call at a time: what they import sees 1 in the variables by which
  runtimes size their thread pools (`OMP_NUM_THREADS` and so on).
- `WINDLASS_PROGRESS` gets `done total`, counted in items, ten times a second at most.

An input without `items` that has the function's parameters by name is one call, such as `{"x": 3}` for `f(x)`.
A function with more parameters, or with none for an item, gets the whole input by one call in one process: a JSON
object is its arguments by name. So does every function whose input is no JSON, such as an array or a picture: that is
its first argument. It may use all CPUs itself. Files of the job whose names are those of parameters are arguments, too.
`windlass._signature` says how a signature is read, `windlass._codecs` which media types are which values,
`windlass._context` what a function may ask.

| exit | when |
| --- | --- |
| 0 | the result is written |
| 1 | a process was killed or ran out of memory; stderr says which |
| 2 | not started by a Windlass worker, or wrong arguments |
| 65 | the input is not what the function takes, or the function has raised `windlass.BadInput` |
| 70 | the function cannot be imported, has raised another exception, or returned what cannot be given back |
| 143 | SIGTERM; no process is left |

An exception is not tried again, unless the job itself says `retries`: the same item would raise again. With
`--retry-exceptions` the exit status is 1
instead, also with `keepGoing`, and the job's retries decide. Either way stderr has the number of the item, from 0, and
the traceback.

`--check` only looks whether the function can be imported and called: exit 0, or 1 with the reason on stderr. It needs
no variables. `--pickle` takes pickled inputs and gives pickled results, which are refused otherwise.

Arguments are JSON values. Results are what can be JSON in one way: numpy's numbers and arrays, tuples, dates and
dataclasses are converted, NaN and bytes are refused (`windlass._json` has the table).

Where `WINDLASS_SERVE` names a socket it serves: it does one job after another, and the processes with their imports
stay between them (`windlass._serving`, version 2 of the worker contract). A job has as many processes as it was granted
CPUs, and fails as in the table. A process in which it has left something is replaced: `windlass._leftovers` has the
list.
With `--cold` it does one job all the same.

Each process imports the function itself, as with `multiprocessing`'s `forkserver`: they are forked from one that has a
single thread and has imported nothing of it. They are no `multiprocessing` processes: its resource tracker would be one
process more, and a result would be encoded twice. Deliberately absent: anything outside
of the standard library, a retry of an item (the job has retries), and any clearing up after a function.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
from typing import NamedTuple

from windlass._ends import (
    BAD_INPUT,
    CANCELLED,
    FAILED,
    NO_CONTRACT,
    BadInput,
    Stop,
    Unwritten,
    is_killed_with_us,
    stop,
)
from windlass._failure import explained
from windlass._job import Manner, exit_status, run, say_bad_input, say_failed
from windlass._output import write_file
from windlass._pool import Pool
from windlass._pool_process import NotFound, find
from windlass._process import Failed, Forked, Target
from windlass._serving import serve
from windlass._signature import Unfit, describe


class Arguments(NamedTuple):
    """What the command line says."""

    manner: Manner
    is_cold: bool
    check: bool


def arguments(argv: list[str] | None = None) -> Arguments:
    """Reads the command line; exits 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m windlass.worker",
        description="Calls a Python function for a job: with each item of its input, in as many processes as CPUs were "
        "granted, or once with the whole input, as its parameters say.",
    )
    parser.add_argument("target", metavar="PACKAGE.MODULE:FUNCTION", help="what is called")
    parser.add_argument(
        "--chunk",
        metavar="N",
        type=int,
        help="items handed to a process at once [default: chosen by what is left and how long the items take]",
    )
    parser.add_argument(
        "--retry-exceptions",
        action="store_true",
        help="let retries decide about an exception, also those of the function [default: only the job's own]",
    )
    parser.add_argument(
        "--cold", action="store_true", help="do one job and end, also where a worker would keep the processes"
    )
    parser.add_argument(
        "--pickle",
        action="store_true",
        help="take pickled inputs, and pickle results that are nothing else: whoever may call it runs any code",
    )
    parser.add_argument("--check", action="store_true", help="only see whether the function is there, and exit")
    read = parser.parse_args(argv)
    module, _, function = read.target.partition(":")
    if not module or not function:
        parser.error(f"{read.target!r} is not PACKAGE.MODULE:FUNCTION")
    if read.chunk is not None and read.chunk < 1:
        parser.error("--chunk must be at least 1")
    manner = Manner(Target(read.target, read.pickle), read.chunk, read.retry_exceptions)
    return Arguments(manner, read.cold, read.check)


def run_once(manner: Manner) -> int:
    """One job, by version 1 of the contract."""
    try:
        for name in ("WINDLASS_INPUT", "WINDLASS_OUTPUT"):
            os.environ[name]
        parallelism = int(os.environ["WINDLASS_PARALLELISM"])
        if parallelism < 1:
            raise ValueError("WINDLASS_PARALLELISM is less than 1")
    except (KeyError, ValueError) as error:
        print(f"not started by a Windlass worker: {error!r}", file=sys.stderr)
        return NO_CONTRACT
    try:
        with Pool(manner.target, parallelism) as pool:
            result = run(pool, manner, os.environ)
            if result is not None:
                write_file(os.environ["WINDLASS_OUTPUT"], result)
        return 0
    except BadInput as error:
        say_bad_input(error)
        return BAD_INPUT
    except Unwritten as error:
        say_failed(error)
        return FAILED
    except Failed as error:
        # The processes have ended by now, so that this is the end of stderr.
        if is_killed_with_us():
            raise Stop from None
        say_failed(error)
        return exit_status(error, manner)


def check(target: str) -> int:
    """Whether the function can be imported and called; its exit status."""
    try:
        describe(find(target))
    except Unfit as error:
        print(f"cannot call {target}: {error}", file=sys.stderr)
        return FAILED
    except NotFound as error:
        print(f"cannot import {target}: {error}", file=sys.stderr)
        return FAILED
    except (Exception, SystemExit) as error:
        print(explained(error), end="", file=sys.stderr)
        print(f"cannot import {target}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    return 0


def main(argv: list[str] | None = None) -> int:
    """The program; its exit status."""
    # Whoever started us may ignore the ends of its children; then nobody could tell how ours end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.enable()
    args = arguments(argv)
    if args.check:
        return check(args.manner.target.name)
    signal.signal(signal.SIGTERM, stop)
    path = None if args.is_cold else os.environ.get("WINDLASS_SERVE")
    try:
        return run_once(args.manner) if path is None else serve(args.manner, path)
    except Stop:
        print("stopped as asked", file=sys.stderr)
        return CANCELLED
    except Forked as raised:
        # Without the parent's frames, and so without what they hold open.
        forked = raised.with_traceback(None)
    return forked.run()


if __name__ == "__main__":
    sys.exit(main())
