//! Builds one-kernel programs by hand, compiles them, links and loads them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::process::Command;

use sparsec_llvm::{EmitOptions, Target, emit};
use sparsec_runtime::{DType, Element, Model, Tensor};
use sparsec_tir::{
    Access, Argument, BinaryOp, Buffer, BufferId, BufferKind, Expr, For, Kernel, Launch, LoopKind, ParamId, Port,
    Program, Register, RegisterId, Scalar, Stage, Step, Stmt, Type, Var, VarId,
};

/// A kernel under construction.
pub(crate) struct Build {
    pub(crate) kernel: Kernel,
}

impl Build {
    pub(crate) fn new(name: &str) -> Build {
        Build { kernel: Kernel::new(name, Stage::Flat) }
    }

    pub(crate) fn buffer(&mut self, name: &str, elem: Scalar, kind: BufferKind, elements: i64) -> BufferId {
        let buffer = Buffer { name: name.into(), elem, kind, shape: vec![Expr::int(elements)], strides: vec![] };
        self.kernel.buffers.push(buffer);
        BufferId(self.kernel.buffers.len() as u32 - 1)
    }

    pub(crate) fn param(&mut self, name: &str) -> ParamId {
        self.kernel.params.push(name.into());
        ParamId(self.kernel.params.len() as u32 - 1)
    }

    pub(crate) fn var(&mut self, name: &str) -> VarId {
        self.typed_var(name, Type::INDEX)
    }

    pub(crate) fn typed_var(&mut self, name: &str, ty: Type) -> VarId {
        self.kernel.vars.push(Var { name: name.into(), ty });
        VarId(self.kernel.vars.len() as u32 - 1)
    }

    pub(crate) fn register(&mut self, name: &str, ty: Type, dims: &[u32]) -> RegisterId {
        self.kernel.registers.push(Register { name: name.into(), ty, dims: dims.to_vec() });
        RegisterId(self.kernel.registers.len() as u32 - 1)
    }
}

pub(crate) fn access(buffer: BufferId, index: Expr, lanes: u16) -> Access {
    Access { buffer, index: vec![index], lanes, active: None, padded: false }
}

pub(crate) fn masked(buffer: BufferId, index: Expr, lanes: u16, active: Expr) -> Access {
    Access { active: Some(Box::new(active)), ..access(buffer, index, lanes) }
}

pub(crate) fn load(buffer: BufferId, index: Expr, lanes: u16) -> Expr {
    Expr::Load(access(buffer, index, lanes))
}

pub(crate) fn for_loop(kind: LoopKind, var: VarId, end: impl Into<Expr>, step: i64, body: Vec<Stmt>) -> Stmt {
    Stmt::For(For { kind, var, start: Expr::int(0), end: end.into(), step, until: None, active: None, body })
}

pub(crate) fn splat(x: Expr, lanes: u16) -> Expr {
    Expr::Splat(Box::new(x), lanes)
}

pub(crate) fn mul(x: Expr, y: Expr) -> Expr {
    Expr::binary(BinaryOp::Mul, x, y)
}

/// A program that runs a kernel once: its input buffers are the model's inputs, its outputs the outputs, each of the
/// size that the kernel gives. Params get the given numbers.
pub(crate) fn program(kernel: Kernel, params: &[i64]) -> Program {
    let mut program = Program { name: "m".into(), ..Program::default() };
    let mut arguments = Vec::new();
    for buffer in &kernel.buffers {
        let port = Port {
            name: buffer.name.clone(),
            elem: buffer.elem,
            dtype: buffer.elem.name(),
            shape: buffer.shape.clone(),
        };
        match buffer.kind {
            BufferKind::Input => {
                arguments.push((Argument::Input(program.inputs.len() as u32), Expr::int(0)));
                program.inputs.push(port);
            }
            BufferKind::Output => {
                arguments.push((Argument::Output(program.outputs.len() as u32), Expr::int(0)));
                program.outputs.push(port);
            }
            BufferKind::Scratch | BufferKind::Team => {}
        }
    }
    let params = params.iter().map(|p| Expr::int(*p)).collect();
    program.launches.push(Launch { kernel: 0, label: kernel.name.clone(), params, arguments });
    program.kernels.push(kernel);
    program.steps = Step::sequence(1);
    program
}

/// Compiles for this machine and loads the result.
pub(crate) fn open(program: &Program) -> (Model, tempfile::TempDir) {
    open_for(program, &Target::host().expect("this machine"))
}

pub(crate) fn open_for(program: &Program, target: &Target) -> (Model, tempfile::TempDir) {
    let emitted = emit(program, target, EmitOptions::default()).expect("compiles");
    let dir = tempfile::tempdir().expect("a directory");
    let (object, library) = (dir.path().join("m.o"), dir.path().join("libm.so"));
    std::fs::write(&object, emitted.object).expect("written");
    let linked =
        Command::new("cc").args(["-shared", "-Wl,-z,defs", "-o"]).arg(&library).arg(&object).status().expect("cc runs");
    assert!(linked.success());
    (Model::load(&library, &program.name).expect("loads"), dir)
}

/// Runs a one-output program on these inputs.
pub(crate) fn run<T: Element>(program: &Program, inputs: &[Tensor]) -> Vec<T> {
    let (mut model, _dir) = open(program);
    let outputs = model.run(inputs).expect("runs");
    outputs[0].as_slice::<T>().expect("its type").to_vec()
}

pub(crate) fn tensor<T: Element>(data: &[T]) -> Tensor {
    Tensor::from_slice(&[data.len() as i64], data)
}

pub(crate) fn bytes(dtype: &str, data: &[u8]) -> Tensor {
    let dtype = DType::from_name(dtype).expect("a type");
    Tensor::from_bytes(dtype, &[(data.len() / dtype.size()) as i64], data).expect("fits")
}
