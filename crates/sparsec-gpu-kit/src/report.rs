//! What is written: one file of JSON, which `python/kit.py` reads.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// What it ran on.
    device: String,
    /// What it was compiled for.
    gpu: String,
    simulated: bool,
    pub(crate) checks: Vec<Layer>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) networks: Vec<Network>,
}

/// A layer.
#[derive(Debug, Serialize)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) pattern: String,
    pub(crate) sparsity: f64,
    /// The format that was asked for, or `auto`.
    pub(crate) asked: String,
    /// The format that it got.
    pub(crate) format: String,
    /// What factors are rounded to: `f32`, or `f16`, `bf16`, `tf32` for tensor cores.
    pub(crate) compute: &'static str,
    pub(crate) kernels: Vec<String>,
    pub(crate) predicted_us: f64,
    /// The median, on a GPU.
    pub(crate) microseconds: Option<f64>,
    /// Of warps, on the simulator.
    pub(crate) instructions: Option<u64>,
    /// From `f64`, relative to the largest magnitude.
    pub(crate) error: f64,
    /// Whether the simulator computes the same, where it was asked: the same bits in `f32`.
    pub(crate) like_simulator: Option<bool>,
    pub(crate) passed: bool,
}

/// A network.
#[derive(Debug, Serialize)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) pattern: String,
    /// What products with weights are computed in.
    pub(crate) compute: &'static str,
    pub(crate) input: Vec<i64>,
    pub(crate) kernels: usize,
    pub(crate) launches: usize,
    pub(crate) predicted_us: f64,
    pub(crate) microseconds: Option<f64>,
    pub(crate) instructions: Option<u64>,
    /// From the interpreter of the graph, where it was asked.
    pub(crate) error: Option<f64>,
    pub(crate) passed: bool,
}

impl Results {
    pub(crate) fn new(device: String, gpu: &str, simulated: bool) -> Self {
        let (checks, layers, networks) = (Vec::new(), Vec::new(), Vec::new());
        Results { device, gpu: gpu.to_owned(), simulated, checks, layers, networks }
    }

    fn outcomes(&self) -> impl Iterator<Item = bool> {
        let layers = self.checks.iter().chain(&self.layers).map(|l| l.passed);
        layers.chain(self.networks.iter().map(|n| n.passed))
    }

    /// How many results were compared.
    pub(crate) fn checked(&self) -> usize {
        self.outcomes().count()
    }

    /// How many of them are wrong.
    pub(crate) fn failures(&self) -> usize {
        self.outcomes().filter(|passed| !passed).count()
    }

    /// Writes the file.
    pub(crate) fn write(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        std::fs::write(file, text + "\n").map_err(|e| format!("{}: {e}", file.display()))
    }
}

fn cost(f: &mut fmt::Formatter<'_>, microseconds: Option<f64>, instructions: Option<u64>) -> fmt::Result {
    match (microseconds, instructions) {
        (Some(us), _) => write!(f, " {us:.1} us"),
        (_, Some(n)) => write!(f, " {n} instructions"),
        _ => Ok(()),
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layer { name, m, k, n, pattern, asked, format, compute, error, .. } = self;
        write!(
            f,
            "{name} {m}x{k}x{n} {pattern} {asked}={format} {compute}: error {error:.1e} {}",
            verdict(self.passed)
        )?;
        if self.like_simulator == Some(false) {
            write!(f, " (not what the simulator computes)")?;
        }
        cost(f, self.microseconds, self.instructions)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.error.map_or("not interpreted".to_owned(), |e| format!("error {e:.1e}"));
        let Network { name, pattern, compute, launches, .. } = self;
        write!(f, "{name} {pattern} {compute}: {launches} launches, {error} {}", verdict(self.passed))?;
        cost(f, self.microseconds, self.instructions)
    }
}
