"""The Flask application with a process pool for each request."""

import multiprocessing
import os

from flask import Flask, request

from bench.chunk import chunk, split, total

app = Flask(__name__)
context = multiprocessing.get_context(os.environ["BENCH_START_METHOD"])
if context.get_start_method() == "forkserver":
    # What the pool's processes import, so that each of them need not.
    context.set_forkserver_preload(["gunicorn.app.wsgiapp", "bench.chunk"])


@app.post("/compute")
def compute():
    work = request.get_json()
    parts = split(work["seed"], work["units"], work["steps"], work["chunks"])
    with context.Pool(4) as pool:
        return {"value": str(total(pool.starmap(chunk, parts, chunksize=1)))}
