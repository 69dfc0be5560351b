//! A device that interprets the kernels of the tensor IR, so that plans are tested without PTX; models made of text.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;

use sparsec_graph::{Graph, TensorData, interpret, parse};
use sparsec_lower::{Constants, TargetInfo, lower};
use sparsec_plan::{Device, DeviceError, FunctionFacts, FunctionShape, Invocation, Plan, Session, Tensor};
use sparsec_tir::{BufferData, BufferKind, ConstantData, Kernel, Program, run_kernel};

/// Host memory that plays a device's.
#[derive(Debug, Default)]
pub(crate) struct Interpreted {
    kernels: Vec<Kernel>,
    memory: BTreeMap<u64, Vec<u8>>,
    next: u64,
    recordings: Vec<Vec<Invocation>>,
    /// Whether it can record.
    pub(crate) records: bool,
    /// Bytes that it has.
    pub(crate) limit: u64,
    /// Names of what was called, launches by their label.
    pub(crate) log: Vec<String>,
}

impl Interpreted {
    pub(crate) fn new(program: &Program) -> Self {
        Interpreted { kernels: program.kernels.clone(), next: 256, limit: 1 << 30, ..Interpreted::default() }
    }

    pub(crate) fn allocated(&self) -> usize {
        self.memory.len()
    }

    fn bytes(&mut self, address: u64, count: usize) -> Result<&mut [u8], DeviceError> {
        let wrong = || DeviceError::Driver(format!("there are no {count} bytes at {address}"));
        let (start, block) = self.memory.range_mut(..=address).next_back().ok_or_else(wrong)?;
        let at = (address - start) as usize;
        block.get_mut(at..at + count).ok_or_else(wrong)
    }
}

impl Device for Interpreted {
    fn load(&mut self, _: &str, functions: &[FunctionShape]) -> Result<(), DeviceError> {
        assert_eq!(functions.len(), self.kernels.len());
        Ok(())
    }

    fn alloc(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let used: u64 = self.memory.values().map(|block| block.len() as u64).sum();
        if used + bytes > self.limit {
            return Err(DeviceError::OutOfMemory { bytes, free: Some(self.limit - used) });
        }
        let address = self.next;
        self.next = (address + bytes).next_multiple_of(256) + 256;
        self.memory.insert(address, vec![0xCB; bytes as usize]);
        Ok(address)
    }

    fn free(&mut self, address: u64) -> Result<(), DeviceError> {
        let gone = self.memory.remove(&address);
        gone.map(|_| ()).ok_or_else(|| DeviceError::Driver("freed twice".into()))
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.bytes(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        into.copy_from_slice(self.bytes(address, into.len())?);
        Ok(())
    }

    fn launch(&mut self, invocation: &Invocation) -> Result<(), DeviceError> {
        self.log.push(invocation.label.clone());
        let kernel = self.kernels[invocation.function].clone();
        let (params, addresses) = invocation.arguments.split_at(kernel.params.len());
        let params: Vec<i64> = params.iter().map(|&p| p as i64).collect();
        let buffers: Vec<_> = kernel.buffers.iter().filter(|b| b.kind != BufferKind::Scratch).collect();
        // The interpreter takes buffers of the size that a kernel states, which is evaluated as the plan does.
        let mut program = Program { kernels: vec![kernel.clone()], name: "m".into(), ..Program::default() };
        program.symbols.clear();
        let facts = FunctionFacts { name: "f".into(), threads: 32, iterations: 1, shared_bytes: 0, scratch_bytes: 0 };
        let plan = Plan::new(&program, "sm_80", &[facts]).expect("a kernel");
        let sizes = plan.kernels[0].buffers.iter().map(|b| b.bytes.eval(&params).expect("a size") as usize);
        let mut data = Vec::new();
        for ((buffer, &address), size) in buffers.iter().zip(addresses).zip(sizes) {
            let bytes = self.bytes(address, size)?.to_vec();
            data.push(BufferData { elem: buffer.elem, bytes });
        }
        let failed =
            |e: sparsec_tir::InterpError| DeviceError::Kernel { function: kernel.name.clone(), message: e.to_string() };
        run_kernel(&kernel, &params, &mut data).map_err(failed)?;
        for ((buffer, &address), data) in buffers.iter().zip(addresses).zip(data) {
            if buffer.kind == BufferKind::Output {
                self.bytes(address, data.bytes.len())?.copy_from_slice(&data.bytes);
            }
        }
        Ok(())
    }

    fn synchronise(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn record(&mut self, invocations: &[Invocation]) -> Result<Option<u64>, DeviceError> {
        if !self.records {
            return Ok(None);
        }
        self.log.push("record".into());
        self.recordings.push(invocations.to_vec());
        Ok(Some(self.recordings.len() as u64 - 1))
    }

    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        self.log.push("replay".into());
        self.recordings[recording as usize].clone().iter().try_for_each(|i| self.launch(i))
    }

    fn forget(&mut self, recording: u64) -> Result<(), DeviceError> {
        self.log.push(format!("forget {recording}"));
        Ok(())
    }
}

/// A graph's program and constants for a warp.
pub(crate) fn lowered(graph: &Graph) -> (Program, Constants) {
    let lowered = lower(graph, &TargetInfo::WARP).expect("lowers");
    let mut program = lowered.program;
    program.name = "model".into();
    (program, lowered.data)
}

pub(crate) fn facts(program: &Program) -> Vec<FunctionFacts> {
    let one =
        |(i, _)| FunctionFacts { name: format!("k{i}"), threads: 64, iterations: 2, shared_bytes: 0, scratch_bytes: 0 };
    program.kernels.iter().enumerate().map(one).collect()
}

pub(crate) fn weights(plan: &Plan, data: &dyn ConstantData) -> Vec<u8> {
    let mut bytes = vec![0; plan.weight_bytes as usize];
    for (i, constant) in plan.constants.iter().enumerate() {
        let mut own = Vec::new();
        data.write(i, &mut own).expect("writes");
        bytes[constant.offset as usize..][..own.len()].copy_from_slice(&own);
    }
    bytes
}

/// A session of a graph's text; the plan goes through its file.
pub(crate) fn session(text: &str) -> (Graph, Session<Interpreted>) {
    let graph = parse(text).expect("a graph");
    let (program, data) = lowered(&graph);
    let plan = Plan::new(&program, "sm_80", &facts(&program)).expect("a plan");
    let plan = Plan::from_json(&plan.to_json().expect("writes")).expect("reads");
    let weights = weights(&plan, &data);
    let session = Session::new(plan, "", &mut weights.as_slice(), Interpreted::new(&program)).expect("loads");
    (graph, session)
}

pub(crate) fn tensor(data: &TensorData) -> Tensor {
    let shape = data.shape.iter().map(|&d| d as i64).collect();
    Tensor { dtype: data.dtype.name().into(), shape, bytes: data.bytes.to_vec() }
}

/// Numbers that depend on their place.
pub(crate) fn ramp(shape: &[usize]) -> TensorData {
    let count: usize = shape.iter().product();
    TensorData::f32(shape, (0..count).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect())
}

/// Runs a session twice and compares with the interpreter of the graph.
pub(crate) fn check(graph: &Graph, session: &mut Session<Interpreted>, inputs: &[TensorData]) {
    let expected = interpret(graph, inputs).expect("interprets");
    let tensors: Vec<Tensor> = inputs.iter().map(tensor).collect();
    let given = || tensors.iter().map(Tensor::given).collect::<Vec<_>>();
    for _ in 0..2 {
        let found = session.run(&given()).expect("runs");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let shape: Vec<i64> = expected.shape.iter().map(|&d| d as i64).collect();
            assert_eq!((found.shape.as_slice(), found.dtype.as_str()), (shape.as_slice(), expected.dtype.name()));
            if expected.dtype.name() != "f32" {
                assert_eq!(found.bytes, expected.bytes.as_ref());
                continue;
            }
            let values = |bytes: &[u8]| -> Vec<f32> {
                bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
            };
            let (found, expected) = (values(&found.bytes), values(&expected.bytes));
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() <= 1e-5 * largest, "{f} is not {e}");
            }
        }
    }
}
