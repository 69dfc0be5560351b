//! Each instruction with values computed by hand.

mod common;

use common::{lanes, words};
use sparsec_ptxas::{Ptxas, Tools};

/// Instructions that leave their result in `%r1`, `%rd3`, `%h1`, `%f1`, `%fd1` or `%p1`, and its bits.
const CASES: &[(&str, u64)] = &[
    // Integers.
    ("add.u32 %r1, 4294967295, 2", 1),
    ("sub.s32 %r1, 3, 5", 0xffff_fffe),
    ("mul.lo.u32 %r1, 65537, 65537", 0x0002_0001),
    ("mul.hi.u32 %r1, 4294967295, 4294967295", 0xffff_fffe),
    ("mul.hi.s32 %r1, -1, 5", 0xffff_ffff),
    ("mul.wide.s32 %rd3, -3, 5", 0xffff_ffff_ffff_fff1),
    ("mul.wide.u32 %rd3, 4294967295, 2", 0x1_ffff_fffe),
    ("div.s32 %r1, -7, 2", 0xffff_fffd),
    ("div.u32 %r1, 4294967289, 2", 0x7fff_fffc),
    ("rem.s32 %r1, -7, 2", 0xffff_ffff),
    ("rem.u64 %rd3, 17, 5", 2),
    ("min.s32 %r1, -1, 1", 0xffff_ffff),
    ("min.u32 %r1, -1, 1", 1),
    ("max.s64 %rd3, -1, 1", 1),
    ("and.b32 %r1, 12, 10", 8),
    ("or.b32 %r1, 12, 10", 14),
    ("xor.b32 %r1, 12, 10", 6),
    ("not.b32 %r1, 5", 0xffff_fffa),
    ("shl.b32 %r1, 3, 4", 48),
    ("shl.b32 %r1, 3, 32", 0),
    ("shr.u32 %r1, 4294967295, 28", 15),
    ("shr.u32 %r1, 4294967295, 40", 0),
    ("shr.s32 %r1, -16, 2", 0xffff_fffc),
    ("shr.s32 %r1, -16, 99", 0xffff_ffff),
    ("neg.s32 %r1, 5", 0xffff_fffb),
    ("abs.s32 %r1, -5", 5),
    ("popc.b32 %r1, 61441", 5),
    ("clz.b32 %r1, 1", 31),
    ("clz.b64 %r1, 0", 64),
    ("brev.b32 %r1, 1", 0x8000_0000),
    ("mad.lo.s32 %r1, -2, 3, 10", 4),
    ("mad.wide.u32 %rd3, 4294967295, 4294967295, 1", 0xffff_fffe_0000_0002),
    ("bfe.u32 %r1, 54448, 4, 8", 0x4b),
    ("bfe.s32 %r1, 240, 4, 4", 0xffff_ffff),
    ("bfe.s32 %r1, -2147483648, 28, 20", 0xffff_fff8),
    ("bfi.b32 %r1, 15, 0, 8, 4", 0xf00),
    ("bfi.b32 %r1, 0, -1, 4, 8", 0xffff_f00f),
    // Bytes 3, 2, 1, 0 of the first, sign of byte 7.
    ("prmt.b32 %r1, 287454020, -2146365167, 291", 0x4433_2211),
    ("prmt.b32 %r1, 287454020, -2146365167, 61440", 0xff44_4444),
    // 1*5 + 2*6 + 3*7 + (-1)*8 + 100
    ("dp4a.s32.u32 %r1, -16580095, 134678021, 100", 130),
    // f32.
    ("add.rn.f32 %f1, 0f3F800000, 0f33800000", 0x3f80_0000), // 1 + 2^-24
    ("add.rn.f32 %f1, 0f3F800000, 0f33800001", 0x3f80_0001),
    ("sub.rn.f32 %f1, 0f7F800000, 0f7F800000", 0x7fff_ffff), // inf - inf
    ("mul.rn.f32 %f1, 0f40400000, 0f3F000000", 0x3fc0_0000), // 3 / 2
    ("div.rn.f32 %f1, 0f3F800000, 0f40400000", 0x3eaa_aaab), // 1 / 3
    ("sqrt.rn.f32 %f1, 0f40000000", 0x3fb5_04f3),
    ("rcp.rn.f32 %f1, 0f40400000", 0x3eaa_aaab),
    // (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24; with the product rounded it would be 0.
    ("fma.rn.f32 %f1, 0f3F800800, 0f3F800800, 0fBF801000", 0x3380_0000),
    ("min.f32 %f1, 0f7FC00000, 0f3F800000", 0x3f80_0000),
    ("max.f32 %f1, 0f80000000, 0f00000000", 0),
    ("min.f32 %f1, 0f00000000, 0f80000000", 0x8000_0000),
    ("neg.f32 %f1, 0f3F800000", 0xbf80_0000),
    ("abs.f32 %f1, 0fBF800000", 0x3f80_0000),
    // f64.
    ("add.rn.f64 %fd1, 0d3FF0000000000000, 0d3FF0000000000000", 0x4000_0000_0000_0000),
    ("div.rn.f64 %fd1, 0d3FF0000000000000, 0d4008000000000000", 0x3fd5_5555_5555_5555),
    ("fma.rn.f64 %fd1, 0d4000000000000000, 0d4008000000000000, 0d3FF0000000000000", 0x401c_0000_0000_0000),
    // Conversions.
    ("cvt.rzi.s32.f32 %r1, 0fC0333333", 0xffff_fffe), // -2.8
    ("cvt.rni.s32.f32 %r1, 0f40200000", 2),           // 2.5
    ("cvt.rmi.s32.f32 %r1, 0fC0200000", 0xffff_fffd),
    ("cvt.rpi.s32.f32 %r1, 0f40200000", 3),
    ("cvt.rzi.u32.f32 %r1, 0fC0200000", 0),
    ("cvt.rzi.s32.f32 %r1, 0f7F800000", 0x7fff_ffff),
    ("cvt.rn.f32.s32 %f1, 16777217", 0x4b80_0000),
    ("cvt.rz.f32.u32 %f1, 4294967295", 0x4f7f_ffff),
    ("cvt.rn.f16.f32 %h1, 0f3EAAAAAB", 0x3555),
    ("cvt.rn.bf16.f32 %h1, 0f3EAAAAAB", 0x3eab),
    ("cvt.rna.tf32.f32 %r1, 0f3F801000", 0x3f80_2000),
    ("cvt.rn.f16x2.f32 %r1, 0f40000000, 0f3F800000", 0x4000_3c00),
    ("cvt.rn.bf16x2.f32 %r1, 0f40000000, 0f3F800000", 0x4000_3f80),
    ("cvt.sat.u8.s32 %r1, 300", 255),
    ("cvt.s64.s32 %rd3, -2", 0xffff_ffff_ffff_fffe),
    ("cvt.u64.u32 %rd3, -2", 0xffff_fffe),
    ("cvt.rni.f32.f32 %f1, 0f40600000", 0x4080_0000), // 3.5
    // Comparisons: a predicate is shown as 1 or 0.
    ("setp.lt.s32 %p1, -1, 0", 1),
    ("setp.lt.u32 %p1, -1, 0", 0),
    ("setp.ne.f32 %p1, 0f7FC00000, 0f7FC00000", 0),
    ("setp.neu.f32 %p1, 0f7FC00000, 0f7FC00000", 1),
    ("setp.eq.f32 %p1, 0f80000000, 0f00000000", 1),
    ("setp.geu.f32 %p1, 0f7FC00000, 0f00000000", 1),
    ("setp.nan.f32 %p1, 0f7FC00000, 0f00000000", 1),
];

/// The register of the result, and how its low and high words are stored.
fn show(case: &str) -> &'static str {
    let operands = case.split_once(' ').map_or("", |(_, o)| o);
    match operands {
        o if o.starts_with("%rd3") => "st.global.u64 [%rd1], %rd3;",
        o if o.starts_with("%fd1") => "st.global.f64 [%rd1], %fd1;",
        o if o.starts_with("%f1") => "st.global.f32 [%rd1], %f1;",
        o if o.starts_with("%h1") => "st.global.u16 [%rd1], %h1;",
        o if o.starts_with("%p1") => "selp.u32 %r1, 1, 0, %p1;\nst.global.u32 [%rd1], %r1;",
        _ => "st.global.u32 [%rd1], %r1;",
    }
}

#[test]
fn values_by_hand() {
    let mut wrong = Vec::new();
    for (case, expected) in CASES {
        let out = words("", &format!("{case};\n{}", show(case)), &[]);
        let found = u64::from(out[0]) | u64::from(out[1]) << 32;
        if found != *expected {
            wrong.push(format!("{case}: {found:#x}, expected {expected:#x}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_assembler_knows_all_of_them() {
    let Some(tools) = Tools::find() else { return };
    let body: String = CASES.iter().map(|(case, _)| format!("{case};\n{}\n", show(case))).collect();
    let text = sparsec_ptx::print_module(&common::verified("", &body));
    for ptxas in Ptxas::ALL {
        tools.assemble(ptxas, &text, "sm_90a").unwrap_or_else(|e| panic!("{ptxas}: {e}"));
    }
}

#[test]
fn halves() {
    // Pairs of (1, 3) and (2048, 0.5): sums (2049 -> 2048, 3.5), products (2048, 1.5).
    let pair = |op: &str| lanes(&format!("mov.b32 %r2, 1107311616;\nmov.b32 %r3, 939550720;\n{op} %r1, %r2, %r3;"))[0];
    // 0x42003c00 and 0x38006800.
    assert_eq!(pair("add.rn.f16x2"), 0x4300_6800);
    assert_eq!(pair("mul.rn.f16x2"), 0x3e00_6800);
    assert_eq!(pair("max.f16x2"), 0x4200_6800);
    let fma = lanes("mov.b32 %r2, 1107311616;\nmov.b32 %r3, 939550720;\nfma.rn.f16x2 %r1, %r2, %r3, %r2;")[0];
    assert_eq!(fma, 0x4480_6800, "1 * 2048 + 1 rounds down; 3 * 0.5 + 3 is 4.5");
    let brain = lanes("mov.b32 %r2, 1077952512;\nmov.b32 %r3, 1065369472;\nfma.rn.bf16x2 %r1, %r2, %r3, %r3;")[0];
    // 0x40404000 (3, 2), 0x3f803f80 (1, 1): 4 and 3.
    assert_eq!(brain, 0x4080_4040);
}

#[test]
fn moves_between_widths() {
    let out = lanes("mov.b64 %rd3, {%r0, %r0};\nmov.b64 {%r2, %r3}, %rd3;\nadd.u32 %r1, %r2, %r3;");
    assert_eq!(out[5], 10);
    let out = lanes("mov.b32 {%h1, %h2}, %r0;\nmov.b32 %r1, {%h2, %h1};");
    assert_eq!(out[5], 5 << 16);
    let out = words("", "cvt.rn.f32.u32 %f1, %r0;\nmov.b32 %r1, %f1;\nst.global.u32 [%rd2], %r1;", &[]);
    assert_eq!(out[3], 3_f32.to_bits());
}

#[test]
fn loads_and_stores_of_all_widths() {
    let input: Vec<u8> = (0..64).map(|i| 200_u8.wrapping_add(i)).collect();
    let out = words("", "ld.global.s8 %r1, [%rd0+1];\nst.global.u32 [%rd2], %r1;", &input);
    assert_eq!(out[0] as i32, 201 - 256);
    let out = words("", "ld.global.u16 %r1, [%rd0+2];\nst.global.u8 [%rd2], %r1;", &input);
    assert_eq!(out[0], 202);
    let vector = "ld.global.nc.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0+16];\nst.global.v2.u32 [%rd1], {%r4, %r1};";
    assert_eq!(words("", vector, &input)[..2], [0xe7e6_e5e4, 0xdbda_d9d8]);
    let table = ".const .align 4 .b8 table[8] = {1, 0, 0, 0, 2, 0, 0, 0};";
    assert_eq!(words(table, "ld.const.u32 %r1, [table+4];\nst.global.u32 [%rd2], %r1;", &[])[9], 2);
}

#[test]
fn lanes_that_part_meet_again() {
    let body = "mov.u32 %r1, 1;\nsetp.lt.u32 %p1, %r0, 8;\n@%p1 bra $L1;\nadd.u32 %r1, %r1, 10;\nbra $L2;\n\
                $L1:\nadd.u32 %r1, %r1, 20;\n$L2:\nvote.sync.ballot.b32 %r2, %p1, -1;\nadd.u32 %r1, %r1, %r2;";
    let out = lanes(body);
    assert_eq!([out[7], out[8]], [255 + 21, 255 + 11]);
    // Each lane goes round as often as its number says.
    let body = "mov.u32 %r1, 0;\nmov.u32 %r2, 0;\n$L1:\nsetp.ge.u32 %p1, %r2, %r0;\n@%p1 bra $L2;\n\
                add.u32 %r1, %r1, %r2;\nadd.u32 %r2, %r2, 1;\nbra $L1;\n$L2:\nbar.warp.sync -1;";
    let out = lanes(body);
    assert!((0..32).all(|l| out[l as usize] == (0..l).sum::<u32>()), "{out:?}");
    // Some end early.
    let body = "mov.u32 %r1, 5;\nsetp.gt.u32 %p1, %r0, 3;\n@%p1 ret;\nmov.u32 %r1, 6;";
    assert_eq!(lanes(body)[..6], [6, 6, 6, 6, 0, 0]);
}

#[test]
fn shuffles() {
    let shfl = |mode: &str, b: &str, c: u32| lanes(&format!("shfl.sync.{mode}.b32 %r1|%p1, %r0, {b}, {c}, -1;"));
    assert!((0..32).all(|l| shfl("bfly", "5", 31)[l as usize] == l ^ 5));
    assert!((0..32).all(|l| shfl("up", "3", 0)[l as usize] == if l < 3 { l } else { l - 3 }));
    assert!((0..32).all(|l| shfl("down", "3", 31)[l as usize] == if l > 28 { l } else { l + 3 }));
    assert!((0..32).all(|l| shfl("idx", "9", 31)[l as usize] == 9));
    // Segments of eight lanes: the mask in bits 8.. keeps the upper bits of the lane.
    assert!((0..32).all(|l| shfl("idx", "1", 0x181f)[l as usize] == l / 8 * 8 + 1));
    assert!((0..32).all(|l| shfl("down", "4", 0x181f)[l as usize] == if l % 8 < 4 { l + 4 } else { l }));
    let inside = lanes("shfl.sync.down.b32 %r2|%p1, %r0, 1, 31, -1;\nselp.u32 %r1, 1, 0, %p1;");
    assert_eq!(inside[30..], [1, 0]);
}

#[test]
fn votes() {
    let vote =
        |what: &str| lanes(&format!("setp.lt.u32 %p1, %r0, 4;\nvote.sync.{what} -1;\nselp.u32 %r1, 1, 0, %p2;"))[9];
    assert_eq!([vote("all.pred %p2, %p1,"), vote("any.pred %p2, %p1,")], [0, 1]);
    assert_eq!(lanes("setp.lt.u32 %p1, %r0, 4;\nvote.sync.ballot.b32 %r1, %p1, -1;")[31], 15);
}

#[test]
fn atomics() {
    let out = words("", "atom.global.add.u32 %r1, [%rd1], 2;", &[]);
    assert_eq!(out[0], 64);
    let out = words("", "cvt.rn.f32.u32 %f1, %r0;\nred.global.add.f32 [%rd1], %f1;", &[]);
    assert_eq!(out[0], 496_f32.to_bits());
    let out =
        words("", "sub.s32 %r1, %r0, 7;\nred.global.max.s32 [%rd1], %r1;\nred.global.min.s32 [%rd1+4], %r1;", &[]);
    assert_eq!(out[..2], [24, -7_i32 as u32]);
    let out = words("", "atom.global.cas.b32 %r1, [%rd1], 0, %r0;\natom.global.cas.b32 %r1, [%rd1+4], 0, 9;", &[]);
    assert_eq!(out[..2], [1, 9], "lane 0 writes 0, lane 1 replaces it, the others find no 0");
    let tile = ".shared .align 4 .b8 tile[4];";
    let body = "setp.eq.u32 %p1, %r0, 0;\nmov.u32 %r2, 0;\n@%p1 st.shared.u32 [tile], %r2;\nbar.warp.sync -1;\n\
                red.shared.add.u32 [tile], 3;\nbar.warp.sync -1;\nld.shared.u32 %r1, [tile];\nst.global.u32 [%rd2], %r1;";
    assert_eq!(words(tile, body, &[])[17], 96);
}

#[test]
fn shared_memory_and_copies() {
    let tile = ".shared .align 16 .b8 tile[512];";
    // Each thread copies 16 bytes, of which only so many are read that lane 31 gets four.
    let input: Vec<u8> = (0..128_u32).flat_map(u32::to_le_bytes).collect();
    let body = "mul.wide.u32 %rd3, %r0, 16;\nadd.u64 %rd3, %rd0, %rd3;\nmov.u32 %r2, tile;\nshl.b32 %r3, %r0, 4;\n\
                add.u32 %r2, %r2, %r3;\nsetp.eq.u32 %p1, %r0, 31;\nselp.u32 %r4, 4, 16, %p1;\n\
                cp.async.cg.shared.global [%r2], [%rd3], 16, %r4;\ncp.async.commit_group;\ncp.async.wait_group 0;\n\
                bar.sync 0;\nld.shared.u32 %r1, [tile+500];\nld.shared.u32 %r5, [tile+496];\nadd.u32 %r1, %r1, %r5;\n\
                ld.shared.u32 %r6, [%r2+8];\nadd.u32 %r1, %r1, %r6;\nst.global.u32 [%rd2], %r1;";
    let out = words(tile, body, &input);
    assert_eq!([out[0], out[30]], [124 + 2, 124 + 122], "word 124 is the last that is read");
}
