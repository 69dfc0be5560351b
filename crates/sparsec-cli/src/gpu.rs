//! A model compiled for a GPU, and run on one.

use std::fs::File;

use sparsec::graph::TensorData;
use sparsec::plan::{Session, Tensor};
use sparsec::{Code, CompileOptions, Compiled, ModelSource, Output};
use sparsec_cuda::Cuda;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::options::ModelArguments;
use crate::progress::{DumpArguments, Progress};

/// A compiled model. Its weights' file is gone once this is dropped.
pub(crate) struct GpuModel {
    pub(crate) compiled: Compiled,
    folder: TempDir,
}

/// Compiles a model; `None` where the dumps say to stop before there is code.
pub(crate) fn compile(
    arguments: &ModelArguments,
    mut options: CompileOptions,
    dumps: &DumpArguments,
) -> Result<Option<GpuModel>, Failure> {
    let folder = TempDir::with_prefix("sparsec-").map_err(|e| Failure::input(format!("no temporary folder: {e}")))?;
    options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [].into() });
    let mut progress = Progress::new(dumps)?;
    let result = sparsec::compile(ModelSource::File(arguments.model.clone()), &options, &mut progress);
    Ok(progress.finish(result)?.map(|compiled| GpuModel { compiled, folder }))
}

impl GpuModel {
    /// Runs the model once, on a GPU by number.
    pub(crate) fn run(&self, ordinal: usize, inputs: &[TensorData]) -> Result<Vec<TensorData>, Failure> {
        let Code::Cuda(code) = &self.compiled.code else { return Err(Failure::bug("the model has no PTX")) };
        let device = Cuda::new(ordinal, &code.plan.gpu).map_err(Failure::input)?;
        let path = self.folder.path().join(format!("{}.weights", self.compiled.name));
        let mut weights = File::open(&path).map_err(|e| Failure::in_file(&path, e))?;
        let session = Session::new(code.plan.clone(), &code.ptx, &mut weights, device);
        let mut session = session.map_err(Failure::input)?;
        let tensors: Vec<Tensor> = inputs.iter().map(to_plan).collect();
        let given: Vec<_> = tensors.iter().map(Tensor::given).collect();
        let outputs = session.run(&given).map_err(Failure::input)?;
        outputs.into_iter().map(from_plan).collect()
    }
}

fn to_plan(data: &TensorData) -> Tensor {
    let shape = data.shape.iter().map(|&d| d as i64).collect();
    Tensor { dtype: data.dtype.name().to_owned(), shape, bytes: data.bytes.to_vec() }
}

fn from_plan(tensor: Tensor) -> Result<TensorData, Failure> {
    let shape = tensor.shape.iter().map(|&d| d as usize).collect();
    Ok(TensorData { dtype: tensor.dtype.parse().map_err(Failure::bug)?, shape, bytes: tensor.bytes.into() })
}
