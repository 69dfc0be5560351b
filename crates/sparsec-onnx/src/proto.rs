//! Types of the ONNX file format, generated from `proto/onnx.proto`, and their encoding.
//!
//! The definition is a reduced one: what it does not list (device configurations) is skipped when reading and is
//! therefore missing when a model is written again.

#![allow(missing_docs, reason = "generated from the standard's own field names")]
#![allow(clippy::allow_attributes_without_reason, reason = "generated code")]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use sparsec_graph::TensorData;

use crate::external::ExternalFiles;
use crate::{OnnxError, Place, Problem};

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));

/// Decodes a model. Weights in `raw_data` stay slices of `bytes`.
///
/// # Errors
///
/// [`OnnxError::Decode`] where the bytes are no ONNX model.
pub fn decode(bytes: Bytes) -> Result<ModelProto, OnnxError> {
    ModelProto::decode(bytes).map_err(|source| OnnxError::Decode { source })
}

/// Decodes a model from a file, which is mapped into memory.
///
/// # Errors
///
/// [`OnnxError::Io`] where the file can't be read, [`OnnxError::Decode`] where it is no ONNX model.
pub fn read(path: &Path) -> Result<ModelProto, OnnxError> {
    decode(crate::mapped::map_file(path)?.bytes)
}

/// Decodes a tensor that stands alone, as the standard's test data do (`input_0.pb`).
///
/// # Errors
///
/// [`OnnxError::Decode`] where the bytes are no tensor, [`OnnxError::Invalid`] where the tensor is malformed.
pub fn decode_tensor(bytes: Bytes) -> Result<(String, TensorData), OnnxError> {
    let mut tensor = TensorProto::decode(bytes).map_err(|source| OnnxError::Decode { source })?;
    let data = read_tensor(&mut tensor)?;
    Ok((tensor.name().to_owned(), data))
}

/// Decodes a sequence of tensors that stands alone.
///
/// # Errors
///
/// As [`decode_tensor`].
pub fn decode_sequence(bytes: Bytes) -> Result<Vec<TensorData>, OnnxError> {
    let mut sequence = SequenceProto::decode(bytes).map_err(|source| OnnxError::Decode { source })?;
    sequence.tensor_values.iter_mut().map(read_tensor).collect()
}

/// Decodes an optional value that stands alone: nothing, a tensor, or the tensors of a sequence.
///
/// # Errors
///
/// As [`decode_tensor`].
pub fn decode_optional(bytes: Bytes) -> Result<Vec<TensorData>, OnnxError> {
    let mut optional = OptionalProto::decode(bytes).map_err(|source| OnnxError::Decode { source })?;
    let sequence = optional.sequence_value.iter_mut().flat_map(|s| &mut s.tensor_values);
    optional.tensor_value.iter_mut().chain(sequence).map(read_tensor).collect()
}

fn read_tensor(tensor: &mut TensorProto) -> Result<TensorData, OnnxError> {
    let name = tensor.name().to_owned();
    crate::tensor::read(tensor, &mut ExternalFiles::default()).map_err(|e| OnnxError::Invalid {
        problems: vec![Problem { place: Place::Initializer(name), fault: e.into() }],
    })
}

/// Encodes a model.
#[must_use]
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Writes a model to a file. The bytes go to a new file beside it that then takes its name, so a model may be written
/// over the file that it was read (and is still mapped) from.
///
/// # Errors
///
/// [`OnnxError::Io`] where the file can't be written.
pub fn write(model: &ModelProto, path: &Path) -> Result<(), OnnxError> {
    let io = |source| OnnxError::Io { path: path.to_path_buf(), source };
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| file.write_all(&encode(model)));
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path));
    if renamed.is_err() {
        // The first error is the one to report; a left-over temporary file is the lesser evil.
        let _ = std::fs::remove_file(&temporary);
    }
    renamed.map_err(io)
}
