//! The text form: every instruction reads back as it prints, and is what NVIDIA's assembler accepts. And what the verifier
//! finds wrong.

use sparsec_ptx::{ParseError, Target, parse_module, print_module, verify_module};
use sparsec_ptxas::{Ptxas, Tools};

/// Declarations around a body that may use a few of each class of registers.
fn module(target: Target, body: &str) -> String {
    format!(
        "// test\n.version 8.5\n.target {target}\n.address_size 64\n.shared .align 16 .b8 tile[4096];\n\
         .extern .shared .align 16 .b8 more[];\n.const .align 4 .b8 table[4] = {{1, 2, 3, 255}};\n\n// a kernel\n\
         .visible .entry kernel(\n    .param .u64 at,\n    .param .s32 n)\n.maxntid 128, 1, 1\n.minnctapersm 2\n{{\n    \
         .reg .pred %p<4>;\n    .reg .b16 %h<4>;\n    .reg .b32 %r<24>;\n    .reg .b64 %rd<6>;\n    .reg .f32 %f<12>;\n    \
         .reg .f64 %fd<4>;\n{body}}}\n"
    )
}

/// Gives every register that the instructions below read a value.
const START: &str = "    ld.param.u64 %rd0, [at];
    ld.param.s32 %r0, [n];
    cvta.to.global.u64 %rd1, %rd0;
    mov.u32 %r1, %laneid;
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, tile;
    mov.u32 %r4, more;
    setp.lt.s32 %p0, %r1, %r0;
    @%p0 bra $L0;
    bra.uni $L1;
$L0:
    // reached by some
$L1:
    mov.f32 %f0, 0f3F800000;
    mov.f64 %fd0, 0d3FF0000000000000;
    mov.b16 %h0, 5;
    mov.pred %p1, %p0;
    mov.b64 %rd2, -1;
    mov.f32 %f1, %f0;
    mov.f32 %f2, %f0;
    mov.f32 %f3, %f0;
";

/// Each instruction once or more; all run on `sm_80`.
const ALL: &str = "    mov.b32 %r5, %f0;
    mov.b64 {%r6, %r7}, %rd0;
    mov.b64 %rd3, {%r6, %r7};
    cvt.u16.u32 %h1, %r6;
    mov.b32 %r8, {%h0, %h1};
    mov.b32 {%h2, %h3}, %r8;
    neg.f32 %f4, %f0;
    abs.s32 %r9, %r0;
    not.b32 %r9, %r9;
    not.pred %p2, %p1;
    sqrt.rn.f32 %f4, %f0;
    rcp.rn.f64 %fd1, %fd0;
    popc.b32 %r9, %r1;
    clz.b64 %r9, %rd0;
    brev.b32 %r9, %r1;
    add.s32 %r10, %r0, 7;
    add.rn.f32 %f4, %f0, %f1;
    add.rn.f16 %h1, %h0, %h0;
    sub.s64 %rd3, %rd0, 16;
    mul.lo.s32 %r10, %r0, %r1;
    mul.rn.f64 %fd1, %fd0, %fd0;
    mul.hi.u32 %r10, %r0, %r1;
    mul.wide.s32 %rd3, %r0, 4;
    div.rn.f32 %f4, %f0, %f1;
    div.u32 %r10, %r0, 10;
    rem.s32 %r10, %r0, 10;
    min.s32 %r10, %r0, %r1;
    max.f32 %f4, %f0, %f1;
    and.b32 %r10, %r0, 31;
    and.pred %p2, %p0, %p1;
    or.b64 %rd3, %rd0, %rd2;
    xor.b32 %r10, %r0, %r1;
    shl.b32 %r10, %r0, 2;
    shr.s32 %r10, %r0, %r1;
    mad.lo.s32 %r10, %r0, %r1, %r2;
    mad.wide.u32 %rd3, %r1, 4, %rd1;
    fma.rn.f32 %f4, %f0, 0f40000000, %f1;
    fma.rn.bf16x2 %r10, %r8, %r8, %r8;
    dp4a.s32.u32 %r10, %r0, %r1, %r2;
    bfe.u32 %r10, %r0, 3, 5;
    bfi.b32 %r10, %r0, %r1, 8, 8;
    prmt.b32 %r10, %r0, %r1, 29968;
    cvt.rn.f32.s32 %f4, %r0;
    cvt.rzi.s32.f32 %r10, %f0;
    cvt.rmi.f32.f32 %f4, %f0;
    cvt.s64.s32 %rd3, %r0;
    cvt.s32.s8 %r10, %r0;
    cvt.rn.f16.f32 %h1, %f0;
    cvt.f32.f16 %f4, %h0;
    cvt.rn.bf16.f32 %h1, %f0;
    cvt.sat.u8.s32 %r10, %r0;
    cvt.rna.tf32.f32 %r10, %f0;
    cvt.rn.f16x2.f32 %r10, %f0, %f1;
    cvt.rn.bf16x2.f32 %r10, %f0, %f1;
    setp.neu.f32 %p2, %f0, 0f00000000;
    setp.nan.f64 %p2, %fd0, %fd0;
    selp.b32 %r10, %r0, 5, %p0;
    selp.f32 %f4, %f0, 0f00000000, %p0;
    ld.global.nc.v4.f32 {%f4, %f5, %f6, %f7}, [%rd1];
    ld.global.v2.s32 {%r10, %r11}, [%rd1+8];
    ld.global.u8 %r10, [%rd1+-4];
    ld.shared.b16 %h1, [tile+16];
    ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r3];
    ld.const.u8 %r10, [table+1];
    st.global.cs.f32 [%rd1], %f0;
    @!%p0 st.global.v4.f32 [%rd1], {%f0, %f1, %f2, %f3};
    st.shared.b8 [%r3+1], %r0;
    prefetch.global.L2 [%rd1];
    cvta.global.u64 %rd4, %rd1;
    bar.sync 0;
    bar.sync 1, 64;
    bar.warp.sync -1;
    shfl.sync.bfly.b32 %f4|%p2, %f0, 16, 31, -1;
    shfl.sync.idx.b32 %r10, %r0, %r1, 31, -1;
    shfl.sync.up.b32 %r10, %r0, 1, 0, -1;
    shfl.sync.down.b32 %r10, %r0, 1, 31, -1;
    vote.sync.any.pred %p2, %p0, -1;
    vote.sync.ballot.b32 %r10, %p0, -1;
    atom.global.add.u32 %r10, [%rd1], 1;
    atom.shared.cas.b32 %r10, [tile], 1, 2;
    red.global.add.f32 [%rd1], %f0;
    fence.acq_rel.gpu;
    cp.async.cg.shared.global [%r3], [%rd1], 16;
    cp.async.ca.shared.global [%r3+16], [%rd1], 4, %r0;
    cp.async.commit_group;
    cp.async.wait_group 1;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r3];
    ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r3];
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f0, %f1, %f2, %f3};
    mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f0, %f1, %f2, %f3};
    mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r16, %r17}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%r10, %r11};
    mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11}, {%r14}, {%f0, %f1, %f2, %f3};
    mma.sp::ordered_metadata.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11}, {%r14, %r15}, {%f0, %f1, %f2, %f3}, %r10, 3;
    mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11, %r12, %r13}, {%r14, %r15, %r10, %r11}, {%f0, %f1, %f2, %f3}, %r10, 1;
";

/// What `sm_90a` has beyond that. Registers of sums are those that hold something.
const HOPPER: &str = "    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0, %f1, %f2, %f3}, %rd0, %rd1, %p0, 1, -1, 0, 1;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, {%r10, %r11, %r12, %r13}, %rd1, %p0, 1, 1, 1;
    wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32 {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}, %rd0, %rd1, %p0, 1, 1;
    wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {%f0, %f1, %f2, %f3}, {%r10, %r11, %r12, %r13}, %rd1, %p0, 1, 1;
    wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%f0, %f1, %f2, %f3}, %rd0, %rd1, %r10, 0, %p0, 1, 1, 0, 0;
    wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, {%r10, %r11, %r12, %r13}, %rd1, %r10, 1, %p0, 1, 1, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    fence.proxy.async.shared::cta;
    mbarrier.init.shared::cta.b64 [tile+8], 1;
    @%p2 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3+8], 64;
    @%p2 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r3+16], [%rd1], 64, [tile+8];
    mbarrier.try_wait.parity.shared::cta.b64 %p2, [tile+8], %r0;
";

const END: &str = "    @%p2 exit;
    @%p1 trap;
    ret;
";

#[test]
fn every_instruction_reads_back_and_assembles() {
    let tools = Tools::find();
    for target in Target::ALL {
        let own = if *target == Target::Sm90a { HOPPER } else { "" };
        let text = module(*target, &format!("{START}{ALL}{own}{END}"));
        let parsed = parse_module(&text).unwrap_or_else(|e| panic!("{e}: {:?}", text.lines().nth(e.line - 1)));
        assert_eq!(verify_module(&parsed), Ok(()));
        assert_eq!(print_module(&parsed), text);
        for (tools, ptxas) in tools.iter().flat_map(|t| Ptxas::ALL.map(|v| (t, v))) {
            let assembled = tools.assemble(ptxas, &text, target.name());
            assembled.unwrap_or_else(|e| panic!("{ptxas}: {e}\n{text}"));
        }
    }
}

/// The errors of a body after [`START`], as text.
fn errors(body: &str) -> String {
    errors_on(Target::Sm80, body)
}

fn errors_on(target: Target, body: &str) -> String {
    let text = module(target, &format!("{START}    {body}\n    ret;\n"));
    let parsed = parse_module(&text).unwrap_or_else(|e| panic!("{e}: {body}"));
    verify_module(&parsed).map_or_else(|e| e.to_string(), |()| "no error".to_owned())
}

#[test]
fn what_the_verifier_finds() {
    for (body, expected) in [
        ("add.s32 %f0, %r0, %r1;", "register %f0 stands where s32 is expected"),
        ("add.s32 %r5, %r0, %rd0;", "register %rd0 stands where s32 is expected"),
        ("add.rn.f32 %f4, %f0, 3;", "a number stands where f32 is expected"),
        ("add.s32 %r5, %r0, %r40;", "register %r40 is not declared"),
        ("add.s32 %r5, %r0, %r6;", "%r6 is read where it may not have been written"),
        ("@%p0 mov.b32 %r5, 1;\n    st.shared.b32 [%r3], %r5;", "%r5 is read where it may not have been written"),
        ("bra $L9;", "$L9 does not exist"),
        ("$L0:", "$L0 stands twice"),
        ("@%p0 bar.sync 0;", "all threads must take part"),
        ("ld.global.f32 %f4, [%r3];", "register %r3 stands where an address of global memory is expected"),
        ("ld.global.f32 %f4, [tile];", "the address is one of shared memory, global expected"),
        ("ld.shared.v4.f32 {%f4, %f5, %f6, %f7}, [tile+8];", "the address is not aligned to 16 bytes"),
        ("ld.shared.f32 %f4, [tile+4096];", "4 bytes at 4096 are outside of the array"),
        ("ld.shared.nc.f32 %f4, [tile];", "only global memory has hints for caches"),
        ("st.global.nc.f32 [%rd1], %f0;", "a store cannot have this hint"),
        ("st.const.f32 [%rd1], %f0;", "the space cannot be written"),
        ("add.rn.bf16 %h1, %h0, %h0;", "the instruction does not exist for this type"),
        ("cvt.f32.s32 %f4, %r0;", "the conversion takes no or another rounding"),
        ("shr.b8 %r5, %r0, 1;", "the instruction does not exist for this type"),
        ("cp.async.cg.shared.global [%r3], [%rd1], 8;", "`.cg` copies 16 bytes"),
        (
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f4, %f5, %f6, %f7}, {%r0, %r1}, {%r2}, {%f0, %f1, %f2, %f3};",
            "of A 4, of B 2",
        ),
    ] {
        let found = errors(body);
        assert!(found.contains(expected), "{body}: {found}");
    }
}

#[test]
fn what_the_verifier_finds_of_warp_groups() {
    let product =
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0, %f1, %f2, %f3}, %rd0, %rd1, %p0, 1, 1, 0, 0;";
    let wide = product.replace("m64n8k16", "m64n12k16");
    let few = product.replace("m64n8k16", "m64n16k16");
    let unset = product.replace("%f3}", "%f4}");
    let guarded = format!("@%p0 {product}");
    let transposed =
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0, %f1, %f2, %f3}, {%r0, %r1}, %rd1, %p0, 1, 1, 0;";
    let sparse = "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%f0, %f1, %f2, %f3}, %rd0, %rd1, %r0, 2, %p0, 1, 1, 0, 0;";
    for (body, expected) in [
        (product, "no error"),
        (&wide, "there are 8, 16, ... 256 columns"),
        (&few, "a thread has half as many sums as there are columns"),
        (&unset, "%f4 is read where it may not have been written"),
        (&guarded, "all threads must take part"),
        (transposed, "the fragment of A has 4 registers"),
        (sparse, "the selector is below 2"),
        ("mbarrier.init.shared::cta.b64 [tile+4], 1;", "the address is not aligned to 8 bytes"),
        ("mbarrier.init.shared::cta.b64 [tile], 0;", "a barrier has 1 to 1048575 arrivals"),
        ("mbarrier.arrive.expect_tx.shared::cta.b64 _, [tile], 1048576;", "a barrier counts up to 1048575 bytes"),
        (
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile+8], [%rd1], 64, [tile];",
            "the address is not aligned to 16 bytes",
        ),
        (
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1], 24, [tile+64];",
            "a multiple of 16 bytes is copied",
        ),
    ] {
        let found = errors_on(Target::Sm90a, body);
        assert!(found.contains(expected), "{body}: {found}");
    }
    assert!(errors(product).contains("only sm_90a has the instruction"), "{}", errors(product));
}

/// A product of a warp group within `@P bra` and its label.
#[test]
fn warps_of_a_group_stay_together() {
    for (predicate, fine) in [
        ("setp.lt.s32 %p2, %r0, 5;", true),
        // The number of the lane, of the warp, and of the group.
        ("setp.lt.u32 %p2, %r1, 3;", false),
        ("shr.u32 %r6, %r2, 5;\n    setp.lt.u32 %p2, %r6, 3;", false),
        ("shr.u32 %r6, %r2, 7;\n    setp.lt.u32 %p2, %r6, 3;", true),
        ("and.b32 %r6, %r2, 64;\n    setp.lt.u32 %p2, %r6, 3;", false),
        ("div.u32 %r6, %r2, 128;\n    setp.lt.u32 %p2, %r6, 3;", true),
        // What a lane of the same warp hands to the others.
        ("shfl.sync.idx.b32 %r6, %r2, 0, 31, -1;\n    setp.lt.u32 %p2, %r6, 3;", false),
    ] {
        for collective in ["wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 0;"] {
            let found = errors_on(Target::Sm90a, &format!("{predicate}\n    @%p2 bra $L5;\n    {collective}\n$L5:"));
            let expected = if fine { "no error" } else { "all threads of a warp group must take part" };
            assert!(found.contains(expected), "{predicate} {collective}: {found}");
        }
    }
}

/// Barriers and the like within `@P bra` and its label, for predicates that are the same in all lanes, and others.
#[test]
fn what_all_lanes_take_part_in_stands_where_all_lanes_come() {
    let sum = |distances: &[u32]| -> String {
        let step = |d: &u32| format!("shfl.sync.bfly.b32 %r7, %r6, {d}, 31, -1;\n    add.s32 %r6, %r6, %r7;\n    ");
        // Each step has registers of its own, as the emitter's have.
        let mut text = "mov.b32 %r6, %r1;\n    ".to_owned();
        for (i, d) in distances.iter().enumerate() {
            let (from, other, to) = (6 + 2 * i, 7 + 2 * i, 8 + 2 * i);
            let one = step(d).replace("%r7", "%rO").replace("%r6, %r6", "%rT, %rF").replace("%r6", "%rF");
            text += &one
                .replace("%rO", &format!("%r{other}"))
                .replace("%rT", &format!("%r{to}"))
                .replace("%rF", &format!("%r{from}"));
        }
        text + &format!("setp.lt.s32 %p2, %r{}, 9;", 6 + 2 * distances.len())
    };
    let shared = "bar.sync 0;";
    for (predicate, collective, fine) in [
        ("setp.lt.s32 %p2, %r1, %r0;".to_owned(), shared, false),
        ("setp.lt.s32 %p2, %r1, %r0;".to_owned(), "bar.warp.sync -1;", false),
        ("setp.lt.s32 %p2, %r1, %r0;".to_owned(), "bar.warp.sync 3;", true),
        ("setp.lt.s32 %p2, %r0, 5;".to_owned(), shared, true),
        // The number of the warp, and that of the lane.
        ("shr.u32 %r6, %r2, 5;\n    setp.lt.u32 %p2, %r6, 3;".to_owned(), shared, true),
        ("shr.u32 %r6, %r2, 4;\n    setp.lt.u32 %p2, %r6, 3;".to_owned(), shared, false),
        ("and.b32 %r6, %r2, 31;\n    setp.lt.u32 %p2, %r6, 3;".to_owned(), shared, false),
        // What one address holds, and what each lane's holds.
        ("ld.shared.s32 %r6, [tile];\n    setp.lt.s32 %p2, %r6, 3;".to_owned(), shared, true),
        (
            "add.s32 %r7, %r3, %r1;\n    ld.shared.s32 %r6, [%r7];\n    setp.lt.s32 %p2, %r6, 3;".to_owned(),
            shared,
            false,
        ),
        ("shfl.sync.idx.b32 %r6, %r1, 0, 31, -1;\n    setp.lt.s32 %p2, %r6, 3;".to_owned(), shared, true),
        ("vote.sync.any.pred %p2, %p0, -1;".to_owned(), shared, true),
        (sum(&[16, 8, 4, 2, 1]), shared, true),
        (sum(&[16, 8, 4, 2]), shared, false),
        (sum(&[16, 8, 4, 2, 2]), shared, false),
        // What lanes write after they parted depends on it.
        (
            "mov.b32 %r6, 1;\n    @%p0 bra $L6;\n    mov.b32 %r6, 2;\n$L6:\n    setp.lt.s32 %p2, %r6, 2;".to_owned(),
            shared,
            false,
        ),
        ("mov.b32 %r6, 1;\n    @%p0 mov.b32 %r6, 2;\n    setp.lt.s32 %p2, %r6, 2;".to_owned(), shared, false),
    ] {
        let found = errors(&format!("{predicate}\n    @%p2 bra $L5;\n    {collective}\n$L5:"));
        let expected = if fine { "no error" } else { "some may have gone another way" };
        assert!(found.contains(expected), "{predicate} {collective}: {found}");
        // Where they have met again.
        let found =
            errors(&format!("{predicate}\n    @%p2 bra $L5;\n    st.shared.b32 [%r3], %r0;\n$L5:\n    {collective}"));
        assert!(found.contains("no error"), "{predicate} {collective}: {found}");
    }
    // A loop that lanes leave one by one, and lanes that end.
    let body = "mov.b32 %r6, 0;\n$L5:\n    add.s32 %r6, %r6, 1;\n    bar.sync 0;\n    setp.lt.s32 %p2, %r6, %r1;\n    @%p2 bra $L5;";
    assert!(errors(body).contains("some may have gone another way"), "{}", errors(body));
    assert_eq!(errors(&body.replace("%r6, %r1;", "%r6, %r0;")), "no error");
    assert!(errors("@%p0 exit;\n    bar.sync 0;").contains("some may have gone another way"));
}

#[test]
fn what_is_no_text_of_a_module() {
    let error = |text: &str| parse_module(text).expect_err("no module");
    assert_eq!(error(""), ParseError { line: 1, message: "the text ends where a version should follow".to_owned() });
    let wrong = module(Target::Sm80, "    frob.s32 %r0, %r1;\n");
    assert_eq!(error(&wrong).message, "`frob.s32` is no instruction that this crate knows");
    let wrong = module(Target::Sm80, "    add.s32 %r0, %r1, 3, 4;\n");
    assert_eq!(error(&wrong).message, "the operand `4` is one too many");
    let wrong = module(Target::Sm80, "    ld.shared.f32 %f0, [nowhere];\n");
    assert_eq!(error(&wrong).message, "`nowhere` is not declared");
}
