//! Kernels written by hand, compiled, run, and compared with what they should compute.

mod common;

use common::*;
use sparsec_llvm::{EmitError, EmitOptions, Target, emit};
use sparsec_tir::{BinaryOp, BufferKind, CompareOp, Expr, LoopKind, ReduceOp, Scalar, Stmt, Type, UnaryOp};

const F32X8: Type = Type::vector(Scalar::F32, 8);

/// `y[i] = a * x[i] + y0[i]` over vectors of 8 with a tail.
fn axpy(n: i64) -> sparsec_tir::Program {
    let mut b = Build::new("axpy");
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, n);
    let y0 = b.buffer("y0", Scalar::F32, BufferKind::Input, n);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, n);
    let size = b.param("n");
    let i = b.var("i");
    let left = Expr::from(size) - Expr::from(i);
    let tail = |buffer| Expr::Load(masked(buffer, i.into(), 8, left.clone()));
    let value = Expr::fma(splat(Expr::f32(2.5), 8), tail(x), tail(y0));
    let store = Stmt::Store(masked(y, i.into(), 8, left.clone()), value);
    b.kernel.body = vec![for_loop(LoopKind::Serial, i, size, 8, vec![store])];
    program(b.kernel, &[n])
}

#[test]
fn axpy_with_a_tail() {
    for n in [1i64, 7, 8, 9, 31] {
        let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.5 - 3.0).collect();
        let y: Vec<f32> = (0..n).map(|i| 10.0 - i as f32).collect();
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 2.5f32.mul_add(*x, *y)).collect();
        assert_eq!(run::<f32>(&axpy(n), &[tensor(&x), tensor(&y)]), expected, "n = {n}");
    }
}

/// `C[M, 16] = A[M, K] * B[K, 16]`, two rows of C in registers at a time, in parallel over pairs of rows.
fn matmul(m: i64, k: i64) -> sparsec_tir::Program {
    let mut b = Build::new("matmul");
    let a = b.buffer("a", Scalar::F32, BufferKind::Input, m * k);
    let bb = b.buffer("b", Scalar::F32, BufferKind::Input, k * 16);
    let c = b.buffer("c", Scalar::F32, BufferKind::Output, m * 16);
    let (row, kk, r, v) = (b.var("row"), b.var("k"), b.var("r"), b.var("v"));
    let acc = b.register("acc", F32X8, &[2, 2]);
    let tile = |body| for_loop(LoopKind::Unroll, r, 2i64, 1, vec![for_loop(LoopKind::Unroll, v, 2i64, 1, vec![body])]);
    let at = || vec![Expr::from(r), Expr::from(v)];
    let zero = Stmt::Set(acc, at(), splat(Expr::f32(0.0), 8));
    let a_at = mul(mul(row.into(), Expr::int(2)) + r.into(), Expr::int(k)) + kk.into();
    let b_at = mul(kk.into(), Expr::int(16)) + mul(v.into(), Expr::int(8));
    let product = Expr::fma(splat(load(a, a_at, 1), 8), load(bb, b_at, 8), Expr::Reg(acc, at()));
    let c_at = mul(mul(row.into(), Expr::int(2)) + r.into(), Expr::int(16)) + mul(v.into(), Expr::int(8));
    let out = Stmt::Store(access(c, c_at, 8), Expr::Reg(acc, at()));
    let inner = for_loop(LoopKind::Serial, kk, k, 1, vec![tile(Stmt::Set(acc, at(), product))]);
    b.kernel.body = vec![for_loop(LoopKind::Parallel, row, m / 2, 1, vec![tile(zero), inner, tile(out)])];
    program(b.kernel, &[])
}

#[test]
fn register_tiled_matmul() {
    let (m, k) = (6, 5);
    let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 2.0).collect();
    let b: Vec<f32> = (0..k * 16).map(|i| (i % 11) as f32 * 0.25).collect();
    let mut expected = vec![0f32; m * 16];
    for i in 0..m {
        for j in 0..16 {
            expected[i * 16 + j] = (0..k).map(|x| a[i * k + x] * b[x * 16 + j]).sum();
        }
    }
    let program = matmul(m as i64, k as i64);
    assert_eq!(run::<f32>(&program, &[tensor(&a), tensor(&b)]), expected);

    let (mut model, _dir) = open(&program);
    model.set_threads(3).expect("threads");
    for _ in 0..50 {
        let outputs = model.run(&[tensor(&a), tensor(&b)]).expect("runs");
        assert_eq!(outputs[0].as_slice::<f32>(), Some(expected.as_slice()));
    }
}

#[test]
fn groups_of_iterations_run_together_as_far_as_a_thread_has_them() {
    const N: i64 = 100;
    const GROUP: i64 = 7;
    let mut b = Build::new("groups");
    let y = b.buffer("y", Scalar::I64, BufferKind::Output, N);
    let (first, last, j) = (b.var("first"), b.var("last"), b.var("j"));
    let both = mul(first.into(), Expr::int(1000)) + Expr::from(last);
    let store = Stmt::Store(access(y, j.into(), 1), both);
    let each = for_loop(LoopKind::Serial, j, last, 1, vec![store]);
    let Stmt::For(each) = each else { unreachable!("a loop") };
    let each = Stmt::For(sparsec_tir::For { start: first.into(), ..each });
    let Stmt::For(groups) = for_loop(LoopKind::Parallel, first, N, GROUP, vec![each]) else { unreachable!("a loop") };
    b.kernel.body = vec![Stmt::For(sparsec_tir::For { until: Some(last), ..groups })];
    let program = program(b.kernel, &[]);
    // Alone, the calling thread has all of them.
    let whole: Vec<i64> = (0..N).map(|j| j / GROUP * GROUP * 1000 + (j / GROUP * GROUP + GROUP).min(N)).collect();
    assert_eq!(run::<i64>(&program, &[]), whole);
    let (mut model, _dir) = open(&program);
    model.set_threads(3).expect("threads");
    for _ in 0..50 {
        let outputs = model.run(&[]).expect("runs");
        let ranges = outputs[0].as_slice::<i64>().expect("i64");
        for (j, range) in (0..N).zip(ranges) {
            let (first, last) = (range / 1000, range % 1000);
            assert!(first <= j && j < last && first / GROUP == (last - 1) / GROUP, "{j} in {first}..{last}");
        }
    }
}

/// A program that stores one expression of `lanes` lanes, given the first elements of its inputs.
fn pointwise(inputs: &[Scalar], lanes: u16, out: Scalar, f: impl FnOnce(&[Expr]) -> Expr) -> sparsec_tir::Program {
    let mut b = Build::new("pointwise");
    let loads: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let buffer = b.buffer(&format!("x{i}"), *s, BufferKind::Input, i64::from(lanes));
            load(buffer, Expr::int(0), lanes)
        })
        .collect();
    let y = b.buffer("y", out, BufferKind::Output, i64::from(lanes));
    b.kernel.body = vec![Stmt::Store(access(y, Expr::int(0), lanes), f(&loads))];
    program(b.kernel, &[])
}

#[test]
fn integer_division_is_total() {
    let x = [7i32, -7, 7, -7, 5, i32::MIN, i32::MIN, 0];
    let y = [2i32, 2, -2, -2, 0, -1, 0, 3];
    let two = [Scalar::I32, Scalar::I32];
    for (op, expected) in [
        (BinaryOp::Div, [3i32, -3, -3, 3, 0, i32::MIN, 0, 0]),
        (BinaryOp::Rem, [1, -1, 1, -1, 0, 0, 0, 0]),
        (BinaryOp::FloorDiv, [3, -4, -4, 3, 0, i32::MIN, 0, 0]),
    ] {
        let p = pointwise(&two, 8, Scalar::I32, |v| Expr::binary(op, v[0].clone(), v[1].clone()));
        assert_eq!(run::<i32>(&p, &[tensor(&x), tensor(&y)]), expected, "{op:?}");
    }
    let by_four = pointwise(&[Scalar::I32], 8, Scalar::I32, |v| {
        Expr::binary(BinaryOp::FloorDiv, v[0].clone(), splat(Expr::Int(4, Scalar::I32), 8))
    });
    assert_eq!(run::<i32>(&by_four, &[tensor(&x)]), x.map(|x| x.div_euclid(4)));
}

#[test]
fn minimum_and_maximum_take_the_second_of_nan() {
    let x = [1.0f32, f32::NAN, 3.0, -0.0];
    let y = [2.0f32, 5.0, f32::NAN, 0.0];
    let two = [Scalar::F32, Scalar::F32];
    for (op, expected) in [(BinaryOp::Min, [1.0f32, 5.0, f32::NAN, 0.0]), (BinaryOp::Max, [2.0, 5.0, f32::NAN, 0.0])] {
        let p = pointwise(&two, 4, Scalar::F32, |v| Expr::binary(op, v[0].clone(), v[1].clone()));
        let got = run::<f32>(&p, &[tensor(&x), tensor(&y)]);
        let bits = |v: &[f32]| v.iter().map(|x| if x.is_nan() { 1 } else { x.to_bits() }).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&expected), "{op:?}");
    }
}

#[test]
fn rounding_and_signs() {
    let x = [2.5f32, -2.5, 3.5, 0.25];
    for (op, expected) in [
        (UnaryOp::Neg, [-2.5f32, 2.5, -3.5, -0.25]),
        (UnaryOp::Abs, [2.5, 2.5, 3.5, 0.25]),
        (UnaryOp::Floor, [2.0, -3.0, 3.0, 0.0]),
        (UnaryOp::Ceil, [3.0, -2.0, 4.0, 1.0]),
        (UnaryOp::Round, [2.0, -2.0, 4.0, 0.0]),
    ] {
        let p = pointwise(&[Scalar::F32], 4, Scalar::F32, |v| Expr::unary(op, v[0].clone()));
        assert_eq!(run::<f32>(&p, &[tensor(&x)]), expected, "{op:?}");
    }
}

#[test]
fn selects_lane_by_lane() {
    let (x, y) = ([1.0f32, -2.0, 3.0, -4.0], [10.0f32, 20.0, 30.0, 40.0]);
    let p = pointwise(&[Scalar::F32, Scalar::F32], 4, Scalar::F32, |v| {
        Expr::select(Expr::compare(CompareOp::Gt, v[0].clone(), splat(Expr::f32(0.0), 4)), v[0].clone(), v[1].clone())
    });
    assert_eq!(run::<f32>(&p, &[tensor(&x), tensor(&y)]), [1.0, 20.0, 3.0, 40.0]);
}

#[test]
fn floats_to_integers_saturate() {
    let x = [1.9f32, -1.9, 1e20, -1e20, f32::NAN, 300.0, -300.0, 0.0];
    let to = |s: Scalar| pointwise(&[Scalar::F32], 8, s, |v| v[0].clone().convert(s));
    assert_eq!(run::<i32>(&to(Scalar::I32), &[tensor(&x)]), x.map(|x| x as i32));
    assert_eq!(run::<i8>(&to(Scalar::I8), &[tensor(&x)]), x.map(|x| x as i8));
    assert_eq!(run::<u8>(&to(Scalar::U8), &[tensor(&x)]), x.map(|x| x as u8));
    assert_eq!(run::<i64>(&to(Scalar::I64), &[tensor(&x)]), x.map(|x| x as i64));
    let near = [2_147_483_520.0f32, 2_147_483_648.0, -2_147_483_648.0, 32767.5, -32768.9, 65535.5, 255.9, -0.9];
    assert_eq!(run::<i32>(&to(Scalar::I32), &[tensor(&near)]), near.map(|x| x as i32));
    assert_eq!(run::<i16>(&to(Scalar::I16), &[tensor(&near)]), near.map(|x| x as i16));
    assert_eq!(run::<u16>(&to(Scalar::U16), &[tensor(&near)]), near.map(|x| x as u16));
    assert_eq!(run::<u8>(&to(Scalar::U8), &[tensor(&near)]), near.map(|x| x as u8));
    let wide = near.map(f64::from).map(|x| x + 0.25);
    let to = |s: Scalar| pointwise(&[Scalar::F64], 8, s, |v| v[0].clone().convert(s));
    assert_eq!(run::<i32>(&to(Scalar::I32), &[tensor(&wide)]), wide.map(|x| x as i32));
    assert_eq!(run::<i8>(&to(Scalar::I8), &[tensor(&wide)]), wide.map(|x| x as i8));
}

#[test]
fn integers_convert_by_signedness() {
    let x = [-1i8, 127, -128, 5];
    let to = |s: Scalar| pointwise(&[Scalar::I8], 4, s, |v| v[0].clone().convert(s));
    assert_eq!(run::<i64>(&to(Scalar::I64), &[tensor(&x)]), [-1, 127, -128, 5]);
    assert_eq!(run::<f32>(&to(Scalar::F32), &[tensor(&x)]), [-1.0, 127.0, -128.0, 5.0]);
    let u = pointwise(&[Scalar::U8], 4, Scalar::I32, |v| v[0].clone().convert(Scalar::I32));
    assert_eq!(run::<i32>(&u, &[tensor(&[255u8, 0, 1, 128])]), [255, 0, 1, 128]);
}

#[test]
fn bfloat16_rounds_to_nearest_even() {
    // 1 + 2^-8 lies half way between 1 and 1 + 2^-7: to even. 1 + 3 * 2^-8 goes up.
    let x = [1.0f32, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f32::INFINITY, -2.0, 3.4e38, 0.0, 1.0];
    let p = pointwise(&[Scalar::F32], 8, Scalar::F32, |v| v[0].clone().convert(Scalar::BF16).convert(Scalar::F32));
    let got = run::<f32>(&p, &[tensor(&x)]);
    assert_eq!(got, [1.0, 1.0, 1.0 + 4.0 / 256.0, f32::INFINITY, -2.0, f32::INFINITY, 0.0, 1.0]);
    let p = pointwise(&[Scalar::F32], 4, Scalar::F32, |v| v[0].clone().convert(Scalar::BF16).convert(Scalar::F32));
    assert!(
        run::<f32>(&p, &[tensor(&[f32::NAN, f32::from_bits(0x7f80_0001), 0.0, 0.0])])[..2].iter().all(|x| x.is_nan())
    );
}

#[test]
fn half_precision_goes_through_memory() {
    let mut b = Build::new("half");
    let x = b.buffer("x", Scalar::F16, BufferKind::Input, 4);
    let y = b.buffer("y", Scalar::F16, BufferKind::Output, 4);
    let doubled = load(x, Expr::int(0), 4) + splat(Expr::Float(1.0, Scalar::F16), 4);
    b.kernel.body = vec![Stmt::Store(access(y, Expr::int(0), 4), doubled)];
    let (mut model, _dir) = open(&program(b.kernel, &[]));
    // 1.0, -2.0, 0.5, 65504 (the largest; adding 1 rounds back to it).
    let halves: Vec<u8> = [0x3c00u16, 0xc000, 0x3800, 0x7bff].iter().flat_map(|h| h.to_le_bytes()).collect();
    let expected: Vec<u8> = [0x4000u16, 0xbc00, 0x3e00, 0x7bff].iter().flat_map(|h| h.to_le_bytes()).collect();
    assert_eq!(model.run(&[bytes("f16", &halves)]).expect("runs")[0].bytes(), expected);
}

#[test]
fn booleans_are_bytes_in_memory() {
    let p = pointwise(&[Scalar::Bool, Scalar::F32], 4, Scalar::Bool, |v| {
        let positive = Expr::compare(CompareOp::Gt, v[1].clone(), splat(Expr::f32(0.0), 4));
        Expr::unary(UnaryOp::Not, Expr::binary(BinaryOp::And, v[0].clone(), positive))
    });
    let (mut model, _dir) = open(&p);
    let outputs = model.run(&[bytes("bool", &[1, 1, 0, 1]), tensor(&[1.0f32, -1.0, 1.0, 2.0])]).expect("runs");
    assert_eq!(outputs[0].bytes(), [0, 1, 1, 0]);
}

#[test]
fn reductions_and_shuffles() {
    let mut b = Build::new("reduce");
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, 8);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, 6);
    let v = || Box::new(load(x, Expr::int(0), 8));
    let values = [
        Expr::Reduce(ReduceOp::Add, v()),
        Expr::Reduce(ReduceOp::Max, v()),
        Expr::Reduce(ReduceOp::Min, v()),
        Expr::Reduce(ReduceOp::Mul, v()),
        Expr::Extract(Box::new(Expr::Shuffle(v(), vec![7, 6, 5, 4, 3, 2, 1, 0])), 1),
        Expr::Extract(v(), 3),
    ];
    for (i, value) in values.into_iter().enumerate() {
        b.kernel.body.push(Stmt::Store(access(y, Expr::int(i as i64), 1), value));
    }
    let x = [1.5f32, -2.0, 4.0, 0.5, 3.0, 1.0, -1.0, 2.0];
    // The order of a reduction is fixed: the balanced tree.
    let tree = |f: fn(f32, f32) -> f32| {
        let mut v = x.to_vec();
        while v.len() > 1 {
            let half = v.len() / 2;
            v = (0..half).map(|i| f(v[i], v[i + half])).collect();
        }
        v[0]
    };
    let expected = [tree(|a, b| a + b), 4.0, -2.0, tree(|a, b| a * b), -1.0, 0.5];
    assert_eq!(run::<f32>(&program(b.kernel, &[]), &[tensor(&x)]), expected);
}

#[test]
fn gathers_at_ramps_and_tables() {
    let mut b = Build::new("gather");
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, 16);
    let table = b.buffer("table", Scalar::U16, BufferKind::Input, 4);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, 8);
    let ramp = Expr::Ramp { base: Box::new(Expr::int(3)), step: 4, lanes: 4 };
    let indices = load(table, Expr::int(0), 4).convert(Scalar::I64);
    b.kernel.body = vec![
        Stmt::Prefetch(access(x, Expr::int(1000), 1)),
        Stmt::Store(access(y, Expr::int(0), 4), Expr::Gather(x, Box::new(ramp))),
        Stmt::Store(access(y, Expr::int(4), 4), Expr::Gather(x, Box::new(indices))),
    ];
    let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let got = run::<f32>(&program(b.kernel, &[]), &[tensor(&x), tensor(&[9u16, 0, 15, 2])]);
    assert_eq!(got, [3.0, 7.0, 11.0, 15.0, 9.0, 0.0, 15.0, 2.0]);
}

#[test]
fn branches_scratch_and_lets() {
    let mut b = Build::new("branch");
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, 8);
    let tmp = b.buffer("tmp", Scalar::F32, BufferKind::Scratch, 8);
    let other = b.buffer("other", Scalar::F32, BufferKind::Scratch, 8);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, 8);
    let i = b.var("i");
    let v = b.typed_var("v", Type::scalar(Scalar::F32));
    let element = |buffer| access(buffer, i.into(), 1);
    let body = vec![
        Stmt::Comment("clip below, double above".into()),
        Stmt::Let(v, load(x, i.into(), 1)),
        Stmt::Store(element(other), Expr::f32(-1.0)),
        Stmt::If(
            Expr::compare(CompareOp::Lt, v.into(), Expr::f32(0.0)),
            vec![Stmt::Store(element(tmp), Expr::f32(0.0))],
            vec![Stmt::Store(element(tmp), mul(v.into(), Expr::f32(2.0)))],
        ),
        Stmt::Store(element(y), load(tmp, i.into(), 1) + load(other, i.into(), 1)),
    ];
    b.kernel.body = vec![for_loop(LoopKind::Serial, i, 8i64, 1, body)];
    let x = [1.0f32, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0];
    let got = run::<f32>(&program(b.kernel, &[]), &[tensor(&x)]);
    assert_eq!(got, x.map(|x| x.max(0.0) * 2.0 - 1.0));
}

#[test]
fn single_lane_accesses_may_be_masked() {
    let mut b = Build::new("single");
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, 4);
    let n = b.buffer("n", Scalar::I64, BufferKind::Input, 1);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, 4);
    let (i, count) = (b.var("i"), b.var("count"));
    let left = Expr::from(count) - Expr::from(i);
    b.kernel.body = vec![
        Stmt::Let(count, load(n, Expr::int(0), 1)),
        for_loop(
            LoopKind::Serial,
            i,
            4i64,
            1,
            vec![Stmt::Store(access(y, i.into(), 1), Expr::Load(masked(x, i.into(), 1, left)))],
        ),
    ];
    assert_eq!(run::<f32>(&program(b.kernel, &[]), &[tensor(&[1f32, 2., 3., 4.]), tensor(&[2i64])]), [1., 2., 0., 0.]);
}

#[test]
fn math_must_be_expanded_first() {
    let p = pointwise(&[Scalar::F32], 4, Scalar::F32, |v| Expr::unary(UnaryOp::Exp, v[0].clone()));
    let error = emit(&p, &Target::host().expect("host"), EmitOptions::default()).expect_err("refused");
    assert!(matches!(&error, EmitError::Verify(e) if e.to_string().contains("exp")));
}

#[test]
fn malformed_kernels_are_errors() {
    let host = Target::host().expect("host");
    let refused = |p: &sparsec_tir::Program| emit(p, &host, EmitOptions::default()).expect_err("refused").to_string();
    let mut p = pointwise(&[Scalar::F32], 4, Scalar::F32, |v| v[0].clone() + Expr::Int(1, Scalar::I32));
    assert!(refused(&p).contains("f32"));
    p = axpy(8);
    p.launches[0].params.clear();
    assert!(refused(&p).contains("does not fit"));
    p = axpy(8);
    p.symbols.push("batch".into());
    assert!(refused(&p).contains("`batch`"));
    p = axpy(8);
    p.name = "not a name".into();
    assert!(refused(&p).contains("identifier"));
}

#[test]
fn same_bytes_every_time() {
    let target = Target::new(Some("x86_64-unknown-linux-gnu"), "x86-64-v3").expect("known");
    let once = emit(&matmul(6, 5), &target, EmitOptions::default()).expect("compiles").object;
    let again = emit(&matmul(6, 5), &target, EmitOptions::default()).expect("compiles").object;
    assert_eq!(once, again);
}

#[test]
fn ir_of_axpy() {
    insta::assert_snapshot!(ir_of(&axpy(32), "axpy"));
}

#[test]
fn ir_of_matmul() {
    insta::assert_snapshot!(ir_of(&matmul(6, 5), "matmul"));
}

/// The unoptimised IR of a kernel's two functions.
fn ir_of(program: &sparsec_tir::Program, kernel: &str) -> String {
    let target = Target::new(Some("x86_64-unknown-linux-gnu"), "x86-64-v3").expect("known");
    let options = EmitOptions { llvm_ir: true, unoptimised: true, ..EmitOptions::default() };
    let ir = emit(program, &target, options).expect("compiles").llvm_ir.expect("asked for");
    ir.split("\n}\n")
        .filter_map(|f| f.find("define ").map(|start| &f[start..]))
        .filter(|f| f.contains(&format!("@m_{kernel}_body(")) || f.contains(&format!("@m_{kernel}_kernel(")))
        .filter(|f| f.lines().next().is_some_and(|l| l.contains(&format!("@m_{kernel}_"))))
        .map(|f| format!("{f}\n}}\n"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A row tile of `rows` x `vectors` accumulators over `k`, of the target's widest vectors.
fn tile(rows: u32, vectors: u32, lanes: u16) -> sparsec_tir::Program {
    let mut b = Build::new("tile");
    let width = i64::from(lanes);
    let a = b.buffer("a", Scalar::F32, BufferKind::Input, 64 * i64::from(rows));
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, 64 * i64::from(vectors) * width);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, i64::from(rows * vectors) * width);
    let (k, r, v) = (b.var("k"), b.var("r"), b.var("v"));
    let acc = b.register("acc", Type::vector(Scalar::F32, lanes), &[rows, vectors]);
    let every = |body| {
        let inner = for_loop(LoopKind::Unroll, v, i64::from(vectors), 1, vec![body]);
        for_loop(LoopKind::Unroll, r, i64::from(rows), 1, vec![inner])
    };
    let at = || vec![Expr::from(r), Expr::from(v)];
    let a_at = mul(k.into(), Expr::int(i64::from(rows))) + r.into();
    let x_at = mul(k.into(), Expr::int(i64::from(vectors) * width)) + mul(v.into(), Expr::int(width));
    let y_at = mul(mul(r.into(), Expr::int(i64::from(vectors))) + v.into(), Expr::int(width));
    let product = Expr::fma(splat(load(a, a_at, 1), lanes), load(x, x_at, lanes), Expr::Reg(acc, at()));
    b.kernel.body = vec![
        every(Stmt::Set(acc, at(), splat(Expr::f32(0.0), lanes))),
        for_loop(LoopKind::Serial, k, 64i64, 1, vec![every(Stmt::Set(acc, at(), product))]),
        every(Stmt::Store(access(y, y_at, lanes), Expr::Reg(acc, at()))),
    ];
    program(b.kernel, &[])
}

/// The instructions of the loop of a kernel: from the label that a later jump returns to, up to that jump.
fn loop_of(program: &sparsec_tir::Program, target: &Target) -> Vec<String> {
    let options = EmitOptions { assembly: true, ..EmitOptions::default() };
    let asm = emit(program, target, options).expect("compiles").assembly.expect("asked for");
    let body = asm.split("m_tile_body:").nth(1).expect("the function").split(".Lfunc_end").next().expect("its end");
    let lines: Vec<&str> = body.lines().map(str::trim).collect();
    let jumps = |l: &str, label: &str| l.starts_with(['j', 'b', 'c']) && l.split_whitespace().any(|w| w == label);
    for (i, line) in lines.iter().enumerate() {
        let Some(label) = line.split(':').next().filter(|l| l.starts_with(".L") && line.contains(':')) else {
            continue;
        };
        if let Some(end) = lines.iter().skip(i).position(|l| jumps(l, label)) {
            return lines[i + 1..i + end].iter().map(|l| (*l).to_owned()).collect();
        }
    }
    panic!("no loop in\n{body}");
}

#[test]
fn loops_keep_accumulators_in_registers() {
    let x86 = |cpu| Target::new(Some("x86_64-unknown-linux-gnu"), cpu).expect("known");
    let arm = Target::new(Some("aarch64-unknown-linux-gnu"), "generic").expect("known");
    for (target, rows, vectors, instruction, register, stack) in [
        (x86("x86-64-v4"), 8, 3, "vfmadd231ps", "%zmm", "rsp"),
        (x86("x86-64-v3"), 6, 2, "vfmadd231ps", "%ymm", "rsp"),
        (arm, 6, 4, "fmla", ".4s", "sp"),
    ] {
        let lanes = target.lanes(Scalar::F32);
        let lines = loop_of(&tile(rows, vectors, lanes), &target);
        let wanted = lines.iter().filter(|l| l.starts_with(instruction) && l.contains(register)).count();
        assert_eq!(wanted, (rows * vectors) as usize, "{}\n{}", target.cpu(), lines.join("\n"));
        assert!(!lines.iter().any(|l| l.contains(stack)), "{} spills\n{}", target.cpu(), lines.join("\n"));
    }
}

#[test]
fn older_machines_get_the_same_answers() {
    let x: Vec<f32> = (0..9).map(|i| i as f32 * 0.5 - 3.0).collect();
    let y: Vec<f32> = (0..9).map(|i| 10.0 - i as f32).collect();
    if cfg!(target_arch = "x86_64") {
        let target = Target::new(None, "x86-64-v2").expect("known");
        let (mut model, _dir) = open_for(&axpy(9), &target);
        let outputs = model.run(&[tensor(&x), tensor(&y)]).expect("runs");
        // Every product here is exact, so two roundings give what one gives.
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 2.5 * x + y).collect();
        assert_eq!(outputs[0].as_slice::<f32>(), Some(expected.as_slice()));
    }
}
