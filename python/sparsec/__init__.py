"""Compiles sparse neural networks ahead of time, and runs them.

    import sparsec
    model = sparsec.compile("model.onnx")              # native code, in this process
    outputs = model.run({"x": x})                      # a dict of arrays in, a dict of arrays out

    session = sparsec.InferenceSession("model.onnx")   # as onnxruntime has it
    logits, = session.run(None, {"x": x})

    sparsec.inspect("model.onnx")                      # what was found in each weight, and what was chosen
"""

from ._inspection import Inspection, inspect
from ._model import Model, Port, compile, load
from ._native import CompileError, RunError, __version__, llvm_version
from ._session import InferenceSession, NodeArg

__all__ = [
    "CompileError",
    "InferenceSession",
    "Inspection",
    "Model",
    "NodeArg",
    "Port",
    "RunError",
    "__version__",
    "compile",
    "inspect",
    "llvm_version",
    "load",
]
