"""Prints how long a call of a model of one operator takes, from Python."""

import time

import numpy as np
from test_sparsec import twice

import sparsec


def best(call, runs=2000, rounds=30):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(runs):
            call()
        times.append((time.perf_counter() - start) / runs)
    return min(times) * 1e6


x = np.ones((1, 3), np.float32)
model = sparsec.compile(twice())
session = sparsec.InferenceSession(twice().SerializeToString())
print(f"Model.__call__        {best(lambda: model(x)):.2f} us")
print(f"Model.run             {best(lambda: model.run({'x': x})):.2f} us")
print(f"InferenceSession.run  {best(lambda: session.run(None, {'x': x})):.2f} us")
