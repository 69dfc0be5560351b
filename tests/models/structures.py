"""Networks whose structure is what is hard about them: graphs with edges as data, a detector that finds out how many results
it has, decoders with a cache and rotated positions, an encoder with relative positions, an encoder of sound, quantised networks.

All are small; every extent that a caller may choose is open.
"""

import zlib

import numpy as np
from onnx import TensorProto

from onnx_graph import FLOAT, INT64, GraphBuilder


def _begin(name):
    rng = np.random.default_rng(zlib.crc32(name.encode()))

    def normal(*shape, scale=None):
        scale = shape[-2] ** -0.5 if scale is None and len(shape) > 1 else scale or 0.1
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    return GraphBuilder(name), normal


def _extent(g, x, axis):
    """The extent of an axis, as a vector of one."""
    return g.node("Gather", g.node("Shape", x), g.ints(axis), axis=0)


def graph_network(name, width=32, layers=3):
    """Messages along edges, added up at their targets, with the number of edges at each node; then a mean over all nodes."""
    g, normal = _begin(name)
    x = g.linear(g.input("features", ["nodes", 16]), normal(16, width), normal(width))
    edges = g.input("edges", [2, "edges"], INT64)
    source, target = (g.node("Gather", edges, g.whole(i), axis=0) for i in (0, 1))
    count = _extent(g, x, 0)
    ones = g.node("ConstantOfShape", _extent(g, edges, 1), value=_tensor(np.float32([1])))
    degree = g.node("ScatterElements", g.node("ConstantOfShape", count), target, ones, axis=0, reduction="add")
    degree = g.node("Unsqueeze", g.node("Max", degree, g.scalar(1)), g.ints(1))
    for _ in range(layers):
        pair = g.node("Concat", g.node("Gather", x, source, axis=0), g.node("Gather", x, target, axis=0), axis=1)
        message = g.node("Relu", g.linear(pair, normal(2 * width, width), normal(width)))
        shape = g.node("Concat", count, g.ints(width), axis=0)
        index = g.node("Expand", g.node("Unsqueeze", target, g.ints(1)), g.node("Shape", message))
        zeros = g.node("ConstantOfShape", shape)
        total = g.node("ScatterElements", zeros, index, message, axis=0, reduction="add")
        mean = g.node("Div", total, degree)
        x = g.node("Relu", g.linear(g.node("Concat", x, mean, axis=1), normal(2 * width, width), normal(width)))
    g.output(g.node("ReduceMean", x, axes=[0], keepdims=1), "whole", [1, width])
    g.output(x, "embedding", ["nodes", width])
    return g


def detector(name, channels=16, classes=3):
    """Boxes and scores for each place of an image of any size; those that overlap are suppressed."""
    g, normal = _begin(name)
    x = g.input("image", [1, 3, "height", "width"])
    for i, (c, d) in enumerate([(3, channels), (channels, channels), (channels, channels)]):
        weight = g.weight(normal(d, c, 3, 3, scale=(c * 9) ** -0.5))
        x = g.node("Relu", g.node("Conv", x, weight, g.weight(normal(d)), pads=[1, 1, 1, 1], strides=[2, 2]))
    head = g.node("Conv", x, g.weight(normal(4 + classes, channels, 1, 1, scale=0.5)), g.weight(normal(4 + classes)))
    head = g.node("Reshape", head, g.ints(1, 4 + classes, -1))
    box, score = g.split("Split", head, g.ints(4, classes), count=2, axis=1)
    # Centres on a grid, found from the extents at run time.
    rows, cols = (g.node("Squeeze", _extent(g, x, axis), g.ints(0)) for axis in (2, 3))
    line = lambda end: g.node("Cast", g.node("Range", g.whole(0), end, g.whole(1)), to=FLOAT)
    down = g.node("Unsqueeze", line(rows), g.ints(1))
    right = g.node("Unsqueeze", line(cols), g.ints(0))
    shape = g.node("Slice", g.node("Shape", x), g.ints(2), g.ints(4))
    flat = lambda v: g.node("Reshape", g.node("Expand", v, shape), g.ints(1, 1, -1))
    centres = g.node("Concat", flat(down), flat(right), axis=1)
    near, far = g.split("Split", g.node("Sigmoid", box), g.ints(2, 2), count=2, axis=1)
    low = g.node("Sub", centres, g.node("Mul", near, g.scalar(2)))
    high = g.node("Add", centres, g.node("Mul", far, g.scalar(2)))
    boxes = g.node("Transpose", g.node("Concat", low, high, axis=1), perm=[0, 2, 1])
    scores = g.node("Sigmoid", score)
    kept = g.node("NonMaxSuppression", boxes, scores, g.ints(10), g.scalar(0.4), g.scalar(0.45))
    place = g.node("Gather", kept, g.whole(2), axis=1)
    found = g.node("Gather", g.node("Squeeze", boxes, g.ints(0)), place, axis=0)
    score = g.node("GatherND", scores, kept)
    g.output(found, "boxes", ["found", 4])
    g.output(score, "scores", ["found"])
    return g


def _heads(g, x, heads, per_head):
    """[batch, tokens, width] to [batch, heads, tokens, per_head]."""
    return g.node("Transpose", g.node("Reshape", x, g.ints(0, 0, heads, per_head)), perm=[0, 2, 1, 3])


def _attend(g, q, k, v, scale, bias=None):
    """Attention over heads; back to [batch, tokens, width]."""
    scores = g.node("Mul", g.node("MatMul", q, g.node("Transpose", k, perm=[0, 1, 3, 2])), g.scalar(scale))
    scores = g.node("Add", scores, bias) if bias else scores
    y = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
    return g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), g.ints(0, 0, -1))


def _rms(g, x, gamma):
    """Root-mean-square normalisation, spelled out."""
    mean = g.node("ReduceMean", g.node("Pow", x, g.scalar(2)), axes=[-1], keepdims=1)
    root = g.node("Sqrt", g.node("Add", mean, g.scalar(1e-6)))
    return g.node("Mul", g.weight(gamma), g.node("Mul", x, g.node("Reciprocal", root)))


def rotary_decoder(name, width=64, heads=4, groups=2, layers=2, vocabulary=90):
    """A decoder with rotated positions, keys and values shared by groups of heads, a gated feed-forward layer and a cache."""
    g, normal = _begin(name)
    per_head = width // heads
    ids = g.input("input_ids", ["batch", "seq"], INT64)
    mask = g.input("attention_mask", ["batch", "total"], INT64)
    caches = [
        [g.input(f"past_{i}_{what}", ["batch", groups, "past", per_head]) for what in ("key", "value")]
        for i in range(layers)
    ]
    tokens = g.weight(normal(vocabulary, width, scale=1.0))
    x = g.node("Gather", tokens, ids)
    past, seq = (g.node("Squeeze", _extent(g, v, axis), g.ints(0)) for v, axis in ((caches[0][0], 2), (ids, 1)))
    total = g.node("Add", past, seq)
    place = g.node("Range", past, total, g.whole(1))
    angle = 1e4 ** -(np.arange(0, per_head, 2, dtype=np.float32) / per_head)
    angle = g.node("Mul", g.node("Unsqueeze", g.node("Cast", place, to=FLOAT), g.ints(1)), g.weight(angle[None]))
    angle = g.node("Concat", angle, angle, axis=-1)
    cos, sin = g.node("Cos", angle), g.node("Sin", angle)

    def rotated(v):
        low, high = g.split("Split", v, g.ints(per_head // 2, per_head // 2), count=2, axis=-1)
        turned = g.node("Concat", g.node("Neg", high), low, axis=-1)
        return g.node("Add", g.node("Mul", v, cos), g.node("Mul", turned, sin))

    # A token sees what is not behind it and not masked.
    key = g.node("Range", g.whole(0), total, g.whole(1))
    sees = g.node("LessOrEqual", g.node("Unsqueeze", key, g.ints(0)), g.node("Unsqueeze", place, g.ints(1)))
    there = g.node("Cast", g.node("Unsqueeze", mask, g.ints(1, 2)), to=TensorProto.BOOL)
    bias = g.node("Where", g.node("And", sees, there), g.scalar(0), g.scalar(np.finfo(np.float32).min))

    def repeated(v):
        shape = g.node("Shape", v)
        part = lambda start, end: g.node("Slice", shape, g.ints(start), g.ints(end))
        wide = g.node("Concat", part(0, 2), g.ints(heads // groups), part(2, 4), axis=0)
        whole = g.node("Concat", part(0, 1), g.ints(heads), part(2, 4), axis=0)
        return g.node("Reshape", g.node("Expand", g.node("Unsqueeze", v, g.ints(2)), wide), whole)

    present = []
    for i, (past_key, past_value) in enumerate(caches):
        y = _rms(g, x, 1 + normal(width))
        q = rotated(_heads(g, g.node("MatMul", y, g.weight(normal(width, width))), heads, per_head))
        k = rotated(_heads(g, g.node("MatMul", y, g.weight(normal(width, groups * per_head))), groups, per_head))
        v = _heads(g, g.node("MatMul", y, g.weight(normal(width, groups * per_head))), groups, per_head)
        k, v = g.node("Concat", past_key, k, axis=2), g.node("Concat", past_value, v, axis=2)
        present += [(k, f"present_{i}_key"), (v, f"present_{i}_value")]
        y = _attend(g, q, repeated(k), repeated(v), per_head**-0.5, bias)
        x = g.node("Add", x, g.node("MatMul", y, g.weight(normal(width, width))))
        y = _rms(g, x, 1 + normal(width))
        gate = g.node("MatMul", y, g.weight(normal(width, 2 * width)))
        gate = g.node("Mul", gate, g.node("Sigmoid", gate))
        y = g.node("Mul", gate, g.node("MatMul", y, g.weight(normal(width, 2 * width))))
        x = g.node("Add", x, g.node("MatMul", y, g.weight(normal(2 * width, width))))
    logits = g.node("MatMul", _rms(g, x, 1 + normal(width)), g.node("Transpose", tokens, perm=[1, 0]))
    g.output(logits, "logits", ["batch", "seq", vocabulary])
    for value, output in present:
        g.output(value, output, ["batch", groups, "total", per_head])
    return g


def relative_encoder(name, width=64, heads=4, layers=2, vocabulary=90, buckets=16):
    """An encoder with a bias for each distance between tokens, in buckets that grow logarithmically."""
    g, normal = _begin(name)
    ids = g.input("input_ids", ["batch", "seq"], INT64)
    mask = g.input("attention_mask", ["batch", "seq"], INT64)
    x = g.node("Gather", g.weight(normal(vocabulary, width, scale=1.0)), ids)
    length = g.node("Squeeze", _extent(g, ids, 1), g.ints(0))
    place = g.node("Range", g.whole(0), length, g.whole(1))
    apart = g.node("Sub", g.node("Unsqueeze", place, g.ints(0)), g.node("Unsqueeze", place, g.ints(1)))
    whole = lambda v: g.whole(v)
    side = g.node("Mul", g.node("Cast", g.node("Greater", apart, g.whole(0)), to=INT64), g.whole(buckets // 2))
    far, exact = g.node("Abs", apart), buckets // 4
    ratio = g.node("Div", g.node("Cast", far, to=FLOAT), g.scalar(exact))
    steps = g.node("Mul", g.node("Div", g.node("Log", ratio), g.scalar(np.log(128 / exact))), g.scalar(buckets // 2 - exact))
    large = g.node("Add", g.node("Cast", steps, to=INT64), g.whole(exact))
    limit = g.node("Expand", g.whole(buckets // 2 - 1), g.node("Shape", large))
    bucket = g.node("Where", g.node("Less", far, g.whole(exact)), far, g.node("Min", large, limit))
    bias = g.node("Gather", g.weight(normal(buckets, heads, scale=1.0)), g.node("Add", side, bucket))
    bias = g.node("Unsqueeze", g.node("Transpose", bias, perm=[2, 0, 1]), g.ints(0))
    hidden = g.node("Sub", g.scalar(1), g.node("Cast", g.node("Unsqueeze", mask, g.ints(1, 2)), to=FLOAT))
    bias = g.node("Add", bias, g.node("Mul", hidden, g.scalar(np.finfo(np.float32).min)))
    for _ in range(layers):
        y = _rms(g, x, 1 + normal(width))
        q, k, v = (_heads(g, g.node("MatMul", y, g.weight(normal(width, width))), heads, width // heads) for _ in range(3))
        y = _attend(g, q, k, v, 0.3, bias)
        x = g.node("Add", x, g.node("MatMul", y, g.weight(normal(width, width))))
        y = g.node("Relu", g.node("MatMul", _rms(g, x, 1 + normal(width)), g.weight(normal(width, 2 * width))))
        x = g.node("Add", x, g.node("MatMul", y, g.weight(normal(2 * width, width))))
    g.output(_rms(g, x, 1 + normal(width)), "states", ["batch", "seq", width])
    return g


def sound_encoder(name, width=64, heads=4, layers=2, bands=20, positions=200, vocabulary=50):
    """Convolutions over a spectrogram of any length, an encoder, and a decoder that attends to it."""
    g, normal = _begin(name)
    norm = lambda x: g.layer_norm(x, 1 + normal(width), normal(width), 1e-5)
    dense = lambda x, fin=width, fout=width: g.linear(x, normal(fin, fout), normal(fout))

    def attention(x, memory, bias=None):
        q, k, v = (_heads(g, dense(s), heads, width // heads) for s in (x, memory, memory))
        return dense(_attend(g, q, k, v, (width // heads) ** -0.5, bias))

    def feed_forward(x):
        return dense(g.gelu(dense(norm(x), width, 2 * width)), 2 * width)

    x = g.input("spectrogram", ["batch", bands, "frames"])
    for inputs, stride in ((bands, 1), (width, 2)):
        weight = g.weight(normal(width, inputs, 3, scale=(3 * inputs) ** -0.5))
        x = g.gelu(g.node("Conv", x, weight, g.weight(normal(width)), pads=[1, 1], strides=[stride]))
    x = g.node("Transpose", x, perm=[0, 2, 1])
    length = _extent(g, x, 1)
    x = g.node("Add", x, g.node("Slice", g.weight(normal(positions, width)), g.ints(0), length, g.ints(0)))
    for _ in range(layers):
        y = norm(x)
        x = g.node("Add", x, attention(y, y))
        x = g.node("Add", x, feed_forward(x))
    memory = norm(x)
    ids = g.input("tokens", ["batch", "seq"], INT64)
    table = g.weight(normal(vocabulary, width, scale=1.0))
    seq = _extent(g, ids, 1)
    x = g.node("Add", g.node("Gather", table, ids), g.node("Slice", g.weight(normal(40, width)), g.ints(0), seq, g.ints(0)))
    square = g.node("ConstantOfShape", g.node("Concat", seq, seq, axis=0), value=_tensor(np.float32([-1e9])))
    causal = g.node("Trilu", square, g.whole(1), upper=1)
    for _ in range(layers):
        y = norm(x)
        x = g.node("Add", x, attention(y, y, causal))
        x = g.node("Add", x, attention(norm(x), memory))
        x = g.node("Add", x, feed_forward(x))
    g.output(g.node("MatMul", norm(x), g.node("Transpose", table, perm=[1, 0])), "logits", ["batch", "seq", vocabulary])
    return g


def _tensor(array):
    from onnx import numpy_helper

    return numpy_helper.from_array(array)
