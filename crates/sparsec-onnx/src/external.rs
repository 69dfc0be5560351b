//! External data: weights in files beside the model.
//!
//! The model names them, so the names are not to be trusted: absolute paths, `..`, and links that lead out of the
//! model's directory are refused. Each file is mapped once, when the first tensor asks for it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::TensorError;
use crate::mapped::{MappedFile, Mapping};
use crate::proto::StringStringEntryProto;

/// The files beside one model.
#[derive(Debug, Default)]
pub(crate) struct ExternalFiles {
    base: Option<PathBuf>,
    mapped: BTreeMap<String, MappedFile>,
}

impl ExternalFiles {
    /// Files below this directory; none where there is no directory.
    pub(crate) fn new(base: Option<&Path>) -> Self {
        ExternalFiles { base: base.map(Path::to_path_buf), mapped: BTreeMap::new() }
    }

    /// The bytes that the entries `location`, `offset` and `length` name.
    pub(crate) fn read(&mut self, entries: &[StringStringEntryProto]) -> Result<Bytes, TensorError> {
        let entry = |key: &str| entries.iter().find(|e| e.key() == key).map(StringStringEntryProto::value);
        let number = |key: &str| match entry(key) {
            Some(text) => text.trim().parse::<usize>().map(Some).map_err(|_| bad(format!("{key} `{text}` is no size"))),
            None => Ok(None),
        };
        let location = entry("location").ok_or_else(|| bad("no location is given"))?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?;
        let file = self.file(location)?;
        let outside = || bad(format!("`{location}` has {} bytes, too few for offset and length", file.len()));
        let rest = file.len().checked_sub(offset).ok_or_else(outside)?;
        let length = length.unwrap_or(rest);
        if length > rest {
            return Err(outside());
        }
        Ok(file.slice(offset..offset + length))
    }

    /// The mappings of the files that were read so far.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = Mapping> {
        self.mapped.values().filter_map(|file| file.pages.clone())
    }

    fn file(&mut self, location: &str) -> Result<Bytes, TensorError> {
        if let Some(file) = self.mapped.get(location) {
            return Ok(file.bytes.clone());
        }
        let base =
            self.base.as_ref().ok_or_else(|| bad(format!("`{location}`: the model was not read from a file")))?;
        let path = resolve(base, location)?;
        let file = crate::mapped::map_file(&path).map_err(|e| bad(e.to_string()))?;
        let bytes = file.bytes.clone();
        self.mapped.insert(location.to_owned(), file);
        Ok(bytes)
    }
}

fn bad(message: impl Into<String>) -> TensorError {
    TensorError::External(message.into())
}

/// The file of a location, which must lie below `base` also after links are followed.
fn resolve(base: &Path, location: &str) -> Result<PathBuf, TensorError> {
    let relative = Path::new(location);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    // A backslash or a drive letter is part of a file name here but leads elsewhere on other systems.
    if !plain || location.is_empty() || location.contains(['\\', '\0']) {
        return Err(bad(format!("`{location}` is refused: it must be a relative path below the model's directory")));
    }
    let io = |path: &Path, e: std::io::Error| bad(format!("cannot access `{}`: {e}", path.display()));
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let root = base.canonicalize().map_err(|e| io(base, e))?;
    let path = root.join(relative);
    let path = path.canonicalize().map_err(|e| io(&path, e))?;
    if !path.starts_with(&root) {
        return Err(bad(format!("`{location}` is refused: a link leads out of the model's directory")));
    }
    Ok(path)
}
