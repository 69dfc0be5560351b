//! The inner loops of the kernels that matter, as LLVM makes them: which instructions, how many loads, and no spills.
//!
//! A schedule decides how often each loaded vector is used; only the assembly shows whether it came out so. These tests
//! state what a loop must have at least, not what it looks like.

mod listing;

use listing::{Loop, hottest, multiplying};
use sparsec_graph::Graph;
use sparsec_llvm::{EmitOptions, Target, emit};
use sparsec_lower::{TargetInfo, lower};

/// A machine: name, triple, what schedules know of it, and its widest vector registers.
struct Machine {
    cpu: &'static str,
    triple: &'static str,
    info: TargetInfo,
    register: &'static str,
}

const AVX2: Machine =
    Machine { cpu: "x86-64-v3", triple: "x86_64-unknown-linux-gnu", info: TargetInfo::AVX2, register: "%ymm" };
const AVX512: Machine =
    Machine { cpu: "x86-64-v4", triple: "x86_64-unknown-linux-gnu", info: TargetInfo::AVX512, register: "%zmm" };
/// The same machine, where a kernel's vectors are halves of its registers: 3x3 convolutions of sparse weights, whose loads then stay
/// within a cache line.
const HALVES: Machine = Machine { register: "%ymm", ..AVX512 };
const NEON: Machine =
    Machine { cpu: "neoverse-n1", triple: "aarch64-unknown-linux-gnu", info: TargetInfo::NEON, register: ".4s" };

/// Y = W X, W of 768 x 768, 128 columns.
fn product(format: &str, density: f64) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[768, 128]
  const %1 "w": f32[768, 768] random(seed=5, density={density:?})
  %2 = contract "mk,kn->mn" (%1, %0) format {format}
  output "y" = %2
}}"#
    )
}

/// A 3x3 convolution of 128 channels on an image of 28 x 28, stride 1.
fn convolution(format: &str, density: f64) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[1, 128, 28, 28]
  const %1 "w": f32[128, 128, 3, 3] random(seed=5, density={density:?})
  %2 = conv (%0, %1) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 format {format}
  output "y" = %2
}}"#
    )
}

/// The assembly of a graph's kernels on a machine.
fn assembly(text: &str, machine: &Machine) -> String {
    let graph: Graph = sparsec_graph::parse(text).expect("a graph");
    let program = lower(&graph, &machine.info).expect("lowers").program;
    let target = Target::new(Some(machine.triple), machine.cpu).expect("known");
    let options = EmitOptions { assembly: true, ..EmitOptions::default() };
    emit(&program, &target, options).expect("compiles").assembly.expect("asked for")
}

/// The loop with the most multiply-adds of a graph's kernels on a machine.
fn inner_loop(text: &str, machine: &Machine) -> Loop {
    hottest(&assembly(text, machine), machine.register).expect("a loop")
}

/// What a loop must have at least: multiply-adds in a round of it, and multiply-adds for each load of any kind.
///
/// A core of x86 issues two loads and one or two multiply-adds in a cycle, Neoverse N1 two and two. So a product that
/// loads as often as it multiplies can reach the peak where one 512-bit multiply-add is issued, and half of it where two.
fn holds(case: &str, text: &str, machine: &Machine, fmas: usize, fmas_per_load: f64) {
    let found = inner_loop(text, machine);
    let listing = || format!("{case} on {}, {}:\n{}", machine.cpu, found.function, found.lines.join("\n"));
    assert_eq!(found.stack, 0, "the stack is used in {}", listing());
    assert!(found.fmas >= fmas, "{} multiply-adds in {}", found.fmas, listing());
    let ratio = found.fmas_per_load();
    assert!(
        ratio >= fmas_per_load,
        "{ratio:.2} multiply-adds for each of {} loads ({} in multiply-adds, {} vectors, {} broadcasts, {} scalars) in {}",
        found.loads(),
        found.folded,
        found.vectors,
        found.broadcasts,
        found.scalars,
        listing()
    );
}

#[test]
fn rows_of_nonzeros() {
    for density in [0.1, 0.2] {
        for (case, text, wide) in [
            ("hyb product", product("hyb<128,4,4>", density), &AVX512),
            ("hyb 3x3 convolution", convolution("hyb<128,4,4>", density), &HALVES),
        ] {
            // A nonzero loads T vectors, one value and one offset; the offsets and values of neighbours come together
            // on NEON, and a wide register halves what T is worth.
            holds(case, &text, &AVX2, 8, 0.66);
            holds(case, &text, wide, 8, 0.80);
            holds(case, &text, &NEON, 8, 0.82);
        }
    }
}

/// A pair of rows has two loops, and `hottest` sees one of them. Columns of both rows load X once for two multiply-adds,
/// columns of one row once for each. What is left are values and offsets, shuffles and the loop's end: so many
/// instructions a round, however many vectors there are.
#[test]
fn both_loops_of_a_pair_of_rows_are_lean() {
    for (case, text, wide) in [
        ("product", product("hyb<128,4,4>", 0.1), &AVX512),
        ("3x3 convolution", convolution("hyb<128,4,4>", 0.1), &HALVES),
    ] {
        for machine in [&AVX2, wide, &NEON] {
            let mut loops = multiplying(&assembly(&text, machine), machine.register);
            // X is a vector, by itself or in a multiply-add.
            loops.sort_by_key(|l| l.folded + l.vectors);
            let [shared, single] = loops.as_slice() else { panic!("{} loops of {case}", loops.len()) };
            for (found, rows, most_loads, most_others) in [(shared, 2, 2, 7), (single, 1, 3, 9)] {
                let listing = format!("{case} on {}:\n{}", machine.cpu, found.lines.join("\n"));
                let x = found.folded + found.vectors;
                assert_eq!(found.stack, 0, "the stack is used in {listing}");
                assert!(found.fmas >= 8, "{} multiply-adds in {listing}", found.fmas);
                assert_eq!(x * rows, found.fmas, "{x} loads of X, {} multiply-adds in {listing}", found.fmas);
                let loads = found.broadcasts + found.scalars;
                assert!(loads <= most_loads, "{loads} loads of values and offsets in {listing}");
                let others = found.lines.len() - found.fmas - found.vectors;
                assert!(others <= most_others, "{others} instructions beside X and multiply-adds in {listing}");
            }
        }
    }
}

#[test]
fn panels_share_the_loads_of_x() {
    let text = product("bsr<4,1>", 0.2);
    holds("bsr<4,1> product", &text, &AVX2, 12, 1.5);
    holds("bsr<4,1> product", &text, &AVX512, 16, 1.77);
    holds("bsr<4,1> product", &text, &NEON, 16, 2.4);
}

#[test]
fn dense_tiles() {
    // 784 pixels are 16 pieces of 3 vectors of 16 and a tail of one pixel, which loads itself and its weights.
    for (case, text, wide) in
        [("dense product", product("dense", 1.0), 2.18), ("dense 3x3 convolution", convolution("dense", 1.0), 1.84)]
    {
        // Twelve sums hide a latency of four cycles on two pipes, with two to spare; 32 registers hold twice as many.
        holds(case, &text, &AVX2, 12, 1.33);
        holds(case, &text, &AVX512, 24, wide);
        holds(case, &text, &NEON, 24, 2.4);
    }
}

#[test]
fn vectors_are_as_wide_as_the_machine() {
    let text = product("hyb<128,4,4>", 0.1);
    // The loop is looked for by register, so another width would not be found: its narrower half must hold none.
    for (machine, narrower) in [(&AVX2, "%xmm"), (&AVX512, "%ymm")] {
        let found = inner_loop(&text, machine);
        let narrow = found.lines.iter().filter(|l| l.starts_with("vfmadd") && l.contains(narrower)).count();
        assert_eq!(narrow, 0, "{}\n{}", machine.cpu, found.lines.join("\n"));
    }
}

#[test]
fn loops_are_found_and_counted() {
    let assembly = "\
g_outer:
	movq	%rdi, 8(%rsp)
.LBB0_1:
	movzwl	(%rdi,%rcx,2), %r9d
.LBB0_2:                                # =>This Inner Loop
	vbroadcastss	(%rsi,%rcx,4), %zmm8
	vfmadd231ps	(%rdx,%r9), %zmm8, %zmm0 # zmm0 = (zmm8 * mem) + zmm0
	vfmadd231ps	(%rsi){1to16}, %zmm7, %zmm1
	vmovups	%zmm3, (%rax)
	vmovups	64(%rsp), %zmm5
	leaq	(%rdi,%rdi), %rbx
	cmpq	$3, (%rbx)
	jne	.LBB0_2
	jmp	.LBB0_1
.Lfunc_end0:
";
    let found = hottest(assembly, "%zmm").expect("a loop");
    assert_eq!((found.function.as_str(), found.lines.len()), ("g_outer", 8));
    assert_eq!((found.fmas, found.folded, found.broadcasts), (2, 1, 2));
    assert_eq!((found.vectors, found.scalars, found.stack), (1, 1, 1));
    assert!((found.fmas_per_load() - 0.4).abs() < 1e-9);

    let arm = "\
g_arm:
.LBB1_1:                                // in Loop
	ldp	q0, q1, [x8]
	ld1r	{ v2.4s }, [x9]
	ldrh	w10, [x11, x12, lsl #1]
	fmla	v3.4s, v0.4s, v2.s[1]
	fmla	v4.4s, v1.4s, v2.4s
	str	q0, [sp, #16]
	prfm	pldl1keep, [x1]
	b.ne	.LBB1_1
.Lfunc_end1:
";
    let found = hottest(arm, ".4s").expect("a loop");
    assert_eq!((found.fmas, found.folded, found.broadcasts), (2, 0, 1));
    assert_eq!((found.vectors, found.scalars, found.stack), (1, 1, 1));
}
