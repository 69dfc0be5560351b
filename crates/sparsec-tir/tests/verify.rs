//! One kernel per invariant that breaks it, as text: `check` finds the expected error among those reported.

use sparsec_tir::{
    AnyKernel, Expr, Scalar, Stmt, VerifyErrors, parse_kernel, parse_kernels, verify_coordinate, verify_flat,
    verify_machine, verify_position,
};

fn verify(text: &str) -> Result<(), VerifyErrors> {
    let kernels = parse_kernels(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    match kernels.into_iter().next().unwrap() {
        AnyKernel::Coordinate(k) => verify_coordinate(&k),
        AnyKernel::Kernel(k) if k.stage == sparsec_tir::Stage::Flat => verify_flat(&k),
        AnyKernel::Kernel(k) => verify_position(&k),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let errors = verify(text).unwrap_err().to_string();
    assert!(errors.contains(expected), "`{expected}` is not in:\n{errors}");
}

/// A Stage II kernel with this body.
#[track_caller]
fn position(body: &str, expected: &str) {
    let declarations = "input x: f32[4, 8] output y: f32[4, 8] input p: i32[8] reg a: f32[2] reg v: f32x8";
    check(&format!("kernel k position (n) {{ {declarations} {body} }}"), expected);
}

/// A Stage III kernel with this body.
#[track_caller]
fn flat(body: &str, expected: &str) {
    check(&format!("kernel k flat (n) {{ input x: f32[32] output y: f32[32] reg v: f32x8 {body} }}"), expected);
}

#[test]
fn names() {
    let mut kernel = parse_kernel("kernel k flat (n) { input x: f32[8] }").unwrap();
    kernel.buffers[0].name = "n".to_owned();
    assert!(verify_flat(&kernel).unwrap_err().to_string().contains("name of something else"));
    kernel.buffers[0].name = "a-b".to_owned();
    assert!(verify_flat(&kernel).unwrap_err().to_string().contains("no identifier"));
    kernel.buffers[0].name = "step".to_owned();
    assert!(verify_flat(&kernel).unwrap_err().to_string().contains("no identifier"));
    kernel.buffers[0].name = "x".to_owned();
    kernel.body.push(Stmt::Comment("a\nb".to_owned()));
    assert!(verify_flat(&kernel).unwrap_err().to_string().contains("line break"));
}

#[test]
fn dot_products() {
    let body = |dot: &str| {
        format!("kernel k flat () {{ input a: u32[8] input f: f32[8] output y: i32[8] reg s: i32x8 s = {dot} }}")
    };
    check(&body("dot4(s, load.f32x8 f[0], load.u32x8 a[0])"), "takes words of four bytes, i32 or u32, not f32x8");
    check(&body("dot4(load.u32x8 a[0], load.u32x8 a[0], s)"), "takes a sum of i32, not u32x8");
    check(&body("dot4(s, load.u32x4 a[0], s)"), "differ");
    check(&body("dot4(s, a[0], s)"), "have different lanes");
    assert!(verify(&body("dot4(s, load.u32x8 a[0], s)")).is_ok());
}

#[test]
fn buffers() {
    check("kernel k position (n) { input x: f32[4] strides [1, 2] }", "other strides than extents");
    check("kernel k position (n) { input x: f32[min(n, 3i32)] }", "operands of `min(n, 3i32)` differ: i64 and i32");
    check("kernel k position (n) { input x: f32[fma(1.0, 2.0, 3.0)] }", "no expression over params");
    check("kernel k position (n) { scratch s: f32[n] }", "scratch without constant extents");
    check("kernel k flat (n) { input x: f32[4, 4] }", "not one dimension");
    check("kernel k flat (n) { input x: f32[4] strides [2] }", "not one dimension");
}

#[test]
fn registers() {
    check("kernel k flat () { reg r: f32x3 }", "impossible number of lanes");
    check("kernel k flat () { reg r: f32[0] }", "no or too many registers");
    position("for i in 0..2 { a[i] = 1.0 }", "index of a register is not constant");
}

#[test]
fn scopes() {
    position("if n < 1 { let t: f32 = 1.0 } a[0] = t", "`t` is not defined here");
    position("for i in 0..2 { for i in 0..2 { } }", "already defined");
}

#[test]
fn types() {
    position("let t: f32 = 1", "`1` is i64, f32 expected");
    position("a[0] = x[0, 0] + 1", "operands of `x[0, 0] + 1` differ: f32 and i64");
    position("a[0, 1] = 1.0", "has 2 indices, 1 expected");
    position("y[0] = 1.0", "has 1 indices, 2 expected");
    position("y[0, p[0]] = 1.0", "takes i64 indices, not i32");
    position("if n { }", "`n` is i64, bool expected");
    position("for i in 0..1.0 { }", "`1.0` is f32, i64 expected");
    position("a[0] = not(1.0)", "takes bool or integers, not f32");
    position("a[0] = exp(1)", "takes floating-point numbers, not i64");
    position("a[0] = bitcast.f32(1)", "takes a type of the same size, not i64");
    position("a[0] = extract(v, 8)", "lane or number of lanes 8 is out of range");
    position("a[0] = select(1, 1.0, 2.0)", "takes a bool condition, not i64");
    position("let t: u8 = 300u8", "constant 300 is no u8");
    position("x[0, 0] = 1.0", "stores to an input");
}

#[test]
fn loops() {
    position("for i in 0..4 step 0 { }", "step is not allowed");
    position("unroll i in 0..4 step 2 { }", "step is not allowed");
    position("parallel i in 0..4 step 2 { }", "step is not allowed");
    position("for i in 0..4 step 2 until e { }", "only iterations of parallel loops form groups");
    position("parallel i in 0..4 step 2 until i { }", "already defined here");
    position("for i in 0..4 active 2 { }", "only vector loops have an active count");
    position("parallel i in 0..4 { } a[0] = 1.0", "not the only top-level statement");
    position("for j in 0..4 { parallel i in 0..4 { } }", "not the only top-level statement");
    position("unroll i in 0..n { }", "bounds of an unroll loop are not constant");
}

#[test]
fn vector_loops() {
    position("vector l in 0..n { }", "does not run from 0 to a constant power of two");
    position("vector l in 0..6 { }", "does not run from 0 to a constant power of two");
    position("vector l in 0..8 { vector m in 0..8 { } }", "vector loops are nested");
    position("vector l in 0..8 { if l < 2 { } }", "a branch can't vary with the lane");
    position("vector l in 0..8 { for i in 0..l { } }", "bounds of a loop can't vary with the lane");
    position("vector l in 0..8 { a[0] = x[0, l] }", "can't take a value that varies");
    position("vector l in 0..4 { y[0, l] = reduce_add(splat.4(x[0, l])) }", "vector operations can't take values");
    position("v = gather(p, ramp.8(0, 1))", "only Stage III has gathers");
}

#[test]
fn padding_is_for_stage_one() {
    position("a[0] = x[0, 9] padded", "only Stage I has padded accesses");
}

#[test]
fn flat_kernels() {
    flat("vector l in 0..8 { }", "Stage III has no vector loops");
    flat("v = v * 2.0", "operands of `v * 2.0` have different lanes");
    flat("v = 1.0", "`1.0` is f32, f32x8 expected");
    flat("store.f32x8 y[0] active 1.0 = v", "takes an i64 count of active lanes, not f32");
    let kernel = parse_kernel("kernel k flat () { reg r: f32 r = exp(1.0) }").unwrap();
    verify_flat(&kernel).unwrap();
    assert!(verify_machine(&kernel).unwrap_err().to_string().contains("`exp(1.0)` is not expanded"));
}

#[test]
fn unknown_entities() {
    let mut kernel = parse_kernel("kernel k flat () { reg r: f32 r = 1.0 }").unwrap();
    for (e, expected) in [
        (Expr::Var(sparsec_tir::VarId(7)), "variable 7 does not exist"),
        (Expr::Param(sparsec_tir::ParamId(7)), "param 7 does not exist"),
        (Expr::Reg(sparsec_tir::RegisterId(7), vec![]), "register 7 does not exist"),
        (sparsec_tir::load(sparsec_tir::BufferId(7), vec![]), "buffer 7 does not exist"),
        (Expr::Float(1.0, Scalar::I32), "constant 1 is no i32"),
    ] {
        kernel.body = vec![Stmt::Set(sparsec_tir::RegisterId(0), vec![], e)];
        let errors = verify_flat(&kernel).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn coordinate_kernels() {
    let with = |iteration: &str| {
        format!(
            "kernel k coordinate (n) {{ axis I = dense_fixed(4) axis J = sparse_variable(I, 4, nnz 3)
            map row(I) < 4 buffer W: f32 over [I, J] buffer X: f32[4] output Y: f32[4]
            iterate s [I i, J j] as \"SR\" {{ {iteration} }} }}"
        )
    };
    verify(&with("init 0.0 Y[i] += W[i, j] * X[j] epilogue max(Y[i], 0.0)")).unwrap();
    check(&with("init X[j] Y[i] += W[i, j]"), "`X[j]` uses a variable that it may not");
    check(&with("init 0.0 Y[j] += W[i, j]"), "`Y[j]` uses a variable that it may not");
    check(&with("init 0 Y[i] += W[i, j]"), "`0` is i64, f32 expected");
    check(&with("init 0.0 X[i] += W[i, j]"), "the target is no output");
    check(&with("init 0.0 Y[i] += W[i]"), "has 1 indices, 2 expected");
    check(&with("let r = row(i, j) init 0.0 Y[i] += W[i, j]"), "one variable per axis");
    check(&with("let i = row(i) init 0.0 Y[i] += W[i, j]"), "bound twice");
    check(&with("init 0.0 Y[i] += load.f32x4 X[0] active 3"), "f32x4, f32 expected");
    check("kernel k coordinate (n) { axis I = dense_fixed(1.0) }", "no expression over params");
    check("kernel k coordinate (n) { axis I = dense_fixed(4) buffer W: f32[4] over [I] }", "both a shape and axes");
}

#[test]
fn matrix_products() {
    let kernel = |body: &str| {
        format!(
            "kernel k flat () {{ input a: f16[512] input w: f32[256] input p: u32[16] output y: f32[128] scratch s: f16[256] \
             reg c: f32x128[2] reg v: f32x128 reg small: f32x32 {body} }}"
        )
    };
    let product = "product.f16 c[0] += a[0] by (16, 1) * s[0] by (8, 1)";
    let good = format!("c[0] = splat.128(0.0f32) {product} {product} kept p[0] save y[0] by (8, 1) = c[0]");
    let good = good.replace("0.0f32", "0.0");
    assert!(verify(&kernel(&good)).is_ok(), "{:?}", verify(&kernel(&good)));
    check(&kernel(&format!("{product} v = c[0]")), "sums of a matrix product are read");
    check(&kernel(&format!("{product} c[0] = v")), "set to a constant only");
    check(&kernel("product.f16 small += a[0] by (16, 1) * s[0] by (8, 1)"), "sums are f32x128, not f32x32");
    check(&kernel("product.bf16 v += a[0] by (16, 1) * s[0] by (8, 1)"), "a matrix of f16, bf16 expected");
    check(&kernel("product.tf32 v += w[0] by (8, 1) * w[0] by (8, 1) kept p[0]"), "only factors of 16 bits");
    check(&kernel("product.f16 v += a[0] by (16, 1) * s[0] by (8, 1) kept w[0]"), "a matrix of f32, u32 expected");
    let masked = "product.f16 c[0] += a[0] by (0, 1) * s[0] by (8, 1) masked p[0]";
    assert!(verify(&kernel(masked)).is_ok(), "{:?}", verify(&kernel(masked)));
    check(&kernel("product.tf32 v += w[0] by (0, 1) * w[0] by (8, 1) masked p[0]"), "only plain factors of 16 bits");
    check(&kernel(&masked.replace("masked", "kept p[0] masked")), "only plain factors of 16 bits");
    check(&kernel(&masked.replace("(0, 1)", "(16, 1)")), "what a mask selects lies by (0, 1)");
    check(&kernel(&masked.replace("masked p", "masked w")), "a matrix of f32, u32 expected");
    check(&kernel("save w[0] by (8, 1) = v"), "stores to an input");
    check(&kernel("for i in 0..2 { save y[0] by (8, 1) = c[i] }"), "the index of a register is not constant");
    let inside =
        "kernel k position () { output y: f32[128] reg v: f32x128 vector l in 0..8 { save y[0] by (8, 1) = v } }";
    check(inside, "stands in a vector loop");
}
