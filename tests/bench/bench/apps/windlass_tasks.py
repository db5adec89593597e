"""What Windlass has called for each item, by `windlass.worker`: a chunk, as the other systems' processes do it."""

from bench.chunk import chunk


def run(part):
    # As text: not every reader of JSON reads an integer of 64 bits without a sign.
    return str(chunk(*part))


def run_with_numpy(part):
    import numpy

    return str(numpy.uint64(chunk(*part)))
