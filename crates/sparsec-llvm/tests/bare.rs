//! Objects for microcontrollers: they refer to the program's constants and to nothing else.

mod common;

use object::{Object, ObjectSymbol};
use sparsec_llvm::{EmitError, EmitOptions, Target, emit};
use sparsec_tir::{BinaryOp, BufferKind, Expr, LoopKind, Program, Scalar, Stmt, UnaryOp};

/// `y[i] = f(x[i])` for as many elements as a parameter says.
fn map(name: &str, from: Scalar, to: Scalar, f: impl Fn(Expr) -> Expr) -> Program {
    let mut b = common::Build::new(name);
    let (x, y) = (b.buffer("x", from, BufferKind::Input, 8), b.buffer("y", to, BufferKind::Output, 8));
    let i = b.var("i");
    let value = f(common::load(x, Expr::Var(i), 1));
    let store = Stmt::Store(common::access(y, Expr::Var(i), 1), value);
    b.kernel.body.push(common::for_loop(LoopKind::Serial, i, 8, 1, vec![store]));
    common::program(b.kernel, &[])
}

/// Names that the object neither defines nor has a constant for.
fn undefined(program: &Program, cpu: &str) -> Result<Vec<String>, EmitError> {
    let target = Target::new(Some("thumbv7em-none-eabihf"), cpu).expect("known");
    let object = emit(program, &target, EmitOptions::default())?.object;
    let file = object::File::parse(object.as_slice()).expect("an object");
    let constant = format!("{}_constant_", program.name);
    let names = file.symbols().filter(|s| s.is_undefined()).map(|s| s.name().expect("a name").to_owned());
    Ok(names.filter(|n| !n.is_empty() && !n.starts_with(&constant)).collect())
}

/// What no Cortex-M has instructions for.
#[test]
fn bare_metal_needs_nothing() {
    let divide = |x: Expr| Expr::binary(BinaryOp::Div, x.clone(), x + Expr::int(3));
    let round = |op: UnaryOp| move |x: Expr| Expr::Unary(op, Box::new(x));
    let programs = [
        map("divide", Scalar::I64, Scalar::I64, divide),
        map("divide_unsigned", Scalar::U64, Scalar::U64, |x| Expr::binary(BinaryOp::Rem, x.clone(), x)),
        map("floor", Scalar::F32, Scalar::F32, round(UnaryOp::Floor)),
        map("ceil", Scalar::F32, Scalar::F32, round(UnaryOp::Ceil)),
        map("round", Scalar::F32, Scalar::F32, round(UnaryOp::Round)),
        map("to_float", Scalar::I64, Scalar::F32, |x| x.convert(Scalar::F32)),
        map("to_float_unsigned", Scalar::U64, Scalar::F32, |x| x.convert(Scalar::F32)),
        map("from_float", Scalar::F32, Scalar::I64, |x| x.convert(Scalar::I64)),
        map("from_float_unsigned", Scalar::F32, Scalar::U64, |x| x.convert(Scalar::U64)),
        map("half", Scalar::F16, Scalar::F32, |x| x.convert(Scalar::F32)),
        map("to_half", Scalar::F32, Scalar::F16, |x| x.convert(Scalar::F16)),
    ];
    for program in &programs {
        for cpu in ["cortex-m4", "cortex-m7"] {
            let left =
                undefined(program, cpu).unwrap_or_else(|e| panic!("{} for {cpu}: {e}", program.launches[0].label));
            assert!(left.is_empty(), "{} for {cpu} needs {left:?}", program.launches[0].label);
        }
    }
}

#[test]
fn wide_floats_need_a_cpu_that_has_them() {
    let sum = map("sum", Scalar::F64, Scalar::F64, |x| x.clone() + x);
    assert_eq!(undefined(&sum, "cortex-m7").expect("compiles"), Vec::<String>::new());
    let refused = undefined(&sum, "cortex-m4").expect_err("has no f64").to_string();
    assert!(refused.contains("__aeabi_dadd") && refused.contains("cortex-m7"), "{refused}");
}
