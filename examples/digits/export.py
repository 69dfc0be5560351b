"""Writes the trained layers as an ONNX file, layer by layer, as a framework's exporter would.

BatchNormalization, the residual Add and Flatten stay nodes of their own: simplifying them is the compiler's work. The
batch dimension is symbolic.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import layers as L


class _Graph:
    """Nodes and weights collected in the order of execution."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name, value):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(self, op, name, inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


def _emit(graph, layer, x):
    """Adds `layer` applied to the value `x`; returns the name of the result."""
    n = len(graph.nodes)
    match layer:
        case L.Conv3x3():
            w = layer.weight.value.reshape(3, 3, layer.cin, layer.cout).transpose(3, 2, 0, 1)
            name = layer.weight.name
            inputs = [x, graph.weight(f"{name}.weight", w)]
            return graph.node("Conv", name, inputs, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], group=1)
        case L.BatchNorm():
            name = layer.gamma.name.removesuffix(".gamma")
            parts = {"gamma": layer.gamma.value, "beta": layer.beta.value, "mean": layer.mean, "var": layer.var}
            inputs = [x] + [graph.weight(f"{name}.{part}", value) for part, value in parts.items()]
            return graph.node("BatchNormalization", name, inputs, epsilon=layer.EPSILON)
        case L.Relu():
            return graph.node("Relu", f"relu_{n}", [x])
        case L.MaxPool2():
            return graph.node("MaxPool", f"max_pool_{n}", [x], kernel_shape=[2, 2], strides=[2, 2])
        case L.Flatten():
            return graph.node("Flatten", f"flatten_{n}", [x], axis=1)
        case L.Gemm():
            name = layer.weight.name
            inputs = [x, graph.weight(f"{name}.weight", layer.weight.value), graph.weight(f"{name}.bias", layer.bias.value)]
            return graph.node("Gemm", name, inputs, transB=1)
        case L.Residual():
            y = x
            for inner in layer.body:
                y = _emit(graph, inner, y)
            return graph.node("Add", f"add_{len(graph.nodes)}", [y, x])
    raise TypeError(f"no ONNX form for {type(layer).__name__}")


def export(network, path, name):
    """Saves `network` to `path`: input `image` [batch, 1, 8, 8] in 0..1, output `logits` [batch, 10]."""
    graph = _Graph()
    x = "image"
    for layer in network:
        x = _emit(graph, layer, x)
    graph.nodes[-1].output[0] = "logits"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    body = helper.make_graph(graph.nodes, name, [image], [logits], graph.weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
