"""Windlass: hands expensive, parallel work to a compute server, on this machine or on a cluster.

```python
import windlass

with windlass.Executor("price") as pool:  # reads like the pool that it replaces
    for result in pool.map(options):
        print(result)

client = windlass.Client()  # everything else: submit, wait, progress, cancel, ...
```

`windlass.worker` is the other half: it runs a Python function as a function of Windlass.

What is named here is imported when it is first used. So `windlass.worker`, of which there is a process for each CPU,
loads no HTTP library and needs none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass._context import cancelled, files, parallelism, progress
    from windlass._ends import BadInput
    from windlass._signature import function
    from windlass.async_client import AsyncClient
    from windlass.client import Client
    from windlass.errors import (
        ApiError,
        Busy,
        Conflict,
        Forbidden,
        Gone,
        Invalid,
        ItemError,
        ItemsFailed,
        JobCancelled,
        JobEnded,
        JobFailed,
        NoJson,
        NotFound,
        ServerError,
        TooLarge,
        Unauthenticated,
        Unavailable,
        Unreachable,
        Untrusted,
        WindlassError,
    )
    from windlass.executor import Executor, JobFuture
    from windlass.models import Explanation, Function, Job, Problem, Queue

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "async_client",
    "BadInput": "_ends",
    "Client": "client",
    "Executor": "executor",
    "JobFuture": "executor",
    "function": "_signature",
    **dict.fromkeys(("cancelled", "files", "parallelism", "progress"), "_context"),
    **dict.fromkeys(("Explanation", "Function", "Job", "Problem", "Queue"), "models"),
}
"""The modules of what is no error; all others of `__all__` are in `errors`."""

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadInput",
    "Busy",
    "Client",
    "Conflict",
    "Executor",
    "Explanation",
    "Forbidden",
    "Function",
    "Gone",
    "Invalid",
    "ItemError",
    "ItemsFailed",
    "Job",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "JobFuture",
    "NoJson",
    "NotFound",
    "Problem",
    "Queue",
    "ServerError",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "Untrusted",
    "WindlassError",
    "cancelled",
    "files",
    "function",
    "parallelism",
    "progress",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'windlass' has no attribute {name!r}")
    return getattr(importlib.import_module(f"windlass.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
