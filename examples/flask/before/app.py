"""The web service that people have: a process pool for each request."""

import multiprocessing

from estimate import estimate
from flask import Flask, request

app = Flask(__name__)
context = multiprocessing.get_context("spawn")


@app.post("/estimate")
def post_estimate():
    data = request.get_json()["data"]
    with context.Pool(4) as pool:
        return {"results": pool.map(estimate, data)}
