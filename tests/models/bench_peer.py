#!/usr/bin/env python3
"""Times a model in another engine, in turns: what tests/src/bin/turns.rs is for sparsec's libraries.

    python bench_peer.py onnxruntime|openvino|deepsparse MODEL.onnx THREADS NAME=FILE.npy ...

Each line of standard input is a number of seconds to run for, and is answered by one line of JSON: {"ms": [...]}. The first
line, before any turn, says {"ready": true, "version": ...}. It imports nothing of this folder, because DeepSparse needs a
Python environment of its own.
"""

import json
import os
import sys
import time

import numpy as np

MIN_RUNS = 3
MAX_SAMPLES = 400


def onnxruntime(model, threads, feed):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return ort.__version__, lambda: session.run(None, feed)


def openvino(model, threads, feed):
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    return ov.__version__.split("-")[0], lambda: request.infer(feed)


def deepsparse(model, threads, feed):
    os.environ["NM_DISABLE_ANALYTICS"] = "1"
    import deepsparse as ds

    arrays = list(feed.values())
    engine = ds.compile_model(model, batch_size=arrays[0].shape[0], num_cores=threads)
    return ds.__version__, lambda: engine.run(arrays)


ENGINES = {"onnxruntime": onnxruntime, "openvino": openvino, "deepsparse": deepsparse}


def turn(run, seconds):
    """Milliseconds of the runs of one turn; the first run warms up and is not reported."""
    run()
    found, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(found) < MIN_RUNS:
        begin = time.perf_counter()
        run()
        found.append((time.perf_counter() - begin) * 1e3)
    return found[:: -(-len(found) // MAX_SAMPLES)]


def main():
    engine, model, threads, *files = sys.argv[1:]
    # Engines print banners: they go where errors go, and standard output has answers only.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    say = lambda value: print(json.dumps(value), file=answers, flush=True)
    feed = {name: np.load(file) for name, file in (pair.split("=", 1) for pair in files)}
    version, run = ENGINES[engine](model, int(threads), feed)
    run()
    say({"ready": True, "version": version})
    for line in sys.stdin:
        say({"ms": turn(run, float(line))})


if __name__ == "__main__":
    main()
