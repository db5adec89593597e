"""How a result is written."""

from __future__ import annotations

import os
from collections.abc import Iterable


def write(path: str, result: Iterable[bytes]) -> None:
    """Next to its place first, then renamed: half a result is never taken for one."""
    with open(path + ".partial", "wb") as file:
        file.writelines(result)
    os.replace(path + ".partial", path)
