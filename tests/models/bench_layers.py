"""Networks of a single layer with a seeded random weight, pruned: what kernels are measured with.

Activations are [features, columns], the order that sparsec itself chooses inside of networks, so that a layer is its kernel
and no transposition.
"""

import zlib

import numpy as np

import prune
from onnx_graph import GraphBuilder


def _weight(shape, pattern):
    """Normal numbers as (outputs, inputs), pruned; the same for the same shape and pattern."""
    rng = np.random.default_rng(zlib.crc32(repr(shape).encode()))
    matrix = rng.standard_normal(shape, dtype=np.float32) * np.float32(shape[1] ** -0.5)
    if pattern == "dense":
        return matrix
    mask = prune.kept(matrix, prune.parse_pattern(pattern))
    if mask is None:
        raise ValueError(f"{pattern} does not divide {shape}")
    return np.where(mask, matrix, np.float32(0))


def matmul(path, product, pattern):
    """Y = W X with W [M, K] and X [K, N]; returns the number of nonzeros and the shape of X."""
    m, k, n = product
    g = GraphBuilder("layer")
    weight = _weight((m, k), pattern)
    x = g.input("x", [k, n])
    g.output(g.node("MatMul", g.weight(weight, "w"), x), "y", [m, n])
    g.save(path)
    return int(np.count_nonzero(weight)), (k, n)


def conv(path, layer, pattern):
    """A convolution (outputs, inputs, kernel, image) of stride 1 that keeps the image's size; returns the same."""
    m, c, kernel, image = layer
    g = GraphBuilder("layer")
    weight = _weight((m, kernel * kernel * c), pattern)
    taps = np.ascontiguousarray(np.moveaxis(weight.reshape(m, kernel, kernel, c), -1, 1))
    x = g.input("x", [1, c, image, image])
    y = g.node("Conv", x, g.weight(taps, "w"), kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)
    g.output(y, "y", [1, m, image, image])
    g.save(path)
    return int(np.count_nonzero(weight)), (1, c, image, image)
