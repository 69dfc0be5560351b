#!/usr/bin/env python3
"""Sets the smallest weights of an ONNX model to zero, tensor by tensor, in a given pattern. Nothing is retrained.

    python prune.py IN.onnx OUT.onnx PATTERN

    un:S         a fraction S of each tensor, wherever the smallest weights are
    nm:N:M       all but the N largest of every M consecutive weights along the inputs
    block:R:C:S  a fraction S of the blocks of R outputs x C inputs
    channel:S    a fraction S of the outputs

Pruned are the weights of Conv (not grouped, and not the first one), of Gemm, of MatMul (2-D), and of RNN, GRU and LSTM, where
they have at least 1,024 elements and the pattern divides their shape. A weight is taken as a matrix of outputs x inputs; the
inputs of a convolution run over the kernel positions and, fastest, over the input channels; the outputs of a recurrent
operator are the gates of all directions. Branches and bodies are pruned like the graph around them.
"""

import sys

import numpy as np
import onnx
from onnx import numpy_helper

RECURRENT = ("RNN", "GRU", "LSTM")
MIN_ELEMENTS = 1024  # smaller weights are left alone


def parse_pattern(text):
    """`"nm:2:4"` -> `("nm", [2, 4])`; ValueError if it is none of the four patterns."""
    kinds = {"un": [float], "nm": [int, int], "block": [int, int, float], "channel": [float]}
    kind, *words = text.split(":")
    if kind not in kinds or len(words) != len(kinds[kind]):
        raise ValueError(f"unknown pattern {text!r}")
    try:
        values = [convert(word) for convert, word in zip(kinds[kind], words)]
    except ValueError:
        raise ValueError(f"pattern {text!r} has a part that is not a number of the right kind") from None
    if kind == "nm":
        in_range = 0 < values[0] <= values[1]
    else:
        # A whole weight of zeros is a pattern, too; no rows, or no channels at all, are not.
        fraction = values[-1]
        in_range = (0 <= fraction < 1 or (kind, fraction) == ("un", 1)) and min(values[:-1], default=1) > 0
    if not in_range:
        raise ValueError(f"pattern {text!r} is out of range")
    return kind, values


def largest(scores, fraction):
    """True for all but the smallest `fraction` of the scores; of equal ones the first go first."""
    keep = np.ones(scores.size, bool)
    keep[np.argsort(scores, axis=None, kind="stable")[: int(fraction * scores.size)]] = False
    return keep.reshape(scores.shape)


def kept(matrix, pattern):
    """Which weights of an outputs x inputs matrix stay, or None where the pattern does not divide it."""
    kind, values = pattern
    size = np.abs(matrix)
    rows, columns = matrix.shape
    if kind == "un":
        return largest(size, values[0])
    if kind == "channel":
        return np.repeat(largest(size.sum(1), values[0])[:, None], columns, axis=1)
    if kind == "nm":
        n, m = values
        if columns % m:
            return None
        groups = size.reshape(-1, m)
        keep = np.zeros(groups.shape, bool)
        np.put_along_axis(keep, np.argsort(-groups, axis=1, kind="stable")[:, :n], True, axis=1)
        return keep.reshape(rows, columns)
    r, c, fraction = values
    if rows % r or columns % c:
        return None
    blocks = size.reshape(rows // r, r, columns // c, c).sum(axis=(1, 3))
    return largest(blocks, fraction).repeat(r, axis=0).repeat(c, axis=1)


def attribute(node, name, default):
    return next((a.i for a in node.attribute if a.name == name), default)


def to_matrix(weight, node):
    """The weight as outputs x inputs."""
    if node.op_type == "Conv":
        return np.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1)
    if node.op_type in RECURRENT:
        return weight.reshape(-1, weight.shape[2])
    return weight if node.op_type == "Gemm" and attribute(node, "transB", 0) else weight.T


def from_matrix(matrix, weight, node):
    """Undoes `to_matrix`; `weight` gives the shape."""
    if node.op_type == "Conv":
        o, i, *kernel = weight.shape
        return np.moveaxis(matrix.reshape(o, *kernel, i), -1, 1)
    if node.op_type in RECURRENT:
        return matrix.reshape(weight.shape)
    return matrix if node.op_type == "Gemm" and attribute(node, "transB", 0) else matrix.T


def prunable(graph):
    """(node, initializer) of every weight to prune, each initializer once."""
    tensors = {t.name: t for t in graph.initializer}
    convolutions = 0
    for node in graph.node:
        for nested in (a.g for a in node.attribute if a.HasField("g")):
            yield from prunable(nested)
        if node.op_type == "Conv":
            convolutions += 1
            if convolutions == 1 or attribute(node, "group", 1) != 1:
                continue
        elif node.op_type not in ("Gemm", "MatMul", *RECURRENT):
            continue
        for weight in node.input[1:3] if node.op_type in RECURRENT else node.input[1:2]:
            dimensions = {"Gemm": (2,), "MatMul": (2,), "Conv": (3, 4)}.get(node.op_type, (3,))
            tensor = tensors.pop(weight, None)
            if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) not in dimensions:
                continue
            if np.prod(tensor.dims) >= MIN_ELEMENTS:
                yield node, tensor


def prune(source, target, pattern):
    """Writes `source` pruned to `target`; returns the number of tensors pruned and the share of zeros in them."""
    pattern = parse_pattern(pattern)
    model = onnx.load(source)
    tensors = elements = nonzeros = 0
    for node, tensor in list(prunable(model.graph)):
        weight = numpy_helper.to_array(tensor)
        matrix = to_matrix(weight, node)
        keep = kept(matrix, pattern)
        if keep is None:
            continue
        pruned = np.where(keep, matrix, np.float32(0))
        tensor.CopyFrom(
            numpy_helper.from_array(np.ascontiguousarray(from_matrix(pruned, weight, node)), tensor.name)
        )
        tensors, elements, nonzeros = tensors + 1, elements + matrix.size, nonzeros + np.count_nonzero(pruned)
    onnx.save(model, target)
    return tensors, 1 - nonzeros / max(elements, 1)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        tensors, sparsity = prune(*sys.argv[1:])
    except ValueError as error:
        sys.exit(f"prune.py: {error}")
    print(f"{sys.argv[2]}  {tensors} tensors  sparsity {sparsity:.3f}")


if __name__ == "__main__":
    main()
