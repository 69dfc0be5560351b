//! What a machine can do, measured with code of our own making.
//!
//! Timings on shared machines drift, so a benchmark measures the peak beside the model and reports fractions of it. The
//! loop that does so is tensor IR like any kernel, and comes from the same backend.

use std::path::Path;
use std::time::Instant;

use sparsec_llvm::{EmitOptions, Target};
use sparsec_runtime::{Model, Tensor};
use sparsec_tir::{
    Access, Argument, BinaryOp, Buffer, BufferId, BufferKind, ConstantData, Expr, For, Kernel, Launch, LoopKind, Port,
    Program, Register, RegisterId, Scalar, Stage, Step, Stmt, Type, Var, VarId,
};

use crate::{CompileError, package};

/// Name of the library and prefix of its symbols.
pub const NAME: &str = "sparsec_probe";

/// Independent chains of multiply-adds: enough to cover a latency of four or five cycles on two pipes, and few enough to
/// stay in 16 registers beside the two operands.
const CHAINS: u32 = 12;

/// Times that the loop body is copied out.
const UNROLL: i64 = 4;

/// Iterations of the loop.
const ITERATIONS: i64 = 50_000;

/// Floating-point operations of one run; a multiply-add counts as two.
#[must_use]
pub fn flops(target: &Target) -> f64 {
    2.0 * f64::from(CHAINS) * UNROLL as f64 * ITERATIONS as f64 * f64::from(target.lanes(Scalar::F32))
}

/// Elements of the input and of the output of the program.
#[must_use]
pub fn elements(target: &Target) -> usize {
    usize::from(target.lanes(Scalar::F32))
}

/// A program whose one kernel does nothing but multiply-adds on registers. It takes and gives [`elements`] numbers.
#[must_use]
pub fn program(target: &Target) -> Program {
    let lanes = target.lanes(Scalar::F32);
    let port = |name: &str| Port {
        name: name.to_owned(),
        elem: Scalar::F32,
        dtype: "f32",
        shape: vec![Expr::int(i64::from(lanes))],
    };
    Program {
        name: NAME.to_owned(),
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        arena_bytes: Some(Expr::int(0)),
        kernels: vec![kernel(lanes)],
        launches: vec![Launch {
            kernel: 0,
            label: "multiply-adds".to_owned(),
            params: Vec::new(),
            arguments: vec![(Argument::Input(0), Expr::int(0)), (Argument::Output(0), Expr::int(0))],
        }],
        steps: Step::sequence(1),
        ..Program::default()
    }
}

fn kernel(lanes: u16) -> Kernel {
    let (x, y, counter) = (BufferId(0), BufferId(1), VarId(0));
    let (sums, factor) = (RegisterId(0), RegisterId(1));
    let vector = Type::vector(Scalar::F32, lanes);
    let chain = |i: u32| vec![Expr::int(i64::from(i))];
    let access = |buffer| Access { lanes, ..Access::element(buffer, vec![Expr::int(0)]) };
    let factor_value = || Expr::Reg(factor, Vec::new());

    // The chains start from different values, or the backend would see that they are equal and keep one.
    let start = |i| {
        let offset = Expr::Splat(Box::new(Expr::f32(f64::from(i))), lanes);
        Stmt::Set(sums, chain(i), Expr::binary(BinaryOp::Add, factor_value(), offset))
    };
    let mut body = vec![Stmt::Set(factor, Vec::new(), Expr::Load(access(x)))];
    body.extend((0..CHAINS).map(start));
    let step = |i| Stmt::Set(sums, chain(i), Expr::fma(Expr::Reg(sums, chain(i)), factor_value(), factor_value()));
    body.push(Stmt::For(For {
        kind: LoopKind::Serial,
        var: counter,
        start: Expr::int(0),
        end: Expr::int(ITERATIONS),
        step: 1,
        until: None,
        active: None,
        body: (0..UNROLL).flat_map(|_| (0..CHAINS).map(step)).collect(),
    }));
    let sum = (1..CHAINS)
        .fold(Expr::Reg(sums, chain(0)), |sum, i| Expr::binary(BinaryOp::Add, sum, Expr::Reg(sums, chain(i))));
    body.push(Stmt::Store(access(y), sum));

    let buffer = |name: &str, kind| Buffer {
        name: name.to_owned(),
        elem: Scalar::F32,
        kind,
        shape: vec![Expr::int(i64::from(lanes))],
        strides: Vec::new(),
    };
    let register = |name: &str, dims| Register { name: name.to_owned(), ty: vector, dims };
    Kernel {
        comments: vec!["multiply-adds on registers, to measure the machine".to_owned()],
        buffers: vec![buffer("x", BufferKind::Input), buffer("y", BufferKind::Output)],
        registers: vec![register("sum", vec![CHAINS]), register("factor", Vec::new())],
        vars: vec![Var { name: "i".to_owned(), ty: Type::INDEX }],
        body,
        ..Kernel::new("multiply_adds", Stage::Flat)
    }
}

/// Compiles the program into a shared library `lib<NAME>.so` in `folder`.
///
/// # Errors
/// Where the target is unusable, or the library can't be written.
pub fn compile(target: &Target, folder: &Path) -> Result<std::path::PathBuf, CompileError> {
    let program = program(target);
    let emitted = sparsec_llvm::emit(&program, target, EmitOptions::default())
        .map_err(|source| CompileError::Emit { model: NAME.to_owned(), source })?;
    package::shared_library(&program, &NoData, &emitted, target, folder)
}

/// The program, loaded.
pub struct Peak {
    model: Model,
    input: [Tensor; 1],
    output: Vec<Tensor>,
    flops: f64,
    _folder: tempfile::TempDir,
}

impl Peak {
    /// Compiles and loads the program for this machine.
    ///
    /// # Errors
    /// Where the target is unusable, or the library can't be written or loaded.
    pub fn new(target: &Target) -> Result<Self, CompileError> {
        let folder = tempfile::TempDir::with_prefix("sparsec-").map_err(failed)?;
        let library = compile(target, folder.path())?;
        let mut model = Model::load(&library, NAME).map_err(failed)?;
        let n = elements(target);
        // Below 1, so that the sums neither grow without bound nor become denormal.
        let input = [Tensor::from_slice(&[n as i64], &vec![0.5f32; n])];
        let output = model.run(&input).map_err(failed)?;
        Ok(Peak { model, input, output, flops: flops(target), _folder: folder })
    }

    /// The best of a few runs, in GFLOP/s.
    ///
    /// # Errors
    /// Where the library refuses.
    pub fn gflops(&mut self) -> Result<f64, CompileError> {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            self.model.run_into(&self.input, &mut self.output).map_err(failed)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(self.flops / best / 1e9)
    }
}

fn failed(error: impl std::fmt::Display) -> CompileError {
    CompileError::Measure { model: NAME.to_owned(), message: error.to_string() }
}

struct NoData;

impl ConstantData for NoData {
    fn write(&self, index: usize, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("the program has no constant {index}")))
    }
}
