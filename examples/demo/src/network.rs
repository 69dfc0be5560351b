//! A model, compiled ahead of time and loaded as any program would load it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sparsec::inspect::Inspection;
use sparsec::{CompileOptions, Emit, ModelSource, Output, Silent, Target};
use sparsec_runtime::{Model, Tensor};

use crate::DemoError;

/// A compiled and loaded model.
pub struct Network {
    /// Its name.
    pub name: String,
    /// What was found and chosen.
    pub inspection: Inspection,
    /// Bytes of the shared library, and of the static one.
    pub library_bytes: [u64; 2],
    /// How long compiling took.
    pub compile_time: Duration,
    model: Model,
}

impl Network {
    /// Compiles `file` into `folder`, for this machine, with some dimensions fixed, and loads the library.
    ///
    /// # Errors
    /// Where compiling or loading fails.
    pub fn compile(name: &str, file: &Path, folder: &Path, dims: &[(&str, i64)]) -> Result<Network, DemoError> {
        let target = Target::host().map_err(|e| DemoError::new(name, e))?;
        let mut options = CompileOptions::new(target);
        options.name = Some(name.to_owned());
        options.dims = dims.iter().map(|&(dim, n)| (dim.to_owned(), n)).collect::<BTreeMap<_, _>>();
        let emit = [Emit::Static, Emit::Shared, Emit::Header, Emit::Report];
        options.output = Some(Output { folder: folder.to_path_buf(), emit: emit.into() });
        let start = Instant::now();
        let compiled = sparsec::compile(ModelSource::File(file.to_path_buf()), &options, &mut Silent)
            .map_err(|e| DemoError::new(name, e))?;
        let compile_time = start.elapsed();
        let library = |extension: &str| -> PathBuf { folder.join(format!("lib{}.{extension}", compiled.name)) };
        let size = |path: PathBuf| std::fs::metadata(&path).map_or(0, |m| m.len());
        let model = Model::load(library("so"), &compiled.name).map_err(|e| DemoError::new(name, e))?;
        Ok(Network {
            name: name.to_owned(),
            inspection: compiled.inspection,
            library_bytes: [size(library("so")), size(library("a"))],
            compile_time,
            model,
        })
    }

    /// Runs the network.
    ///
    /// # Errors
    /// Where the inputs do not fit.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, DemoError> {
        self.model.run(inputs).map_err(|e| DemoError::new(&self.name, e))
    }

    /// Milliseconds that each run on these inputs takes, once around.
    fn times(&mut self, inputs: &[Tensor], outputs: &mut [Tensor], into: &mut Vec<f64>) -> Result<(), DemoError> {
        for input in inputs {
            let start = Instant::now();
            self.model.run_into(std::slice::from_ref(input), outputs).map_err(|e| DemoError::new(&self.name, e))?;
            into.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

/// Times of runs, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The median.
    pub median_ms: f64,
    /// The least.
    pub min_ms: f64,
    /// Number of runs.
    pub runs: usize,
}

/// Times networks of one input on the same inputs, in turns so that all see the same moods of the machine, for about
/// `limit`.
///
/// # Errors
/// Where a network can't be run.
pub fn measure(networks: &mut [&mut Network], inputs: &[Tensor], limit: Duration) -> Result<Vec<Measured>, DemoError> {
    let mut times = vec![Vec::new(); networks.len()];
    let mut outputs = Vec::new();
    for network in networks.iter_mut() {
        let first = inputs.first().map(std::slice::from_ref).unwrap_or_default();
        outputs.push(network.run(first)?);
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < limit {
        for ((network, outputs), times) in networks.iter_mut().zip(&mut outputs).zip(&mut times) {
            network.times(inputs, outputs, times)?;
        }
        rounds += 1;
    }
    Ok(times.into_iter().map(summarise).collect())
}

fn summarise(mut times: Vec<f64>) -> Measured {
    times.sort_by(f64::total_cmp);
    let at = |i: usize| times.get(i).copied().unwrap_or(f64::NAN);
    Measured { median_ms: at(times.len() / 2), min_ms: at(0), runs: times.len() }
}
