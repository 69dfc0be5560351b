//! Schedules that somebody sets: they are obeyed, and compute what the others compute.

#[expect(dead_code, reason = "schedules are compared as weights are, not through whole graphs")]
mod common;

use sparsec_graph::{Bindings, Graph, TensorData, interpret, parse};
use sparsec_lower::{LowerOptions, Lowered, Schedule, TargetInfo, lower_with};
use sparsec_tir::{BufferData, Scalar, run_program};

fn lower(graph: &Graph, target: &TargetInfo, schedule: Option<Schedule>) -> Lowered {
    let schedules = schedule.map(|s| ("product".to_owned(), s)).into_iter().collect();
    lower_with(graph, target, &LowerOptions { schedules, ..LowerOptions::default() }).expect("the graph lowers")
}

fn agrees(graph: &Graph, inputs: &[TensorData], lowered: &Lowered, what: &str) {
    let f32s = |t: &TensorData| BufferData { elem: Scalar::F32, bytes: t.bytes.to_vec() };
    let expected = f32s(&interpret(graph, inputs).expect("the reference runs")[0]).to_f64();
    let buffers: Vec<BufferData> = inputs.iter().map(f32s).collect();
    let found = run_program(&lowered.program, &lowered.data, &[], &buffers).expect("the kernels run")[0].to_f64();
    let largest = expected.iter().fold(1e-6f64, |m, v| m.max(v.abs()));
    assert_eq!(expected.len(), found.len(), "{what}");
    for (i, (a, b)) in expected.iter().zip(&found).enumerate() {
        assert!((a - b).abs() <= 1e-5 * largest, "{what}: element {i} is {b}, expected {a}");
    }
}

/// Checks all schedules that lowering offers; returns how many.
fn check(text: &str) -> usize {
    let graph = parse(text).expect("the text is a graph");
    let inputs = common::inputs(&graph, &Bindings::new(), 3);
    let mut count = 0;
    for target in [TargetInfo::AVX2, TargetInfo::AVX512] {
        let offered = lower(&graph, &target, None).schedules.remove("product").expect("a choice");
        for (i, schedule) in offered.iter().enumerate() {
            assert_eq!(schedule.to_string().parse::<Schedule>().as_ref(), Ok(schedule));
            let lowered = lower(&graph, &target, Some(*schedule));
            assert_eq!(lowered.schedules["product"].first(), Some(schedule), "{text}");
            assert!(!offered[..i].contains(schedule), "{schedule} is offered twice");
            agrees(&graph, &inputs, &lowered, &format!("{schedule} for {text}"));
        }
        count += offered.len();
    }
    count
}

fn linear(format: &str) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[48, 70]
  const %1 "w": f32[24, 48] random(seed=5, density=0.3)
  const %2 "b": f32[24, 1] random(seed=6, density=1.0)
  %3 "product" = contract "mk,kn->mn" (%1, %0) epilogue relu(add(acc, $0)) (%2) format {format}
  output "y" = %3
}}"#
    )
}

fn conv(format: &str, channels: usize, image: usize) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[1, {channels}, {image}, {image}]
  const %1 "w": f32[32, {channels}, 3, 3] random(seed=5, density=0.3)
  const %2 "b": f32[32] random(seed=6, density=1.0)
  %3 "product" = conv (%0, %1, %2) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 format {format}
  output "y" = %3
}}"#
    )
}

#[test]
fn every_schedule_of_every_format_computes_the_same() {
    for format in ["dense", "csr", "bsr<4,1>", "bsr<1,4>", "bsr<8,8>", "hyb<256,1,4>", "pruned<dense>"] {
        assert!(check(&linear(format)) > 4, "{format}");
        assert!(check(&conv(format, 8, 9)) > 4, "{format}");
    }
}

/// A convolution with windows, whose result is added to another image: kernel, stride, dilation, padding, width of the image.
fn windows((kernel, stride, dilation, pad): (usize, usize, usize, usize), width: usize) -> String {
    let out = |extent: usize| (extent + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    let (height, columns) = (out(10), out(width));
    format!(
        r#"graph @g {{
  input %0 "x": f32[2, 5, 10, {width}]
  input %1 "beside": f32[2, 6, {height}, {columns}]
  const %2 "w": f32[6, 5, {kernel}, {kernel}] random(seed=5, density=0.3)
  %3 "product" = conv (%0, %2) strides [{stride}, {stride}] pads [({pad}, {pad}), ({pad}, {pad})] dilations [{dilation}, {dilation}] groups 1 epilogue add(acc, $0) (%1) format hyb<256,1,4>
  output "y" = %3
}}"#
    )
}

#[test]
fn halves_of_vectors_compute_the_same() {
    let mut obeyed = 0;
    for window in [(3, 1, 1, 1), (3, 1, 1, 0), (3, 2, 1, 1), (5, 1, 1, 2), (3, 1, 2, 2), (2, 1, 1, 1), (3, 2, 2, 0)] {
        for width in [5, 7, 8, 9, 14, 15, 23, 28] {
            let graph = parse(&windows(window, width)).expect("the text is a graph");
            let inputs = common::inputs(&graph, &Bindings::new(), 3);
            for (rows, vectors) in [(1, 1), (1, 2), (3, 3), (2, 4), (3, 6)] {
                for channels in [2, 5] {
                    let schedule =
                        Schedule::Tile { rows, vectors, channels, flight: 4usize.div_ceil(vectors), halves: true };
                    let lowered = lower(&graph, &TargetInfo::AVX512, Some(schedule));
                    if lowered.schedules["product"].first() == Some(&schedule) {
                        obeyed += 1;
                        agrees(&graph, &inputs, &lowered, &format!("{schedule} for {window:?}, width {width}"));
                    }
                }
            }
        }
    }
    assert!(obeyed > 200, "{obeyed}");
}

#[test]
fn points_may_have_an_odd_number_of_halves() {
    let graph = parse(&linear("hyb<256,1,4>").replace("70", "49")).expect("the text is a graph");
    let inputs = common::inputs(&graph, &Bindings::new(), 3);
    for vectors in [1, 3, 7, 13] {
        let schedule =
            Schedule::Tile { rows: 1, vectors, channels: 20, flight: 4usize.div_ceil(vectors), halves: true };
        let lowered = lower(&graph, &TargetInfo::AVX512, Some(schedule));
        assert_eq!(lowered.schedules["product"].first(), Some(&schedule));
        agrees(&graph, &inputs, &lowered, &schedule.to_string());
    }
}

#[test]
fn minimal_filtering_and_the_direct_kernel_compute_the_same() {
    let text = conv("dense", 32, 14);
    check(&text);
    let graph = parse(&text).expect("the text is a graph");
    let offered = lower(&graph, &TargetInfo::AVX512, None).schedules.remove("product").expect("a choice");
    assert!(matches!(offered.first(), Some(Schedule::Filtering { .. })), "{offered:?}");
    assert!(offered.iter().any(|s| matches!(s, Schedule::Pieces { .. })), "{offered:?}");
}

#[test]
fn selectors_are_cut_between_groups() {
    let w: String = (0..24 * 48).map(|i| if matches!((i + i / 48) % 4, 0 | 3) { "1.5, " } else { "0.0, " }).collect();
    let text = linear("nm<2,4>").replace("random(seed=5, density=0.3)", &format!("{{{}}}", w.trim_end_matches(", ")));
    assert!(check(&text) > 4);
}

#[test]
fn what_is_not_possible_is_not_obeyed() {
    let graph = parse(&linear("hyb<256,1,4>")).expect("the text is a graph");
    let own = lower(&graph, &TargetInfo::AVX2, None).schedules["product"][0];
    for wrong in [
        "tile(rows=1,vectors=99,channels=8,flight=1)",
        "tile(rows=1,vectors=1,channels=100000,flight=1)",
        "tile(rows=1,vectors=1,channels=0,flight=1)",
        "tile(rows=1,vectors=1,channels=8,flight=77)",
        "pieces(height=6,vectors=2,tail=0,channels=8)",
    ] {
        let wrong: Schedule = wrong.parse().expect("a schedule");
        let lowered = lower(&graph, &TargetInfo::AVX2, Some(wrong));
        assert_ne!(lowered.schedules["product"][0], wrong);
        agrees(&graph, &common::inputs(&graph, &Bindings::new(), 3), &lowered, "a wrong schedule");
    }
    assert_eq!(lower(&graph, &TargetInfo::AVX2, None).schedules["product"][0], own);
}
