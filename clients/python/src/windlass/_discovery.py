"""Where the server is and what opens it: as the command line finds it.

The server is what is given, else `WINDLASS_SERVER`, else the one of this machine: where the file `address` of its data
directory says that it is, else at port 7070. That is read again until a server was reached, and when it is gone: it may
be started at another port. The token is what is given, else
`WINDLASS_TOKEN`, else what the file `WINDLASS_TOKEN_FILE` holds, else the file `token` of the server's data directory:
what is given, else `windlass` in `XDG_DATA_HOME`, else in `~/.local/share`. That last file is of the server on this
machine and is sent to no other.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import sys
import urllib.parse
from pathlib import Path
from typing import Callable, Union

from windlass.errors import WindlassError

LOCAL = "http://127.0.0.1:7070"

ADVICE = (
    "is `windlass serve` running with another --data? "
    "Give the token as `token` or in WINDLASS_TOKEN, or the directory as `data`"
)

IN_A_FUNCTION = (
    "a function cannot read the server's token. One that is to ask a server is handed a token, as by "
    "`windlass serve --pass-env WINDLASS_TOKEN`. A function's module is imported to call it: is the script's own "
    "work below `if __name__ == '__main__':`?"
)

MAX_TOKEN_BYTES = 16 << 10
"""Most bytes of a token: with this a request's head is still short enough."""

MAX_URL_BYTES = 300

Token = Union[str, Callable[[], str]]


class NoToken(WindlassError):
    """No token was found; the message says where it was looked for."""

    _http_status = 503  # a server that starts writes it
    _summary = "the compute server's token is not there"


def server_url(given: str | None, data: str | os.PathLike[str] | None = None) -> str:
    """The server, without a slash at its end."""
    url = _local_url(data) if is_found(given) else given or os.environ["WINDLASS_SERVER"]
    if not isinstance(url, str):
        raise TypeError(f"a server is given by its URL, such as {LOCAL!r}, and not as {url!r}")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of a server, such as {LOCAL}")
    if parts.query or parts.fragment or parts.username:
        raise ValueError(f"{parts.hostname}: the URL of a server has no query, no fragment and no user")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL of a server, such as {LOCAL}: {error}") from None
    return url.rstrip("/")


def _local_url(data: str | os.PathLike[str] | None) -> str:
    try:
        url = _text(_path("address", data), MAX_URL_BYTES).strip()
    except (OSError, ValueError):
        return LOCAL
    return url if url.startswith("http") and len(url) <= MAX_URL_BYTES else LOCAL


def is_found(given: str | None) -> bool:
    """Whether nobody says where the server is, so that the one of this machine is looked for."""
    return not (given or os.environ.get("WINDLASS_SERVER"))


def why_there(given: str | None, data: str | os.PathLike[str] | None) -> str:
    """Why the server of this machine is expected where it is, if that is a guess."""
    if not is_found(given):
        return ""
    try:
        path = _path("address", data)
        return "" if path.exists() else f" No server has written where it is to {path}."
    except (OSError, RuntimeError):
        # There is no home, or nothing of the directory may be known.
        return ""


def is_loopback(url: str) -> bool:
    """Whether it is this machine: no proxy is asked, and its token may be sent there."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(url: str, given: Token | None, data: str | os.PathLike[str] | None) -> Callable[[], str]:
    """Gives the token, each time that one is needed: a token of a cluster is replaced while a program runs."""
    if callable(given):
        return given
    known = given or os.environ.get("WINDLASS_TOKEN")
    if known is not None and not isinstance(known, str):
        # Its kind alone: whatever it is, it may be a secret.
        raise TypeError(f"a token is a text, or a function that gives one, and no {type(known).__name__}")
    if known:
        return lambda: known
    named = os.environ.get("WINDLASS_TOKEN_FILE") if data is None else None
    if named:
        return _TokenFile(Path(named), "WINDLASS_TOKEN_FILE names it")
    if data is None and not is_loopback(url):
        raise NoToken(f"no token for {url}: give it as `token`, in WINDLASS_TOKEN or in a file, WINDLASS_TOKEN_FILE")
    return _TokenFile(_path("token", data), ADVICE)


class _TokenFile:
    """Gives the token in a file, which is read each time."""

    def __init__(self, path: Path, advice: str) -> None:
        self.path, self.advice = path, advice
        self.last: str | None = None

    def __call__(self) -> str:
        try:
            self.last = _read(self.path, self.advice)
        except NoToken as error:
            # Where the program may open no more files, the file is as it was.
            if self.last is None or not _is_want_of_files(error.__cause__):
                raise
        return self.last


def _is_want_of_files(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def _path(name: str, data: str | os.PathLike[str] | None) -> Path:
    """A file of the data directory of the server on this machine."""
    return (Path(data) if data is not None else data_directory()) / name


def data_directory() -> Path:
    """The user's data directory, by the XDG base directory specification."""
    given = os.environ.get("XDG_DATA_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share"
    return base / "windlass"


def _is_in_a_function() -> bool:
    """Whether this program is `python -m windlass.worker`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == "windlass.worker"


def _text(path: Path, most: int) -> str:
    """What a file holds. Of one that has more than `most` bytes, one byte more than that."""
    with path.open(encoding="ascii") as file:
        return file.read(most + 1)


def _read(path: Path, advice: str) -> str:
    try:
        text = _text(path, MAX_TOKEN_BYTES)
    except (OSError, ValueError) as error:
        said = f"{path}: {getattr(error, 'strerror', None) or error}"
        if _is_want_of_files(error):
            raise NoToken(said) from error
        raise NoToken(f"{said}; {IN_A_FUNCTION if _is_in_a_function() else advice}") from error
    if len(text) > MAX_TOKEN_BYTES:
        raise NoToken(f"{path}: it is too large to be a token; {advice}")
    if not (token := text.strip()):
        raise NoToken(f"{path}: it is empty, and a token is not; {advice}")
    return token
