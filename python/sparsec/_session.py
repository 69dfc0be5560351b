"""`InferenceSession`, as onnxruntime has it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._model import compile

# onnxruntime's names of element types.
_TYPES = {
    "f32": "float",
    "f64": "double",
    "f16": "float16",
    "bf16": "bfloat16",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "bool": "bool",
    "string": "string",
}


class NodeArg(NamedTuple):
    """An input or output, as onnxruntime describes it."""

    name: str
    type: str
    shape: list[int | str | None]


class InferenceSession:
    """Compiles a model and runs it: a script that uses `onnxruntime.InferenceSession` works with this one in its place.

    Options of onnxruntime are taken and mean nothing here, except `sess_options.intra_op_num_threads`. Keyword arguments
    of `sparsec.compile` are taken as well.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes,
        sess_options: Any = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        **compile_options: Any,
    ) -> None:
        threads = getattr(sess_options, "intra_op_num_threads", 0)
        if threads:
            compile_options.setdefault("threads", threads)
        self._model = compile(path_or_bytes, **compile_options)
        self._position = {port.name: i for i, port in enumerate(self._model.outputs)}

    @property
    def model(self) -> Any:
        """The compiled model."""
        return self._model

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> list[np.ndarray]:
        """Runs the model; returns the outputs that are named, or all."""
        outputs = self._model.run_list(self._model._ordered(input_feed))
        if not output_names:
            return outputs
        unknown = [name for name in output_names if name not in self._position]
        if unknown:
            raise ValueError(f"the model has no outputs {', '.join(unknown)}; it has {', '.join(self._position)}")
        return [outputs[self._position[name]] for name in output_names]

    def get_inputs(self) -> list[NodeArg]:
        """The inputs in order."""
        return [_node_arg(port) for port in self._model.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """The outputs in order."""
        return [_node_arg(port) for port in self._model.outputs]

    def get_providers(self) -> list[str]:
        """What runs the model."""
        return ["CPUExecutionProvider"]


def _node_arg(port: Any) -> NodeArg:
    # The last axis of texts is their bytes, which is none of the model's.
    shape = port.shape[:-1] if port.dtype == "string" else port.shape
    return NodeArg(port.name, f"tensor({_TYPES.get(port.dtype, port.dtype)})", list(shape))
