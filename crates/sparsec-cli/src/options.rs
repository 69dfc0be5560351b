//! Arguments that several commands share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sparsec::machine_file::MachineFile;
use sparsec::tuning::{TuneOptions, Tuning, cache};
use sparsec::{Backend, CompileOptions, Format, Gpu, Precision, Target, TargetError};

use crate::failure::Failure;
use crate::tensors;

/// What a model is compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetKind {
    /// A CPU, through LLVM.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// The model, and how it is compiled.
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArguments {
    /// The model (ONNX)
    pub(crate) model: PathBuf,

    /// Fix a dimension that the model leaves open
    #[arg(long = "dim", value_name = "NAME=N", value_parser = parse_dim)]
    pub(crate) dims: Vec<(String, i64)>,

    /// Make a constant of an input: an array of NumPy (.npy), or a tensor of ONNX (.pb)
    #[arg(long = "bind", value_name = "INPUT=FILE", value_parser = parse_input)]
    pub(crate) bind: Vec<(String, PathBuf)>,

    /// What is in an input that is a sequence or an optional value: how many tensors, or the shape of each
    #[arg(long = "items", value_name = "INPUT=N|[2,3][4,3]", value_parser = parse_items)]
    pub(crate) items: Vec<(String, Items)>,

    /// What to compile for
    #[arg(long, value_enum, default_value_t)]
    pub(crate) target: TargetKind,

    /// The CPU: native, x86-64-v2, x86-64-v3, x86-64-v4, generic, or LLVM's name of one; levels of x86-64 separated by
    /// commas for a library that chooses when it runs [default: native, and generic for
    /// the triple of another architecture]
    #[arg(long)]
    pub(crate) cpu: Option<String>,

    /// The GPU, with `--target cuda`: sm_80 (A100 and later), or sm_90a (H100, H200) [default: sm_80]
    #[arg(long, value_parser = parse_gpu)]
    pub(crate) gpu: Option<Gpu>,

    /// What matrix products with constant weights are computed in, with `--target cuda`: f32 is exact; the others round the
    /// factors, add up in f32, and use tensor cores
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compute: Compute,

    /// The system, as LLVM names it, where it is not this one
    #[arg(long)]
    pub(crate) triple: Option<String>,

    /// What to predict times by: a file of `sparsec calibrate`
    #[arg(long, value_name = "FILE")]
    pub(crate) machine: Option<PathBuf>,

    /// Formats and schedules that were measured: a file of `sparsec tune`
    #[arg(long, value_name = "FILE")]
    pub(crate) tuning: Option<PathBuf>,

    /// Store a weight in this format whatever it costs: dense, csr, bsr<4,1>, nm<2,4>, bitmap, ...
    #[arg(long = "format", value_name = "TENSOR=FORMAT", value_parser = parse_format)]
    pub(crate) formats: Vec<(String, Format)>,
}

/// What matrix products are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compute {
    #[default]
    F32,
    Tf32,
    F16,
    Bf16,
}

impl Compute {
    fn precision(self) -> Option<Precision> {
        match self {
            Compute::F32 => None,
            Compute::Tf32 => Some(Precision::TF32),
            Compute::F16 => Some(Precision::F16),
            Compute::Bf16 => Some(Precision::BF16),
        }
    }
}

/// How candidates are timed.
#[derive(Clone, Debug, Args)]
pub(crate) struct TuneArguments {
    /// The database of measurements, made where it is missing [default: sparsec/tuning.redb in the user's folder for caches]
    #[arg(long, value_name = "FILE", conflicts_with = "no_tune_cache")]
    tune_cache: Option<PathBuf>,

    /// Neither read nor keep measurements
    #[arg(long)]
    no_tune_cache: bool,

    /// Seconds for all timed runs together; compiling what is timed comes on top
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    tune_budget: u32,
}

impl TuneArguments {
    pub(crate) fn options(&self) -> TuneOptions {
        let cache = match self.no_tune_cache {
            true => None,
            false => self.tune_cache.clone().or_else(cache::default_path),
        };
        TuneOptions { cache, budget: Duration::from_secs(self.tune_budget.into()) }
    }
}

impl ModelArguments {
    /// The compiler's options.
    pub(crate) fn options(&self) -> Result<CompileOptions, Failure> {
        let (target, levels) = self.backend()?;
        let mut options = CompileOptions::new(target);
        let for_one = [("--tuning", self.tuning.is_some()), ("--machine", self.machine.is_some())];
        if let Some((option, _)) = for_one.iter().find(|(_, given)| *given && !levels.is_empty()) {
            return Err(Failure::usage(format!("`{option}` is for one CPU, not for a list")));
        }
        options.levels = levels;
        options.compute = self.compute.precision();
        if let Some(file) = &self.machine {
            let machine = MachineFile::read(file).and_then(|m| m.for_target(file, &options.target));
            options.machine = Some(machine.map_err(Failure::input)?);
        }
        if let Some(file) = &self.tuning {
            options.tuning = Some(Tuning::read(file).map_err(Failure::input)?);
        }
        options.dims = unique("--dim", &self.dims)?;
        for (input, file) in unique("--bind", &self.bind)? {
            options.bind.insert(input, tensors::read_file(&file)?);
        }
        options.items = unique("--items", &self.items)?;
        options.formats = unique("--format", &self.formats)?;
        Ok(options)
    }

    /// The target, and the CPUs above it that the library chooses from.
    fn backend(&self) -> Result<(Backend, Vec<Target>), Failure> {
        if self.target == TargetKind::Cpu {
            if self.gpu.is_some() {
                return Err(Failure::usage("`--gpu` is for `--target cuda`"));
            }
            if self.compute != Compute::F32 {
                return Err(Failure::usage("`--compute` is for `--target cuda`: CPUs compute in f32"));
            }
            let triple = self.triple.as_deref();
            let targets = match (&self.cpu, Target::levels(triple, self.cpu.as_deref().unwrap_or("native"))) {
                (None, Err(TargetError::NotNative { .. })) => Target::levels(triple, "generic"),
                (_, targets) => targets,
            };
            let mut targets = targets.map_err(Failure::usage)?.into_iter();
            let lowest = targets.next().ok_or_else(|| Failure::usage("`--cpu` names no CPU"))?;
            return Ok((lowest.into(), targets.collect()));
        }
        let of_cpus = [
            ("--cpu", self.cpu.is_some()),
            ("--triple", self.triple.is_some()),
            ("--tuning", self.tuning.is_some()),
            ("--machine", self.machine.is_some()),
        ];
        self.refuse_with_cuda(&of_cpus)?;
        Ok((self.gpu.unwrap_or(Gpu::Sm80).into(), Vec::new()))
    }

    /// Options that are for CPUs alone are wrong usage with `--target cuda`.
    pub(crate) fn refuse_with_cuda(&self, given: &[(&str, bool)]) -> Result<(), Failure> {
        match given.iter().find(|(_, given)| *given && self.target == TargetKind::Cuda) {
            Some((option, _)) => Err(Failure::usage(format!("`{option}` is for `--target cpu`"))),
            None => Ok(()),
        }
    }

    /// The compiler's options for a library that is loaded here and now.
    pub(crate) fn library_options(&self) -> Result<CompileOptions, Failure> {
        if self.target == TargetKind::Cuda {
            return Err(Failure::usage("this command measures on a CPU: it has no `--target cuda`"));
        }
        self.native_options()
    }

    /// The compiler's options for code that runs here and now.
    pub(crate) fn native_options(&self) -> Result<CompileOptions, Failure> {
        if self.triple.is_some() {
            return Err(Failure::usage("`--triple` is for `compile`: this command runs the code on this machine"));
        }
        let options = self.options()?;
        match options.levels.is_empty() {
            true => Ok(options),
            false => {
                Err(Failure::usage("a list of CPUs is for `compile` and `inspect`: here, code runs on this machine"))
            }
        }
    }
}

fn unique<T: Clone>(option: &str, pairs: &[(String, T)]) -> Result<BTreeMap<String, T>, Failure> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("`{option} {name}=...` is given twice")));
        }
    }
    Ok(map)
}

/// `NAME=VALUE`; names may hold `=`.
fn pair(text: &str) -> Result<(&str, &str), String> {
    text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// The shapes of tensors, where they are not as declared.
type Items = Vec<Option<Vec<i64>>>;

/// `x=3` or `x=[2,3][4,3]`.
pub(crate) fn parse_items(text: &str) -> Result<(String, Items), String> {
    let (name, value) = pair(text)?;
    let bad = || format!("`{value}` is neither a number of tensors nor their shapes, such as `[2,3][4,3]`");
    if let Ok(count) = value.parse::<usize>() {
        return if count <= 4096 { Ok((name.to_owned(), vec![None; count])) } else { Err(bad()) };
    }
    let inner = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).ok_or_else(bad)?;
    let shape = |item: &str| -> Option<Vec<i64>> {
        item.split(',').map(str::trim).filter(|d| !d.is_empty()).map(|d| d.parse().ok()).collect()
    };
    let shapes = inner.split("][").map(|item| shape(item).map(Some)).collect::<Option<Items>>();
    Ok((name.to_owned(), shapes.ok_or_else(bad)?))
}

/// `batch=1`.
pub(crate) fn parse_dim(text: &str) -> Result<(String, i64), String> {
    let (name, value) = pair(text)?;
    match value.parse() {
        Ok(n) if n >= 0 => Ok((name.to_owned(), n)),
        _ => Err(format!("`{value}` is no extent")),
    }
}

fn parse_gpu(text: &str) -> Result<Gpu, String> {
    Gpu::from_name(text).ok_or_else(|| "the GPUs are sm_80 and sm_90a".to_owned())
}

fn parse_format(text: &str) -> Result<(String, Format), String> {
    let (name, value) = pair(text)?;
    Ok((name.to_owned(), value.parse::<Format>().map_err(|e| e.to_string())?))
}

/// `x=file.npy`; the file is what stands behind the last `=`.
pub(crate) fn parse_input(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = pair(text)?;
    Ok((name.to_owned(), PathBuf::from(file)))
}
