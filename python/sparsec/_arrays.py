"""Arrays on their way into and out of a model, where memory can't be taken as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

# NumPy's names of element types. Types that NumPy lacks are held in unsigned integers of their size; ml_dtypes, where it is
# installed, has them.
_NUMPY = {
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "bool": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "bf16": "uint16",
    "i4": "int8",
}

_ML_DTYPES = {
    "bf16": "bfloat16",
    "f8e4m3fn": "float8_e4m3fn",
    "f8e4m3fnuz": "float8_e4m3fnuz",
    "f8e5m2": "float8_e5m2",
    "f8e5m2fnuz": "float8_e5m2fnuz",
    "f4e2m1": "float4_e2m1fn",
    "f8e8m0": "float8_e8m0fnu",
    "u4": "uint4",
    "i4": "int4",
}


def storage(dtype: str) -> np.dtype:
    """The type of the array that holds elements of this type of sparsec."""
    return np.dtype(_NUMPY.get(dtype, "uint8"))


def native_name(array: np.ndarray) -> str:
    """sparsec's name of an array's element type."""
    name = array.dtype.name
    for table in (_ML_DTYPES, _NUMPY):
        for own, theirs in table.items():
            if theirs == name:
                return own
    raise TypeError(f"arrays of {array.dtype} are no inputs of models")


def prepare(value: Any, dtype: str, name: str, width: int | None = None) -> np.ndarray:
    """An array in row-major order that holds elements of `dtype`, without a copy where that is possible.

    Takes arrays of any layout, what speaks DLPack (tensors of PyTorch, JAX, CuPy on the CPU), and lists and numbers, which
    get the model's type. Arrays of another type are refused: a silent conversion would hide a mistake. Texts become their
    bytes, an axis more than the array has: `width` of them, where the model fixes that, otherwise as many as the longest has.
    """
    if dtype == "string":
        return _bytes_of_texts(value, name, width)
    wanted = storage(dtype)
    if not isinstance(value, np.ndarray):
        if hasattr(value, "__dlpack__"):
            value = np.from_dlpack(value)
        elif isinstance(value, (list, tuple, bool, int, float)):
            value = np.asarray(value, dtype=wanted)
        else:
            value = np.asarray(value)
    if value.dtype != wanted and value.dtype.name == _ML_DTYPES.get(dtype):
        value = value.view(wanted)
    if value.dtype.newbyteorder("=") != wanted:
        raise ValueError(f"input `{name}` has elements of {value.dtype}, the model takes {dtype} ({wanted})")
    return np.ascontiguousarray(value.astype(wanted, copy=False)).reshape(value.shape)


def _bytes_of_texts(value: Any, name: str, width: int | None) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype.kind == "O":
        texts = [t if isinstance(t, bytes) else t.encode() if isinstance(t, str) else None for t in array.flat]
        if None in texts:
            raise ValueError(f"input `{name}` takes texts, and got something else among them")
        array = np.array(texts, dtype=np.bytes_).reshape(array.shape)
    elif array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    elif array.dtype.kind != "S":
        raise ValueError(f"input `{name}` takes texts, not elements of {array.dtype}")
    longest = int(np.char.str_len(array).max(initial=0))
    if width is not None and longest > width:
        raise ValueError(f"input `{name}` takes texts of at most {width} bytes, and got one of {longest}")
    bytes_each = max(longest, 1) if width is None else width
    stored = max(bytes_each, 1)
    padded = array.astype(f"S{stored}").tobytes()
    return np.ascontiguousarray(np.frombuffer(padded, np.uint8).reshape(*array.shape, stored)[..., :bytes_each])


def _texts_of_bytes(array: np.ndarray) -> np.ndarray:
    shape, width = array.shape[:-1], array.shape[-1]
    if width == 0 or array.size == 0:
        return np.full(shape, "", dtype=object)
    texts = np.ascontiguousarray(array).view(f"S{width}").reshape(shape)
    return np.char.decode(texts, "utf-8").astype(object)


def finish(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array as Python has it: texts as `str`, as onnxruntime gives them; types that NumPy lacks with those of ml_dtypes,
    where it is installed."""
    if dtype == "string":
        return _texts_of_bytes(array)
    if dtype not in _ML_DTYPES:
        return array
    try:
        import ml_dtypes
    except ImportError:
        return array
    return array.view(getattr(ml_dtypes, _ML_DTYPES[dtype]))


def is_plain(dtype: str) -> bool:
    """Whether NumPy has this type by itself."""
    return dtype not in _ML_DTYPES and dtype != "string"
