//! `sparsec run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use sparsec::graph::{Graph, Symbol, TensorData};
use sparsec::{Compiled, ModelSource};

use crate::failure::Failure;
use crate::options::{ModelArguments, TargetKind, parse_input};
use crate::progress::{DumpArguments, Progress};
use crate::{gpu, native, tensors};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// An input's array, as numpy.save writes it
    #[arg(long = "input", value_name = "NAME=FILE.npy", value_parser = parse_input)]
    inputs: Vec<(String, PathBuf)>,

    /// Folder for the outputs, NAME.npy each; slashes in names become underscores
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,

    /// Threads to run on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Interpret the model's graph instead of compiling it: slow, and right
    #[arg(long)]
    interpret: bool,

    /// With --target cuda: run on a simulated GPU, which checks every access; slow
    #[arg(long, conflicts_with = "interpret")]
    simulate: bool,

    /// With --target cuda: which GPU of this machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: usize,

    #[command(flatten)]
    dumps: DumpArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let cuda = arguments.model.target == TargetKind::Cuda;
    if !cuda && (arguments.simulate || arguments.device != 0) {
        return Err(Failure::usage("`--simulate` and `--device` are for `--target cuda`"));
    }
    arguments.model.refuse_with_cuda(&[("--threads", arguments.threads != 1)])?;
    let computed = match arguments.interpret {
        true => interpret(&arguments)?,
        false if cuda => execute_on_gpu(&arguments)?,
        false => execute(&arguments)?,
    };
    let Some((names, outputs)) = computed else { return Ok(()) };
    write_outputs(&arguments.output_dir, &names, &outputs)
}

type Outputs = (Vec<String>, Vec<TensorData>);

/// Interprets the graph as it was read, so that the passes are tested as well.
fn interpret(arguments: &Arguments) -> Result<Option<Outputs>, Failure> {
    let options = arguments.model.native_options()?;
    let mut progress = Progress::new(&arguments.dumps)?;
    let read = sparsec::read(&ModelSource::File(arguments.model.model.clone()), &options, &mut progress);
    let Some(graph) = progress.finish(read)? else { return Ok(None) };
    let inputs = tensors::read_inputs(&graph, &arguments.inputs)?;
    let outputs = sparsec::graph::interpret(&graph, &inputs).map_err(Failure::input)?;
    Ok(Some((output_names(&graph), outputs)))
}

fn execute(arguments: &Arguments) -> Result<Option<Outputs>, Failure> {
    let native = native::compile_and_load(&arguments.model, &arguments.dumps, arguments.threads.into())?;
    let Some(mut native) = native else { return Ok(None) };
    let graph = &native.compiled.graph;
    let inputs = tensors::read_inputs(graph, &arguments.inputs)?;
    check_constraints(&native.compiled, &inputs)?;
    let inputs: Vec<_> = inputs.iter().map(tensors::to_runtime).collect::<Result<_, _>>()?;
    let outputs = native.model.run(&inputs).map_err(Failure::input)?;
    let outputs = outputs.iter().map(tensors::from_runtime).collect::<Result<_, _>>()?;
    Ok(Some((output_names(graph), outputs)))
}

fn execute_on_gpu(arguments: &Arguments) -> Result<Option<Outputs>, Failure> {
    let options = arguments.model.options()?;
    let Some(model) = gpu::compile(&arguments.model, options, &arguments.dumps)? else { return Ok(None) };
    let inputs = tensors::read_inputs(&model.compiled.graph, &arguments.inputs)?;
    let device = if arguments.simulate { gpu::Place::Simulated } else { gpu::Place::Device(arguments.device) };
    let outputs = model.run(device, &inputs)?;
    Ok(Some((output_names(&model.compiled.graph), outputs)))
}

/// Says which dimension is out of range, and why; the library itself has one status for all.
fn check_constraints(compiled: &Compiled, inputs: &[TensorData]) -> Result<(), Failure> {
    let shapes: Vec<_> = inputs.iter().map(|input| input.shape.clone()).collect();
    let dims = sparsec::graph::bind_symbols(&compiled.graph, &shapes).map_err(Failure::input)?;
    let symbols = &compiled.program.symbols;
    let values: Vec<i64> = symbols.iter().map(|s| dims.get(&Symbol::new(s)).copied().unwrap_or(0)).collect();
    let Some(constraint) = compiled.program.violated_constraint(&values) else { return Ok(()) };
    let given: Vec<String> = symbols.iter().zip(&values).map(|(symbol, value)| format!("{symbol} = {value}")).collect();
    Err(Failure::input(format!("{} is out of range: {}", given.join(", "), constraint.message)))
}

fn output_names(graph: &Graph) -> Vec<String> {
    graph.outputs().iter().map(|(name, _)| name.clone()).collect()
}

fn write_outputs(folder: &Path, names: &[String], outputs: &[TensorData]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::in_file(folder, e))?;
    let mut written = BTreeSet::new();
    for (name, output) in names.iter().zip(outputs) {
        let file = folder.join(format!("{}.npy", name.replace(['/', '\\'], "_")));
        if !written.insert(file.clone()) {
            return Err(Failure::in_file(&file, "two outputs of the model have this file name"));
        }
        sparsec::npy::write(&file, output).map_err(Failure::input)?;
    }
    Ok(())
}
