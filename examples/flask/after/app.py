"""The same web service: the work is handed to Windlass."""

import windlass
from flask import Flask, request

app = Flask(__name__)
client = windlass.Client()


@app.post("/estimate")
def post_estimate():
    data = request.get_json()["data"]
    key = request.headers.get("Idempotency-Key")
    return client.call("estimate", {"items": data}, min_parallelism=1, idempotency_key=key)


@app.errorhandler(windlass.ApiError)
def refused(error):
    return {"error": error.detail}, error.status
