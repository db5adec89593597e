"""Inputs and results as JSON: what has one meaning there is converted, everything else is refused in words.

| Python | JSON |
| --- | --- |
| numbers, strings, `True`, `False`, `None`, lists, dicts | the same |
| tuples, named tuples | lists |
| numpy's scalars and arrays | numbers, strings, (nested) lists |
| dataclasses | objects with their fields |
| `datetime`, `date`, `time` | ISO 8601, as `isoformat` writes it |
| `pathlib` paths, `uuid.UUID` | strings |

Refused, as they have no meaning or several: NaN, NaT and infinity, integers beyond 64 bits, halves of surrogate pairs,
keys that are the same in JSON, bytes, sets, `Decimal`, complex numbers, data frames, and anything else. Nothing is
imported for this: only what a program has loaded itself can be in its values.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import os
import re
import sys
import uuid
from typing import Any

from windlass._error import WindlassError

# Where bytes and tables go as they are.
_ALONE = "or give it alone: as `data`, in `files`, or as a whole result"
# What to write instead, by the names of types.
ADVICE = {
    **dict.fromkeys(("bytes", "bytearray"), f"use base64.b64encode(value).decode(), {_ALONE}"),
    "set": "a set has no order: use sorted(value)",
    "frozenset": "a set has no order: use sorted(value)",
    "Decimal": "use str(value), or float(value) if rounding is fine",
    "complex": "use [value.real, value.imag]",
    "DataFrame": f"use value.to_dict(orient='records'), {_ALONE}",
    "Series": "use value.tolist() or value.to_dict()",
    "timedelta": "use value.total_seconds()",
    **dict.fromkeys(
        ("generator", "map", "filter", "zip", "range", "deque", "dict_keys", "dict_values", "dict_items"),
        "use list(value)",
    ),
}


# What may be an integer beyond 64 bits, half of a surrogate pair, or a key that is no string in Python and may be the
# same in JSON as one that is. The digits of a fraction are no integer. Each is a pattern of its own, as Python is quick
# to find a pattern's first character, and only that.
SUSPECTS = (
    re.compile(r"\A\d{19}"),
    re.compile(r"[\[:,-]\d{19}"),
    re.compile(r"\\ud[89a-f]"),
    re.compile("[\ud800-\udfff]"),
    re.compile(r'"(?:-?\d[^"]*|true|false|null)":'),
)


# The deepest nesting of lists and objects that a server reads.
MAX_DEPTH = 127

STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")


class NoJson(WindlassError, ValueError):
    """A value that cannot be JSON; the message says of what type, and what to give instead."""

    @property
    def http_status(self) -> int:
        """422: an input is the caller's."""
        return 422

    @property
    def summary(self) -> str:
        """The message."""
        return str(self)


def _lacks_a_time(value: Any) -> bool:
    """Whether it is the `NaT` of pandas or numpy, or an array with one. Their own conversions hide it."""
    kind = type(value)
    if kind.__name__ == "NaTType":
        return True
    numpy = sys.modules.get("numpy")
    if numpy is None or kind.__module__ != "numpy" or getattr(getattr(value, "dtype", None), "kind", "") not in "mM":
        return False
    return bool(numpy.isnat(value).any())


def convert(value: Any) -> Any:
    """What `value`, which is no JSON by itself, is in JSON. `NoJson` when that has no one meaning."""
    kind = type(value)
    if _lacks_a_time(value):
        raise NoJson("NaT, a time that is not there, is no JSON: use None")
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        converted = value.tolist()
        if type(converted) is not kind:
            return converted
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (os.PathLike, uuid.UUID)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Not `asdict`, which would copy what is inside; that is converted when its turn comes.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    advice = "use value.value" if isinstance(value, enum.Enum) else ADVICE.get(kind.__name__)
    raise NoJson(f"a value of type {kind.__name__!r} is no JSON{f': {advice}' if advice else ''}")


def integer(digits: str) -> int:
    """The integer, if every reader reads it as one."""
    if not -(2**63) <= (value := int(digits)) < 2**63:
        raise NoJson(f"the integer {digits:.40} has more than 64 bits: use str(value)")
    return value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, if no name is there twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise NoJson("two keys of a dict are the same in JSON, such as 1 and '1'")
    return fields


def check(text: str) -> None:
    """`NoJson` for what the server would refuse as well, without saying in which item it is."""
    try:
        json.dumps(json.loads(text, parse_int=integer, object_pairs_hook=once), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NoJson("a string has half of a surrogate pair: it is no text") from error


def is_deeper(text: str, most: int) -> bool:
    """Whether lists and objects of this JSON are nested deeper than that."""
    if text.count("[") + text.count("{") <= most:
        return False
    text = STRING.sub("", text)
    for _ in range(most):
        text, peeled = INNERMOST.subn("", text)
        if not peeled:
            return False
    return "[" in text or "{" in text


def encode(value: Any, ensure_ascii: bool = True, most_depth: int | None = None) -> str:
    """The value as one line of JSON. `NoJson` when it cannot be, or is nested deeper than that."""
    try:
        text = json.dumps(value, default=convert, allow_nan=False, separators=(",", ":"), ensure_ascii=ensure_ascii)
        if any(suspect.search(text) for suspect in SUSPECTS):
            check(text)
        if most_depth is not None and is_deeper(text, most_depth):
            raise NoJson(f"it is nested more than {most_depth} deep")
        return text
    except NoJson:
        raise
    except RecursionError as error:
        raise NoJson("it is nested too deeply, or contains itself") from error
    except (TypeError, ValueError) as error:
        said = str(error)
        if "not JSON compliant" in said:
            raise NoJson(f"{said}: use None or a string for NaN and infinity") from error
        raise NoJson(said) from error
