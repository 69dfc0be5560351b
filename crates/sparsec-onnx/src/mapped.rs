//! Files mapped into memory: the only `unsafe` code of this crate.

#![allow(unsafe_code, reason = "mapping a file is inherently unsafe; see the SAFETY comments")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;
use sparsec_graph::Pages;

use crate::OnnxError;

/// A mapped file: its bytes, and the handle that lets go of them. An empty file has no mapping.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile {
    pub(crate) bytes: Bytes,
    pub(crate) pages: Option<Mapping>,
}

/// The mapping behind the bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Mapping(Arc<Mmap>);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The mappings of a model: its own file, and those of external data.
#[derive(Debug)]
pub(crate) struct Mappings(pub(crate) Vec<Mapping>);

impl Pages for Mappings {
    fn release(&self) {
        #[cfg(unix)]
        for Mapping(map) in &self.0 {
            // SAFETY: the mapping is of a file, private, and never written, so a page that is dropped is read from the
            // file again, with the same bytes, as long as nobody changes the file; `map_file` relies on that anyway.
            // An error is of no consequence: the advice is a hint.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

/// The bytes of a file, read lazily by the operating system.
pub(crate) fn map_file(path: &Path) -> Result<MappedFile, OnnxError> {
    let io = |source| OnnxError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(io(std::io::Error::other("not a regular file")));
    }
    if metadata.len() == 0 {
        return Ok(MappedFile { bytes: Bytes::new(), pages: None });
    }
    // SAFETY: the mapping is private and read-only, and is only ever seen as initialised bytes. The one hazard that
    // remains is another process that changes or truncates the file while it is mapped: the caller owns the model
    // while it is compiled, as with every compiler's input.
    let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) }.map_err(io)?;
    let mapping = Mapping(Arc::new(map));
    Ok(MappedFile { bytes: Bytes::from_owner(mapping.clone()), pages: Some(mapping) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_bytes_are_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("numbers");
        let numbers: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &numbers).expect("written");
        let MappedFile { bytes, pages } = map_file(&path).expect("mapped");
        let part = bytes.slice(4001..300_007);
        let pages = Mappings(pages.into_iter().collect());
        for _ in 0..2 {
            assert_eq!(bytes, numbers);
            assert_eq!(part, numbers[4001..300_007]);
            pages.release();
        }
        let empty = folder.path().join("empty");
        std::fs::write(&empty, []).expect("written");
        assert!(map_file(&empty).expect("an empty file is a file").pages.is_none());
    }
}
