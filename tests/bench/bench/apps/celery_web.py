"""The web tier in front of Celery: a request is a group of subtasks, whose results are awaited."""

from celery import group
from flask import Flask, request

from bench.apps.celery_tasks import run
from bench.chunk import split, total

app = Flask(__name__)


@app.post("/compute")
def compute():
    work = request.get_json()
    parts = split(work["seed"], work["units"], work["steps"], work["chunks"])
    if len(parts) == 1:
        result = run.delay(*parts[0])
        value = result.get(timeout=300)
    else:
        result = group(run.s(*part) for part in parts).apply_async()
        # Left alone, a group looks for its results twice a second.
        value = total(result.get(timeout=300, interval=0.005))
    result.forget()
    return {"value": str(value)}
