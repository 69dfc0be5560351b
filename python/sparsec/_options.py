"""What `compile` and `inspect` take, brought into the order that the native module reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _arrays

Progress = Callable[[str, int, int], object]


def source(model: Any) -> str | tuple[bytes, str | None]:
    """A path, or the bytes of a model: of `bytes`, or of a `ModelProto` of the package onnx."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model), None
    if hasattr(model, "SerializeToString"):
        return model.SerializeToString(), None
    raise TypeError(f"a model is a path, bytes, or an onnx.ModelProto, not {type(model).__name__}")


def options(
    *,
    name: str | None = None,
    cpu: str = "native",
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, Any] | None = None,
    items: Mapping[str, int | Sequence[Sequence[int]]] | None = None,
    formats: Mapping[str, str] | None = None,
    tune: float | bool = False,
    output: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """The options, checked for what Python alone knows."""
    bound = {}
    for key, value in (bind or {}).items():
        array = np.ascontiguousarray(value)
        bound[key] = (_arrays.native_name(array), list(np.shape(value)), array.tobytes())
    seconds = (30.0 if tune is True else float(tune)) if tune else None
    return {
        "name": name,
        "cpu": cpu,
        "dims": dict(dims or {}),
        "bind": bound,
        "items": {key: _items(value) for key, value in (items or {}).items()},
        "formats": dict(formats or {}),
        "tune": seconds,
        "output": None if output is None else os.fspath(output),
    }


def _items(value: int | Sequence[Sequence[int]]) -> list[list[int] | None]:
    """For each tensor of a sequence its shape, or None where it is as declared."""
    if isinstance(value, int):
        return [None] * value
    return [list(shape) for shape in value]


def progress(wanted: bool | Progress | None) -> Progress | None:
    """The function that is told of stages: the caller's, or one that writes a line to standard error."""
    if wanted is True:
        return _show
    return wanted or None


def _show(stage: str, done: int, total: int) -> None:
    end = "\n" if done + 1 >= total else ""
    sys.stderr.write(f"\r\033[K{done + 1}/{total} {stage}{end}")
    sys.stderr.flush()
