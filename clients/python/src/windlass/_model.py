"""How the objects of `windlass.models` are read from JSON."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, TypeVar

_Read = TypeVar("_Read", bound="Model")

# An input may have 128 KiB, and so may a result: enough of each to know it by.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlong = 25  # those of JSON have 20 digits at most
_SHORT.maxlevel = 4


class Model:
    """An object that the server answers. Its fields are those of the JSON object, with Python's names.

    Those that are such objects themselves, or lists of them, are named with their class where a model is declared. What
    a later server adds is not there and does no harm, and a new word of a choice is handed on as it is.
    """

    _parts: ClassVar[Mapping[str, type[Model]]] = {}

    def __init_subclass__(cls, **parts: type[Model]) -> None:
        super().__init_subclass__()
        cls._parts = parts

    @classmethod
    def from_json(cls: type[_Read], value: Mapping[str, Any]) -> _Read:
        """From its JSON object. A field that is null is one that is absent."""
        read: dict[str, Any] = {}
        for name, key, is_required in _names(cls):
            found: Any = value[key] if is_required else value.get(key)
            if found is None and not is_required:
                continue
            part = cls._parts.get(name)
            if isinstance(found, list):
                read[name] = tuple(part.from_json(each) for each in found) if part else tuple(found)
            else:
                read[name] = part.from_json(found) if part else found
        return cls(**read)

    def __repr__(self) -> str:
        """The fields that are there, long ones cut."""
        there = ((one.name, getattr(self, one.name)) for one in fields(self))  # type: ignore[arg-type]
        said = (f"{name}={_short(value)}" for name, value in there if value is not None and value != {} and value != ())
        return f"{type(self).__name__}({', '.join(said)})"


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))}{',' if len(value) == 1 else ''})"
    return repr(value) if isinstance(value, Model) else _SHORT.repr(value)


_KNOWN: dict[type[Any], tuple[tuple[str, str, bool], ...]] = {}


def _names(model: type[Any]) -> tuple[tuple[str, str, bool], ...]:
    """Of each field its name, its name in JSON, and whether it is always there."""
    names = _KNOWN.get(model)
    if names is None:
        names = _KNOWN[model] = tuple(
            (one.name, json_name(one.name), one.default is MISSING and one.default_factory is MISSING)
            for one in fields(model)
        )
    return names


def json_name(name: str) -> str:
    """`estimated_remaining_seconds` -> `estimatedRemainingSeconds`; `class_` -> `class`."""
    return re.sub("_([a-z0-9])", lambda found: found[1].upper(), name.rstrip("_"))
