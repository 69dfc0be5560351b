//! Faults with `wgmma`, `mbarrier` and bulk copies that are planted are found; the same kernels without them run.

mod common;

use sparsec_ptxsim::{DeviceError, Fault};

const SHARED: &str =
    ".shared .align 1024 .b8 a[2048];\n.shared .align 1024 .b8 b[256];\n.shared .align 8 .b8 ready[8];";

/// Runs a body with 128 threads on zeros.
fn run(body: &str) -> Result<Vec<u32>, Fault> {
    match common::run(&common::module(SHARED, body), 128, &[0; 2304], 512) {
        Ok((out, _)) => Ok(out.chunks(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()),
        Err(DeviceError::Kernel(e)) => Err(e.fault),
        Err(other) => panic!("{other}"),
    }
}

/// Thread `t` stores 16 bytes of A, and those of the first warp some of B; then one product, whose first sum is stored.
const PRODUCT: &str = "setp.lt.u32 %p1, %r0, 16;
shl.b32 %r1, %r0, 4;
mov.u32 %r2, a;
mov.u32 %r3, b;
add.u32 %r4, %r2, %r1;
add.u32 %r5, %r3, %r1;
mov.b32 %r6, 1006648320;
st.shared.v4.b32 [%r4], {%r6, %r6, %r6, %r6};
@%p1 st.shared.v4.b32 [%r5], {%r6, %r6, %r6, %r6};
shr.u32 %r2, %r2, 4;
cvt.u64.u32 %rd4, %r2;
add.u64 %rd4, %rd4, 34363932672;
shr.u32 %r3, %r3, 4;
cvt.u64.u32 %rd5, %r3;
add.u64 %rd5, %rd5, 34360262656;
mov.f32 %f0, 0f00000000;
mov.f32 %f1, %f0;
mov.f32 %f2, %f0;
mov.f32 %f3, %f0;
setp.eq.u32 %p0, 0, 0;
fence.proxy.async.shared::cta;
bar.sync 0;
wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0, %f1, %f2, %f3}, %rd4, %rd5, %p0, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;
bar.sync 0;
st.shared.v4.b32 [%r4], {%r6, %r6, %r6, %r6};
st.global.f32 [%rd2], %f0;
";

fn without(line: &str) -> Result<Vec<u32>, Fault> {
    replaced(line, "")
}

fn replaced(line: &str, by: &str) -> Result<Vec<u32>, Fault> {
    assert!(PRODUCT.contains(line), "{line}");
    run(&PRODUCT.replace(line, by))
}

#[test]
fn products_of_warp_groups_are_ordered() {
    assert_eq!(run(PRODUCT).expect("the kernel is right"), vec![16_f32.to_bits(); 128]);
    let found = without("fence.proxy.async.shared::cta;\n");
    assert!(matches!(found, Err(Fault::MissingProxyFence { .. })), "{found:?}");
    // After the barrier, where it orders nothing for the others.
    let found = replaced("fence.proxy.async.shared::cta;\nbar.sync 0;", "bar.sync 0;\nfence.proxy.async.shared::cta;");
    assert!(matches!(found, Err(Fault::MissingProxyFence { .. })), "{found:?}");
    let found = replaced("fence.proxy.async.shared::cta;\nbar.sync 0;", "fence.proxy.async.shared::cta;");
    assert!(matches!(found, Err(Fault::UninitialisedMemory { .. } | Fault::Race { .. })), "{found:?}");
    // Sums are set behind the fence.
    let found = without("wgmma.fence.sync.aligned;\n");
    assert_eq!(found, Err(Fault::MissingGroupFence { register: "%f0".to_owned() }));
    let late = "wgmma.fence.sync.aligned;\nmov.f32 %f2, %f0;\n";
    assert_eq!(
        replaced("wgmma.fence.sync.aligned;\n", late),
        Err(Fault::MissingGroupFence { register: "%f0".to_owned() })
    );
}

#[test]
fn products_of_warp_groups_are_waited_for() {
    // Sums are read.
    let sums = "wgmma.commit_group.sync.aligned;\nst.global.f32 [%rd2], %f0;\n";
    let found = replaced("wgmma.commit_group.sync.aligned;\n", sums);
    assert_eq!(found, Err(Fault::RegisterUnderWay { register: "%f0".to_owned() }));
    let wait = "wgmma.wait_group.sync.aligned 0;\nbar.sync 0;\nst.shared.v4.b32 [%r4], {%r6, %r6, %r6, %r6};\n";
    let store = "bar.sync 0;\nst.shared.v4.b32 [%r4], {%r6, %r6, %r6, %r6};\nwgmma.wait_group.sync.aligned 0;\n";
    // Factors are overwritten.
    let found = replaced(wait, store);
    assert!(matches!(found, Err(Fault::ProductUnderWay { .. })), "{found:?}");
    for late in ["wgmma.wait_group.sync.aligned 1;\n", ""] {
        let found = replaced("wgmma.wait_group.sync.aligned 0;\n", late);
        assert!(matches!(found, Err(Fault::ProductUnderWay { .. })), "{late}: {found:?}");
    }
    // What is not committed is not waited for.
    let found = without("wgmma.commit_group.sync.aligned;\n");
    assert!(matches!(found, Err(Fault::ProductUnderWay { .. })), "{found:?}");
    // Another warp's products may still read.
    let found = replaced("wgmma.wait_group.sync.aligned 0;\nbar.sync 0;\n", "wgmma.wait_group.sync.aligned 0;\n");
    assert!(matches!(found, Err(Fault::Race { .. } | Fault::UninitialisedMemory { .. })), "{found:?}");
}

#[test]
fn warps_of_a_group_do_the_same() {
    let second = "setp.ge.u32 %p2, %r0, 32;\n@%p2 bra $L0;\n";
    let found =
        replaced("wgmma.wait_group.sync.aligned 0;\n", &format!("{second}wgmma.wait_group.sync.aligned 0;\n$L0:\n"));
    assert!(matches!(found, Err(Fault::GroupApart(_) | Fault::ProductUnderWay { .. })), "{found:?}");
    // Descriptors that differ between warps, and between lanes.
    for bit in [5, 0] {
        let own = format!(
            "shr.u32 %r7, %r0, {bit};\nand.b32 %r7, %r7, 1;\nmad.wide.u32 %rd4, %r7, 8, %rd4;\nwgmma.fence.sync.aligned;\n"
        );
        let found = replaced("wgmma.fence.sync.aligned;\n", &own);
        assert!(matches!(found, Err(Fault::GroupApart(_))), "{found:?}");
    }
    let module = common::module(SHARED, PRODUCT);
    let Err(DeviceError::Kernel(e)) = common::run(&module, 96, &[0; 2304], 512) else {
        panic!("three warps are no group")
    };
    assert!(matches!(e.fault, Fault::GroupApart(_)), "{e}");
}

#[test]
fn what_a_descriptor_cannot_be() {
    let found = replaced("add.u64 %rd5, %rd5, 34360262656;", "add.u64 %rd5, %rd5, 16384;");
    assert!(matches!(found, Err(Fault::Descriptor { .. })), "{found:?}");
    // Beyond the array.
    let found =
        replaced("add.u64 %rd5, %rd5, 34360262656;", "add.u64 %rd5, %rd5, 17179869184;\nadd.u64 %rd5, %rd5, 4194304;");
    assert!(matches!(found, Err(Fault::OutOfBounds { .. })), "{found:?}");
}

/// The first thread makes a barrier and has 2048 bytes copied; all wait for them twice, and the second time for other bytes.
const COPY: &str = "setp.eq.u32 %p0, %r0, 0;
mov.u32 %r2, a;
shl.b32 %r1, %r0, 4;
add.u32 %r4, %r2, %r1;
@%p0 mbarrier.init.shared::cta.b64 [ready], 1;
fence.proxy.async.shared::cta;
bar.sync 0;
@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [ready], 2048;
@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd0], 2048, [ready];
$L0:
mbarrier.try_wait.parity.shared::cta.b64 %p1, [ready], 0;
@!%p1 bra $L0;
ld.shared.b32 %r6, [%r4];
bar.sync 0;
@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [ready], 1024;
@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd0], 512, [ready];
@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2+512], [%rd0+512], 512, [ready];
$L1:
mbarrier.try_wait.parity.shared::cta.b64 %p1, [ready], 1;
@!%p1 bra $L1;
ld.shared.b32 %r7, [%r4];
add.u32 %r7, %r6, %r7;
st.global.b32 [%rd2], %r7;
";

fn copy(from: &str, to: &str) -> Result<Vec<u32>, Fault> {
    assert!(COPY.contains(from), "{from}");
    run(&COPY.replacen(from, to, 1))
}

#[test]
fn bulk_copies_are_waited_for() {
    assert_eq!(run(COPY).expect("the kernel is right"), vec![0; 128]);
    let wait = "mbarrier.try_wait.parity.shared::cta.b64 %p1, [ready], 0;\n@!%p1 bra $L0;\n";
    let found = copy(wait, "");
    assert!(matches!(found, Err(Fault::CopyUnderWay { .. } | Fault::UninitialisedMemory { .. })), "{found:?}");
    // Only the first warp waits.
    let first = format!("setp.lt.u32 %p2, %r0, 32;\n@!%p2 bra $L2;\n$L3:\n{}$L2:\n", wait.replace("$L0", "$L3"));
    let found = copy(wait, &first);
    assert!(matches!(found, Err(Fault::CopyUnderWay { .. })), "{found:?}");
    // The parity of the phase before.
    let found = copy("[ready], 0;", "[ready], 1;");
    assert!(matches!(found, Err(Fault::CopyUnderWay { .. } | Fault::UninitialisedMemory { .. })), "{found:?}");
    // The first bytes are read while the second ones come.
    let late = COPY.replace("ld.shared.b32 %r6, [%r4];\n", "").replace("$L1:", "ld.shared.b32 %r6, [%r4];\n$L1:");
    assert!(matches!(run(&late), Err(Fault::CopyUnderWay { .. })), "{:?}", run(&late));
    // The first warp is a phase ahead of the others, which miss the first one.
    let found = copy("ld.shared.b32 %r6, [%r4];\nbar.sync 0;\n", "ld.shared.b32 %r6, [%r4];\n");
    assert!(matches!(found, Err(Fault::PhaseIncomplete { .. })), "{found:?}");
}

#[test]
fn phases_that_never_complete() {
    let found = copy("_, [ready], 2048;", "_, [ready], 2064;");
    let Err(Fault::PhaseIncomplete { arrivals: 0, bytes: 2064, .. }) = found else { panic!("{found:?}") };
    let found = copy("[ready], 1;", "[ready], 2;");
    assert!(matches!(found, Err(Fault::PhaseIncomplete { arrivals: 1, bytes: 2048, .. })), "{found:?}");
    let found = copy(
        "bar.sync 0;\n@%p0 mbarrier.arrive",
        "bar.sync 0;\n@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [ready], 16;\n@%p0 mbarrier.arrive",
    );
    assert!(matches!(found, Err(Fault::Arrivals { count: 1, .. })), "{found:?}");
}

#[test]
fn barriers_are_made_and_seen() {
    let init = "@%p0 mbarrier.init.shared::cta.b64 [ready], 1;\n";
    assert!(matches!(copy(init, ""), Err(Fault::NoBarrier { .. })), "{:?}", copy(init, ""));
    let found = copy("fence.proxy.async.shared::cta;\nbar.sync 0;\n", "bar.sync 0;\n");
    assert!(matches!(found, Err(Fault::MissingProxyFence { .. })), "{found:?}");
    let found = copy("fence.proxy.async.shared::cta;\nbar.sync 0;\n", "fence.proxy.async.shared::cta;\n");
    assert!(matches!(found, Err(Fault::Race { .. })), "{found:?}");
    let found = copy("ld.shared.b32 %r6, [%r4];", "ld.shared.b32 %r6, [ready];");
    assert!(matches!(found, Err(Fault::BarrierMemory { .. })), "{found:?}");
    // What threads stored is overwritten through the async proxy.
    let store = "st.shared.b32 [%r4], %r1;\nbar.sync 0;\n@%p0 mbarrier.arrive";
    let found = copy("bar.sync 0;\n@%p0 mbarrier.arrive", store);
    assert!(matches!(found, Err(Fault::MissingProxyFence { .. })), "{found:?}");
    let found = copy(", 2048, [ready]", ", 2040, [ready]");
    assert!(matches!(found, Err(Fault::Misaligned { .. })), "{found:?}");
}
