"""Seeded inputs for the networks that build.py writes, one dictionary of arrays a case."""

import zlib

import numpy as np
import onnx

# The values of the symbolic dimensions to test; a network that is not listed has none.
DIMENSIONS = {
    "minilm": [{"batch": 1, "seq": 1}, {"batch": 1, "seq": 64}, {"batch": 3, "seq": 17}, {"batch": 2, "seq": 512}],
    "gpt2_decode": [{"past": 1}, {"past": 37}],
    "voice": [{"rate": 16000}, {"rate": 8000}],
    "keywords": [{"frames": 1}, {"frames": 25}],
    "graph_network": [{"nodes": 1, "edges": 0}, {"nodes": 5, "edges": 9}, {"nodes": 200, "edges": 1300}],
    "detector": [{"height": 32, "width": 32}, {"height": 64, "width": 96}, {"height": 57, "width": 43}],
    "rotary_decoder": [
        {"batch": b, "seq": n, "past": p, "total": n + p} for b, n, p in ((1, 1, 0), (1, 1, 17), (2, 5, 3), (1, 9, 0))
    ],
    "relative_encoder": [{"batch": 1, "seq": 1}, {"batch": 2, "seq": 7}, {"batch": 1, "seq": 150}],
    "sound_encoder": [{"batch": b, "frames": n, "seq": s} for b, n, s in ((1, 100, 1), (2, 33, 7), (1, 399, 20))],
}
# Those that benchmarks time.
TIMED = {
    "minilm": {"batch": 1, "seq": 64},
    "gpt2_decode": {"past": 512},
    "voice": {"rate": 16000},
    "keywords": {"frames": 50},
}
# Values for which the network has no result: sequences longer than its table of positions.
REFUSED = {"minilm": [{"batch": 1, "seq": 513}, {"batch": 2, "seq": 1000}]}


def cases(name, path):
    """Yields (label, {input name: array}) for the network `name` stored at `path`."""
    yield from _feeds(name, path, DIMENSIONS.get(name, [{}]))


def timed(name, path):
    """The {input name: array} that benchmarks run the network with; nothing is masked."""
    ((_, feed),) = _feeds(name, path, [TIMED.get(name, {})])
    return {name: np.ones_like(array) if name == "attention_mask" else array for name, array in feed.items()}


def refused(name, path):
    """The same for inputs that the network can't answer."""
    yield from _feeds(name, path, REFUSED.get(name, []))


def _feeds(name, path, all_dimensions):
    graph = onnx.load(path).graph
    for dimensions in all_dimensions:
        label = "x".join(str(size) for size in dimensions.values()) or "fixed"
        rng = np.random.default_rng(zlib.crc32(f"{name} {label}".encode()))
        yield label, {value.name: _array(graph, value, dimensions, rng) for value in graph.input}


def _array(graph, value, dimensions, rng):
    tensor = value.type.tensor_type
    shape = [dimensions[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim]
    if tensor.elem_type == onnx.TensorProto.FLOAT:
        return rng.standard_normal(shape, dtype=np.float32)
    if value.name == "attention_mask":
        return _mask(shape, rng)
    if value.name == "position_ids":
        return np.full(shape, dimensions["past"], np.int64)
    if value.name == "edges":
        return rng.integers(0, dimensions["nodes"], shape)
    if value.name == "rate":
        return np.full(shape, dimensions["rate"], np.int64)
    return rng.integers(0, _rows_of_table(graph, value.name), shape)


def _mask(shape, rng):
    """Ones, then zeros: sequences of random lengths; with more than one sequence the first fills its row."""
    batch, seq = shape
    lengths = rng.integers(1, seq + 1, batch)
    if batch > 1:
        lengths[0] = seq
    return (np.arange(seq) < lengths[:, None]).astype(np.int64)


def _rows_of_table(graph, indices):
    """The number of rows of the table that the input `indices` looks up."""
    table = next(n.input[0] for n in graph.node if n.op_type == "Gather" and n.input[1] == indices)
    return next(t.dims[0] for t in graph.initializer if t.name == table)
