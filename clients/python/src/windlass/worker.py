"""A Python function as a function of Windlass: `python -m windlass.worker package.module:function`.

Does what `multiprocessing.Pool(n).map(function, items)` does, on the worker contract, for a function of one item:

- In: the file in `WINDLASS_INPUT`, a JSON object `{"items": [...]}`. Each item is one argument of one call. What else
  is in the object are the function's other arguments, by name.
  Or the object has no `items`, and the job a file of that name: an archive of items that are no JSON, such as an `.npz`
  (`windlass._archive`). Results that are no JSON are in an archive as well then, instead of an object.
- Out: `{"results": [...]}` in the file in `WINDLASS_OUTPUT`, whole or not at all, in the order of the items.
- An item that fails ends the job at once. The output has the results that were there by then all the same: those of
  the other items are null, and their numbers are in `notComputed`; `errors` says why the item has failed.
- With `"keepGoing": true` beside the items, one that fails does not end the others: its result is null, and `errors` in
  the output has its number (`item`), the exception's `type` and `message` and, for the first ones, the `traceback`.
- It runs exactly `WINDLASS_PARALLELISM` processes beside itself. They are started, and have imported the function,
  while the input is being read, and each runs one call at a time: what they import sees 1 in the variables by which
  runtimes size their thread pools (`OMP_NUM_THREADS` and so on).
- `WINDLASS_PROGRESS` gets `done total`, counted in items, ten times a second at most.

An input without `items` that has the function's parameters by name is one call, such as `{"x": 3}` for `f(x)`.
A function with more parameters, or with none for an item, gets the whole input by one call in one process: a JSON
object is its arguments by name. So does every function whose input is no JSON, such as an array or a picture: that is
its first argument. It may use all CPUs itself. Files of the job whose names are those of parameters are arguments, too.
`windlass._signature` says how a signature is read, `windlass._codecs` which media types are which values,
`windlass._context` what a function may ask.

| exit | when |
| --- | --- |
| 0 | the result is written |
| 1 | a process was killed or ran out of memory; stderr says which |
| 2 | not started by a Windlass worker, or wrong arguments |
| 65 | the input is not what the function takes, or the function has raised `windlass.BadInput` |
| 70 | the function cannot be imported, has raised another exception, or returned what cannot be given back |
| 143 | SIGTERM; no process is left |

An exception is not tried again, unless the job itself says `retries`: the same item would raise again. With
`--retry-exceptions` the exit status is 1
instead, also with `keepGoing`, and the job's retries decide. Either way stderr has the number of the item, from 0, and
the traceback.

`--check` only looks whether the function can be imported and called: exit 0 and how it is called on stdout, or 1 with
the reason on stderr. It needs no variables. `--pickle` takes pickled inputs and gives pickled results, which are
refused otherwise.

Arguments are JSON values. Results are what can be JSON in one way: numpy's numbers and arrays, tuples, dates and
dataclasses are converted, NaN and bytes are refused (`windlass._json` has the table).

Where `WINDLASS_SERVE` names a socket it serves: it does one job after another, and the processes with their imports
stay between them (`windlass._serving`, version 2 of the worker contract). A job has as many processes as it was granted
CPUs, and fails as in the table. A process in which it has left something is replaced: `windlass._leftovers` has the
list.
With `--cold` it does one job all the same.

Each process imports the function itself, as with `multiprocessing`'s `forkserver`: they are forked from one that has a
single thread and has imported nothing of it. They are no `multiprocessing` processes: its resource tracker would be one
process more, and a result would be encoded twice. Deliberately absent: anything outside
of the standard library, a retry of an item (the job has retries), and any clearing up after a function.
"""

from __future__ import annotations

import sys

from windlass._import_path import PythonsOwn

with PythonsOwn():
    from windlass._worker import main as main

if __name__ == "__main__":
    sys.exit(main())
