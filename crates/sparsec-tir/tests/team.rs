//! Teams of warps: text, meaning, and what the verifier asks of them.

use sparsec_tir::{
    BufferData, Kernel, Scalar, kernel_scratch_bytes, lower_to_flat, parse_kernel, print_kernel, run_kernel,
    verify_flat, verify_position,
};

/// Each warp copies 128 numbers; behind the barrier it adds what the next warp copied to what it has itself, as often as an input says.
const TEXT: &str = "kernel k flat (n) {
  input x: f32[512 * n]
  input times: i64[1]
  output y: f32[128 * n]
  scratch own: f32[32]
  team shared: f32[512]
  reg sum: f32x32
  parallel i in 0..n {
    let first: i64 = 512 * i
    warps w in 0..4 {
      copy_async store.f32x128 shared[128 * w] = load.f32x128 x[first + 128 * w] active 126
      commit_copies
      store.f32x32 own[0] = load.f32x32 x[first + 128 * w]
      await_copies 0
      sum = splat.32(0.0)
      for t in 0..times[0] {
        barrier
        sum = sum + load.f32x32 own[0] + load.f32x32 shared[(w + 1) % 4 * 128]
      }
      store.f32x32 y[128 * i + 32 * w] = sum
    }
  }
}
";

fn kernel(text: &str) -> Kernel {
    parse_kernel(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn text_and_meaning() {
    let kernel = kernel(TEXT);
    assert_eq!(parse_kernel(&print_kernel(&kernel)).unwrap(), kernel);
    verify_flat(&kernel).unwrap();
    assert_eq!((kernel.team(), kernel_scratch_bytes(&kernel)), (Some(4), 128));
    let x: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    let mut data =
        [BufferData::from_f32(&x), BufferData::from_ints(Scalar::I64, &[3]), BufferData::zeros(Scalar::F32, 256)];
    run_kernel(&kernel, &[2], &mut data).unwrap();
    let expected = |at: usize| {
        let (i, w, l) = (at / 128, at / 32 % 4, at % 32);
        3.0 * (x[512 * i + 128 * w + l] + x[512 * i + 128 * ((w + 1) % 4) + l])
    };
    let expected: Vec<f32> = (0..256).map(expected).collect();
    assert_eq!(data[2].to_f32(), expected);
}

/// In position space there are several dimensions and vector loops.
#[test]
fn a_team_in_position_space() {
    let text = "kernel k position () {
  input x: f32[4, 128]
  output y: f32[4, 32]
  team shared: f32[4, 128]
  parallel i in 0..1 {
    warps w in 0..4 {
      copy_async store.f32x128 shared[w, 0] = load.f32x128 x[w, 0]
      commit_copies
      await_copies 0
      barrier
      vector l in 0..32 {
        y[w, l] = shared[3 - w, l + 1]
      }
    }
  }
}
";
    let kernel = kernel(text);
    verify_position(&kernel).unwrap();
    let flat = lower_to_flat(&kernel).unwrap();
    verify_flat(&flat).unwrap();
    for kernel in [kernel, flat] {
        assert_eq!(parse_kernel(&print_kernel(&kernel)).unwrap(), kernel);
        let x: Vec<f32> = (0..512).map(|i| i as f32).collect();
        let mut data = [BufferData::from_f32(&x), BufferData::zeros(Scalar::F32, 128)];
        run_kernel(&kernel, &[], &mut data).unwrap();
        let expected: Vec<f32> = (0..128).map(|at| x[128 * (3 - at / 32) + at % 32 + 1]).collect();
        assert_eq!(data[1].to_f32(), expected);
    }
}

/// A left factor of blocks has the product of the one that is laid out by rows.
#[test]
fn a_factor_in_blocks() {
    let text = |layout: &str| {
        format!(
            "kernel k flat () {{\n  input a: f32[128]\n  input b: f32[64]\n  output y: f32[128]\n  reg c: f32x128\n  c = splat.128(0.0)\n  \
             product.tf32 c += a[0] by {layout} * b[0] by (8, 1)\n  save y[0] by (8, 1) = c\n}}\n"
        )
    };
    let value = |i: usize, j: usize| ((i * 8 + j) * 5 % 17) as f32 - 8.0;
    let rows: Vec<f32> = (0..128).map(|at| value(at / 8, at % 8)).collect();
    let mut blocks = vec![0.0; 128];
    for (i, j) in (0..16).flat_map(|i| (0..8).map(move |j| (i, j))) {
        blocks[i / 8 * 32 + j / 4 * 64 + i % 8 * 4 + j % 4] = value(i, j);
    }
    let b: Vec<f32> = (0..64).map(|i| (i % 7) as f32).collect();
    let run = |layout: &str, a: &[f32]| {
        let kernel = kernel(&text(layout));
        assert_eq!(print_kernel(&kernel), text(layout));
        verify_flat(&kernel).unwrap();
        let mut data = [BufferData::from_f32(a), BufferData::from_f32(&b), BufferData::zeros(Scalar::F32, 128)];
        run_kernel(&kernel, &[], &mut data).unwrap();
        data[2].to_f32()
    };
    assert_eq!(run("(8, 1)", &rows), run("blocks (32, 64)", &blocks));
    let odd = verify_flat(&kernel(&text("blocks (8, 64)"))).unwrap_err().to_string();
    assert!(odd.contains("blocks lie at multiples of their size"), "{odd}");
}

/// What is wrong with each, in the words of the verifier.
#[test]
fn what_the_verifier_refuses() {
    let cases = [
        ("for t in 0..times[0] {", "for t in 0..w {", "not all warps of the team come to the barrier"),
        ("for t in 0..times[0] {", "let s: i64 = w + 1\n for t in 0..s {", "not all warps"),
        ("        barrier\n", "        if shared[t] > 0.0 {\n barrier\n }\n", "not all warps"),
        ("        barrier\n", "        warps v in 0..2 {\n }\n", "does not stand in the parallel loop"),
        ("    warps w in 0..4 {", "    for w in 0..4 {", "stands in no team"),
        ("    warps w in 0..4 {", "    barrier\n    warps w in 0..4 {", "stands beside a team"),
        ("    warps w in 0..4 {", "    warps w in 0..n {", "does not run from 0 to a constant up to 32"),
        ("let first: i64 = 512 * i", "let first: f32 = shared[i]", "a team buffer is used outside of the team"),
        ("store.f32x128 shared[128 * w] = ", "store.f32x128 y[0] = ", "is not from an input to a team buffer"),
        (
            "copy_async store.f32x128 shared[128 * w] = load.f32x128",
            "copy_async store.f32x64 shared[0] = load.f32x64",
            "512",
        ),
        ("team shared: f32[512]", "team shared: f32[n]", "is scratch without constant extents"),
    ];
    for (from, to, message) in cases {
        assert!(TEXT.contains(from), "{from}");
        let errors = verify_flat(&kernel(&TEXT.replace(from, to))).unwrap_err().to_string();
        assert!(errors.contains(message), "{to}: {errors}");
    }
}
