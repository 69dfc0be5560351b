//! Tensors that own their memory, aligned to a cache line.
#![allow(unsafe_code, reason = "views of aligned memory as elements")]

use crate::RuntimeError;

/// An element type: the code of the ABI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DType(&'static (i32, &'static str, &'static str, usize));

impl DType {
    /// The type of a code of the ABI.
    #[must_use]
    pub fn from_code(code: i32) -> Option<DType> {
        sparsec_abi::DTYPES.iter().find(|d| d.0 == code).map(DType)
    }

    /// The type of a name: `f32`, `i64`, `bool`, ...
    #[must_use]
    pub fn from_name(name: &str) -> Option<DType> {
        sparsec_abi::DTYPES.iter().find(|d| d.1 == name).map(DType)
    }

    /// The code in the ABI.
    #[must_use]
    pub fn code(self) -> i32 {
        self.0.0
    }

    /// The name: `f32`, `i64`, `bool`, ...
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.1
    }

    /// Bytes of an element.
    #[must_use]
    pub fn size(self) -> usize {
        self.0.3
    }
}

impl std::fmt::Debug for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is an element type of tensors as it stands: any bit pattern is a value of it.
pub trait Element: Copy + Default + sealed::Sealed + 'static {
    /// The name of the element type.
    const NAME: &'static str;
}

macro_rules! elements {
    ($($ty:ty = $name:literal,)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const NAME: &'static str = $name;
        }
    )*};
}

elements! {
    f32 = "f32", f64 = "f64", i8 = "i8", i16 = "i16", i32 = "i32", i64 = "i64", u8 = "u8", u16 = "u16", u32 = "u32",
    u64 = "u64",
}

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A dense tensor in row-major order.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<i64>,
    lines: Vec<Line>,
    bytes: usize,
}

impl Tensor {
    /// A tensor of zeros; `None` where the shape is negative or has more bytes than the system has memory for.
    #[must_use]
    pub fn zeros(dtype: DType, shape: &[i64]) -> Option<Tensor> {
        let mut bytes = dtype.size();
        for extent in shape {
            bytes = bytes.checked_mul(usize::try_from(*extent).ok()?)?;
        }
        isize::try_from(bytes.checked_add(63)?).ok()?;
        let count = bytes.div_ceil(64).max(1);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; 64]));
        Some(Tensor { dtype, shape: shape.to_vec(), lines, bytes })
    }

    /// A tensor of these bytes, in the machine's byte order.
    ///
    /// # Errors
    /// When their number does not fit the shape.
    pub fn from_bytes(dtype: DType, shape: &[i64], bytes: &[u8]) -> Result<Tensor, RuntimeError> {
        let wrong = |expected| RuntimeError::TensorSize {
            shape: shape.to_vec(),
            dtype: dtype.name(),
            expected,
            found: bytes.len(),
        };
        let mut tensor = Tensor::zeros(dtype, shape).ok_or_else(|| wrong(usize::MAX))?;
        if tensor.bytes != bytes.len() {
            return Err(wrong(tensor.bytes));
        }
        tensor.bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }

    /// A tensor of these elements.
    ///
    /// # Panics
    /// When their number is not the product of the shape.
    #[must_use]
    pub fn from_slice<T: Element>(shape: &[i64], data: &[T]) -> Tensor {
        let count: i64 = shape.iter().product();
        assert_eq!(usize::try_from(count).ok(), Some(data.len()), "shape {shape:?} does not fit the data");
        let tensor = DType::from_name(T::NAME).and_then(|dtype| Tensor::zeros(dtype, shape));
        let mut tensor = tensor.expect("the data are in memory, so their size is");
        // SAFETY: an `Element` is a plain number, so its memory may be read as bytes; the length is the slice's.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), std::mem::size_of_val(data)) };
        tensor.bytes_mut().copy_from_slice(bytes);
        tensor
    }

    /// A tensor of texts in UTF-8: its shape is `shape` and one axis more, the bytes of each text, padded with zeros. `width` is
    /// how many bytes that are; `None` takes those of the longest text, and at least one.
    ///
    /// # Errors
    /// When the number of texts does not fit the shape, or a text is longer than `width`.
    pub fn from_texts<T: AsRef<str>>(shape: &[i64], texts: &[T], width: Option<usize>) -> Result<Tensor, RuntimeError> {
        let longest = texts.iter().map(|text| text.as_ref().len()).max().unwrap_or(0);
        let width = width.unwrap_or(longest.max(1));
        if longest > width {
            return Err(RuntimeError::Malformed(format!("a text of {longest} bytes does not fit into {width}")));
        }
        let dtype = DType::from_name("string").ok_or_else(|| RuntimeError::Malformed("no type of texts".to_owned()))?;
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(text.as_ref().as_bytes());
            bytes.resize(bytes.len() + (width - text.as_ref().len()), 0);
        }
        let mut shape = shape.to_vec();
        shape.push(width as i64);
        Tensor::from_bytes(dtype, &shape, &bytes)
    }

    /// The texts of a tensor of texts, without the padding; what is no UTF-8 in them is replaced.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<String>> {
        if self.dtype.name() != "string" {
            return None;
        }
        let (width, rest) = self.shape.split_last()?;
        let width = usize::try_from(*width).ok()?;
        if width == 0 {
            let count: i64 = rest.iter().product();
            return Some(vec![String::new(); usize::try_from(count).ok()?]);
        }
        let text = |padded: &[u8]| {
            let end = padded.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            String::from_utf8_lossy(padded.get(..end).unwrap_or(padded)).into_owned()
        };
        Some(self.bytes().chunks_exact(width).map(text).collect())
    }

    /// Keeps the elements at the front that fit a shape of the same rank. A shape that has more elements changes nothing.
    pub(crate) fn cut(&mut self, shape: &[i64]) {
        let extents = shape.iter().map(|&d| usize::try_from(d).ok());
        let bytes = extents.chain([Some(self.dtype.size())]).try_fold(1usize, |n, d| n.checked_mul(d?));
        if let Some(bytes) = bytes.filter(|&bytes| bytes <= self.bytes) {
            self.shape = shape.to_vec();
            self.bytes = bytes;
        }
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The extents, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// The elements' bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the lines hold at least `bytes` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<u8>(), self.bytes) }
    }

    /// The elements' bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the lines hold at least `bytes` bytes, any value of which is valid, and are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<u8>(), self.bytes) }
    }

    /// The elements, where this is their type.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if self.dtype.name() != T::NAME {
            return None;
        }
        // SAFETY: the memory is aligned to 64, holds `bytes` bytes, and any bit pattern is a value of an `Element`.
        Some(unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<T>(), self.bytes / size_of::<T>()) })
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}{:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_padded_and_come_back() {
        let words = ["a", "", "caf\u{e9}", "dog"];
        let tensor = Tensor::from_texts(&[2, 2], &words, None).expect("fits");
        assert_eq!((tensor.dtype().name(), tensor.shape()), ("string", &[2i64, 2, 5][..]));
        assert_eq!(tensor.texts().expect("texts"), words);
        let wide = Tensor::from_texts(&[4], &words, Some(8)).expect("fits");
        assert_eq!((wide.bytes().len(), wide.texts().expect("texts")), (32, words.map(String::from).to_vec()));
        assert!(Tensor::from_texts(&[4], &words, Some(4)).is_err());
        assert!(Tensor::from_texts(&[3], &words, None).is_err());
        assert_eq!(Tensor::from_slice(&[1], &[1.0f32]).texts(), None);
        let none = Tensor::from_texts::<&str>(&[0], &[], None).expect("fits");
        assert_eq!(none.texts(), Some(Vec::new()));
    }
    #[test]
    fn more_memory_than_there_is_is_none() {
        let f32s = DType::from_name("f32").expect("a type");
        for shape in [[1 << 46, 1], [1 << 61, 1], [1 << 62, 1 << 62], [-1, 1]] {
            assert!(Tensor::zeros(f32s, &shape).is_none(), "{shape:?}");
        }
    }
}
