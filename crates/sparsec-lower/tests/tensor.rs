//! Kernels of tensor cores against the graph interpreter: with small integers, which every precision has and whose sums are exact, the
//! results are the same numbers.

use sparsec_graph::{Bindings, Symbol, TensorData, interpret, parse};
use sparsec_lower::{LowerOptions, TargetInfo, lower_with};
use sparsec_tir::{BufferData, Precision, Scalar, run_program};

/// Interprets a graph of one input and its kernels at a precision and for a compute capability, where so many images are expected; the names of the kernels.
fn check(text: &str, shape: &[usize], (precision, capability): (Precision, u32), images: i64) -> Vec<String> {
    let graph = parse(text).expect("the text is a graph");
    sparsec_graph::verify(&graph).expect("the graph is valid");
    let n: Bindings = [(Symbol::new("n"), shape[0] as i64)].into();
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7 + i / 5) % 13) as f32 - 6.0).collect();
    let expected = interpret(&graph, &[TensorData::f32(shape, values.clone())]).expect("the reference runs");
    let options = LowerOptions { nominal: [(Symbol::new("n"), images)].into(), ..LowerOptions::default() };
    let target = TargetInfo::WARP.with_precision(Some(precision)).with_capability(capability);
    let lowered = lower_with(&graph, &target, &options).expect("the graph lowers");
    let symbols: Vec<i64> = lowered.program.symbols.iter().map(|s| n[&Symbol::new(s)]).collect();
    let inputs = [BufferData::from_f32(&values)];
    let found = run_program(&lowered.program, &lowered.data, &symbols, &inputs).expect("the kernels run");
    let expected = BufferData { elem: Scalar::F32, bytes: expected[0].bytes.to_vec() }.to_f64();
    assert_eq!(expected, found[0].to_f64(), "{text}");
    assert!(expected.iter().any(|v| *v != 0.0));
    lowered.program.kernels.iter().map(|k| k.name.clone()).collect()
}

/// A convolution of small integers, of which two of each four channels are zero where the format says so, and every fifth output is.
fn conv(format: &str, [m, c, kh, kw]: [usize; 4], [h, w]: [usize; 2], attrs: &str) -> String {
    let value = |row: usize, channel: usize, element: usize| match format {
        _ if row % 5 == 2 => 0,
        "nm<2,4>" if (channel + row + element) % 4 > 1 => 0,
        _ => (row * 5 + channel * 3 + element * 7) as i64 % 9 - 4,
    };
    let positions = kh * kw;
    let values: Vec<String> = (0..m * c * positions)
        .map(|i| format!("{:?}", value(i / positions / c, i / positions % c, i % positions) as f32))
        .collect();
    format!(
        "graph @g {{\n input %0 \"x\": f32[n, {c}, {h}, {w}]\n const %1 \"w\" = f32[{m}, {c}, {kh}, {kw}] {{{}}}\n \
         const %2 \"b\" = f32[{m}, 1, 1] {{{}}}\n \
         %3 \"c\" = conv (%0, %1) {attrs} epilogue max(add(acc, $0), -3.0) (%2) format {format}\n output \"y\" = %3\n}}",
        values.join(", "),
        (0..m).map(|i| format!("{:?}", (i % 5) as f32)).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn windows() {
    let attrs = |strides: [usize; 2], pads: [(usize, usize); 2], dilations: [usize; 2]| {
        format!("strides {strides:?} pads {pads:?} dilations {dilations:?} groups 1")
    };
    let cases = [
        ([70, 32, 3, 3], [9, 11], attrs([1, 1], [(1, 1), (1, 1)], [1, 1])),
        ([65, 5, 3, 3], [13, 7], attrs([1, 1], [(1, 1), (1, 1)], [1, 1])),
        ([80, 16, 3, 3], [15, 9], attrs([2, 2], [(1, 1), (1, 1)], [1, 1])),
        ([72, 12, 3, 3], [8, 17], attrs([1, 1], [(2, 2), (2, 2)], [2, 2])),
        ([66, 8, 3, 2], [9, 11], attrs([2, 1], [(1, 0), (2, 1)], [1, 2])),
        ([67, 3, 7, 7], [23, 17], attrs([2, 2], [(3, 3), (3, 3)], [1, 1])),
        ([90, 20, 1, 1], [9, 14], attrs([2, 2], [(0, 0), (0, 0)], [1, 1])),
        ([68, 16, 1, 1], [5, 8], attrs([1, 1], [(1, 0), (0, 2)], [1, 1])),
    ];
    for (weight, [h, w], attrs) in cases {
        for format in ["dense", "bsr<16,16>", "pruned<dense>", "nm<2,4>"] {
            let text = conv(format, weight, [h, w], &attrs);
            for precision in Precision::ALL {
                if (format, precision) == ("nm<2,4>", Precision::TF32) {
                    continue;
                }
                let together = format != "nm<2,4>" && precision != Precision::TF32;
                let group = if together { "conv_group" } else { "conv_team" };
                for (capability, images, kernel) in
                    [(80, 1, "conv_tensor"), (80, 1000, "conv_team"), (90, 1, "conv_tensor"), (90, 1000, group)]
                {
                    let kernels = check(&text, &[2, weight[1], h, w], (precision, capability), images);
                    assert!(kernels.iter().all(|k| k.contains(kernel)), "{kernels:?}");
                }
            }
        }
    }
}

/// Fewer rows than half a step are left to `f32`.
#[test]
fn few_rows_stay_in_f32() {
    let same = "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1]";
    let kernels = check(
        &conv("dense", [7, 6, 3, 3], [6, 9], &format!("{same} groups 1")),
        &[1, 6, 6, 9],
        (Precision::F16, 80),
        1,
    );
    assert!(kernels.iter().all(|k| !k.contains("tensor")), "{kernels:?}");
    let kernels = check(
        &conv("dense", [8, 6, 3, 3], [6, 9], &format!("{same} groups 1")),
        &[1, 6, 6, 9],
        (Precision::F16, 80),
        1,
    );
    assert!(kernels.iter().all(|k| k.contains("tensor")), "{kernels:?}");
}
