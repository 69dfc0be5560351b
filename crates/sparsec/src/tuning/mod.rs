//! Tuning: for each constant weight the format and the schedule that were measured to be the fastest.
//!
//! [`tune`] times candidates and gives [`Tuning`], which is an input of the compilation like any other: the compiler itself
//! knows no clock, so the same model, options and tuning give the same bytes. A tuning is also a file, JSON made to be read
//! by people; a [`cache`] keeps measurements between compilations.

pub mod cache;
mod key;
mod search;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sparsec_graph::Format;
use sparsec_lower::Schedule;
use thiserror::Error;

pub(crate) use search::tune;

/// Version of the file's format.
pub const VERSION: u32 = 1;

/// How to tune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TuneOptions {
    /// The database of measurements; none where nothing is to be kept.
    pub cache: Option<PathBuf>,
    /// Time for all timed runs together; compiling what is timed comes on top.
    pub budget: Duration,
}

/// Decisions about the layers of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// [`VERSION`].
    pub sparsec_tuning: u32,
    /// Version of the compiler whose kernels were timed.
    pub compiler_version: String,
    /// LLVM's name of the processor.
    pub cpu: String,
    /// One entry for each product with a constant weight.
    pub layers: Vec<TunedLayer>,
}

/// The decision about one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedLayer {
    /// Name of the node.
    pub node: String,
    /// Name of its weight.
    pub tensor: String,
    /// How the weight is stored, in text form.
    pub format: String,
    /// How the kernel is cut, in text form; the compiler's own choice where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What was measured; nothing depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timings: Vec<Timing>,
}

/// A candidate and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// The format.
    pub format: String,
    /// The schedule, for kernels that have a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Microseconds.
    pub us: f64,
}

/// Why a tuning can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TuningError {
    /// The file can't be read or written.
    #[error("cannot access `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file holds no decisions.
    #[error("`{}` holds no tuning: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The file was written by another version.
    #[error("`{}` was written by {found}, this is {expected}: run `sparsec tune` again", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Who wrote it.
        found: String,
        /// Who reads it.
        expected: String,
    },
    /// A decision does not fit the model.
    #[error("the tuning does not fit: {0}")]
    Misfit(String),
    /// Another process holds the database of measurements.
    #[error("another process holds the tuning cache `{}`", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The database of measurements can't be used.
    #[error("the tuning cache `{}` cannot be used: {message}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// Who writes and reads.
fn compiler() -> String {
    format!("sparsec {}, format {VERSION}", env!("CARGO_PKG_VERSION"))
}

impl Tuning {
    /// No decisions yet.
    #[must_use]
    pub fn new(cpu: &str) -> Tuning {
        let compiler_version = env!("CARGO_PKG_VERSION").to_owned();
        Tuning { sparsec_tuning: VERSION, compiler_version, cpu: cpu.to_owned(), layers: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read, is of another version, or holds something that is no decision.
    pub fn read(path: &Path) -> Result<Tuning, TuningError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TuningError::Io { path: path.to_path_buf(), source })?;
        let malformed = |message: String| TuningError::Malformed { path: path.to_path_buf(), message };
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
        let Some(version) = json.get("sparsec_tuning").and_then(serde_json::Value::as_u64) else {
            return Err(malformed("the field `sparsec_tuning` with the version is missing".to_owned()));
        };
        let by = json.get("compiler_version").and_then(serde_json::Value::as_str).unwrap_or("?");
        let found = format!("sparsec {by}, format {version}");
        if found != compiler() {
            return Err(TuningError::Version { path: path.to_path_buf(), found, expected: compiler() });
        }
        let tuning: Tuning = serde_json::from_value(json).map_err(|e| malformed(e.to_string()))?;
        tuning.decisions().map_err(|e| malformed(e.to_string()))?;
        Ok(tuning)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<(), TuningError> {
        let failed = |source| TuningError::Io { path: path.to_path_buf(), source };
        let text = serde_json::to_string_pretty(self).map_err(|e| failed(e.into()))?;
        std::fs::write(path, text + "\n").map_err(failed)
    }

    /// What rewriting and lowering are told.
    ///
    /// # Errors
    /// When a text is no format or schedule, or two layers disagree.
    pub(crate) fn decisions(&self) -> Result<Decisions, TuningError> {
        let mut decisions = Decisions::default();
        let misfit = |layer: &TunedLayer, message: String| TuningError::Misfit(format!("`{}`: {message}", layer.node));
        let mut nodes = BTreeSet::new();
        for layer in &self.layers {
            if !nodes.insert(&layer.node) {
                return Err(misfit(layer, "there are two decisions".to_owned()));
            }
            let format: Format = layer.format.parse().map_err(|e| misfit(layer, format!("{e}")))?;
            let known = decisions.formats.entry(layer.tensor.clone()).or_insert_with(|| format.clone());
            if *known != format {
                let message = format!("`{}` is {known} in another layer, and {format} here", layer.tensor);
                return Err(misfit(layer, message));
            }
            if let Some(text) = &layer.schedule {
                let schedule = text.parse().map_err(|e| misfit(layer, format!("{e}")))?;
                decisions.schedules.insert(layer.node.clone(), schedule);
            }
        }
        Ok(decisions)
    }

    /// The decision about a node.
    #[must_use]
    pub fn layer(&self, node: &str) -> Option<&TunedLayer> {
        self.layers.iter().find(|layer| layer.node == node)
    }
}

impl TunedLayer {
    /// Microseconds of what was decided, where it was measured.
    #[must_use]
    pub fn us(&self) -> Option<f64> {
        self.timings.iter().find(|t| t.format == self.format && t.schedule == self.schedule).map(|t| t.us)
    }

    /// Microseconds of the fastest schedule of a format.
    #[must_use]
    pub fn us_of(&self, format: &str) -> Option<f64> {
        self.timings.iter().filter(|t| t.format == format).map(|t| t.us).min_by(f64::total_cmp)
    }
}

/// A tuning as the compiler takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decisions {
    /// By the name of the weight.
    pub(crate) formats: BTreeMap<String, Format>,
    /// By the name of the node.
    pub(crate) schedules: BTreeMap<String, Schedule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning() -> Tuning {
        let layer = TunedLayer {
            node: "fc".to_owned(),
            tensor: "w".to_owned(),
            format: "csr".to_owned(),
            schedule: Some("tile(rows=1,vectors=2,channels=8,flight=1)".to_owned()),
            timings: vec![Timing { format: "dense".to_owned(), schedule: None, us: 1.5 }],
        };
        Tuning { layers: vec![layer], ..Tuning::new("z80") }
    }

    fn read(text: &str) -> Result<Tuning, TuningError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.json");
        std::fs::write(&path, text).expect("written");
        Tuning::read(&path)
    }

    #[test]
    fn files_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.json");
        tuning().write(&path).expect("written");
        assert_eq!(Tuning::read(&path).expect("read"), tuning());
    }

    #[test]
    fn wrong_files_are_refused() {
        let text = serde_json::to_string(&tuning()).expect("serialises");
        let refused = |text: &str| read(text).expect_err("refused").to_string();
        assert!(refused("{").contains("holds no tuning"));
        assert!(refused("{}").contains("`sparsec_tuning` with the version is missing"));
        let other = refused(&text.replace("\"sparsec_tuning\":1", "\"sparsec_tuning\":9"));
        assert!(other.contains("format 9") && other.contains("run `sparsec tune` again"), "{other}");
        assert!(refused(&text.replace("tile(", "tail(")).contains("is no schedule"));
        assert!(refused(&text.replace("\"csr\"", "\"cigar\"")).contains("`fc`"));
        assert!(refused(&text.replace("\"tensor\"", "\"tenor\"")).contains("tenor"));
        let mut twice = tuning();
        twice.layers.push(TunedLayer {
            node: "other".to_owned(),
            format: "dense".to_owned(),
            ..twice.layers[0].clone()
        });
        assert!(refused(&serde_json::to_string(&twice).expect("serialises")).contains("csr in another layer"));
    }
}
