"""Version 2 of the worker contract: one job after another, over the socket that `WINDLASS_SERVE` names.

The pool and its imports stay between jobs, and each job has as many processes as it was granted CPUs. Nothing of a job
is in this process, which never imports the function; `windlass._leftovers` looks at the processes that do.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from windlass._ends import FUNCTION_ERROR, BadInput, Stop, Unwritten, is_killed_with_us
from windlass._job import Manner, exit_status, run, say_bad_input, say_failed
from windlass._leftovers import JOB_VARIABLES, beyond, memory_bound, resident_bytes
from windlass._output import write_file
from windlass._pool import Interrupted, Pool
from windlass._process import Failed, Raised

VERSION = 2

READ_BYTES = 1 << 16

# The longest result, in bytes, that goes into the answer; a longer one goes into the output file. A byte takes at most
# six in a line, and a line has at most 64 KiB.
ANSWERED_BYTES = 8 << 10

# Of why a process was replaced so much is told.
REASON_CHARACTERS = 500


class Gone(Exception):
    """The worker has closed the socket."""


class Cancelled(Interrupted):
    """The worker wants the job to end."""


class Connection:
    """The socket: lines of JSON objects, both ways."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.rest = b""
        # Of the job that is under way.
        self.job = ""

    def say(self, told: dict[str, Any]) -> None:
        """Says a line."""
        try:
            self.socket.sendall(json.dumps(told, separators=(",", ":")).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None

    def read(self) -> None:
        """Waits for more of a line."""
        try:
            read = self.socket.recv(READ_BYTES)
        except ConnectionResetError:
            read = b""
        if not read:
            raise Gone
        self.rest += read

    def next(self) -> dict[str, Any] | None:
        """The next line, if it was read."""
        line, end, rest = self.rest.partition(b"\n")
        if not end:
            return None
        self.rest = rest
        told: dict[str, Any] = json.loads(line)
        return told

    def next_job(self) -> dict[str, Any]:
        """Waits for a job. A cancel that has come too late is no job."""
        while True:
            while (told := self.next()) is not None:
                if "job" in told:
                    self.job = told["job"]
                    return told
            self.read()

    def readable(self) -> None:
        """Reads while a job is under way."""
        self.read()
        while (told := self.next()) is not None:
            if told.get("cancel") == self.job:
                raise Cancelled


class Serving:
    """The pool, and what it is asked for."""

    def __init__(self, pool: Pool, manner: Manner, connection: Connection) -> None:
        self.pool, self.manner, self.connection = pool, manner, connection
        self.most_bytes = 0
        # Whether each job is one call, however many CPUs it has.
        self.calls_once = False
        # Why this program is to have no other job; empty for none.
        self.replace = ""

    def serve(self) -> int:
        """Serves until the socket is closed; the exit status."""
        self.pool.watch(self.connection.socket.fileno(), self.connection.readable)
        try:
            self.calls_once = not self.pool.await_ready().by_item
            self.most_bytes = memory_bound(resident_bytes())
            self.connection.say({"ready": VERSION})
            while True:
                self.connection.say(self.answer(self.connection.next_job()))
        except Gone:
            return 0
        except Failed as error:
            say_failed(error)
            return exit_status(error, self.manner)

    def answer(self, told: dict[str, Any]) -> dict[str, Any]:
        """Does a job; what there is to say of it."""
        name: str = told["job"]
        ended = self.ended(told)
        if isinstance(ended, list) and sum(map(len, ended)) > ANSWERED_BYTES:
            ended = written(told["output"], ended)
        # Everything is on stderr by now that the processes of the pool have to say, and this is its end.
        answer: dict[str, Any] = {"done": name}
        if isinstance(ended, list):
            answer["result"] = b"".join(ended).decode()
        elif isinstance(ended, BadInput):
            say_bad_input(ended)
            answer = {"failed": name, "reason": "input"}
        elif isinstance(ended, Failed):
            say_failed(ended)
            is_final = exit_status(ended, self.manner) == FUNCTION_ERROR
            answer = {"failed": name, "reason": "exception" if is_final else "error"}
        elif ended is not None:
            answer = {"cancelled": name}
        answer["processes"] = [process.pid for process in self.pool.processes]
        held = resident_bytes()
        if held > self.most_bytes:
            self.replace = f"its parent of processes {beyond(held, self.most_bytes)}"
        if self.replace:
            answer["replace"] = self.replace
        if self.pool.replaced:
            answer["replaced"] = told_replaced(self.pool.replaced)
            self.pool.replaced = []
        return answer

    def import_anew(self) -> None:
        """Has a process import the function again. `Failed` when that cannot be: then this program is to end, too."""
        self.pool.size(1)
        try:
            self.calls_once = not self.pool.await_ready().by_item
        except Failed:
            self.replace = "its function cannot be imported any more"
            raise
        except Cancelled:
            self.replace = "it was stopped while it imported its function"
            raise

    def ended(self, told: dict[str, Any]) -> list[bytes] | BadInput | Failed | Cancelled | None:
        """Does the job itself, and returns its result in pieces, or what has ended it before.

        None is a result that is written.
        """
        job = {name: variable(told[field]) for name, field in JOB_VARIABLES.items() if told.get(field)}
        ended: list[bytes] | BadInput | Failed | Cancelled | None
        try:
            if self.pool.renew():
                self.import_anew()
            # Those that are missing start while the input is read.
            self.pool.size(1 if self.calls_once else told["parallelism"])
            ended = run(self.pool, self.manner, job, job)
        except (BadInput, Raised, Cancelled) as error:
            ended = error
        except Failed as error:
            if is_killed_with_us():
                raise Stop from None
            ended = error
        self.pool.settle()
        return ended


def told_replaced(reasons: list[str]) -> str:
    """Why processes were replaced, for the server's log."""
    first = reasons[0][:REASON_CHARACTERS]
    return f"{first} ({len(reasons)} processes)" if len(reasons) > 1 else first


def written(path: str, result: list[bytes]) -> Failed | None:
    """Writes a result; why it cannot be written."""
    try:
        write_file(path, result)
    except Unwritten as error:
        return Failed(str(error))
    finally:
        # Its memory is not what is held between jobs.
        result.clear()
    return None


def variable(told: Any) -> str:
    """What a member of a job's line is as a variable. The paths of files are that of their directory."""
    return os.path.dirname(next(iter(told.values()))) if isinstance(told, dict) else str(told)


def serve(manner: Manner, path: str) -> int:
    """The program, when it is started to serve; its exit status."""
    with Pool(manner.target, 1) as pool:
        return Serving(pool, manner, Connection(path)).serve()
