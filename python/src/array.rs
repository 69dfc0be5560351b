//! Buffers of Python objects as tensors of the C interface, without a copy.
#![allow(unsafe_code, reason = "the buffer protocol of Python")]

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use sparsec_runtime::{DType, RawTensor};

/// An exported buffer in row-major order; the exporter keeps the memory until this is dropped.
pub(crate) struct Buffer {
    /// Boxed, since exporters may keep pointers into it.
    view: Box<ffi::Py_buffer>,
}

// SAFETY: what the buffer points to is kept alive by the export and moves with no thread; it is released with the GIL.
unsafe impl Send for Buffer {}
// SAFETY: as above; nothing in it is written after it is made.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Asks an object for its memory; fails where it has none, or none in row-major order.
    pub(crate) fn of(object: &Bound<'_, PyAny>, writable: bool) -> PyResult<Buffer> {
        let mut view: Box<ffi::Py_buffer> = Box::new(ffi::Py_buffer::new());
        let flags = ffi::PyBUF_FORMAT | ffi::PyBUF_C_CONTIGUOUS | if writable { ffi::PyBUF_WRITABLE } else { 0 };
        // SAFETY: the object is alive, and the structure is ours to be filled in.
        match unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) } {
            0 => Ok(Buffer { view }),
            _ => Err(PyErr::fetch(object.py())),
        }
    }

    /// The format in the language of Python's module `struct`; bytes where there is none.
    pub(crate) fn format(&self) -> &str {
        if self.view.format.is_null() {
            return "B";
        }
        // SAFETY: a string that the exporter keeps as long as the buffer.
        unsafe { CStr::from_ptr(self.view.format) }.to_str().unwrap_or("?")
    }

    /// Whether the elements are of this type. Types that Python has no format for are held in unsigned integers.
    pub(crate) fn holds(&self, dtype: DType) -> bool {
        let format = self.format();
        // `@` and `=` are this machine's order; `<` is, too, where it is little-endian.
        let format = format.strip_prefix(['@', '=']).unwrap_or(format);
        let format = if cfg!(target_endian = "little") { format.strip_prefix('<').unwrap_or(format) } else { format };
        let kinds = match dtype.name() {
            "f32" => "f",
            "f64" => "d",
            "f16" => "e",
            "bool" => "?",
            "i8" => "b",
            "u8" => "B",
            "i16" => "h",
            "u16" | "bf16" => "H",
            "i32" | "i64" => "ilq",
            "u32" | "u64" => "ILQ",
            "i4" => "b",
            _ => "B",
        };
        let mut letters = format.chars();
        let known = letters.next().is_some_and(|c| kinds.contains(c)) && letters.next().is_none();
        known && usize::try_from(self.view.itemsize) == Ok(dtype.size())
    }

    /// The extents.
    pub(crate) fn shape(&self) -> &[i64] {
        let rank = usize::try_from(self.view.ndim).unwrap_or(0);
        if rank == 0 || self.view.shape.is_null() {
            return &[];
        }
        // SAFETY: `ndim` extents, as wide as a pointer, which the exporter keeps as long as the buffer.
        unsafe { std::slice::from_raw_parts(self.view.shape.cast::<i64>(), rank) }
    }

    /// The tensor of the C interface; valid as long as this lives.
    pub(crate) fn raw(&self, dtype: DType) -> RawTensor {
        let shape = self.shape();
        RawTensor {
            data: self.view.buf,
            shape: shape.as_ptr(),
            strides: std::ptr::null(),
            rank: shape.len() as i32,
            dtype: dtype.code(),
        }
    }
}

// Extents of Python are as wide as a pointer, those of the C interface have 64 bits.
const _: () = assert!(size_of::<ffi::Py_ssize_t>() == size_of::<i64>());

impl Drop for Buffer {
    fn drop(&mut self) {
        Python::attach(|_| {
            // SAFETY: filled in by `PyObject_GetBuffer`, released once, and with the GIL held.
            unsafe { ffi::PyBuffer_Release(&raw mut *self.view) }
        });
    }
}
