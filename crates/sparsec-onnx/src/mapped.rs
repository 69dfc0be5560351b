//! Files mapped into memory: the only `unsafe` code of this crate.

#![allow(unsafe_code, reason = "mapping a file is inherently unsafe; see the SAFETY comment")]

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::OnnxError;

/// The bytes of a file, read lazily by the operating system. An empty file gives no bytes.
pub(crate) fn map_file(path: &Path) -> Result<Bytes, OnnxError> {
    let io = |source| OnnxError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(io(std::io::Error::other("not a regular file")));
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, and is only ever seen as initialised bytes. The one hazard that
    // remains is another process that changes or truncates the file while it is mapped: the caller owns the model
    // while it is compiled, as with every compiler's input.
    let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) }.map_err(io)?;
    Ok(from_mmap(map))
}

fn from_mmap(map: Mmap) -> Bytes {
    Bytes::from_owner(map)
}
