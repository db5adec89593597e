"""Functions that do what few do: they fork, raise what is no `Exception`, or say what cannot be said."""

import asyncio
import contextvars
import os
import sys
import time

said = contextvars.ContextVar("said", default=0)


def forks(item):
    """Of `["fork", how]` it forks a child that leaves in this way. Gives back how, and the child's exit status."""
    return forks_once(item[1]) if isinstance(item, list) else item


def forks_once(how):
    if (child := os.fork()) == 0:
        if how == "raise":
            raise ValueError("of the child")
        if how != "return":
            sys.exit(how)
        return "the child's"
    return [how, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


async def forks_in_a_loop(how):
    """The same of an `async def`, which waits for the child beside the event loop."""
    if (child := os.fork()) == 0:
        return forks_once.__name__ if how == "return" else sys.exit(how)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    return [how, os.waitstatus_to_exitcode(status)]


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raises(kind):
    if kind == "deep":
        return nested(200)
    raise {
        "exit": lambda: SystemExit("bye"),
        "interrupt": KeyboardInterrupt,
        "generator": GeneratorExit,
        "mute": Mute,
        "half": lambda: ValueError("half of a pair: \ud800"),
        "long": lambda: ValueError("begin " + "x" * 3_000_000 + " end"),
        "fine": lambda: ValueError("fine"),
    }[kind]()


def nested(depth):
    value = 0
    for level in range(depth):
        value = [value] if level % 2 else {"[]": value}
    return value


def nested_once(*, depth):
    return nested(depth)


async def waits(seconds):
    """Like each call, it has a loop of its own; and no context of another call."""
    before = said.get()
    said.set(1)
    await asyncio.gather(*(asyncio.sleep(seconds) for _ in range(10)))
    await asyncio.to_thread(time.sleep, 0)
    return before


async def fails_late(x):
    await asyncio.sleep(0)
    raise ValueError(f"{x} cannot be had")


def long_text(*, length):
    return "x" * length
