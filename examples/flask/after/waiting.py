"""The same web service, changed as little as can be: the work is Windlass', and the web worker waits for it."""

import windlass
from flask import Flask, request

app = Flask(__name__)
client = windlass.Client()


@app.post("/estimate")
def post_estimate():
    data = request.get_json()["data"]
    key = request.headers.get("Idempotency-Key")
    return client.call("estimate", {"items": data}, min_parallelism=1, idempotency_key=key)


@app.errorhandler(windlass.WindlassError)
def failed(error):
    return {"error": error.summary}, error.http_status
