"""Windlass as a backend of joblib, for code that has `joblib.Parallel` already, such as scikit-learn's.

```sh
windlass serve --function joblib="python -m windlass.worker --pickle windlass.joblib:run"
```

```python
import joblib, windlass.joblib

with joblib.parallel_backend("windlass"):
    results = joblib.Parallel(n_jobs=-1)(joblib.delayed(f)(x) for x in items)
```

Each batch of calls is a job of one CPU. Calls and results are pickled: whoever may call this function can run any code
as it. The server's Python needs joblib, and the modules of the functions that are called.
"""

from __future__ import annotations

import concurrent.futures
import pickle
from typing import TYPE_CHECKING, Any, Callable

from joblib import register_parallel_backend  # type: ignore[import-not-found,import-untyped,unused-ignore]
from joblib.parallel import ParallelBackendBase  # type: ignore[import-not-found,import-untyped,unused-ignore]

try:
    import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ModuleNotFoundError:
    # joblib before 1.6 has its own.
    from joblib.externals import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]

from windlass import function as marked
from windlass._codecs import PICKLE, Encoded

if TYPE_CHECKING:
    from windlass import Executor, JobFuture
    from windlass.models import Job


@marked(items=False, input_types=[PICKLE], output_type=PICKLE)
def run(call: Callable[[], Any]) -> Any:
    """What the server runs: a batch of calls."""
    return call()


def raised_of(job: Job) -> Exception | None:
    """What the call of a job has raised, where it could be pickled and is in the job."""
    from windlass._protocol import inline_result

    result, computed = job.status.result, inline_result(job)
    if result is None or computed is None or result.content_type != PICKLE:
        return None
    try:
        raised = pickle.loads(computed)
    except Exception:
        # Such as one whose `__init__` wants more than it keeps. The job's failure says as text what it was.
        return None
    return raised if isinstance(raised, Exception) else None


class Backend(ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches as jobs of one function. `options` are those of an executor, such as `client`."""

    supports_retrieve_callback = True

    def __init__(self, function: str = "joblib", nesting_level: int | None = None, **options: Any) -> None:
        super().__init__(nesting_level=nesting_level)
        self.function, self.options = function, {"parallelism": 1, **options}
        self.executor: Executor | None = None
        self.unfinished: set[JobFuture] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """So many batches are handed in at a time; of a negative number, as many as a job could have CPUs."""
        if n_jobs is None or n_jobs >= 0:
            return max(1, n_jobs or 1)
        bounds = self.pool()._function_there().parallelism
        cpus = bounds.max if bounds is not None else None
        return max(1, (cpus or 1) + 1 + n_jobs)

    def pool(self) -> Executor:
        """The executor, made when it is needed."""
        if self.executor is None:
            # Not for the server's side, which needs no HTTP library.
            from windlass import Executor

            self.executor = Executor(self.function, items=False, **self.options)
        return self.executor

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Any:
        """Hands in a batch."""
        from windlass._registered import Work

        try:
            call = Encoded(PICKLE, [cloudpickle.dumps(func)])
            future = self.pool()._start(Work(None, False, data=call))
        except Exception as error:
            # joblib hands in later batches where nobody hears an exception, and would wait for ever.
            failed: concurrent.futures.Future[Any] = concurrent.futures.Future()
            failed.set_exception(error)
            if callback is not None:
                failed.add_done_callback(callback)
            return failed
        self.unfinished.add(future)
        future.add_done_callback(self.unfinished.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: JobFuture) -> Any:
        """The results of a batch. Raises what a call has raised, from the `JobFailed` of its job."""
        from windlass import JobFailed

        try:
            return pickle.loads(out.result())
        except JobFailed as failed:
            raised = raised_of(failed.job)
            if raised is None:
                raise
            raise raised from failed

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancels what is left."""
        for future in list(self.unfinished):
            future.cancel()

    def terminate(self) -> None:
        """The end of a `Parallel`."""
        if self.executor is not None:
            self.executor.shutdown(wait=False)
        self.executor = None


register_parallel_backend("windlass", Backend)
