"""A small builder for ONNX graphs: each method adds what it names and returns the name of the new value."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class GraphBuilder:
    """Collects the nodes, weights and signature of one model, opset 17."""

    def __init__(self, name):
        self.name = name
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def input(self, name, shape, dtype=FLOAT):
        """Declares an input; a string in `shape` is a symbolic dimension."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value, name, shape):
        """Declares the value `value` as the float output `name`."""
        for node in self.nodes:
            node.output[:] = [name if v == value else v for v in node.output]
            node.input[:] = [name if v == value else v for v in node.input]
        self.outputs.append(helper.make_tensor_value_info(name, FLOAT, shape))

    def weight(self, array, name=None):
        """Adds a constant."""
        name = name or f"const_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def scalar(self, value):
        return self.weight(np.float32(value))

    def ints(self, *values):
        return self.weight(np.array(values, np.int64))

    def whole(self, value):
        """A whole number without an axis."""
        name = f"const_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def node(self, op, *inputs, **attributes):
        """Adds a node with one output."""
        return self.split(op, *inputs, count=1, **attributes)[0]

    def split(self, op, *inputs, count, **attributes):
        """Adds a node with `count` outputs and returns their names."""
        name = f"{op}_{len(self.nodes)}"
        outputs = [name if i == 0 else f"{name}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        return outputs

    def linear(self, x, weight, bias):
        """x @ weight + bias as exporters write it: MatMul, then Add. `weight` is [inputs, outputs]."""
        return self.node("Add", self.node("MatMul", x, self.weight(weight)), self.weight(bias))

    def layer_norm(self, x, gamma, beta, epsilon):
        return self.node("LayerNormalization", x, self.weight(gamma), self.weight(beta), axis=-1, epsilon=epsilon)

    def gelu(self, x):
        """The exact GELU, spelled out: x * (erf(x / sqrt 2) + 1) * 0.5."""
        erf = self.node("Erf", self.node("Div", x, self.scalar(np.sqrt(2.0))))
        gate = self.node("Add", erf, self.scalar(1.0))
        return self.node("Mul", self.node("Mul", x, gate), self.scalar(0.5))

    def save(self, path):
        """Checks the model and writes it to `path`."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
