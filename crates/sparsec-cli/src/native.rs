//! A model compiled for this machine and loaded, for commands that run it.

use sparsec::{CompileOptions, Compiled, Emit, ModelSource, Output};
use sparsec_runtime::Model;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::options::ModelArguments;
use crate::progress::{DumpArguments, Progress};

/// A loaded model. The library's file is gone once this is dropped.
pub(crate) struct Native {
    pub(crate) model: Model,
    pub(crate) compiled: Compiled,
    _folder: TempDir,
}

/// Compiles and loads a model; `None` where the dumps say to stop before there is code.
pub(crate) fn compile_and_load(
    arguments: &ModelArguments,
    dumps: &DumpArguments,
    threads: usize,
) -> Result<Option<Native>, Failure> {
    let source = ModelSource::File(arguments.model.clone());
    load(source, arguments.library_options()?, dumps, threads)
}

/// As [`compile_and_load`], from any source.
pub(crate) fn load(
    source: ModelSource,
    mut options: CompileOptions,
    dumps: &DumpArguments,
    threads: usize,
) -> Result<Option<Native>, Failure> {
    let folder = TempDir::with_prefix("sparsec-").map_err(|e| Failure::input(format!("no temporary folder: {e}")))?;
    options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [Emit::Shared].into() });
    let mut progress = Progress::new(dumps)?;
    let result = sparsec::compile(source, &options, &mut progress);
    let Some(compiled) = progress.finish(result)? else { return Ok(None) };
    let library = folder.path().join(format!("lib{}.so", compiled.name));
    let mut model = Model::load(&library, &compiled.name).map_err(Failure::bug)?;
    model.set_threads(threads).map_err(Failure::input)?;
    Ok(Some(Native { model, compiled, _folder: folder }))
}
