"""A photo and an array of numpy are uploaded: the web worker passes them on as they come."""

import windlass
from flask import Flask, request

app = Flask(__name__)
client = windlass.Client()


@app.post("/thumbnails")
def post_thumbnail():
    small = client.call("thumbnail", data=request.stream, content_type=request.mimetype, parallelism=1)
    return small, {"Content-Type": "image/jpeg"}


@app.post("/means")
def post_array():
    return client.call("means", data=request.stream, content_type="application/x-npy", parallelism=1)


@app.errorhandler(windlass.WindlassError)
def failed(error):
    while request.stream.read(1 << 16):  # the rest, which a proxy still sends: it would answer 502 instead
        pass
    return {"error": error.summary}, error.http_status
