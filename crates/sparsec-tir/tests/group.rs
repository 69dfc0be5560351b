//! Products of groups of four warps: text, meaning, and what the verifier asks of them.

use sparsec_tir::{BufferData, Kernel, Scalar, parse_kernel, print_kernel, run_kernel, verify_flat};

/// 64 x 16 times 16 x 16: the left factor is copied as it lies, the right one spread, a line of eight entries to each of two blocks.
const TEXT: &str = "kernel k flat () {
  input a: f16[1024]
  input b: f32[256]
  output y: f32[1024]
  team left: f16[1024]
  team right: f16[272]
  reg sums: f32x128[1, 3]
  parallel i in 0..1 {
    warps w in 0..4 {
      copy_async store.f16x256 left[256 * w] = load.f16x256 a[256 * w]
      commit_copies
      spread store.f16x32 right[32 * w] by 8 = convert.f16(load.f32x32 b[64 * w])
      spread store.f16x32 right[32 * w + 136] by 8 = convert.f16(load.f32x32 b[64 * w + 32])
      sums[0, 1] = splat.128(0.5)
      sums[0, 2] = splat.128(0.0)
      await_copies 0
      barrier
      group_product.f16 2 of sums[0, 1] += left[0] by blocks (64, 512) * right[0] by LAYOUT
      commit_products
      await_products 0
      save y[256 * w] by (16, 1) = sums[0, 1]
      save y[256 * w + 8] by (16, 1) = sums[0, 2]
    }
  }
}
";

fn text(layout: &str) -> String {
    TEXT.replace("LAYOUT", layout)
}

fn kernel(text: &str) -> Kernel {
    parse_kernel(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Small integers that differ between rows and columns.
fn value(i: usize, j: usize) -> f32 {
    ((i * 7 + j * 3 + i * j) % 9) as f32 - 4.0
}

#[test]
fn text_and_meaning() {
    let mut a = vec![0.0; 1024];
    for (i, k) in (0..64).flat_map(|i| (0..16).map(move |k| (i, k))) {
        a[k / 8 * 512 + i / 8 * 64 + i % 8 * 8 + k % 8] = value(i, k);
    }
    let halves = a.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    // Lines `l` of eight entries `e` in two columns of blocks: the first half of `b` for each warp goes to the first.
    let place = |block: usize, l: usize, e: usize| l / 4 * 64 + block * 32 + l % 4 * 8 + e;
    for layout in ["columns (136, 64)", "blocks (64, 136)"] {
        let kernel = kernel(&text(layout));
        assert_eq!(print_kernel(&kernel), text(layout));
        verify_flat(&kernel).unwrap_or_else(|e| panic!("{e}"));
        assert!(kernel.has_group_products());
        let mut b = vec![0.0; 256];
        for (k, n) in (0..16).flat_map(|k| (0..16).map(move |n| (k, n))) {
            let (block, line, entry) = if layout.starts_with('c') { (k / 8, n, k % 8) } else { (n / 8, k, n % 8) };
            b[place(block, line, entry)] = value(n + 3, k);
        }
        let a = BufferData { elem: Scalar::F16, bytes: Clone::clone(&halves) };
        let mut data = [a, BufferData::from_f32(&b), BufferData::zeros(Scalar::F32, 1024)];
        run_kernel(&kernel, &[], &mut data).unwrap();
        let sum = |i: usize, n: usize| (0..16).map(|k| value(i, k) * value(n + 3, k)).sum::<f32>();
        let expected = |at: usize| sum(at / 16, at % 16) + if at % 16 < 8 { 0.5 } else { 0.0 };
        assert_eq!(data[2].to_f32(), (0..1024).map(expected).collect::<Vec<_>>(), "{layout}");
    }
}

/// What is wrong with each, in the words of the verifier.
#[test]
fn what_the_verifier_refuses() {
    let product = "group_product.f16 2 of sums[0, 1] += left[0] by blocks (64, 512) * right[0] by columns (136, 64)";
    let cases = [
        ("warps w in 0..4", "warps w in 0..2", "stands in no team of groups of four warps"),
        ("2 of sums[0, 1]", "3 of sums[0, 1]", "there are no such sums"),
        ("2 of sums[0, 1]", "0 of sums[0, 1]", "has 8 to 256 columns"),
        ("left[0] by blocks", "left[64 * w] by blocks", "the warps of a group have different factors"),
        ("left[0] by blocks", "left[0] by", "a group's factors are blocked"),
        ("left[0] by blocks (64, 512)", "a[0] by blocks (64, 512)", "lie in team buffers"),
        ("columns (136, 64)", "columns (132, 64)", "constant multiples of 16 bytes"),
        ("group_product.f16 2 of sums[0, 1]", "product.f16 sums[0, 1]", "only left factors are blocked"),
        ("      commit_products\n", "      if w > 1 {\n commit_products\n }\n", "not all warps of the group come here"),
        ("      await_products 0\n", "      for t in 0..w {\n await_products 0\n }\n", "not all warps of the group"),
        ("right[32 * w] by 8 =", "right[32 * w] by 4 =", "the distance is no multiple of 16 bytes"),
        ("store.f16x32 right[32 * w] by 8 =", "store.f32x32 y[0] by 8 =", "is not to a team buffer"),
    ];
    let text = text("columns (136, 64)");
    assert!(text.contains(product));
    for (from, to, message) in cases {
        assert!(text.contains(from), "{from}");
        let errors = verify_flat(&kernel(&text.replace(from, to))).unwrap_err().to_string();
        assert!(errors.contains(message), "{to}: {errors}");
    }
}
