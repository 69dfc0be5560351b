//! Files that describe a machine: what `sparsec calibrate` writes and `--machine` reads.
//!
//! JSON, made to be read by people, too. A file holds everything that the cost model knows of the machine, so predictions
//! don't change when the defaults do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sparsec_rewrite::Machine;
use thiserror::Error;

/// Version of the format.
pub const VERSION: u32 = 1;

/// The contents of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineFile {
    /// [`VERSION`].
    pub sparsec_machine: u32,
    /// Version of the compiler whose kernels were timed.
    pub compiler_version: String,
    /// LLVM's name of the processor.
    pub cpu: String,
    /// Family of the target: code for another one must not be predicted by this file.
    pub family: String,
    /// Median of |predicted - measured| / measured over the kernels that were timed.
    pub median_error: f64,
    /// The machine.
    pub machine: Machine,
}

/// Why a file was refused.
#[derive(Debug, Error)]
pub enum MachineFileError {
    /// The file can't be read or written.
    #[error("cannot access `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is no description of a machine.
    #[error("`{}` describes no machine: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The file is of another version of the format.
    #[error("`{}` has version {found}, this compiler reads version {VERSION}: run `sparsec calibrate` again", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The file describes another kind of processor.
    #[error("`{}` was measured on {cpu} for {family} code, not for {expected}", path.display())]
    Family {
        /// The file.
        path: PathBuf,
        /// The processor.
        cpu: String,
        /// Its family.
        family: String,
        /// The target's family.
        expected: String,
    },
}

impl MachineFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read, is of another version, or a figure is missing or can't be right.
    pub fn read(path: &Path) -> Result<MachineFile, MachineFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| MachineFileError::Io { path: path.to_path_buf(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<MachineFile, MachineFileError> {
        let malformed = |message: String| MachineFileError::Malformed { path: path.to_path_buf(), message };
        let json: serde_json::Value = serde_json::from_str(text).map_err(|e| malformed(e.to_string()))?;
        match json.get("sparsec_machine").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(VERSION) => {}
            Some(found) => return Err(MachineFileError::Version { path: path.to_path_buf(), found }),
            None => return Err(malformed("the field `sparsec_machine` with the version is missing".to_owned())),
        }
        let file: MachineFile = serde_json::from_value(json).map_err(|e| malformed(e.to_string()))?;
        let m = &file.machine;
        let positive = [
            ("ghz", m.ghz),
            ("fma_gflops", m.fma_gflops),
            ("l1_bytes", m.l1_bytes),
            ("l2_bytes", m.l2_bytes),
            ("l3_bytes", m.l3_bytes),
            ("l2_gbs", m.l2_gbs),
            ("l3_gbs", m.l3_gbs),
            ("dram_gbs", m.dram_gbs),
        ];
        match positive.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((name, value)) => return Err(malformed(format!("`{name}` is {value}"))),
            None if !(1..=64).contains(&m.vector_lanes) || !(8..=64).contains(&m.vector_registers) => {
                return Err(malformed("no processor has so many lanes or registers".to_owned()));
            }
            None => {}
        }
        Ok(file)
    }

    /// The machine, for code of a target.
    ///
    /// # Errors
    /// When the file is for another family of processors.
    pub fn for_target(self, path: &Path, target: &crate::Backend) -> Result<Machine, MachineFileError> {
        let expected = target.family();
        if self.family == expected {
            return Ok(self.machine);
        }
        let (path, expected) = (path.to_path_buf(), expected.to_owned());
        Err(MachineFileError::Family { path, cpu: self.cpu, family: self.family, expected })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<(), MachineFileError> {
        let failed = |source| MachineFileError::Io { path: path.to_path_buf(), source };
        let text = serde_json::to_string_pretty(self).map_err(|e| failed(e.into()))?;
        std::fs::write(path, text + "\n").map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> MachineFile {
        MachineFile {
            sparsec_machine: VERSION,
            compiler_version: "1".to_owned(),
            cpu: "z80".to_owned(),
            family: "x86-64-v3".to_owned(),
            median_error: 0.1,
            machine: Machine::for_target("x86-64-v3").expect("a known target"),
        }
    }

    #[test]
    fn files_are_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("machine.json");
        file().write(&path).expect("written");
        assert_eq!(MachineFile::read(&path).expect("read"), file());
        let target = crate::Target::new(Some("x86_64-unknown-linux-gnu"), "x86-64-v3").expect("a target");
        assert_eq!(file().for_target(&path, &target.into()).expect("fits"), file().machine);
        let other = crate::Target::new(Some("x86_64-unknown-linux-gnu"), "x86-64-v4").expect("a target");
        let refused = file().for_target(&path, &other.into()).expect_err("another family").to_string();
        assert!(refused.contains("measured on z80 for x86-64-v3 code, not for x86-64-v4"), "{refused}");
        assert!(matches!(MachineFile::read(&folder.path().join("none")), Err(MachineFileError::Io { .. })));
    }

    #[test]
    fn wrong_files_are_refused() {
        let text = serde_json::to_string(&file()).expect("serialises");
        let refused = |text: &str| MachineFile::parse(Path::new("m.json"), text).expect_err("refused").to_string();
        assert!(refused("{").contains("`m.json` describes no machine"));
        assert!(refused("{}").contains("`sparsec_machine` with the version is missing"));
        assert!(refused(&text.replace("\"sparsec_machine\":1", "\"sparsec_machine\":7")).contains("has version 7"));
        assert!(refused(&text.replace("\"launch\"", "\"lunch\"")).contains("`launch` is missing"));
        assert!(refused(&text.replace("\"ghz\":3.2", "\"ghz\":0.0")).contains("`ghz` is 0"));
        assert!(refused(&text.replace("\"l2_gbs\"", "\"l2\"")).contains("l2"));
    }
}
