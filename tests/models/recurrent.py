"""Recurrent networks with state: audio that arrives in pieces."""

import zlib

import numpy as np
from onnx import helper

from onnx_graph import INT64, GraphBuilder


def _random(rng, *shape):
    """Weights that keep activations in range."""
    fan_in = shape[-1] if len(shape) < 3 else int(np.prod(shape[1:]))
    return (rng.standard_normal(shape) / np.sqrt(max(fan_in, 1))).astype(np.float32)


def _recurrent(g, op, rng, x, inputs, hidden, states, directions=1, **attributes):
    """A recurrent operator with random weights; returns its results."""
    gates = {"LSTM": 4, "GRU": 3}[op]
    w = g.weight(_random(rng, directions, gates * hidden, inputs), f"{g.name}_W")
    r = g.weight(_random(rng, directions, gates * hidden, hidden), f"{g.name}_R")
    b = g.weight(_random(rng, directions, 2 * gates * hidden), f"{g.name}_B")
    count = 1 + len(states)
    return g.split(op, x, w, r, b, "", *states, count=count, hidden_size=hidden, **attributes)


def _detector(name, rng, kernel, stride, hidden):
    """One branch of a voice detector: convolutions over samples, an LSTM with state, a probability."""
    g = GraphBuilder(name)
    weight = lambda label, *shape: g.weight(_random(rng, *shape), f"{name}_{label}")
    samples = g.node("Unsqueeze", "audio", g.weight(np.array([1], np.int64), f"{name}_axis"))
    x = g.node("Conv", samples, weight("conv1", 32, 1, kernel), weight("bias1", 32), strides=[stride])
    x = g.node("Relu", x)
    x = g.node("Conv", x, weight("conv2", hidden, 32, 3), weight("bias2", hidden), strides=[2], pads=[1, 1])
    x = g.node("Relu", x)
    x = g.node("Transpose", x, perm=[2, 0, 1])
    zero, one = (g.weight(np.array([v], np.int64), f"{name}_{v}") for v in (0, 1))
    h, c = (g.node("Gather", "state", i, axis=0) for i in (zero, one))
    _, h, c = _recurrent(g, "LSTM", rng, x, hidden, hidden, [h, c])
    state = g.node("Concat", h, c, axis=0)
    last = g.node("Squeeze", h, zero)
    score = g.node("MatMul", g.node("Relu", last), weight("out", hidden, 1))
    g.output(g.node("Sigmoid", score), f"{name}_probability", [1, 1])
    g.output(state, f"{name}_state", [2, 1, hidden])
    return helper.make_graph(g.nodes, name, [], g.outputs, g.weights)


def voice(name, hidden=128):
    """A voice detector with one network for each of two sample rates, which an input chooses."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    g = GraphBuilder(name)
    g.input("audio", [1, 512])
    g.input("state", [2, 1, hidden])
    g.input("rate", [1], INT64)
    fast = g.node("Equal", "rate", g.ints(16000))
    branches = {
        "then_branch": _detector("fast", rng, 128, 64, hidden),
        "else_branch": _detector("slow", rng, 64, 32, hidden),
    }
    probability, state = g.split("If", fast, count=2, **branches)
    g.output(probability, "probability", [1, 1])
    g.output(state, "next_state", [2, 1, hidden])
    return g


def keywords(name, hidden=128):
    """A GRU in both directions over frames, as many as there are, with a state to begin with."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    g = GraphBuilder(name)
    g.input("frames", ["frames", 1, 40])
    g.input("state", [2, 1, hidden])
    y, state = _recurrent(
        g, "GRU", rng, "frames", 40, hidden, ["state"], 2, direction="bidirectional", linear_before_reset=1
    )
    x = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), g.ints(0, 0, -1))
    x = g.linear(x, _random(rng, 2 * hidden, 12), _random(rng, 12))
    g.output(g.node("Softmax", x, axis=-1), "keywords", ["frames", 1, 12])
    g.output(state, "next_state", [2, 1, hidden])
    return g
