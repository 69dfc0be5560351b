//! NumPy's `.npy` files: one array each, as `numpy.save` writes them.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. A file is untrusted: what its header
//! promises is compared with what the file holds before anything is allocated. bfloat16, which NumPy itself does not
//! have, is stored as the package `ml_dtypes` does, under the name `V2`. Texts are NumPy's `S8` (8 bytes each); those of its `U8` (8 characters
//! each, 4 bytes a character) are read, too.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sparsec_graph::{DType, TensorData};
use thiserror::Error;

/// Why an array can't be read or written.
#[derive(Debug, Error)]
pub enum NpyError {
    /// The operating system refused.
    #[error("cannot access `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file is no array that can be used.
    #[error("`{}`: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_RANK: usize = 64;

/// NumPy's names of the element types, without the byte order.
const NAMES: [(&str, DType); 13] = [
    ("b1", DType::Bool),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("u2", DType::U16),
    ("u4", DType::U32),
    ("u8", DType::U64),
    ("f2", DType::F16),
    ("V2", DType::BF16),
    ("f4", DType::F32),
    ("f8", DType::F64),
];

/// Reads an array. It must be little-endian and in row-major order.
///
/// # Errors
/// Where the file can't be read, or holds no such array, or fewer or more bytes than its shape demands.
pub fn read(path: &Path) -> Result<TensorData, NpyError> {
    let io = |source| NpyError::Io { path: path.to_path_buf(), source };
    let bytes = File::open(path).and_then(|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    });
    decode(bytes.map_err(io)?).map_err(|message| NpyError::Format { path: path.to_path_buf(), message })
}

/// Writes an array.
///
/// # Errors
/// Where the file can't be written.
pub fn write(path: &Path, data: &TensorData) -> Result<(), NpyError> {
    let io = |source| NpyError::Io { path: path.to_path_buf(), source };
    let write = || {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&header(data))?;
        out.write_all(&data.bytes)?;
        out.flush()
    };
    write().map_err(io)
}

/// The element type as which elements are written: NumPy has no name for the narrow ones, whose codes are bytes.
#[must_use]
pub fn stored_as(dtype: DType) -> DType {
    match dtype {
        DType::I4 => DType::I8,
        DType::String => DType::String,
        dtype if dtype.is_narrow() => DType::U8,
        dtype => dtype,
    }
}

/// Magic, version 1.0, and the dictionary, padded such that the data begin at a multiple of 64.
fn header(data: &TensorData) -> Vec<u8> {
    let dtype = stored_as(data.dtype);
    let name = NAMES.iter().find(|(_, t)| *t == dtype).map_or("", |(n, _)| n);
    let order = if data.dtype.size() == 1 { '|' } else { '<' };
    let (name, extents) = match data.shape.split_last() {
        // The bytes of a text are part of the element type.
        Some((width, rest)) if dtype == DType::String => (format!("S{width}"), rest),
        _ => (name.to_owned(), data.shape.as_slice()),
    };
    let mut shape: String = extents.iter().map(|d| format!("{d}, ")).collect();
    if extents.len() != 1 {
        shape.truncate(shape.trim_end_matches(", ").len());
    }
    let shape = shape.trim_end();
    let mut text = format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({shape}), }}");
    let prefix = MAGIC.len() + 4;
    let padding = (prefix + text.len() + 1).next_multiple_of(64) - (prefix + text.len() + 1);
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // Ranks are bounded, so the dictionary is far below 64 KiB.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.into_bytes());
    bytes
}

fn decode(bytes: Vec<u8>) -> Result<TensorData, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a .npy file")?;
    let (length, start) = match rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), MAGIC.len() + 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, MAGIC.len() + 6),
        _ => return Err("unknown version of the .npy format".into()),
    };
    let end = start.checked_add(length).filter(|&end| end <= bytes.len()).ok_or("the header is truncated")?;
    let text = std::str::from_utf8(&bytes[start..end]).map_err(|_| "the header is no text")?;
    let Header { dtype, shape, characters } = parse_header(text)?;
    let size = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
    let found = bytes.len() - end;
    if size != Some(found) {
        return Err(format!("shape {shape:?} of {dtype} does not fit the {found} bytes that follow the header"));
    }
    let bytes = bytes::Bytes::from(bytes).slice(end..);
    match characters {
        Some(count) => encode_texts(&bytes, shape, count),
        None => Ok(TensorData { dtype, shape, bytes }),
    }
}

/// Texts of `count` characters each, 4 bytes a character, as texts in UTF-8 of equal numbers of bytes.
fn encode_texts(bytes: &[u8], mut shape: Vec<usize>, count: usize) -> Result<TensorData, String> {
    let text = |row: &[u8]| -> Option<String> {
        row.chunks_exact(4).map(|c| char::from_u32(u32::from_le_bytes([c[0], c[1], c[2], c[3]]))).collect()
    };
    let rows: Vec<String> = match count {
        0 => vec![String::new(); shape.iter().rev().skip(1).product()],
        _ => {
            bytes.chunks_exact(4 * count).map(text).collect::<Option<_>>().ok_or("a text holds what is no character")?
        }
    };
    let rows: Vec<&str> = rows.iter().map(|row| row.trim_end_matches('\0')).collect();
    let width = rows.iter().map(|row| row.len()).max().unwrap_or(0).max(1);
    let padding = |row: &str| std::iter::repeat_n(0, width - row.len());
    let bytes: Vec<u8> = rows.iter().flat_map(|row| row.bytes().chain(padding(row))).collect();
    shape.pop();
    shape.push(width);
    Ok(TensorData { dtype: DType::String, shape, bytes: bytes.into() })
}

/// What a header tells.
struct Header {
    dtype: DType,
    /// With the bytes of a text as the last extent.
    shape: Vec<usize>,
    /// How many characters of 4 bytes a text has, where it is not in UTF-8.
    characters: Option<usize>,
}

/// The entries of the dictionary, which NumPy writes with these three keys and no others.
fn parse_header(text: &str) -> Result<Header, String> {
    let value = |key: &str| {
        let at = text.find(&format!("'{key}'")).ok_or_else(|| format!("the header has no `{key}`"))?;
        let rest = text[at + key.len() + 2..].trim_start().strip_prefix(':').unwrap_or_default();
        Ok::<_, String>(rest.trim_start())
    };
    let name = value("descr")?.strip_prefix('\'').and_then(|v| v.split('\'').next()).unwrap_or_default();
    let unknown = || format!("element type `{name}` is not supported");
    let plain = name.strip_prefix(['<', '|', '=']).ok_or_else(unknown)?;
    let texts = |prefix: char| plain.strip_prefix(prefix).and_then(|width| width.parse::<usize>().ok());
    let characters = texts('U');
    let width = texts('S').or(characters.and_then(|count| count.checked_mul(4)));
    let dtype = match (NAMES.iter().find(|(known, _)| *known == plain), width) {
        (Some((_, dtype)), _) => *dtype,
        (None, Some(_)) => DType::String,
        (None, None) => return Err(unknown()),
    };
    if value("fortran_order")?.starts_with("True") {
        return Err("the array is in column-major order; save `numpy.ascontiguousarray` of it".into());
    }
    let shape = value("shape")?.strip_prefix('(').and_then(|v| v.split_once(')')).ok_or("the shape is no tuple")?.0;
    let extents: Result<Vec<usize>, _> =
        shape.split(',').map(str::trim).filter(|d| !d.is_empty()).map(str::parse).collect();
    match extents {
        Ok(mut shape) if shape.len() <= MAX_RANK => {
            // Nothing in the file would justify more texts without bytes.
            let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            shape.extend(width);
            if width == Some(0) && count.is_none_or(|n| n > 1 << 20) {
                return Err("too many texts without bytes".into());
            }
            Ok(Header { dtype, shape, characters })
        }
        _ => Err(format!("`({shape})` is no shape")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(data: &TensorData) -> Vec<u8> {
        let mut bytes = header(data);
        bytes.extend_from_slice(&data.bytes);
        bytes
    }

    #[test]
    fn arrays_come_back() {
        for shape in [vec![], vec![0], vec![3], vec![2, 3], vec![1, 2, 3]] {
            let n: usize = shape.iter().product();
            let data = TensorData::f32(&shape, (0..n).map(|i| i as f32).collect());
            let bytes = bytes_of(&data);
            assert_eq!((bytes.len() - n * 4) % 64, 0);
            assert_eq!(decode(bytes), Ok(data));
        }
        for (_, dtype) in NAMES {
            let data = TensorData { dtype, shape: vec![2], bytes: vec![1; 2 * dtype.size()].into() };
            assert_eq!(decode(bytes_of(&data)), Ok(data));
        }
    }

    #[test]
    fn texts_have_their_bytes_in_the_type() {
        let data = TensorData { dtype: DType::String, shape: vec![2, 3], bytes: b"abcd\0\0"[..].into() };
        let bytes = bytes_of(&data);
        let header = String::from_utf8_lossy(&bytes);
        assert!(header.contains("'descr': '|S3'") && header.contains("'shape': (2,)"), "{header}");
        assert_eq!(decode(bytes), Ok(data));
        let mut bytes = b"\x93NUMPY\x01\x00v\x00{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }".to_vec();
        bytes.resize(127, b' ');
        bytes.push(b'\n');
        bytes.extend([b'a', 0, 0, 0, b'b', 0, 0, 0, 0x2d, 0x4e, 0, 0, 0, 0, 0, 0]);
        let texts = "ab\0\u{4e2d}".as_bytes();
        assert_eq!(
            decode(bytes.clone()),
            Ok(TensorData { dtype: DType::String, shape: vec![2, 3], bytes: texts.into() })
        );
        bytes[129] = 0xd8;
        assert!(decode(bytes).is_err());
    }

    #[test]
    fn what_numpy_writes_is_read() {
        let mut bytes = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }".to_vec();
        bytes.resize(127, b' ');
        bytes.push(b'\n');
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(bytes), Ok(TensorData::i64(&[1, 2], vec![1, 2])));
    }

    #[test]
    fn malformed_files_are_errors() {
        let data = TensorData::f32(&[2, 2], vec![0.0; 4]);
        let good = bytes_of(&data);
        for length in 0..good.len() {
            assert!(decode(good[..length].to_vec()).is_err(), "{length} bytes");
        }
        for (from, to) in
            [("(2, 2)", "(9, 9)"), ("False", "True "), ("<f4", ">f4"), ("<f4", "|O8"), ("(2, 2)", "2, 222")]
        {
            let at = good.windows(from.len()).position(|w| w == from.as_bytes()).expect("present");
            let mut bad = good.clone();
            bad[at..at + to.len()].copy_from_slice(to.as_bytes());
            assert!(decode(bad).is_err(), "{to}");
        }
        let huge = good.iter().copied().map(|b| if b == b'2' { b'9' } else { b }).collect();
        assert!(decode(huge).is_err());
    }
}
