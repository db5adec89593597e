"""A photo and an array of numpy are uploaded: the web worker holds them whole, and hands them to a process."""

import io
import multiprocessing

import numpy
from analysis import means, thumbnail
from flask import Flask, request

app = Flask(__name__)
context = multiprocessing.get_context("spawn")


@app.post("/thumbnails")
def post_thumbnail():
    with context.Pool(1) as pool:
        small = pool.apply(thumbnail, (request.get_data(),))
    return small, {"Content-Type": "image/jpeg"}


@app.post("/means")
def post_array():
    array = numpy.load(io.BytesIO(request.get_data()))
    with context.Pool(1) as pool:
        return pool.apply(means, (array,))
