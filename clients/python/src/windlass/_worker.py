"""The program `python -m windlass.worker`, which says what it does."""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import signal
import sys
from typing import NamedTuple

from windlass._each_or_all import how_called
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
from windlass._import_path import PythonsOwn
from windlass._job import Manner, exit_status, run, say_bad_input, say_failed
from windlass._output import write_file
from windlass._pool import Pool
from windlass._pool_process import NotFound, find
from windlass._process import Failed, Forked, Target
from windlass._serving import serve
from windlass._signature import Unfit


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
    parser.add_argument(
        "--check", action="store_true", help="only see whether the function is there, say how it is called, and exit"
    )
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
    """Whether the function can be imported and called, and how, on stdout; the exit status."""
    try:
        said = how_called(find(target))
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A default may have characters that the locale has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    print(said)
    return 0


def main(argv: list[str] | None = None) -> int:
    """The program; its exit status."""
    # Whoever started us may ignore the ends of its children; then nobody could tell how ours end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.enable()
    # It imports what it needs when it needs it.
    with PythonsOwn():
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
