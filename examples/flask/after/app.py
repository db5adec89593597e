"""The web service as it should be: no web worker waits for the work, and the browser shows how far it is."""

import windlass
from flask import Flask, abort, request, url_for
from werkzeug.exceptions import HTTPException

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 100_000  # of a request; a larger one is refused with 413
# Briefly: a web worker that tries again for half a minute is one that answers nobody else.
client = windlass.Client(patience_seconds=3)


@app.get("/")
def page():
    return app.send_static_file("page.html")


@app.post("/estimates")
def start():
    """Answers at once, when the server has the job on its disk. `Location` is where to look."""
    body = request.get_json()
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        abort(400, "the body must be an object with the list `data`")
    key = request.headers.get("Idempotency-Key")
    job = client.submit("estimate", {"items": body["data"]}, min_parallelism=1, idempotency_key=key)
    return how_far(job)


@app.get("/estimates/<name>")
def look(name):
    """202 and how far it is, until it has ended; then 200 and the results, or why there are none."""
    job = job_of(name)
    return client.value(job) if job.status.phase in ("Succeeded", "Failed", "Cancelled") else how_far(job)


@app.delete("/estimates/<name>")
def cancel(name):
    return how_far(client.cancel(job_of(name)))


def job_of(name):
    """Whoever knows the name may see it. Where users are to be kept apart, ask here whose it is."""
    job = client.get(name, with_input=False)
    if job.spec.function != "estimate":
        abort(404)
    return job


def how_far(job):
    progress = job.status.progress
    answer = {"phase": job.status.phase or "Queued", "progress": progress.fraction if progress else 0}
    return answer, 202, {"Location": url_for("look", name=job.metadata.name), "Retry-After": "1"}


@app.errorhandler(windlass.WindlassError)
def failed(error):
    # The log has all, such as the function's traceback; the browser has the summary.
    app.logger.warning("%s: %s", type(error).__name__, error)
    return {"error": error.summary}, error.http_status


@app.errorhandler(HTTPException)
def refused(error):
    # The rest of a request, at most 1 MiB: nginx still sends it, and would say 502 instead of what is answered before.
    # Gunicorn says where it ends; Flask's own server does not.
    if request.environ.get("wsgi.input_terminated"):
        request.environ["wsgi.input"].read(1 << 20)
    return {"error": error.description}, error.code
