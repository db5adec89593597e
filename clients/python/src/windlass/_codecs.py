"""Values that are no JSON, as bytes with a media type, and back. Both sides have the same.

| media type | value |
| --- | --- |
| `application/octet-stream`, `image/png` and all that are not named here | `bytes` |
| `text/...` | `str` for a function, `bytes` for a client |
| `application/x-npy` | an array of numpy |
| `application/x-npz` | a dict of arrays of numpy |
| `application/vnd.apache.arrow.stream`, `application/vnd.apache.arrow.file` | a `pyarrow.Table`, or its data frame |
| `application/vnd.apache.parquet` | the same |
| `application/x-python-pickle` | any value, only where pickle is allowed |

numpy, pyarrow and pandas are imported when there is such a value, and so are `zipfile` and `pickle`, which a parent of
processes does not need. No array is ever unpickled.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, Union

from windlass._import_path import pythons
from windlass._json import NoJson
from windlass._stacks import LENGTH, header_size

JSON = "application/json"
BYTES = "application/octet-stream"
NPY, NPZ = "application/x-npy", "application/x-npz"
ARROW, ARROW_FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
PICKLE = "application/x-python-pickle"

PIECE_BYTES = 1 << 20
# So many of an array's file say how long its header is.
BEGIN_BYTES = LENGTH.stop

Buffer = Union[bytes, bytearray, memoryview]


class Undecodable(Exception):
    """Bytes are not what their media type says."""


class Encoded(NamedTuple):
    """A value as bytes, in parts that need not be copied together."""

    media_type: str
    parts: list[Buffer]

    def pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece."""
        for part in self.parts:
            whole = memoryview(part).cast("B")
            for begin in range(0, len(whole), PIECE_BYTES):
                yield bytes(whole[begin : begin + PIECE_BYTES])


def essence(media_type: str) -> str:
    """A media type without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def is_json(media_type: str) -> bool:
    """Whether it is JSON by its type."""
    kind = essence(media_type)
    return kind == JSON or kind.endswith("+json")


def matches(media_type: str, wanted: str) -> bool:
    """Whether it is what is wanted, which may be `image/*` or `*/*`."""
    kind, wanted = essence(media_type), essence(wanted)
    return wanted in (kind, "*/*") or (wanted.endswith("/*") and kind.startswith(wanted[:-1]))


def decode(media_type: str, file: IO[bytes], keeps_tables: bool = False) -> Any:
    """The value of what is no JSON and no pickle; `bytes` for a type that is not known here.

    A table that was a data frame is one again, unless tables are to be kept.
    """
    kind = essence(media_type)
    try:
        if kind == NPY:
            return _load(_numpy(kind), file)
        if kind == NPZ:
            with _numpy(kind).load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        if kind in (ARROW, ARROW_FILE, PARQUET):
            return _table(kind, file, keeps_tables)
    except (ValueError, OSError, EOFError, TypeError, AttributeError, pythons("zipfile").BadZipFile) as error:
        raise Undecodable(f"it is no {kind}: {error}") from error
    return file.read()


def encode(value: Any) -> Encoded | None:
    """The bytes and the media type of a value that is bytes, an array or a table; None for every other."""
    if isinstance(value, Encoded):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Encoded(BYTES, [value])
    numpy, pyarrow = sys.modules.get("numpy"), sys.modules.get("pyarrow")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return Encoded(NPY, _array(numpy, value))
    if numpy is not None and isinstance(value, dict) and value and _all(value, numpy.ndarray):
        for array in value.values():
            _refuse_unfit(array)
        archive = io.BytesIO()
        # As numpy.savez does, which takes no array of the name `file`.
        with pythons("zipfile").ZipFile(archive, "w") as zipped:
            for name, array in value.items():
                with zipped.open(f"{name}.npy", "w", force_zip64=True) as member:
                    numpy.lib.format.write_array(member, array, allow_pickle=False)
        return Encoded(NPZ, [archive.getbuffer()])
    if type(value).__module__.partition(".")[0] == "pandas" and type(value).__name__ == "DataFrame":
        pyarrow = _imported("pyarrow", ARROW)
        try:
            value = pyarrow.Table.from_pandas(value)
        except (ValueError, TypeError, pyarrow.ArrowException) as error:
            raise NoJson(f"the DataFrame cannot be an Arrow table: {error}") from error
    if pyarrow is not None and isinstance(value, (pyarrow.Table, pyarrow.RecordBatch)):
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, value.schema) as writer:
            writer.write(value)
        return Encoded(ARROW, [memoryview(sink.getvalue())])
    return None


def encode_pickle(value: Any) -> Encoded:
    """Any value, for whoever allows pickle."""
    pickle = pythons("pickle")
    return Encoded(PICKLE, [pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)])


def _all(value: dict[Any, Any], kind: type) -> bool:
    return all(isinstance(key, str) and isinstance(each, kind) for key, each in value.items())


def _refuse_unfit(array: Any) -> None:
    if hasattr(array, "mask"):
        raise NoJson("a masked array has no file format: use value.filled(...), or give its data and its mask")
    if array.dtype.hasobject:
        raise NoJson("an array of Python objects cannot be given on: give it a dtype of numbers or texts")


def _array(numpy: Any, array: Any) -> list[Buffer]:
    """The file of an array, without a copy of an array that is in one piece."""
    _refuse_unfit(array)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = numpy.ascontiguousarray(array)
    head = io.BytesIO()
    numpy.lib.format.write_array_header_2_0(head, numpy.lib.format.header_data_from_array_1_0(array))
    flat = (array if array.flags.c_contiguous else array.T).reshape(-1)
    return [head.getvalue(), memoryview(flat.view(numpy.uint8)) if array.size else b""]


def _load(numpy: Any, file: IO[bytes]) -> Any:
    """The array in a file, as `numpy.load` gives it, which takes longer to read a header than all of a small array."""
    begin = file.read(BEGIN_BYTES)
    header = begin + file.read(max(0, header_size(begin) - len(begin)))
    if len(header) == header_size(begin):
        shape, is_fortran, dtype = _header_of(numpy, header)
        if dtype.names is not None:
            # Whoever has an array may name its fields anew, in the type itself.
            _, _, dtype = _header_of.__wrapped__(numpy, header)
        array = numpy.empty(shape, dtype, order="F" if is_fortran else "C")
        if array.nbytes and not dtype.hasobject:
            flat = (array.T if is_fortran else array).reshape(-1).view(numpy.uint8)
            if file.readinto(memoryview(flat)) != array.nbytes:  # type: ignore[attr-defined]
                raise EOFError("it ends too early")
            return array
    file.seek(-len(header), io.SEEK_CUR)
    return numpy.load(file, allow_pickle=False)


@functools.lru_cache(maxsize=64)
def _header_of(numpy: Any, header: bytes) -> Any:
    """Shape, whether that is in Fortran's order, and type."""
    return numpy.lib.format.read_array_header_2_0(io.BytesIO(header[LENGTH.start :]))


def _table(kind: str, file: IO[bytes], keeps_tables: bool) -> Any:
    pyarrow = _imported("pyarrow", kind)
    if kind == PARQUET:
        table = _imported("pyarrow.parquet", kind).read_table(file)
    elif kind == ARROW_FILE:
        table = pyarrow.ipc.open_file(file).read_all()
    else:
        table = pyarrow.ipc.open_stream(file).read_all()
    is_frame = not keeps_tables and table.schema.pandas_metadata and importlib.util.find_spec("pandas")
    return table.to_pandas() if is_frame else table


def _numpy(kind: str) -> Any:
    return _imported("numpy", kind)


def _imported(module: str, kind: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{kind} needs {module.partition('.')[0]}, which is not installed", name=error.name
        ) from None
