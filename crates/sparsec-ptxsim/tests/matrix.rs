//! Matrix products of a warp against plain ones: fragments loaded by `ldmatrix`, so that both layouts have to be right.

use half::f16;
use proptest::prelude::*;
use sparsec_ptx::parse_module;
use sparsec_ptxsim::{Argument, Device, DeviceError, Fault, Launch};

const M: usize = 16;
const N: usize = 8;
const K: usize = 16;

/// Copies A (`a_bytes`, rows of `a_bytes / 16`) and B (rows of 16 bytes) to shared memory, multiplies, and stores D. The lanes
/// `0..16` of `ldmatrix` name rows of A; with four matrices, the others name the right half.
fn text(a_bytes: usize, load_a: &str, product: &str) -> String {
    let row = a_bytes / M;
    format!(
        "// test\n.version 8.5\n.target sm_80\n.address_size 64\n.shared .align 16 .b8 a[512];\n\
         .shared .align 16 .b8 b[256];\n\n// a kernel\n\
         .visible .entry kernel(\n    .param .u64 x,\n    .param .u64 y,\n    .param .u64 metadata,\n    .param .u64 z)\n\
         .maxntid 32, 1, 1\n.minnctapersm 1\n{{\n    .reg .pred %p<1>;\n    .reg .b32 %r<24>;\n    .reg .b64 %rd<8>;\n    \
         .reg .f32 %f<4>;\n    mov.u32 %r0, %laneid;\n    ld.param.u64 %rd0, [x];\n    cvta.to.global.u64 %rd0, %rd0;\n    \
         ld.param.u64 %rd1, [y];\n    cvta.to.global.u64 %rd1, %rd1;\n    ld.param.u64 %rd2, [metadata];\n    \
         cvta.to.global.u64 %rd2, %rd2;\n    ld.param.u64 %rd3, [z];\n    cvta.to.global.u64 %rd3, %rd3;\n    \
         mov.u32 %r1, a;\n    mov.u32 %r2, b;\n    mad.wide.u32 %rd4, %r0, 16, %rd0;\n    mad.wide.u32 %rd5, %r0, 16, %rd1;\n    \
         mad.lo.u32 %r3, %r0, 16, %r1;\n    mad.lo.u32 %r4, %r0, 16, %r2;\n    setp.lt.u32 %p0, %r0, 16;\n    \
         @%p0 cp.async.cg.shared.global [%r4], [%rd5], 16;\n    {guard}cp.async.cg.shared.global [%r3], [%rd4], 16;\n    \
         cp.async.commit_group;\n    cp.async.wait_group 0;\n    bar.sync 0;\n    \
         and.b32 %r5, %r0, 15;\n    shr.u32 %r6, %r0, 4;\n    mad.lo.u32 %r7, %r5, {row}, %r1;\n    \
         mad.lo.u32 %r7, %r6, {half}, %r7;\n    mad.lo.u32 %r8, %r5, 16, %r2;\n    {load_a}\n    \
         ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {{%r14, %r15}}, [%r8];\n    shr.u32 %r16, %r0, 2;\n    \
         mad.wide.u32 %rd6, %r16, 4, %rd2;\n    ld.global.u32 %r17, [%rd6];\n    mov.f32 %f0, 0f3F800000;\n    \
         mov.f32 %f1, %f0;\n    mov.f32 %f2, %f0;\n    mov.f32 %f3, %f0;\n    {product}\n    and.b32 %r18, %r0, 3;\n    \
         shl.b32 %r18, %r18, 3;\n    mad.lo.u32 %r18, %r16, 32, %r18;\n    mad.wide.u32 %rd7, %r18, 1, %rd3;\n    \
         st.global.v2.f32 [%rd7], {{%f0, %f1}};\n    st.global.v2.f32 [%rd7+256], {{%f2, %f3}};\n    ret;\n}}\n",
        half = if row == 32 { 16 } else { 0 },
        guard = if row == 32 { "" } else { "@%p0 " },
    )
}

/// Runs the kernel; D, which begins as all ones.
fn run(text: &str, a: &[f16], b: &[f16], metadata: &[u32; 8]) -> Result<Vec<f32>, DeviceError> {
    let module = parse_module(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let bytes = |x: &[f16]| x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut device = Device::new();
    let (x, y) = (device.upload("a", &bytes(a)), device.upload("b", &bytes(b)));
    let words: Vec<u8> = metadata.iter().flat_map(|w| w.to_le_bytes()).collect();
    let words = device.upload("metadata", &words);
    let z = device.allocate("d", M * N * 4);
    let counts = device.launch(&module, "kernel", Launch::linear(1, 32), &[x, y, words, z].map(Argument::Pointer))?;
    assert_eq!(counts.matrix_products, 1);
    let d = device.read(z, M * N * 4)?;
    Ok(d.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect())
}

/// `1 + a * b`.
fn expected(a: impl Fn(usize, usize) -> f16, b: &[f16]) -> Vec<f32> {
    let at = |i: usize| (0..K).map(|k| a(i / N, k).to_f32() * b[k * N + i % N].to_f32()).sum::<f32>() + 1.0;
    (0..M * N).map(at).collect()
}

fn dense() -> String {
    text(
        512,
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r7];",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, \
         {%f0, %f1, %f2, %f3};",
    )
}

fn sparse() -> String {
    text(
        256,
        "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r10, %r11}, [%r7];",
        "mma.sp::ordered_metadata.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, {%r10, %r11}, \
         {%r14, %r15}, {%f0, %f1, %f2, %f3}, %r17, 0;",
    )
}

/// Small integers: their products and sums are exact in every order.
fn values(count: usize) -> impl Strategy<Value = Vec<f16>> {
    prop::collection::vec((-8_i8..=8).prop_map(|x| f16::from_f32(x.into())), count)
}

/// Which two of four entries are kept, as the four bits of metadata.
const PAIRS: [u32; 6] = [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110];

proptest! {
    #[test]
    fn dense_products(a in values(M * K), b in values(K * N)) {
        prop_assert_eq!(run(&dense(), &a, &b, &[0; 8]).expect("runs"), expected(|i, k| a[i * K + k], &b));
    }

    #[test]
    fn sparse_products(
        a in values(M * K / 2),
        b in values(K * N),
        pairs in prop::collection::vec(prop::sample::select(PAIRS.to_vec()), M * K / 4),
    ) {
        let mut metadata = [0; 8];
        for (i, pair) in pairs.iter().enumerate() {
            let (row, group) = (i / 4, i % 4);
            metadata[row % 8] |= pair << (16 * (row / 8) + 4 * group);
        }
        let whole = |row: usize, k: usize| {
            let pair = pairs[row * 4 + k / 4] as usize;
            match k % 4 {
                e if e == pair & 3 => a[row * 8 + k / 4 * 2],
                e if e == pair >> 2 => a[row * 8 + k / 4 * 2 + 1],
                _ => f16::ZERO,
            }
        };
        prop_assert_eq!(run(&sparse(), &a, &b, &metadata).expect("runs"), expected(whole, &b));
    }
}

#[test]
fn a_wrong_word_of_metadata_is_found() {
    let (a, b) = (vec![f16::ONE; M * K / 2], vec![f16::ONE; K * N]);
    let mut metadata = [0x4444_4444; 8];
    assert!(run(&sparse(), &a, &b, &metadata).is_ok());
    // Twice the same entry, and two out of order.
    for wrong in [0x4444_4044, 0x4444_1444] {
        metadata[5] = wrong;
        let Err(DeviceError::Kernel(e)) = run(&sparse(), &a, &b, &metadata) else { panic!("{wrong:#x} is taken") };
        assert!(matches!(e.fault, Fault::Metadata { lane: 20, .. }), "{e}");
    }
}
