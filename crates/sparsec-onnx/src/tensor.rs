//! Tensors of the file as [`TensorData`].
//!
//! `raw_data` and external data stay slices of the mapped file. The typed fields (`float_data`, ...) were copied once,
//! by the decoder, and are taken over where the element type allows. Every length is checked against the shape before
//! anything is allocated.

use bytes::Bytes;
use half::{bf16, f16};
use sparsec_graph::{DType, TensorData};

use crate::error::TensorError;
use crate::external::ExternalFiles;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::{DataLocation, DataType};

/// Most dimensions that a tensor may have.
pub(crate) const MAX_RANK: usize = 16;

/// The element type of an ONNX type number.
pub(crate) fn dtype(number: i32) -> Result<DType, TensorError> {
    let kind = DataType::try_from(number).map_err(|_| TensorError::DataType(number.to_string()))?;
    Ok(match kind {
        DataType::Float => DType::F32,
        DataType::Double => DType::F64,
        DataType::Float16 => DType::F16,
        DataType::Bfloat16 => DType::BF16,
        DataType::Int8 => DType::I8,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::Uint8 => DType::U8,
        DataType::Uint16 => DType::U16,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Bool => DType::Bool,
        DataType::Int4 => DType::I4,
        DataType::Uint4 => DType::U4,
        DataType::Float8e4m3fn => DType::F8E4M3FN,
        DataType::Float8e4m3fnuz => DType::F8E4M3FNUZ,
        DataType::Float8e5m2 => DType::F8E5M2,
        DataType::Float8e5m2fnuz => DType::F8E5M2FNUZ,
        DataType::Float8e8m0 => DType::F8E8M0,
        DataType::Float4e2m1 => DType::F4E2M1,
        DataType::String => DType::String,
        _ => return Err(TensorError::DataType(kind.as_str_name().to_lowercase())),
    })
}

/// Extents and their product, checked.
pub(crate) fn shape(dims: &[i64]) -> Result<(Vec<usize>, usize), TensorError> {
    let bad = || TensorError::Shape(dims.to_vec());
    if dims.len() > MAX_RANK {
        return Err(bad());
    }
    let shape: Vec<usize> = dims.iter().map(|&d| usize::try_from(d).map_err(|_| bad())).collect::<Result<_, _>>()?;
    // The product without zero extents must fit as well: nobody downstream has to care in which order it multiplies.
    let mut bound = 1usize;
    for &d in shape.iter().filter(|&&d| d > 0) {
        bound = bound.checked_mul(d).filter(|&n| n < 1 << 60).ok_or_else(bad)?;
    }
    Ok((shape.clone(), if shape.contains(&0) { 0 } else { bound }))
}

/// The tensor's elements. The typed fields of `tensor` are taken out of it.
pub(crate) fn read(tensor: &mut TensorProto, files: &mut ExternalFiles) -> Result<TensorData, TensorError> {
    let dtype = dtype(tensor.data_type())?;
    let (shape, elements) = shape(&tensor.dims)?;
    if dtype == DType::String {
        return texts(tensor, &shape, elements);
    }
    if tensor.segment.is_some() {
        return Err(TensorError::Form("tensors in segments are not supported"));
    }
    let raw = if tensor.data_location() == DataLocation::External {
        Some(files.read(&tensor.external_data)?)
    } else {
        tensor.raw_data.clone()
    };
    let length = |expected, found, unit| {
        let error = TensorError::Length { shape: tensor.dims.clone(), dtype: dtype.name(), expected, found, unit };
        if expected == found { Ok(()) } else { Err(error) }
    };
    let packed = packed_pairs(dtype);
    if let Some(bytes) = raw.clone().filter(|_| packed) {
        length(elements.div_ceil(2), bytes.len(), "bytes")?;
        return Ok(unpack(dtype, shape, elements, bytes.iter().copied()));
    }
    if let Some(bytes) = raw {
        let expected = elements.checked_mul(dtype.size()).ok_or_else(|| TensorError::Shape(tensor.dims.clone()))?;
        length(expected, bytes.len(), "bytes")?;
        return Ok(TensorData {
            dtype,
            shape,
            bytes: if dtype == DType::Bool { normalize_bools(bytes) } else { bytes },
        });
    }
    let found = match dtype {
        DType::F32 => tensor.float_data.len(),
        DType::F64 => tensor.double_data.len(),
        DType::I64 => tensor.int64_data.len(),
        DType::U32 | DType::U64 => tensor.uint64_data.len(),
        _ => tensor.int32_data.len(),
    };
    length(if packed { elements.div_ceil(2) } else { elements }, found, "elements")?;
    let ints = std::mem::take(&mut tensor.int32_data);
    // Narrow types are stored one to an `int32`: the low bits count.
    Ok(match dtype {
        DType::F32 => TensorData::from_vec(dtype, &shape, std::mem::take(&mut tensor.float_data)),
        DType::F64 => TensorData::from_vec(dtype, &shape, std::mem::take(&mut tensor.double_data)),
        DType::I64 => TensorData::from_vec(dtype, &shape, std::mem::take(&mut tensor.int64_data)),
        DType::U64 => TensorData::from_vec(dtype, &shape, std::mem::take(&mut tensor.uint64_data)),
        DType::U32 => TensorData::from_vec(dtype, &shape, tensor.uint64_data.iter().map(|&v| v as u32).collect()),
        DType::I32 => TensorData::from_vec(dtype, &shape, ints),
        DType::I16 => TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| v as i16).collect()),
        DType::U16 => TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| v as u16).collect()),
        DType::I8 => TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| v as i8).collect()),
        DType::U8 => TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| v as u8).collect()),
        DType::Bool => TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| u8::from(v != 0)).collect()),
        DType::F16 => {
            TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| f16::from_bits(v as u16)).collect::<Vec<f16>>())
        }
        DType::BF16 => {
            TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| bf16::from_bits(v as u16)).collect::<Vec<bf16>>())
        }
        _ if packed => unpack(dtype, shape, elements, ints.iter().map(|&v| v as u8)),
        _ => TensorData::from_vec(dtype, &shape, ints.iter().map(|&v| v as u8).collect()),
    })
}

/// Padding makes the longest text the width of all: they may take so many times the bytes that they have in the file, or so
/// many bytes where that is more.
const MAX_PADDING: (usize, usize) = (64, 1 << 26);

fn texts(tensor: &mut TensorProto, shape: &[usize], elements: usize) -> Result<TensorData, TensorError> {
    let found = tensor.string_data.len();
    if found != elements {
        let shape = tensor.dims.clone();
        return Err(TensorError::Length { shape, dtype: "string", expected: elements, found, unit: "elements" });
    }
    let bytes: Vec<&[u8]> = tensor.string_data.iter().map(AsRef::as_ref).collect();
    let (sum, longest) =
        (bytes.iter().map(|t| t.len()).sum::<usize>(), bytes.iter().map(|t| t.len()).max().unwrap_or(0));
    if longest.saturating_mul(elements) > (sum + elements).saturating_mul(MAX_PADDING.0).max(MAX_PADDING.1) {
        return Err(TensorError::Form("texts of so different lengths are not supported"));
    }
    if bytes.iter().any(|t| std::str::from_utf8(t).is_err()) {
        return Err(TensorError::Form("texts that are not UTF-8 are not supported"));
    }
    Ok(TensorData::strings(shape, &bytes))
}

/// Whether the file holds two elements in a byte.
fn packed_pairs(dtype: DType) -> bool {
    matches!(dtype, DType::I4 | DType::U4 | DType::F4E2M1)
}

/// Elements of 4 bits, the first of each pair in the lower half, as a byte each.
fn unpack(dtype: DType, shape: Vec<usize>, elements: usize, pairs: impl Iterator<Item = u8>) -> TensorData {
    let code = |half: u8| if dtype == DType::I4 { ((half << 4) as i8 >> 4) as u8 } else { half };
    let mut bytes: Vec<u8> = pairs.flat_map(|pair| [code(pair & 15), code(pair >> 4)]).collect();
    bytes.truncate(elements);
    TensorData { dtype, shape, bytes: Bytes::from(bytes) }
}

/// A `bool` is 0 or 1 in the graph; files may hold other bytes.
fn normalize_bools(bytes: Bytes) -> Bytes {
    if bytes.iter().all(|&b| b <= 1) {
        return bytes;
    }
    bytes.iter().map(|&b| u8::from(b != 0)).collect::<Vec<u8>>().into()
}

/// A scalar constant of an element type, converted from a number.
pub(crate) fn scalar(dtype: DType, value: f64) -> TensorData {
    match dtype {
        DType::Bool => TensorData::from_vec(dtype, &[], vec![u8::from(value != 0.0)]),
        DType::I8 => TensorData::from_vec(dtype, &[], vec![value as i8]),
        DType::I16 => TensorData::from_vec(dtype, &[], vec![value as i16]),
        DType::I32 => TensorData::from_vec(dtype, &[], vec![value as i32]),
        DType::I64 => TensorData::from_vec(dtype, &[], vec![value as i64]),
        DType::U8 => TensorData::from_vec(dtype, &[], vec![value as u8]),
        DType::U16 => TensorData::from_vec(dtype, &[], vec![value as u16]),
        DType::U32 => TensorData::from_vec(dtype, &[], vec![value as u32]),
        DType::U64 => TensorData::from_vec(dtype, &[], vec![value as u64]),
        DType::F16 => TensorData::from_vec(dtype, &[], vec![f16::from_f64(value)]),
        DType::BF16 => TensorData::from_vec(dtype, &[], vec![bf16::from_f64(value)]),
        DType::F32 => TensorData::from_vec(dtype, &[], vec![value as f32]),
        DType::F64 => TensorData::from_vec(dtype, &[], vec![value]),
        _ => {
            let code = dtype.small_float().map_or(value as i8 as u8, |format| format.encode(value));
            TensorData::from_vec(dtype, &[], vec![code])
        }
    }
}

/// Integers as a constant of an integer type or `bool`; `None` where a value does not fit.
pub(crate) fn from_ints(dtype: DType, shape: &[usize], values: &[i64]) -> Option<TensorData> {
    fn narrow<T: bytemuck::Pod + Send + TryFrom<i64>>(
        dtype: DType,
        shape: &[usize],
        values: &[i64],
    ) -> Option<TensorData> {
        let values: Option<Vec<T>> = values.iter().map(|&v| T::try_from(v).ok()).collect();
        Some(TensorData::from_vec(dtype, shape, values?))
    }
    match dtype {
        DType::Bool => {
            Some(TensorData::from_vec(dtype, shape, values.iter().map(|&v| u8::from(v != 0)).collect::<Vec<u8>>()))
        }
        DType::I8 => narrow::<i8>(dtype, shape, values),
        DType::I16 => narrow::<i16>(dtype, shape, values),
        DType::I32 => narrow::<i32>(dtype, shape, values),
        DType::I64 => narrow::<i64>(dtype, shape, values),
        DType::U8 => narrow::<u8>(dtype, shape, values),
        DType::U16 => narrow::<u16>(dtype, shape, values),
        DType::U32 => narrow::<u32>(dtype, shape, values),
        DType::U64 => narrow::<u64>(dtype, shape, values),
        _ => None,
    }
}

/// The single element of a float or integer constant as a number.
pub(crate) fn scalar_value(data: &TensorData) -> Option<f64> {
    if data.elements() != 1 {
        return None;
    }
    match data.dtype {
        DType::F32 => data.values::<f32>()?.first().map(|&v| f64::from(v)),
        DType::F64 => data.values::<f64>()?.first().copied(),
        DType::F16 => data.values::<u16>()?.first().map(|&v| f16::from_bits(v).to_f64()),
        DType::BF16 => data.values::<u16>()?.first().map(|&v| bf16::from_bits(v).to_f64()),
        _ => data.as_i64()?.first().map(|&v| v as f64),
    }
}
