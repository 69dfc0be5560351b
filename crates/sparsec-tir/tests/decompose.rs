//! Format decomposition: every format on random matrices, and what is refused.

use sparsec_sparse::{Format, Storage, Stored};
use sparsec_tir::{
    AxisData, AxisId, BufferData, BufferId, CoordinateData, CoordinateKernel, DecomposeError, Scalar, decompose_format,
    parse_coordinate, print_coordinate, run_coordinate, verify_coordinate,
};

const FORMATS: &[&str] = &[
    "dense",
    "csr",
    "bsr<4,1>",
    "bsr<3,5>",
    "nm<2,4>",
    "nm<5,8>",
    "hyb<8,4,2>",
    "hyb<5,1,3>",
    "pruned<dense>",
    "pruned<csr>",
    "bitmap",
    "pruned<bitmap>",
    "pruned<bsr<2,2>>",
    "pruned<nm<4,4>>",
    "pruned<hyb<4,2,2>>",
];
const WEIGHT: BufferId = BufferId(0);
const COLUMNS: AxisId = AxisId(1);

fn spmm(rows: usize, cols: usize, nnz: usize) -> CoordinateKernel {
    let text = format!(
        "kernel spmm coordinate (n) {{
  axis I = dense_fixed({rows})
  axis J = sparse_variable(I, {cols}, nnz {nnz})
  axis N = dense_fixed(n)
  buffer W: f32 over [I, J]
  buffer X: f32[{cols}, n]
  output Y: f32[{rows}, n]
  iterate spmm [I i, J j, N k] as \"SRS\" {{
    init 1.0
    Y[i, k] += W[i, j] * X[j, k]
    epilogue max(Y[i, k], 0.5)
  }}
}}
"
    );
    parse_coordinate(&text).expect("the text is a kernel")
}

/// A matrix with at most two nonzeros in four aligned columns, row 1 and column 2 zero.
fn matrix(rows: usize, cols: usize, percent: u64, seed: &mut u64) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    };
    let mut values = Vec::new();
    for row in 0..rows {
        let mut left = 2;
        for col in 0..cols {
            left = if col % 4 == 0 { 2 } else { left };
            let keep = next() % 100 < percent && left > 0 && row != 1 && col != 2;
            left -= usize::from(keep);
            values.push(if keep { (next() % 64) as f32 / 16.0 - 2.03125 } else { 0.0 });
        }
    }
    values
}

/// The kernel, its pattern and its values.
fn kernel_of(rows: usize, cols: usize, dense: &[f32]) -> (CoordinateKernel, CoordinateData, Vec<f32>) {
    let Ok(Stored::Csr(csr)) = Stored::encode(&Format::Csr, rows, cols, dense) else { panic!("csr holds any matrix") };
    let wide = |v: &[u32]| v.iter().map(|&v| u64::from(v)).collect::<Vec<u64>>();
    let mut data = CoordinateData::default();
    data.axes.insert(COLUMNS, AxisData { indptr: wide(csr.row_ptr()), indices: wide(csr.col_idx()) });
    (spmm(rows, cols, csr.values().len()), data, csr.values().to_vec())
}

fn run(kernel: &CoordinateKernel, data: &CoordinateData, values: &[f32], x: &[f32], results: usize) -> Vec<f32> {
    let n = 3;
    let y = BufferData::poisoned(Scalar::F32, results * n);
    let mut buffers = [BufferData::from_f32(values), BufferData::from_f32(x), y];
    run_coordinate(kernel, &[n as i64], data, &mut buffers).expect("the kernel runs");
    buffers[2].to_f32()
}

#[test]
fn every_format_computes_the_same() {
    let mut seed = 5;
    for (rows, cols) in [(1, 1), (2, 9), (7, 13), (8, 16), (5, 21)] {
        for percent in [0, 15, 60, 100] {
            let dense = matrix(rows, cols, percent, &mut seed);
            let (kernel, data, values) = kernel_of(rows, cols, &dense);
            let x: Vec<f32> = (0..cols * 3).map(|i| (i % 7) as f32 - 2.5).collect();
            let expected = run(&kernel, &data, &values, &x, rows);
            for format in FORMATS {
                let format: Format = format.parse().expect("a format");
                let stored = Stored::encode(&format, rows, cols, &dense).expect("the matrix fits");
                let d = decompose_format(&kernel, &data, WEIGHT, &stored).expect("the kernel can be decomposed");
                verify_coordinate(&d.kernel).expect("the result is valid");
                let text = print_coordinate(&d.kernel);
                assert_eq!(parse_coordinate(&text).expect("the text is a kernel"), d.kernel);
                assert_eq!(d.values.len(), stored.stored_entries(), "{format}");
                // Multiples of 1/32 and of 1/2: sums are exact in any order.
                assert_eq!(run(&d.kernel, &d.data, &d.values, &x, rows), expected, "{format}\n{text}");
            }
        }
    }
}

#[test]
fn csr_is_what_a_sparse_kernel_is_already() {
    let dense = matrix(6, 12, 40, &mut 9);
    let (kernel, data, values) = kernel_of(6, 12, &dense);
    let stored = Stored::encode(&Format::Csr, 6, 12, &dense).expect("csr holds any matrix");
    let d = decompose_format(&kernel, &data, WEIGHT, &stored).expect("the kernel can be decomposed");
    assert_eq!((d.kernel, d.data, d.values), (kernel, data, values));
}

fn refusal(kernel: &CoordinateKernel, rows: usize, cols: usize) -> String {
    let dense = matrix(rows, cols, 40, &mut 9);
    let stored = Stored::encode(&"hyb<4,1,2>".parse().expect("a format"), rows, cols, &dense).expect("the matrix fits");
    let data = CoordinateData::default();
    decompose_format(kernel, &data, WEIGHT, &stored).expect_err("this is refused").to_string()
}

#[test]
fn other_kernels_are_refused() {
    let text = print_coordinate(&spmm(4, 8, 0));
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "`{from}` is not there");
        parse_coordinate(&text.replace(from, to)).expect("the text is a kernel")
    };
    let expect = |kernel: &CoordinateKernel, message: &str| {
        let found = refusal(kernel, 4, 8);
        assert!(found.contains(message), "{found}");
    };
    assert_eq!(
        refusal(&spmm(4, 8, 0), 4, 9),
        "kernel `spmm`: the weight has 4 x 8 coordinates, the stored matrix 4 x 9"
    );
    expect(&changed("Y[i, k] += W[i, j] * X[j, k]", "Y[i, k] += X[j, k]"), "not used by exactly one iteration");
    expect(&changed("W[i, j] * X[j, k]", "W[i, i] * X[j, k]"), "not used as an element per row and column");
    expect(&changed("epilogue max(Y[i, k], 0.5)", "epilogue W[i, i]"), "not used as an element per row and column");
    expect(&changed("buffer W: f32", "buffer W: f64"), "differ: f64 and f32");
    let wide = text.replace("f32", "f64").replace("1.0", "1.0f64").replace("0.5", "0.5f64");
    expect(&parse_coordinate(&wide).expect("the text is a kernel"), "not f32 over an axis of rows");
    expect(&changed("dense_fixed(4)", "dense_fixed(n)"), "its extents are not constant");
    expect(&changed("init 1.0", "init X[j, k]"), "uses a variable that it may not");
    let none = decompose_format(
        &spmm(4, 8, 0),
        &CoordinateData::default(),
        BufferId(7),
        &Stored::encode(&Format::Dense, 4, 8, &[0.0; 32]).expect("dense holds any matrix"),
    );
    assert!(matches!(none, Err(DecomposeError::Form { reason: "the weight does not exist", .. })));
}

#[test]
fn a_format_is_not_decomposed_again() {
    let dense = matrix(4, 8, 40, &mut 9);
    let (kernel, data, _) = kernel_of(4, 8, &dense);
    let stored = Stored::encode(&"bsr<2,2>".parse().expect("a format"), 4, 8, &dense).expect("the matrix fits");
    let d = decompose_format(&kernel, &data, WEIGHT, &stored).expect("the kernel can be decomposed");
    let again = decompose_format(&d.kernel, &d.data, WEIGHT, &stored).expect_err("this is refused").to_string();
    assert!(again.contains("not f32 over an axis of rows and one of columns"), "{again}");
}
