//! Arrays of files and of the compiler, as the runtime takes them; seeded inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sparsec::graph::{Bindings, DType, Graph, TensorData, TensorType, Value};
use sparsec_runtime::Tensor;

use crate::failure::Failure;

/// The compiler's array as the runtime's.
pub(crate) fn to_runtime(data: &TensorData) -> Result<Tensor, Failure> {
    let dtype = sparsec_runtime::DType::from_name(data.dtype.name()).ok_or_else(|| Failure::bug("element type"))?;
    let shape: Vec<i64> = data.shape.iter().map(|&d| d as i64).collect();
    Tensor::from_bytes(dtype, &shape, &data.bytes).map_err(Failure::bug)
}

/// The runtime's array as the compiler's.
pub(crate) fn from_runtime(tensor: &Tensor) -> Result<TensorData, Failure> {
    let dtype: DType = tensor.dtype().name().parse().map_err(Failure::bug)?;
    let shape = tensor.shape().iter().map(|&d| d as usize).collect();
    Ok(TensorData { dtype, shape, bytes: tensor.bytes().to_vec().into() })
}

/// The array of a file: ONNX's encoding of one tensor where the name ends in `.pb`, NumPy's otherwise.
pub(crate) fn read_file(file: &Path) -> Result<TensorData, Failure> {
    if file.extension().is_none_or(|extension| extension != "pb") {
        return sparsec::npy::read(file).map_err(Failure::input);
    }
    let bytes = std::fs::read(file).map_err(|e| Failure::in_file(file, e))?;
    let (_, data) = sparsec::onnx::proto::decode_tensor(bytes.into()).map_err(|e| Failure::in_file(file, e))?;
    Ok(data)
}

/// The arrays of the files, in the order of the graph's inputs, checked against their types.
pub(crate) fn read_inputs(graph: &Graph, files: &[(String, PathBuf)]) -> Result<Vec<TensorData>, Failure> {
    let mut arrays = BTreeMap::new();
    for (name, file) in files {
        if !graph.inputs().iter().any(|&i| graph.value(i).name == *name) {
            let known: Vec<&str> = graph.inputs().iter().map(|&i| graph.value(i).name.as_str()).collect();
            return Err(Failure::input(format!(
                "the model has no input `{name}`\nIts inputs are: {}.",
                known.join(", ")
            )));
        }
        if arrays.insert(name.as_str(), (read_file(file)?, file)).is_some() {
            return Err(Failure::usage(format!("input `{name}` is given twice")));
        }
    }
    let mut inputs = Vec::new();
    for &input in graph.inputs() {
        let value = graph.value(input);
        let Some((mut array, file)) = arrays.remove(value.name.as_str()) else {
            return Err(Failure::input(format!(
                "input `{}` ({}) is missing\nGive it as `--input {}=FILE.npy`.",
                value.name, value.ty, value.name
            )));
        };
        check_type(&array, &value.ty)
            .map_err(|message| Failure::in_file(file, format!("input `{}`: {message}", value.name)))?;
        array.dtype = value.ty.dtype;
        inputs.push(array);
    }
    Ok(inputs)
}

fn check_type(array: &TensorData, ty: &TensorType) -> Result<(), String> {
    let found = array.ty();
    let fits =
        found.rank() == ty.rank() && found.shape.iter().zip(&ty.shape).all(|(a, b)| b.as_const().is_none() || a == b);
    if found.dtype != sparsec::npy::stored_as(ty.dtype) || !fits {
        return Err(format!("the array is {found}, the model takes {ty}"));
    }
    Ok(())
}

/// Seeded inputs: normal numbers, integers that are good as indices and as masks. A symbol has its value in `dims`.
pub(crate) fn seeded_inputs(graph: &Graph, dims: &Bindings) -> Result<Vec<TensorData>, Failure> {
    let mut state = 0x5EED;
    graph.inputs().iter().map(|&input| seeded_input(graph.value(input), dims, &mut state)).collect()
}

fn seeded_input(value: &Value, dims: &Bindings, state: &mut u64) -> Result<TensorData, Failure> {
    let extents = value.ty.shape.iter().map(|dim| dim.eval(dims).and_then(|d| usize::try_from(d).ok()));
    let shape: Vec<usize> = extents.collect::<Option<_>>().ok_or_else(|| {
        Failure::input(format!("input `{}` has the type {}: give `--dim NAME=N`", value.name, value.ty))
    })?;
    let count = shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|n| n.checked_mul(8).is_some_and(|bytes| bytes < 1 << 36))
        .ok_or_else(|| Failure::input(format!("input `{}` of shape {shape:?} is too large", value.name)))?;
    let mut bytes = Vec::with_capacity(count * value.ty.dtype.size());
    let is_mask = value.name.contains("mask");
    for _ in 0..count {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = *state >> 33;
        let small = if is_mask { 1 } else { random % 100 };
        // Four uniform numbers of 7 bits: nearly normal, mean 0, standard deviation 1.
        let sum: u64 = (0..4).map(|i| (random >> (7 * i)) & 127).sum();
        let normal = (sum as f32 - 254.0) / 73.9;
        match value.ty.dtype {
            DType::F32 => bytes.extend(normal.to_le_bytes()),
            DType::F64 => bytes.extend(f64::from(normal).to_le_bytes()),
            DType::F16 => bytes.extend(half::f16::from_f32(normal).to_le_bytes()),
            DType::BF16 => bytes.extend(half::bf16::from_f32(normal).to_le_bytes()),
            DType::Bool => bytes.push(u8::from(is_mask || random & 1 == 1)),
            DType::I4 => bytes.push((random % 16) as u8 ^ if random & 8 == 0 { 0 } else { 0xf0 }),
            DType::String => bytes.push(b'a' + (random % 26) as u8),
            DType::U4 | DType::F4E2M1 => bytes.push((random % 16) as u8),
            _ => bytes.extend(&small.to_le_bytes()[..value.ty.dtype.size()]),
        }
    }
    Ok(TensorData { dtype: value.ty.dtype, shape, bytes: bytes.into() })
}
