//! `sparsec compile`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sparsec::{Backend, Emit, ModelSource, Output};

use crate::failure::Failure;
use crate::options::{ModelArguments, TargetKind, TuneArguments};
use crate::output;
use crate::progress::{DumpArguments, Progress};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// Folder for the results, made where it is missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Name of the library and prefix of its functions; the file's name where it is not given
    #[arg(long)]
    name: Option<String>,

    /// What to write [default: static,shared,header, without shared on bare metal; with --target cuda: ptx]
    #[arg(long, value_enum, value_delimiter = ',')]
    emit: Vec<EmitKind>,

    /// Have the library time its steps: NAME_profile in its header tells the times
    #[arg(long)]
    profile: bool,

    /// Time formats and schedules on this machine, and take the fastest
    #[arg(long, conflicts_with = "tuning")]
    tune: bool,

    #[command(flatten)]
    how: TuneArguments,

    #[command(flatten)]
    dumps: DumpArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EmitKind {
    /// libNAME.a
    Static,
    /// libNAME.so
    Shared,
    /// The object files that the libraries are made of
    Object,
    /// NAME.h
    Header,
    /// The graph after all passes
    Graph,
    /// The tensor IR
    Tir,
    /// LLVM's IR
    LlvmIr,
    /// Assembly
    Asm,
    /// NAME.ptx, NAME.plan.json and NAME.weights; with --target cuda they are always written
    Ptx,
    /// What was found and chosen for each weight, as JSON
    Report,
}

impl EmitKind {
    /// `None` for what a GPU's files are made of anyway.
    fn emit(self) -> Option<Emit> {
        Some(match self {
            EmitKind::Static => Emit::Static,
            EmitKind::Shared => Emit::Shared,
            EmitKind::Object => Emit::Object,
            EmitKind::Header => Emit::Header,
            EmitKind::Graph => Emit::Graph,
            EmitKind::Tir => Emit::Tir,
            EmitKind::LlvmIr => Emit::LlvmIr,
            EmitKind::Asm => Emit::Asm,
            EmitKind::Report => Emit::Report,
            EmitKind::Ptx => return None,
        })
    }

    /// Whether it makes sense for a target.
    fn is_for(self, target: TargetKind) -> bool {
        match self {
            EmitKind::Graph | EmitKind::Tir | EmitKind::Report => true,
            EmitKind::Ptx => target == TargetKind::Cuda,
            _ => target == TargetKind::Cpu,
        }
    }
}

impl Arguments {
    fn emit(&self, backend: &Backend) -> Result<BTreeSet<Emit>, Failure> {
        let target = self.model.target;
        if let Some(kind) = self.emit.iter().find(|kind| !kind.is_for(target)) {
            let name = kind.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
            let other = if target == TargetKind::Cuda { "cpu" } else { "cuda" };
            return Err(Failure::usage(format!("`--emit {name}` is for `--target {other}`")));
        }
        if let (true, Backend::Cpu(cpu)) = (self.emit.is_empty(), backend) {
            let mut emit = BTreeSet::from([Emit::Static, Emit::Header]);
            emit.extend(cpu.has_shared_libraries().then_some(Emit::Shared));
            return Ok(emit);
        }
        Ok(self.emit.iter().filter_map(|kind| kind.emit()).collect())
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.model.refuse_with_cuda(&[("--tune", arguments.tune), ("--profile", arguments.profile)])?;
    let mut options = match arguments.tune {
        true => arguments.model.native_options()?,
        false => arguments.model.options()?,
    };
    options.tune = arguments.tune.then(|| arguments.how.options());
    let emit = arguments.emit(&options.target)?;
    options.profile = arguments.profile;
    options.name.clone_from(&arguments.name);
    options.output = Some(Output { folder: arguments.output.clone(), emit });
    let mut progress = Progress::new(&arguments.dumps)?;
    let result = sparsec::compile(ModelSource::File(arguments.model.model.clone()), &options, &mut progress);
    let Some(compiled) = progress.finish(result)? else { return Ok(()) };
    let rows = compiled.files.iter().map(|file| {
        let size = std::fs::metadata(file).map_or(0, |m| m.len());
        vec![file.display().to_string(), output::bytes(size)]
    });
    let header = vec!["file".to_owned(), "size".to_owned()];
    output::print(&output::table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()))
}
