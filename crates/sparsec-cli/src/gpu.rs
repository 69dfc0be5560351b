//! A model compiled for a GPU, and run on one or on a simulated one.

use std::fs::File;

use sparsec::graph::TensorData;
use sparsec::plan::{Device, Session, Tensor};
use sparsec::{Code, CompileOptions, Compiled, CudaCode, ModelSource, Output, Simulated};
use sparsec_cuda::Cuda;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::options::ModelArguments;
use crate::progress::{DumpArguments, Progress};

/// Where to run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// On the simulator.
    Simulated,
    /// On a GPU by number.
    Device(usize),
}

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
    /// Runs the model once.
    pub(crate) fn run(&self, place: Place, inputs: &[TensorData]) -> Result<Vec<TensorData>, Failure> {
        let Code::Cuda(code) = &self.compiled.code else { return Err(Failure::bug("the model has no PTX")) };
        match place {
            Place::Simulated => self.run_on(Simulated::new(), code, inputs),
            Place::Device(ordinal) => {
                let device = Cuda::new(ordinal, &code.plan.gpu)
                    .map_err(|e| Failure::input(format!("{e}\n`--simulate` runs the model on a simulated GPU")))?;
                self.run_on(device, code, inputs)
            }
        }
    }

    fn run_on<D: Device>(&self, device: D, code: &CudaCode, inputs: &[TensorData]) -> Result<Vec<TensorData>, Failure> {
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
