"""What a job gives a function as its arguments: the input, its files, and how each is read."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from windlass import _codecs as codecs
from windlass import _context
from windlass._archive import Archive, type_of
from windlass._ends import BadInput, writing
from windlass._signature import Callee, check_item, check_names

# What a parameter is given when it is annotated with a type of this name, and the media types in which a file of the
# job, of which no type is told, may be that.
ARRAYS, TABLES = (codecs.NPY, codecs.NPZ), (codecs.PARQUET, codecs.ARROW_FILE, codecs.ARROW)
# What those files are called, and what reads another one.
TAKEN = {
    ARRAYS: (".npy or .npz, as numpy.save and numpy.savez write it", "numpy.loadtxt"),
    TABLES: ("Parquet, or an Arrow file or stream", "pandas.read_csv"),
}
FILE_TYPES = {"ndarray": ARRAYS, "NDArray": ARRAYS, "Table": TABLES, "DataFrame": TABLES}
MAGIC = {
    codecs.NPY: b"\x93NUMPY",
    codecs.NPZ: b"PK",
    codecs.PARQUET: b"PAR1",
    codecs.ARROW_FILE: b"ARROW1",
    codecs.ARROW: b"\xff\xff\xff\xff",
}


# Those that say of themselves what they are. Another one says too little for a parameter that is one of the above: that
# of a file whose name's ending nobody knows is any bytes, and that of a CSV file is a text.
TOLD = {*ARRAYS, *TABLES, codecs.JSON, codecs.PICKLE}


def type_names(function: Callable[..., Any]) -> dict[str, str]:
    """The name of each parameter's type, such as `Path` for `pathlib.Path`."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {each.name: _type_name(each.annotation) for each in parameters}


def _type_name(annotation: Any) -> str:
    # Not evaluated: it may name what is imported for type checkers only.
    if isinstance(annotation, str):
        name = annotation.replace("Optional[", "").partition("|")[0]
        return name.partition("[")[0].rpartition(".")[2].strip(" ]")
    choices: tuple[Any, ...] = getattr(annotation, "__args__", ())
    if type(None) in choices:
        annotation = choices[0]
    return getattr(getattr(annotation, "__origin__", annotation), "__name__", "")


def argument(path: Any, media_type: str | None, wanted: str, allow_pickle: bool) -> Any:
    """What is in a file, as its parameter wants it. Without a media type that is the path unless it wants another."""
    if wanted == "Path":
        return path
    if wanted == "bytes":
        return path.read_bytes()
    if media_type is None and wanted not in FILE_TYPES:
        return path.read_text(encoding="utf-8") if wanted == "str" else path
    if wanted in FILE_TYPES and not _says_what_it_is(media_type):
        media_type = _found_type(path, wanted)
    assert media_type is not None
    with path.open("rb") as file:
        if codecs.is_json(media_type):
            return json.load(file)
        if codecs.essence(media_type) == codecs.PICKLE and allow_pickle:
            return pickle.load(file)
        if codecs.essence(media_type).startswith("text/") or wanted == "str":
            return _text(media_type, file.read())
        value = codecs.decode(media_type, file, wanted == "Table")
    return value.to_pandas() if wanted == "DataFrame" and hasattr(value, "to_pandas") else value


def _says_what_it_is(media_type: str | None) -> bool:
    return media_type is not None and (codecs.is_json(media_type) or codecs.essence(media_type) in TOLD)


def _found_type(path: Any, wanted: str) -> str:
    """The media type of an array or a table, by how the file begins."""
    with path.open("rb") as file:
        begin = file.read(8)
    kind = next((kind for kind in FILE_TYPES[wanted] if begin.startswith(MAGIC[kind])), None)
    if kind is None:
        taken, reader = TAKEN[FILE_TYPES[wanted]]
        raise codecs.Undecodable(
            f"it is no file of a {wanted}: that is {taken}; "
            f"a parameter that is annotated with pathlib.Path gets any other file, to read it, as by {reader}"
        )
    return kind


def _text(media_type: str, data: bytes) -> str:
    charset = media_type.lower().partition("charset=")[2].partition(";")[0].strip(' "') or "utf-8"
    try:
        return data.decode(charset)
    except LookupError:
        raise codecs.Undecodable(f"the charset {charset!r} is not known") from None


class Member:
    """An item in the archive of a job's items, as far as a path is needed to read one."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_bytes(self) -> bytes:
        """The whole."""
        return self.data

    def open(self, _mode: str = "rb") -> io.BytesIO:
        """A file of it."""
        return io.BytesIO(self.data)


# Of the ending of a member's name, which becomes that of a file.
MOST_ENDING = 32


class Items:
    """The items of a job in its file of that name."""

    def __init__(self, path: str, arguments: Arguments, positions: list[str] | None) -> None:
        self.path, self.arguments = Path(path), arguments
        # The parameters that are in each item, where the job says so: first come those of all items for the first.
        self.positions = positions
        self.archive: Archive | None = None
        # The files of the last item, where the function takes a path.
        self.written: list[Path] = []

    def item(self, number: int) -> Any:
        """An item, as the parameter wants it. `BadInput` when it cannot be that."""
        callee = self.arguments.callee
        self.forget()
        if self.archive is None:
            self.archive = Archive(self.path.open("rb"))
        what = f"item {number} of the job"
        if self.positions is not None:
            count = len(self.archive) // len(self.positions)
            members = range(number, len(self.archive), count)
            return [self._argument(self.archive, at, name, what) for at, name in zip(members, self.positions)]
        item = self._argument(self.archive, number, callee.first or "", what)
        if callee.spreads:
            # A row of a matrix has the arguments of a call, as a list of them would.
            item = item.tolist() if type(item).__name__ == "ndarray" else item
            check_item(callee, number, item)
        return item

    def _argument(self, archive: Archive, number: int, parameter: str, what: str) -> Any:
        """A member of the archive, as this parameter wants it."""
        name = archive.name(number)
        try:
            data, media_type = archive.read(number), type_of(name)
        except codecs.Undecodable as error:
            raise BadInput(f"{what}: {error}") from error
        if codecs.is_json(media_type):
            return self.arguments.read("", Member(data), media_type, what)
        if self.arguments.type_names.get(parameter, "") != "Path":
            return self.arguments.read(parameter, Member(data), media_type, what)
        # Beside the output, as the other files of the attempt.
        path = Path(f"{os.environ['WINDLASS_OUTPUT']}.{number}{Path(name).suffix[:MOST_ENDING]}")
        self.written.append(path)
        with writing(what):
            path.write_bytes(data)
        return path

    def forget(self) -> None:
        """Removes the files of the last item, if there are any: all of them would take the archive's disk once more."""
        for path in self.written:
            with contextlib.suppress(OSError):
                path.unlink()
        self.written = []

    def close(self) -> None:
        """Closes the file."""
        self.forget()
        if self.archive is not None:
            self.archive.file.close()


class Arguments:
    """Reads what a job gives the function."""

    def __init__(self, function: Callable[..., Any], callee: Callee, allow_pickle: bool) -> None:
        self.callee, self.allow_pickle = callee, allow_pickle
        self.type_names = type_names(function)

    def files(self, job: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
        """Those files of the job that have one of these names, as arguments."""
        names = {*names}
        return {
            name: self.read(name, path, None, f"the file {name!r}")
            for name, path in _context.files_of(job).items()
            if name in names
        }

    def whole(self, job: Mapping[str, str]) -> dict[str, Any]:
        """All arguments, by their names. `BadInput` when they are not those of the function."""
        media_type = job.get("WINDLASS_INPUT_TYPE") or codecs.JSON
        path, first = Path(job["WINDLASS_INPUT"]), self.callee.first
        files = self.files(job, [*self.callee.names, *([first] if first else [])])
        if codecs.is_json(media_type):
            value = self.read("", path, media_type, "the input")
        else:
            value = self.read(first or "", path, media_type, "the input")
        if isinstance(value, dict) and codecs.is_json(media_type):
            given = value
        elif first is None:
            raise BadInput(f"{self.callee.shown} takes no input of the type {media_type}")
        else:
            given = {first: value}
        for name in files:
            if name in given:
                raise BadInput(f"/{name} is in the input, and there is a file of that name as well")
        given = {**given, **files}
        check_names(self.callee._replace(by_item=False, positions=[]), given)
        return given

    def read(self, name: str, path: Any, media_type: str | None, what: str) -> Any:
        """What is in a file, as the parameter of this name wants it. `BadInput` when it cannot be that."""
        try:
            return argument(path, media_type, self.type_names.get(name, ""), self.allow_pickle)
        except json.JSONDecodeError as error:
            raise BadInput(f"{'' if what == 'the input' else f'{what}: '}not JSON: {error}") from error
        except RecursionError as error:
            raise BadInput(f"{'' if what == 'the input' else f'{what}: '}its JSON is nested too deep") from error
        except (codecs.Undecodable, UnicodeDecodeError, ModuleNotFoundError) as error:
            raise BadInput(f"{what}: {error}") from error
