//! Text of each stage as snapshots, and the same small computations through all interpreters.

use std::collections::BTreeMap;

use sparsec_tir::{
    ArenaSlot, Argument, AxisData, AxisId, BufferData, ConstantData, ConstantInfo, Constraint, CoordinateData, Expr,
    InterpError, Launch, MapId, ParamId, Port, Program, Scalar, Step, expand_math, lower_to_flat, parse_coordinate,
    parse_kernel, print_coordinate, print_kernel, run_coordinate, run_kernel, run_program, verify_coordinate,
    verify_flat, verify_position,
};

const SPMM: &str = "\
kernel spmm coordinate (n) {
  axis I = dense_fixed(3)
  axis J = sparse_variable(I, 4, nnz 5)
  axis N = dense_fixed(n)
  buffer W: f32 over [I, J]
  buffer X: f32[4, n]
  output Y: f32[3, n]
  iterate spmm [I i, J j, N k] as \"SRS\" {
    init 0.5
    Y[i, k] += W[i, j] * X[j, k]
    epilogue max(Y[i, k], 0.0)
  }
}
";

/// The same after a decomposition into an ELL of two rows with two entries, and a rest.
const DECOMPOSED: &str = "\
kernel spmm coordinate (n) {
  axis R = dense_fixed(2)
  axis E = dense_fixed(2)
  axis G = dense_fixed(1)
  axis F = dense_variable(G, total 1)
  axis I = dense_fixed(3)
  axis N = dense_fixed(n)
  map row(R) < 3
  map col(R, E) < 4
  map rest_row(G) < 3
  map rest_col(G, F) < 4
  buffer W0: f32 over [R, E]
  buffer W1: f32 over [G, F]
  buffer X: f32[4, n]
  output Y: f32[3, n]
  iterate start [I i, N k] as \"SS\" {
    init 0.5
    Y[i, k] += 0.0
  }
  iterate ell [R r, E e, N k] as \"SRS\" {
    let i0 = row(r)
    let j = col(r, e)
    init Y[i0, k]
    Y[i0, k] += W0[r, e] * X[j, k]
  }
  iterate rest [G g, F f, N k] as \"SRS\" {
    let i1 = rest_row(g)
    let j1 = rest_col(g, f)
    init Y[i1, k]
    Y[i1, k] += W1[g, f] * X[j1, k]
  }
  iterate finish [I i, N k] as \"SS\" {
    init Y[i, k]
    Y[i, k] += 0.0
    epilogue max(Y[i, k], 0.0)
  }
}
";

/// Rows (0: columns 1, 3), (1: none is left over but 2), (2: columns 0, 3) with values 1, -2 | 4 | 0.25, 3.
fn dense_result(x: &[f32], n: usize) -> Vec<f32> {
    let w = [[0.0, 1.0, 0.0, -2.0], [0.0, 0.0, 4.0, 0.0], [0.25, 0.0, 0.0, 3.0_f32]];
    let sum = |i: usize, k: usize| (0..4).fold(0.5, |s, j| s + w[i][j] * x[j * n + k]).max(0.0);
    (0..3 * n).map(|at| sum(at / n, at % n)).collect()
}

#[test]
fn spmm_in_coordinate_space() {
    let n = 3;
    let x: Vec<f32> = (0..4 * n).map(|i| i as f32 * 0.5 - 2.0).collect();
    let y = BufferData::poisoned(Scalar::F32, 3 * n);

    let kernel = parse_coordinate(SPMM).unwrap();
    assert_eq!(print_coordinate(&kernel), SPMM);
    verify_coordinate(&kernel).unwrap();
    let j = AxisData { indptr: vec![0, 2, 3, 5], indices: vec![1, 3, 2, 0, 3] };
    let data = CoordinateData { axes: BTreeMap::from([(AxisId(1), j)]), maps: BTreeMap::new() };
    let w = BufferData::from_f32(&[1.0, -2.0, 4.0, 0.25, 3.0]);
    let mut buffers = [w, BufferData::from_f32(&x), y.clone()];
    run_coordinate(&kernel, &[n as i64], &data, &mut buffers).unwrap();
    assert_eq!(buffers[2].to_f32(), dense_result(&x, n));

    let kernel = parse_coordinate(DECOMPOSED).unwrap();
    assert_eq!(print_coordinate(&kernel), DECOMPOSED);
    verify_coordinate(&kernel).unwrap();
    let f = AxisData { indptr: vec![0, 1], indices: vec![] };
    let maps = [vec![0, 2], vec![1, 3, 0, 3], vec![1], vec![2]];
    let data = CoordinateData {
        axes: BTreeMap::from([(AxisId(3), f)]),
        maps: maps.into_iter().enumerate().map(|(i, m)| (MapId(i as u32), m)).collect(),
    };
    let w0 = BufferData::from_f32(&[1.0, -2.0, 0.25, 3.0]);
    let mut buffers = [w0, BufferData::from_f32(&[4.0]), BufferData::from_f32(&x), y];
    run_coordinate(&kernel, &[n as i64], &data, &mut buffers).unwrap();
    assert_eq!(buffers[3].to_f32(), dense_result(&x, n));
}

#[test]
fn fixed_numbers_per_row_and_padding() {
    let text = "kernel nm coordinate () {
        axis I = dense_fixed(2) axis J = sparse_fixed(I, 4, width 2) axis D = dense_fixed(4)
        buffer W: f32 over [I, J] buffer X: f32[4] output Y: f32[2] output Z: f32[2]
        iterate stored [I i, J j] as \"SR\" { init 0.0 Y[i] += W[i, j] * X[j + 1] padded }
        iterate all [I r, D d] as \"SR\" { init 0.0 Z[r] += W[r, d] } }";
    let kernel = parse_coordinate(text).unwrap();
    assert_eq!(parse_coordinate(&print_coordinate(&kernel)).unwrap(), kernel);
    verify_coordinate(&kernel).unwrap();
    let j = AxisData { indptr: vec![], indices: vec![0, 3, 1, 2] };
    let data = CoordinateData { axes: BTreeMap::from([(AxisId(1), j)]), maps: BTreeMap::new() };
    let floats = [vec![1.0, 2.0, 3.0, 4.0], vec![10.0, 20.0, 30.0, 40.0], vec![0.0; 2], vec![0.0; 2]];
    let mut buffers = floats.map(|f| BufferData::from_f32(&f));
    run_coordinate(&kernel, &[], &data, &mut buffers).unwrap();
    assert_eq!(buffers[2].to_f32(), [20.0, 3.0 * 30.0 + 4.0 * 40.0]);
    assert_eq!(buffers[3].to_f32(), [3.0, 7.0]);
}

/// Every row of the lowering's table.
const POSITION: &str = "\
// one of each access
kernel accesses position (n) {
  input x: f32[4, n]
  input idx: u16[n]
  input s: f32[4]
  output y: f32[n, 4] strides [4, 1]
  output z: f32[n]
  reg acc: f32x8[2]
  parallel i in 0..4 {
    for j in 0..n step 8 {
      unroll t in 0..2 {
        vector l in 0..8 active n - j {
          acc[t] = fma(x[i, j + l], s[i], convert.f32(l + t))
        }
      }
      vector l1 in 0..8 active n - j {
        let p: i64 = j + l1
        let g: f32 = x[i, convert.i64(idx[p])]
        prefetch x[i, p + 64]
        y[p, i] = select(g < 0.0, acc[0], g)
        z[p] = exp(x[0, p]) + acc[1]
      }
    }
  }
}
";

#[test]
fn lowering_of_accesses() {
    let kernel = parse_kernel(POSITION).unwrap();
    assert_eq!(print_kernel(&kernel), POSITION);
    verify_position(&kernel).unwrap();
    let mut flat = lower_to_flat(&kernel).unwrap();
    verify_flat(&flat).unwrap();
    insta::assert_snapshot!("accesses_flat", print_kernel(&flat));
    expand_math(&mut flat).unwrap();
    insta::assert_snapshot!("accesses_machine", print_kernel(&flat));
}

#[test]
fn math_expansions() {
    for name in ["tanh", "erf", "log", "sin"] {
        let text = format!("kernel k flat () {{ reg v: f32x8 v = {name}(v) }}");
        let mut kernel = parse_kernel(&text).unwrap();
        expand_math(&mut kernel).unwrap();
        insta::assert_snapshot!(format!("math_{name}"), print_kernel(&kernel));
    }
}

#[test]
fn errors_name_kernel_buffer_and_index() {
    let kernel = parse_kernel("kernel k position (n) { output y: f32[2, 3] for i in 0..n { y[1, i] = 0.0 } }").unwrap();
    let mut y = [BufferData::zeros(Scalar::F32, 6)];
    run_kernel(&kernel, &[3], &mut y).unwrap();
    let error = run_kernel(&kernel, &[4], &mut y).unwrap_err();
    assert_eq!(error.to_string(), "kernel `k`, `y`: index 3 of dimension 1 is not in 0..3");
    let error = run_kernel(&kernel, &[3], &mut [BufferData::zeros(Scalar::F32, 5)]).unwrap_err();
    assert!(matches!(error, InterpError::Buffer { expected: 6, found: 5, .. }));
    assert!(matches!(run_kernel(&kernel, &[], &mut y).unwrap_err(), InterpError::Arguments { .. }));
    let error = lower_to_flat(&lower_to_flat(&kernel).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "kernel `k` is in stage flat, `position` expected");
}

#[test]
fn groups_of_iterations_run_whole_or_in_pieces() {
    let text = "\
kernel k flat (n) {
  output y: i64[n]
  parallel i in 0..n step 3 until last {
    for j in i..last {
      y[j] = last - i
    }
  }
}
";
    let kernel = parse_kernel(text).unwrap();
    assert_eq!(print_kernel(&kernel), text);
    verify_flat(&kernel).unwrap();
    let mut y = [BufferData::zeros(Scalar::I64, 8)];
    run_kernel(&kernel, &[8], &mut y).unwrap();
    assert_eq!(y[0].to_f64(), [3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
}

#[test]
fn scratch_is_undefined_at_the_start() {
    let text = "kernel k flat () { output y: f32[2] scratch s: f32[1] parallel i in 0..2 {
        if i < 1 { s[0] = 1.0 } y[i] = s[0] } }";
    let mut y = [BufferData::zeros(Scalar::F32, 2)];
    run_kernel(&parse_kernel(text).unwrap(), &[], &mut y).unwrap();
    let y = y[0].to_f32();
    assert_eq!(y[0], 1.0);
    assert!(y[1].is_nan());
}

struct Constants(Vec<u8>);

impl ConstantData for Constants {
    fn write(&self, _: usize, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        out.write_all(&self.0)
    }
}

#[test]
fn programs_run_their_launches() {
    let text = "kernel add flat (n) { input a: f32[n] input b: f32[1] output c: f32[n]
        for i in 0..n { c[i] = a[i] + b[0] } }";
    let n = || Expr::Param(ParamId(0));
    let port = |name: &str| Port { name: name.to_owned(), elem: Scalar::F32, dtype: "f32", shape: vec![n()] };
    let launch = |from: Argument, to: Argument| Launch {
        kernel: 0,
        label: "add".to_owned(),
        params: vec![n()],
        arguments: vec![(from, Expr::int(0)), (Argument::Constant(0), Expr::int(4)), (to, Expr::int(0))],
    };
    let program = Program {
        name: "model".to_owned(),
        symbols: vec!["n".to_owned()],
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        constants: vec![ConstantInfo { name: "c".to_owned(), bytes: 8, align: 64 }],
        arena: vec![ArenaSlot { offset: Expr::int(64), bytes: n() * Expr::int(4) }],
        arena_bytes: Some(n() * Expr::int(4) + Expr::int(64)),
        kernels: vec![parse_kernel(text).unwrap()],
        launches: vec![launch(Argument::Input(0), Argument::Arena(0)), launch(Argument::Arena(0), Argument::Output(0))],
        steps: Step::sequence(2),
        counters: 0,
        found: Vec::new(),
        result_shapes: Vec::new(),
        constraints: vec![Constraint { expr: Expr::int(3) - n(), message: "at most 3".to_owned() }],
    };
    let constants = Constants([9.0_f32, 1.5].iter().flat_map(|v| v.to_le_bytes()).collect());
    let x = BufferData::from_f32(&[1.0, 2.0, 3.0]);
    let y = run_program(&program, &constants, &[3], std::slice::from_ref(&x)).unwrap();
    assert_eq!(y[0].to_f32(), [4.0, 5.0, 6.0]);
    let long = BufferData::from_f32(&[0.0; 4]);
    let error = run_program(&program, &constants, &[4], &[long]).unwrap_err();
    assert!(error.to_string().ends_with("out of range: at most 3"), "{error}");
    let error = run_program(&program, &Constants(vec![]), &[3], &[x]).unwrap_err();
    assert_eq!(error.to_string(), "constant `c`: 8 bytes expected, 0 given");
}
