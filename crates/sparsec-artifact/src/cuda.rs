//! The files of a model for a GPU: PTX, launch plan, weights, manifest.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sparsec_plan::{Plan, weights_layout};
use sparsec_tir::{ConstantData, Program};

use crate::error::at;
use crate::manifest::{Manifest, TargetInfo};
use crate::{ArtifactError, StagedWeights};

/// What the backend made.
#[derive(Clone, Copy, Debug)]
pub struct CudaFiles<'a> {
    /// `NAME.ptx`.
    pub ptx: &'a str,
    /// `NAME.plan.json`.
    pub plan: &'a Plan,
}

fn weights_file(name: &str) -> String {
    format!("{name}.weights")
}

/// Writes the constants of a program as one file, in the plan's layout, for [`write_cuda`].
///
/// # Errors
/// When a file can't be written, or a constant has the wrong size. The folder is then as it was before.
pub fn stage_flat_weights(
    dir: &Path,
    program: &Program,
    data: &dyn ConstantData,
) -> Result<StagedWeights, ArtifactError> {
    let staged = StagedWeights::new(dir)?;
    let path = staged.path(&weights_file(&program.name));
    let (offsets, size) = weights_layout(program).map_err(ArtifactError::Plan)?;
    let mut out = Counted { out: BufWriter::with_capacity(1 << 20, File::create(&path).map_err(at(&path))?), bytes: 0 };
    for (i, (constant, offset)) in program.constants.iter().zip(offsets).enumerate() {
        out.pad_to(offset).map_err(at(&path))?;
        data.write(i, &mut out).map_err(at(Path::new(&constant.name)))?;
        let found = out.bytes - offset;
        if found != constant.bytes {
            let (name, expected) = (constant.name.clone(), constant.bytes);
            return Err(ArtifactError::ConstantSize { name, expected, found });
        }
    }
    out.pad_to(size).map_err(at(&path))?;
    out.flush().map_err(at(&path))?;
    Ok(staged)
}

/// Writes the artefact of a program for a GPU, with the weights of [`stage_flat_weights`]; returns its files.
///
/// # Errors
/// When a file can't be written. The folder is then as it was before.
pub fn write_cuda(
    weights: StagedWeights,
    program: &Program,
    code: &CudaFiles<'_>,
    target: TargetInfo,
    report: serde_json::Value,
) -> Result<Vec<PathBuf>, ArtifactError> {
    let name = &program.name;
    let manifest = Manifest::new(program, target, code.ptx.len() as u64, report);
    let texts = [
        (format!("{name}.ptx"), code.ptx.to_owned()),
        (format!("{name}.plan.json"), code.plan.to_json().map_err(ArtifactError::Plan)?),
        (format!("{name}.json"), serde_json::to_string_pretty(&manifest)? + "\n"),
    ];
    for (file, text) in &texts {
        let path = weights.path(file);
        std::fs::write(&path, text).map_err(at(&path))?;
    }
    weights.finish(texts.into_iter().map(|(file, _)| file).chain([weights_file(name)]))
}

/// Counts what is written.
struct Counted {
    out: BufWriter<File>,
    bytes: u64,
}

impl Counted {
    fn pad_to(&mut self, offset: u64) -> std::io::Result<()> {
        let zeros = [0; 256];
        while self.bytes < offset {
            let count = usize::try_from(offset - self.bytes).unwrap_or(zeros.len()).min(zeros.len());
            self.write_all(zeros.get(..count).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Write for Counted {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(data)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
