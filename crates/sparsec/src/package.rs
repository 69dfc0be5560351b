//! Files: the weights before there is code, the rest as the last stage.

use std::path::{Path, PathBuf};

use sparsec_artifact::{ArtifactError, ArtifactFiles, ArtifactOptions, CudaFiles, StagedWeights};
use sparsec_llvm::Emitted;
use sparsec_lower::KernelDump;
use sparsec_tir::{ConstantData, Program, print_coordinate, print_kernel};

use crate::inspect::Inspection;
use crate::{Backend, Code, CompileError, CompileOptions, Emit, Target};

/// What all stages made.
pub(crate) struct Parts<'a> {
    pub(crate) label: &'a str,
    /// The text of the graph, where it is asked for.
    pub(crate) graph: Option<String>,
    pub(crate) program: &'a Program,
    pub(crate) dumps: &'a [KernelDump],
    pub(crate) code: &'a Code,
    pub(crate) inspection: &'a Inspection,
}

/// Writes the weights to where [`package`] finds them; `None` where the options name no folder.
pub(crate) fn stage_weights(
    label: &str,
    program: &Program,
    data: &dyn ConstantData,
    options: &CompileOptions,
) -> Result<Option<StagedWeights>, CompileError> {
    let Some(output) = &options.output else { return Ok(None) };
    let failed = |source| CompileError::Package { model: label.to_owned(), source };
    let staged = match &options.target {
        Backend::Cpu(target) if !target.is_elf() => {
            let object = sparsec_llvm::emit_constants(program, data, target)
                .map_err(|source| CompileError::Emit { model: label.to_owned(), source })?;
            sparsec_artifact::stage_object(&output.folder, &program.name, &object)
        }
        Backend::Cpu(target) => sparsec_artifact::stage_weights(&output.folder, program, data, target.triple()),
        Backend::Cuda(_) => sparsec_artifact::stage_flat_weights(&output.folder, program, data),
    };
    staged.map(Some).map_err(failed)
}

/// Writes what the options ask for; returns the files. Nothing is written where the options name no folder.
pub(crate) fn package(
    weights: Option<StagedWeights>,
    parts: &Parts<'_>,
    options: &CompileOptions,
) -> Result<Vec<PathBuf>, CompileError> {
    let (Some(weights), Some(output)) = (weights, &options.output) else { return Ok(Vec::new()) };
    let fail = |source: ArtifactError| CompileError::Package { model: parts.label.to_owned(), source };
    let report = serde_json::to_value(parts.inspection).map_err(|e| fail(e.into()))?;
    let mut files = match parts.code {
        Code::Cpu(emitted) => libraries(weights, parts, emitted, options, report.clone()).map(list),
        Code::Cuda(code) => {
            let made = CudaFiles { ptx: &code.ptx, plan: &code.plan };
            sparsec_artifact::write_cuda(weights, parts.program, &made, options.target.manifest(), report.clone())
        }
    }
    .map_err(fail)?;

    let mut put = |extension: &str, text: String| {
        let path = output.folder.join(format!("{}.{extension}", parts.program.name));
        std::fs::write(&path, text).map_err(|source| CompileError::Write { path: path.clone(), source })?;
        files.push(path);
        Ok::<_, CompileError>(())
    };
    if let Some(text) = &parts.graph {
        put("graph", text.clone())?;
    }
    if options.emits(Emit::Tir) {
        put("tir", kernels_text(parts.program, parts.dumps))?;
    }
    if options.emits(Emit::Report) {
        let text = serde_json::to_string_pretty(&report).map_err(|e| fail(e.into()))?;
        put("report.json", text + "\n")?;
    }
    Ok(files)
}

/// The files of a model for a CPU.
fn libraries(
    weights: StagedWeights,
    parts: &Parts<'_>,
    emitted: &Emitted,
    options: &CompileOptions,
    report: serde_json::Value,
) -> Result<ArtifactFiles, ArtifactError> {
    let code = sparsec_artifact::Code {
        object: &emitted.object,
        assembly: emitted.assembly.as_deref().filter(|_| options.emits(Emit::Asm)),
        llvm_ir: emitted.llvm_ir.as_deref().filter(|_| options.emits(Emit::LlvmIr)),
    };
    let artifact = ArtifactOptions {
        static_library: options.emits(Emit::Static),
        shared_library: options.emits(Emit::Shared),
        header: options.emits(Emit::Header),
        objects: options.emits(Emit::Object),
        profile: options.profile,
        ..ArtifactOptions::new(options.manifest_target())
    };
    sparsec_artifact::write_with(weights, parts.program, &code, &artifact, report)
}

/// A shared library of a program, and nothing else.
pub(crate) fn shared_library(
    program: &Program,
    data: &dyn ConstantData,
    emitted: &Emitted,
    target: &Target,
    folder: &Path,
) -> Result<PathBuf, CompileError> {
    let code = sparsec_artifact::Code { object: &emitted.object, assembly: None, llvm_ir: None };
    let options = ArtifactOptions {
        static_library: false,
        header: false,
        manifest: false,
        ..ArtifactOptions::new(Backend::from(target.clone()).manifest())
    };
    sparsec_artifact::write(folder, program, data, &code, &options, serde_json::Value::Null)
        .map(|_| folder.join(format!("lib{}.so", program.name)))
        .map_err(|source| CompileError::Package { model: program.name.clone(), source })
}

/// Each kernel in Stages II and III; before them Stage I, and Stage I with the weight in its format, where they were
/// asked for.
pub(crate) fn kernels_text(program: &Program, dumps: &[KernelDump]) -> String {
    let mut text = String::new();
    for (flat, dump) in program.kernels.iter().zip(dumps) {
        text += &format!("// {}\n", dump.labels.join(", "));
        if let Some(coordinates) = &dump.coordinates {
            text += &print_coordinate(&coordinates.kernel);
            text += "\n";
            text += &print_coordinate(&coordinates.decomposed.kernel);
            text += "\n";
        }
        text += &print_kernel(&dump.position);
        text += "\n";
        text += &print_kernel(flat);
        text += "\n";
    }
    text
}

fn list(files: ArtifactFiles) -> Vec<PathBuf> {
    let ArtifactFiles { static_library, shared_library, header, pkg_config, manifest, objects, assembly, llvm_ir } =
        files;
    let single = [static_library, shared_library, header, pkg_config, manifest, assembly, llvm_ir];
    single.into_iter().flatten().chain(objects).collect()
}
