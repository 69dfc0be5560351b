//! One layer: compiled, checked, timed.

use sparsec_graph::Format;
use sparsec_plan::{Data, Given, Session};
use sparsec_ptx::Target;
use sparsec_ptxsim::Simulated;

use crate::build::{Built, build};
use crate::cases::{Layer, compute_name};
use crate::model::{Extent, ModelBuilder};
use crate::place::{Clock, Lap};
use crate::random::Random;
use crate::{reference, report};

/// Tensors that runs take in turns, so that none finds its input in a cache that the run before filled.
const SETS: usize = 4;

/// Largest difference from `f64`, relative to the largest magnitude, in `f32`.
const TOLERANCE: f64 = 1e-4;

/// Largest difference from the simulator on tensor cores, whose order of additions is their own.
const REORDERED: f32 = 1e-5;

/// Columns that are compared with `f64`.
const COLUMNS: usize = 64;

/// Samples, of which the median counts.
const SAMPLES: usize = 21;

/// Milliseconds that a sample takes at least.
const SAMPLE_MS: f64 = 1.0;

/// Runs a layer, checks its result, and times it if asked to. Small ones are compared with the simulator, bit for bit.
pub(crate) fn layer<D: Clock>(case: &Layer, device: D, gpu: Target, timed: bool) -> Result<report::Layer, String> {
    let &Layer { m, k, n, .. } = case;
    let weight = case.pattern.weight(m, k, 1);
    let built =
        build(&model(case, &weight), format(case)?, case.compute, gpu).map_err(|e| format!("{}: {e}", case.name))?;
    let inputs: Vec<Vec<f32>> =
        (0..if timed { SETS } else { 1 }).map(|i| Random::new(100 + i as u64).normal(1.0, k * n)).collect();
    let mut running = Running::new(&built, device, &inputs, &[k as i64, n as i64], &[m as i64, n as i64])?;
    running.run(0)?;
    let found = running.output(0)?;
    let (error, bounded) = reference::error((&weight, &inputs[0], &found), (m, k, n), COLUMNS, case.compute);
    let like_simulator = match timed {
        true => None,
        false => {
            let mut simulated =
                Running::new(&built, Simulated::new(), &inputs, &[k as i64, n as i64], &[m as i64, n as i64])?;
            simulated.run(0)?;
            let expected = simulated.output(0)?;
            Some(match case.compute {
                None => found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                Some(_) => {
                    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                    found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= REORDERED * largest)
                }
            })
        }
    };
    let cost = if timed { Some(running.time()?) } else { None };
    let chosen = built.report.decisions.first().map_or_else(String::new, |d| d.chosen.to_string());
    let nonzeros = weight.iter().filter(|w| **w != 0.0).count();
    Ok(report::Layer {
        name: case.name.clone(),
        m,
        k,
        n,
        pattern: case.pattern.name(),
        sparsity: 1.0 - nonzeros as f64 / weight.len().max(1) as f64,
        asked: case.format.unwrap_or("auto").to_owned(),
        format: chosen,
        compute: compute_name(case.compute),
        kernels: built.kernels,
        predicted_us: built.report.operators.iter().map(|o| o.seconds * 1e6).sum(),
        microseconds: cost.and_then(microseconds),
        instructions: cost.and_then(instructions),
        error,
        like_simulator,
        passed: bounded && (case.compute.is_some() || error <= TOLERANCE) && like_simulator != Some(false),
    })
}

pub(crate) fn microseconds(lap: Lap) -> Option<f64> {
    match lap {
        Lap::Milliseconds(ms) => Some(ms * 1e3),
        Lap::Instructions(_) => None,
    }
}

pub(crate) fn instructions(lap: Lap) -> Option<u64> {
    match lap {
        Lap::Milliseconds(_) => None,
        Lap::Instructions(n) => Some(n),
    }
}

fn format(case: &Layer) -> Result<Option<Format>, String> {
    case.format.map(|text| text.parse().map_err(|e| format!("format `{text}`: {e}"))).transpose()
}

fn model(case: &Layer, weight: &[f32]) -> sparsec_onnx::proto::ModelProto {
    let (m, k, n) = (case.m as i64, case.k as i64, case.n as i64);
    let mut model = ModelBuilder::new("layer");
    let x = model.input("x", &[k, n].map(Extent::Fixed));
    let weight = model.weight(&[m, k], weight);
    let product = model.node("MatMul", &[&weight, &x], &[]);
    model.node_named("Relu", &[&product], &[], "y");
    model.output("y", &[m, n].map(Extent::Fixed));
    model.finish()
}

/// A model of one input and one output on a device, with several tensors for both.
pub(crate) struct Running<D: Clock> {
    session: Session<D>,
    sets: Vec<(u64, u64)>,
    shapes: (Vec<i64>, Vec<i64>),
    bytes: usize,
}

impl<D: Clock> Running<D> {
    pub(crate) fn new(
        built: &Built,
        device: D,
        inputs: &[Vec<f32>],
        input: &[i64],
        output: &[i64],
    ) -> Result<Self, String> {
        let session = Session::new(built.plan.clone(), &built.ptx, &mut built.weights.as_slice(), device);
        let mut session = session.map_err(|e| e.to_string())?;
        let bytes = output.iter().product::<i64>() as usize * 4;
        let mut sets = Vec::new();
        for x in inputs {
            let data: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
            let device = session.device_mut();
            let fail = |e: sparsec_plan::DeviceError| e.to_string();
            let set = (device.alloc(data.len() as u64).map_err(fail)?, device.alloc(bytes as u64).map_err(fail)?);
            device.write(set.0, &data).map_err(fail)?;
            sets.push(set);
        }
        Ok(Running { session, sets, shapes: (input.to_vec(), output.to_vec()), bytes })
    }

    /// Runs on one set of tensors, without waiting.
    pub(crate) fn run(&mut self, set: usize) -> Result<(), String> {
        let Some(&(x, y)) = self.sets.get(set % self.sets.len().max(1)) else { return Err("no tensors".into()) };
        let given = |shape, address| Given { dtype: "f32", shape, data: Data::Device(address) };
        let (inputs, mut outputs) = ([given(&self.shapes.0, x)], [given(&self.shapes.1, y)]);
        self.session.run_into(&inputs, &mut outputs).map(|_| ()).map_err(|e| e.to_string())
    }

    /// What stands in the output of a set.
    pub(crate) fn output(&mut self, set: usize) -> Result<Vec<f32>, String> {
        let Some(&(_, y)) = self.sets.get(set) else { return Err("no tensors".into()) };
        let mut bytes = vec![0; self.bytes];
        self.session.device_mut().read(y, &mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// What one run costs: the median of samples of several runs, on the tensors in turns.
    pub(crate) fn time(&mut self) -> Result<Lap, String> {
        if !D::VARIES {
            return self.sample(1);
        }
        // Prepared, recorded, and as fast as it gets.
        for i in 0..3 * self.sets.len() {
            self.run(i)?;
        }
        let once = match self.sample(self.sets.len())? {
            Lap::Milliseconds(ms) => ms / self.sets.len() as f64,
            counted @ Lap::Instructions(_) => return Ok(counted),
        };
        let runs = ((SAMPLE_MS / once.max(1e-6)).ceil() as usize).clamp(self.sets.len(), 10_000);
        let mut samples = Vec::new();
        for _ in 0..SAMPLES {
            if let Lap::Milliseconds(ms) = self.sample(runs)? {
                samples.push(ms / runs as f64);
            }
        }
        samples.sort_by(f64::total_cmp);
        Ok(Lap::Milliseconds(samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)))
    }

    fn sample(&mut self, runs: usize) -> Result<Lap, String> {
        self.session.device_mut().start().map_err(|e| e.to_string())?;
        (0..runs).try_for_each(|i| self.run(i))?;
        self.session.device_mut().stop().map_err(|e| e.to_string())
    }
}
