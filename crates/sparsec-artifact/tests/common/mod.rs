//! A tiny model: `y = relu(scale * x + shift)` row by row, with a symbolic number of rows and constants.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;

use sparsec_artifact::{ArtifactError, ArtifactFiles, ArtifactOptions, Code, TargetInfo};
use sparsec_llvm::{EmitOptions, Target, emit};
use sparsec_tir::{
    Access, ArenaSlot, Argument, BinaryOp, Buffer, BufferId, BufferKind, ConstantData, ConstantInfo, Constraint, Expr,
    For, Kernel, Launch, LoopKind, ParamId, Port, Program, Scalar, Stage, Step, Stmt, Type, Var, VarId,
};

/// Columns of the model.
pub(crate) const WIDTH: i64 = 12;

/// `scale` and `shift`.
pub(crate) struct Weights;

pub(crate) fn scale(column: usize) -> f32 {
    column as f32 * 0.5 - 2.0
}

pub(crate) fn shift(column: usize) -> f32 {
    1.0 - column as f32 * 0.25
}

/// What the model computes.
pub(crate) fn expected(x: &[f32]) -> Vec<f32> {
    x.iter().enumerate().map(|(i, x)| x.mul_add(scale(i % 12), shift(i % 12)).max(0.0)).collect()
}

impl ConstantData for Weights {
    fn write(&self, index: usize, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        for column in 0..WIDTH as usize {
            let value = if index == 0 { scale(column) } else { shift(column) };
            out.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    }
}

fn load(buffer: u32, index: Expr, active: Expr) -> Expr {
    Expr::Load(access(buffer, index, active))
}

fn access(buffer: u32, index: Expr, active: Expr) -> Access {
    Access { buffer: BufferId(buffer), index: vec![index], lanes: 8, active: Some(Box::new(active)), padded: false }
}

fn buffer(name: &str, kind: BufferKind, elements: Expr) -> Buffer {
    Buffer { name: name.into(), elem: Scalar::F32, kind, shape: vec![elements], strides: vec![] }
}

/// One kernel per row: `out = f(x, constants)`.
fn row_kernel(name: &str, f: impl Fn(&dyn Fn(u32) -> Expr) -> Expr, inputs: u32) -> Kernel {
    let mut k = Kernel::new(name, Stage::Flat);
    k.params = vec!["rows".into()];
    let elements = Expr::binary(BinaryOp::Mul, Expr::Param(ParamId(0)), Expr::int(WIDTH));
    k.buffers.push(buffer("x", BufferKind::Input, elements.clone()));
    for i in 1..inputs {
        k.buffers.push(buffer(&format!("c{i}"), BufferKind::Input, Expr::int(WIDTH)));
    }
    k.buffers.push(buffer("out", BufferKind::Output, elements));
    k.buffers.push(buffer("tmp", BufferKind::Scratch, Expr::int(WIDTH)));
    k.vars = ["row", "col"].map(|n| Var { name: n.into(), ty: Type::INDEX }).into();
    let (row, col) = (Expr::Var(VarId(0)), Expr::Var(VarId(1)));
    let at = Expr::binary(BinaryOp::Mul, row, Expr::int(WIDTH)) + col.clone();
    let left = Expr::int(WIDTH) - col.clone();
    let operand = |b: u32| load(b, if b == 0 { at.clone() } else { col.clone() }, left.clone());
    let store_tmp = Stmt::Store(access(inputs + 1, col.clone(), left.clone()), f(&operand));
    let store = Stmt::Store(access(inputs, at.clone(), left.clone()), load(inputs + 1, col.clone(), left.clone()));
    let for_loop = |kind, var, end, step, body| {
        Stmt::For(For { kind, var: VarId(var), start: Expr::int(0), end, step, until: None, active: None, body })
    };
    let inner = for_loop(LoopKind::Serial, 1, Expr::int(WIDTH), 8, vec![store_tmp, store]);
    k.body = vec![for_loop(LoopKind::Parallel, 0, Expr::Param(ParamId(0)), 1, vec![inner])];
    k
}

/// The largest batch that the model allows.
const MAX_ROWS: i64 = 1 << 20;

/// Two launches: the affine part into the arena, the maximum with zero into the output.
pub(crate) fn program(name: &str) -> Program {
    let batch = || Expr::Param(ParamId(0));
    let port = |name: &str| Port {
        name: name.into(),
        elem: Scalar::F32,
        dtype: "f32",
        shape: vec![batch(), Expr::int(WIDTH)],
    };
    let zero = || Expr::int(0);
    let affine = row_kernel("affine", |v| Expr::fma(v(0), v(1), v(2)), 3);
    let relu = row_kernel("relu", |v| v(0).max(Expr::Splat(Box::new(Expr::f32(0.0)), 8)), 1);
    let constant = |name: &str| ConstantInfo { name: name.into(), bytes: 4 * WIDTH as u64, align: 64 };
    let bytes = Expr::binary(BinaryOp::Mul, batch(), Expr::int(64));
    Program {
        name: name.into(),
        symbols: vec!["batch".into()],
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        constants: vec![constant("scale"), constant("shift")],
        arena: vec![ArenaSlot { offset: zero(), bytes: bytes.clone() }],
        arena_bytes: Some(bytes),
        kernels: vec![affine, relu],
        launches: vec![
            Launch {
                kernel: 0,
                label: "affine".into(),
                params: vec![batch()],
                arguments: vec![
                    (Argument::Input(0), zero()),
                    (Argument::Constant(0), zero()),
                    (Argument::Constant(1), zero()),
                    (Argument::Arena(0), zero()),
                ],
            },
            Launch {
                kernel: 1,
                label: "relu".into(),
                params: vec![batch()],
                arguments: vec![(Argument::Arena(0), zero()), (Argument::Output(0), zero())],
            },
        ],
        steps: Step::sequence(2),
        counters: 0,
        found: Vec::new(),
        result_shapes: Vec::new(),
        constraints: vec![Constraint {
            expr: Expr::binary(BinaryOp::Sub, Expr::int(MAX_ROWS), batch()),
            message: format!("at most {MAX_ROWS} rows"),
        }],
    }
}

pub(crate) fn target_info(target: &Target) -> TargetInfo {
    TargetInfo {
        triple: target.triple().to_owned(),
        cpu: target.cpu().to_owned(),
        features: target.features().to_owned(),
    }
}

pub(crate) fn build(dir: &Path, name: &str) -> Result<ArtifactFiles, ArtifactError> {
    build_for(dir, &program(name), &Weights, &Target::host().expect("this machine"))
}

pub(crate) fn build_for(
    dir: &Path,
    program: &Program,
    data: &dyn ConstantData,
    target: &Target,
) -> Result<ArtifactFiles, ArtifactError> {
    build_with(dir, program, data, target, false)
}

/// As [`build_for`]; `profile` has `run` time its launches.
pub(crate) fn build_with(
    dir: &Path,
    program: &Program,
    data: &dyn ConstantData,
    target: &Target,
    profile: bool,
) -> Result<ArtifactFiles, ArtifactError> {
    let emitted = emit(program, target, EmitOptions { profile, ..EmitOptions::default() }).expect("compiles");
    let code = Code { object: &emitted.object, assembly: None, llvm_ir: None };
    let options = ArtifactOptions { objects: true, profile, ..ArtifactOptions::new(target_info(target)) };
    sparsec_artifact::write(dir, program, data, &code, &options, serde_json::json!({"tensors": []}))
}
