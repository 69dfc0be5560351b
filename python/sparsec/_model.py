"""A compiled model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _arrays, _native, _options
from ._inspection import Inspection


class Port(NamedTuple):
    """An input or output."""

    name: str
    dtype: str
    """Element type: `f32`, `i64`, `bool`, ..."""
    shape: tuple[int | str | None, ...]
    """Extents: a number, the name of a dimension that is open, or None for an expression over such. Texts have one axis more
    than in the model, their bytes."""


class Model:
    """A compiled model, loaded into this process. May be called from any number of threads at once."""

    def __init__(self, library: _native.Library) -> None:
        """Not for callers: `sparsec.compile` and `sparsec.load` make models."""
        self._library = library
        self._run = library.run
        self.inputs = [Port(name, dtype, tuple(shape)) for name, dtype, shape in library.inputs]
        self.outputs = [Port(name, dtype, tuple(shape)) for name, dtype, shape in library.outputs]
        self._input_names = [port.name for port in self.inputs]
        self._output_names = [port.name for port in self.outputs]
        self._special = [(i, p.dtype) for i, p in enumerate(self.outputs) if not _arrays.is_plain(p.dtype)]

    @property
    def name(self) -> str:
        """The library's name: the prefix of its functions."""
        return self._library.name

    @property
    def symbols(self) -> list[str]:
        """Names of the dimensions that are known only at run time."""
        return self._library.symbols

    @property
    def files(self) -> list[str]:
        """The files that were written."""
        return [os.fspath(file) for file in self._library.files]

    def inspect(self) -> Inspection:
        """What was found in each weight, and what was chosen for it."""
        if self._library.report is None:
            raise ValueError("a library that was opened has no report; compile the model, or call sparsec.inspect")
        return Inspection(json.loads(self._library.report))

    def run(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Runs the model on a dict of arrays; returns a dict of new arrays."""
        return dict(zip(self._output_names, self.run_list(self._ordered(feeds))))

    def __call__(self, *values: Any) -> Any:
        """Runs the model on one array for each input, in order; returns the output, or a list where there are several."""
        outputs = self.run_list(values)
        return outputs[0] if len(outputs) == 1 else outputs

    def run_list(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Runs the model on one array for each input, in order; returns one for each output."""
        outputs = self._run(values)
        for i, dtype in self._special:
            outputs[i] = _arrays.finish(outputs[i], dtype)
        return outputs

    def _ordered(self, feeds: Mapping[str, Any]) -> list[Any]:
        if any(isinstance(value, (list, tuple)) and name not in self._input_names for name, value in feeds.items()):
            feeds = self._taken_apart(feeds)
        try:
            if len(feeds) == len(self._input_names):
                return [feeds[name] for name in self._input_names]
        except KeyError:
            pass
        missing = [name for name in self._input_names if name not in feeds]
        unknown = [name for name in feeds if name not in self._input_names]
        if missing:
            raise ValueError(f"inputs are missing: {', '.join(missing)}; given are {', '.join(feeds) or 'none'}")
        raise ValueError(f"the model has no inputs {', '.join(unknown)}; it has {', '.join(self._input_names)}")

    def _taken_apart(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Sequences are as many inputs as they have tensors: `x.0`, `x.1`, ..."""
        apart: dict[str, Any] = {}
        for name, value in feeds.items():
            if name in self._input_names or not isinstance(value, (list, tuple)):
                apart[name] = value
                continue
            count = sum(i.removeprefix(f"{name}.").isdigit() for i in self._input_names if i.startswith(f"{name}."))
            if count != len(value):
                raise ValueError(f"`{name}` was compiled for {count} tensors, not {len(value)}: `items` says how many")
            apart.update((f"{name}.{i}", tensor) for i, tensor in enumerate(value))
        return apart

    def __repr__(self) -> str:
        def port(p: Port) -> str:
            return f"{p.name}: {p.dtype}[{', '.join('?' if e is None else str(e) for e in p.shape)}]"

        inputs, outputs = ", ".join(map(port, self.inputs)), ", ".join(map(port, self.outputs))
        return f"<sparsec.Model {self.name}({inputs}) -> {outputs}>"


def compile(
    model: Any,
    *,
    name: str | None = None,
    cpu: str = "native",
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, Any] | None = None,
    items: Mapping[str, int | Sequence[Sequence[int]]] | None = None,
    formats: Mapping[str, str] | None = None,
    tune: float | bool = False,
    output: str | os.PathLike[str] | None = None,
    threads: int = 1,
    progress: bool | _options.Progress | None = None,
) -> Model:
    """Compiles a model for this machine and loads it.

    model: a path, bytes, or an onnx.ModelProto.
    name: name of the library and prefix of its functions.
    cpu: "native", or a name or a list of levels as `sparsec compile --cpu` takes it; this machine must have the instructions
    of one.
    dims: values for dimensions that the model leaves open.
    bind: arrays for inputs that become constants.
    items: for inputs that are sequences or optional values, how many tensors they have, or the shape of each.
    formats: formats for weights by name, whatever they cost.
    tune: time formats and schedules, for that many seconds (True: 30).
    output: a folder that keeps the libraries and the header.
    threads: threads to run on.
    progress: True for a line on standard error, or a function of stage, stages done, stages in all.

    Raises CompileError with the message of the command `sparsec`.
    """
    wanted = _options.options(
        name=name, cpu=cpu, dims=dims, bind=bind, items=items, formats=formats, tune=tune, output=output
    )
    return Model(_native.compile(_options.source(model), wanted, threads, _options.progress(progress)))


def load(path: str | os.PathLike[str], name: str | None = None, *, threads: int = 1) -> Model:
    """Opens a shared library that was compiled before; `name` is that of the model, `libNAME.so` where it is not given."""
    path = os.fspath(path)
    if name is None:
        name = os.path.basename(path).removeprefix("lib").removesuffix(".so")
    return Model(_native.Library.open(path, name, threads))
