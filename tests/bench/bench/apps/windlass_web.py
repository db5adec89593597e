"""The Flask application that hands its pool's work to Windlass: examples/flask/after/waiting.py, with this work."""

from flask import Flask, request

import windlass
from bench.chunk import split, total

app = Flask(__name__)
client = windlass.Client()


@app.post("/compute")
def compute():
    work = request.get_json()
    parts = split(work["seed"], work["units"], work["steps"], work["chunks"])
    key = request.headers.get("Idempotency-Key")
    found = client.call("chunks", {"items": parts}, parallelism=work["parallelism"], idempotency_key=key)
    return {"value": str(total(map(int, found["results"])))}
