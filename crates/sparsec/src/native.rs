//! Graphs that are compiled for this machine and timed: what calibration and tuning learn from.

use std::time::{Duration, Instant};

use sparsec_graph::{Bindings, Graph, TensorType, random_data};
use sparsec_runtime::{DType, Model, Tensor};

use crate::layers::LayerReport;
use crate::pipeline::compile_as_it_is;
use crate::{CompileError, CompileOptions, Compiled, Emit, Output, compile_graph};

/// Fewest timed runs.
const MIN_RUNS: usize = 7;

/// A layer and the median of its times.
#[derive(Clone, Debug)]
pub(crate) struct TimedLayer {
    pub(crate) layer: LayerReport,
    pub(crate) seconds: f64,
}

/// A compiled graph that is loaded, with inputs.
pub(crate) struct Native {
    model: Model,
    layers: Vec<LayerReport>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Times of launches, run by run, round by round.
    rounds: Vec<Vec<Vec<u64>>>,
    _folder: tempfile::TempDir,
}

impl Native {
    /// Compiles and loads a graph, and runs it once. Open dimensions have the values that the options assume.
    pub(crate) fn new(name: &str, graph: &Graph, options: &CompileOptions) -> Result<Native, CompileError> {
        let failed = |message: String| CompileError::Measure { model: name.to_owned(), message };
        let folder = tempfile::TempDir::with_prefix("sparsec-").map_err(|e| failed(e.to_string()))?;
        let output = Some(Output { folder: folder.path().to_path_buf(), emit: [Emit::Shared].into() });
        let options = CompileOptions { output, profile: true, name: None, ..options.clone() };
        let compiled = compile_graph(name, graph, &options)?;
        Native::load(graph, compiled, folder).map_err(failed)
    }

    /// Compiles and loads a graph whose nodes have formats already; nothing of it is rewritten.
    pub(crate) fn as_it_is(
        name: &str,
        graph: &Graph,
        nominal: &Bindings,
        options: &CompileOptions,
    ) -> Result<Native, CompileError> {
        let failed = |message: String| CompileError::Measure { model: name.to_owned(), message };
        let folder = tempfile::TempDir::with_prefix("sparsec-").map_err(|e| failed(e.to_string()))?;
        let output = Some(Output { folder: folder.path().to_path_buf(), emit: [Emit::Shared].into() });
        let options = CompileOptions { output, profile: true, name: None, ..options.clone() };
        let compiled = compile_as_it_is(name, graph, nominal, &options)?;
        Native::load(graph, compiled, folder).map_err(failed)
    }

    fn load(graph: &Graph, compiled: Compiled, folder: tempfile::TempDir) -> Result<Native, String> {
        let library = folder.path().join(format!("lib{}.so", compiled.name));
        let mut model = Model::load(&library, &compiled.name).map_err(|e| e.to_string())?;
        let inputs = graph.inputs().iter().enumerate();
        let inputs = inputs.map(|(i, &v)| input(graph.ty(v), &compiled.nominal, i as u64)).collect::<Option<Vec<_>>>();
        let inputs = inputs.ok_or_else(|| "an input is too large or of an unknown type".to_owned())?;
        let outputs = model.run(&inputs).map_err(|e| e.to_string())?;
        Ok(Native { model, layers: compiled.layers, inputs, outputs, rounds: Vec::new(), _folder: folder })
    }

    /// Runs for so long, and keeps the times: a round.
    pub(crate) fn run_for(&mut self, limit: Duration) -> Result<(), CompileError> {
        self.run_after(limit, &mut || {})
    }

    /// The same, with something done before each run.
    pub(crate) fn run_after(&mut self, limit: Duration, before: &mut dyn FnMut()) -> Result<(), CompileError> {
        let start = Instant::now();
        self.rounds.push(Vec::new());
        let mut count = 0;
        while count < MIN_RUNS || start.elapsed() < limit {
            before();
            self.run()?;
            count += 1;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), CompileError> {
        let failed = |e: sparsec_runtime::RuntimeError| CompileError::Measure {
            model: "a graph that is timed".to_owned(),
            message: e.to_string(),
        };
        self.model.run_into(&self.inputs, &mut self.outputs).map_err(failed)?;
        if let (Some(times), Some(round)) = (self.model.profile().map_err(failed)?, self.rounds.last_mut()) {
            round.push(times.to_vec());
        }
        Ok(())
    }

    /// The layers with the medians of their best rounds.
    pub(crate) fn layers(&self) -> Vec<TimedLayer> {
        let time = |l: &LayerReport| self.best(&|run| run.iter().skip(l.launches.0).take(l.launches.1).sum());
        self.layers.iter().map(|layer| TimedLayer { layer: layer.clone(), seconds: time(layer) }).collect()
    }

    fn best(&self, of_run: &dyn Fn(&[u64]) -> u64) -> f64 {
        let median = |round: &Vec<Vec<u64>>| {
            let mut times: Vec<u64> = round.iter().map(|run| of_run(run)).collect();
            times.sort_unstable();
            times.get(times.len() / 2).copied()
        };
        self.rounds.iter().filter_map(median).min().map_or(0.0, |ns| ns as f64 / 1e9)
    }
}

/// A random input: indices that every table has, numbers about 0.
fn input(ty: &TensorType, dims: &Bindings, seed: u64) -> Option<Tensor> {
    let shape: Vec<i64> = ty.shape.iter().map(|d| d.eval(dims)).collect::<Option<_>>()?;
    let extents: Vec<usize> = shape.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    extents.iter().try_fold(ty.dtype.size(), |n, &d| n.checked_mul(d)).filter(|&bytes| bytes < 1 << 34)?;
    let data = random_data(ty.dtype, &extents, seed, 1.0);
    Tensor::from_bytes(DType::from_name(ty.dtype.name())?, &shape, &data.bytes).ok()
}
