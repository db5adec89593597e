"""What Windlass has called for each item, by `windlass.worker`: a chunk, as the other systems' processes do it."""

from bench.chunk import chunk


def run(part):
    return chunk(*part)
