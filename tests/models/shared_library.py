"""Calls a compiled model through its C interface (docs/c-abi.md), with ctypes and nothing else.

    library = Library(folder / "libminilm.so", "minilm")
    outputs = library.run({"input_ids": ids, "attention_mask": mask})

One library answers every value of its symbolic dimensions: `run` reads them off the inputs, reserves memory for them and
allocates the outputs.
"""

import ctypes

import numpy as np

ABI_VERSION = 1
MAX_RANK = 16
TYPES = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
}


class StatusError(Exception):
    """A function of the library returned another status than SPARSEC_OK."""

    def __init__(self, function, status, message):
        super().__init__(f"{function}: status {status}, {message}")
        self.status = status


class _Tensor(ctypes.Structure):
    """`sparsec_tensor` of the header."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
    ]


class Library:
    """A loaded model with one context; `close` frees the context."""

    def __init__(self, path, name):
        self._library = ctypes.CDLL(str(path))
        self._name = name
        self._context = ctypes.c_void_p()
        self._call("create", ctypes.byref(self._context), ctypes.c_uint32(ABI_VERSION))
        self.symbols = [self._text("symbol_name", i) for i in range(self._number("symbol_count"))]
        self.inputs = [self._text("input_name", i) for i in range(self._number("input_count"))]
        self.outputs = [self._text("output_name", i) for i in range(self._number("output_count"))]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        destroy = self._function("destroy", None)
        destroy(self._context)
        self._context = ctypes.c_void_p()

    def run(self, feed):
        """Outputs by name for arrays by name; raises StatusError where the library refuses."""
        inputs = [_tensor(np.asarray(feed[name], order="C")) for name in self.inputs]
        raw_inputs = _array(inputs)
        dims = (ctypes.c_int64 * max(len(self.symbols), 1))()
        self._call("infer_dims", raw_inputs, dims)
        self._call("reserve", self._context, dims)
        outputs = [_tensor(self._empty_output(i, dims)) for i in range(len(self.outputs))]
        self._call("run", self._context, raw_inputs, _array(outputs))
        return {name: array for name, (_, array, _) in zip(self.outputs, outputs)}

    def _empty_output(self, index, dims):
        shape = (ctypes.c_int64 * MAX_RANK)()
        self._call("output_shape", dims, ctypes.c_int32(index), shape)
        rank = self._number("output_rank", index)
        dtype = np.dtype(TYPES[self._number("output_dtype", index)])
        # All bits set is NaN, so that an element which was not written is found.
        count = int(np.prod(shape[:rank], dtype=np.int64))
        return np.full(count * dtype.itemsize, 0xFF, np.uint8).view(dtype).reshape(shape[:rank])

    def _function(self, name, result):
        function = getattr(self._library, f"{self._name}_{name}")
        function.restype = result
        return function

    def _number(self, name, *index):
        return self._function(name, ctypes.c_int32)(*map(ctypes.c_int32, index))

    def _text(self, name, index):
        return self._function(name, ctypes.c_char_p)(ctypes.c_int32(index)).decode()

    def _call(self, name, *arguments):
        status = self._function(name, ctypes.c_int32)(*arguments)
        if status != 0:
            message = self._function("status_message", ctypes.c_char_p)(ctypes.c_int32(status)).decode()
            raise StatusError(f"{self._name}_{name}", status, message)


def _tensor(array):
    """A `sparsec_tensor` of an array, and what must stay alive while it is used."""
    shape = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
    code = next(code for code, dtype in TYPES.items() if array.dtype == dtype)
    pointer = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    return _Tensor(array.ctypes.data, pointer, None, array.ndim, code), array, shape


def _array(tensors):
    return (_Tensor * max(len(tensors), 1))(*(raw for raw, _, _ in tensors))
