//! Faults that are planted are found, with the instruction and the thread; the same kernels without them run.

use sparsec_ptx::parse_module;
use sparsec_ptxsim::{Argument, Counts, Device, DeviceError, Fault, Launch};

/// Runs a body with 64 threads, a buffer of 64 words that hold 0, 1, ..., and one of 64 that nothing has written. Returns what
/// the second holds.
fn run(body: &str) -> Result<(Vec<u32>, Counts), Fault> {
    let text = format!(
        "// test\n.version 8.5\n.target sm_80\n.address_size 64\n.shared .align 16 .b8 tile[256];\n\n// a kernel\n\
         .visible .entry kernel(\n    .param .u64 x,\n    .param .u64 y)\n.maxntid 64, 1, 1\n.minnctapersm 1\n{{\n    \
         .reg .pred %p<4>;\n    .reg .b16 %h<4>;\n    .reg .b32 %r<24>;\n    .reg .b64 %rd<8>;\n    .reg .f32 %f<12>;\n    \
         mov.u32 %r0, %tid.x;\n    mov.u32 %r1, %laneid;\n    shl.b32 %r2, %r0, 2;\n    mov.u32 %r3, tile;\n    \
         add.u32 %r3, %r3, %r2;\n    ld.param.u64 %rd0, [x];\n    cvta.to.global.u64 %rd0, %rd0;\n    \
         ld.param.u64 %rd1, [y];\n    cvta.to.global.u64 %rd1, %rd1;\n    mad.wide.u32 %rd2, %r0, 4, %rd0;\n    \
         mad.wide.u32 %rd3, %r0, 4, %rd1;\n    setp.lt.u32 %p0, %r0, 40;\n{body}    ret;\n}}\n"
    );
    let module = parse_module(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut device = Device::new().with_instruction_limit(10_000);
    let words: Vec<u8> = (0..64_u32).flat_map(u32::to_le_bytes).collect();
    let (x, y) = (device.upload("x", &words), device.allocate("y", 256));
    let arguments = [Argument::Pointer(x), Argument::Pointer(y)];
    match device.launch(&module, "kernel", Launch::linear(1, 64), &arguments) {
        Ok(counts) => {
            let bytes = device.read(y, 256).expect("all of y is written");
            Ok((bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four"))).collect(), counts))
        }
        Err(DeviceError::Kernel(e)) => {
            assert_eq!(e.function, "kernel");
            Err(e.fault)
        }
        Err(other) => panic!("{other}"),
    }
}

/// Each thread's word goes through shared memory to the thread of the other warp.
const EXCHANGE: &str = "    ld.global.u32 %r5, [%rd2];
    st.shared.b32 [%r3], %r5;
    bar.sync 0;
    xor.b32 %r6, %r2, 128;
    mov.u32 %r7, tile;
    add.u32 %r7, %r7, %r6;
    ld.shared.b32 %r8, [%r7];
    st.global.b32 [%rd3], %r8;
";

#[test]
fn a_barrier_orders_and_a_missing_one_is_a_race() {
    let (y, _) = run(EXCHANGE).expect("the kernel is right");
    assert_eq!(y, (0..64).map(|i| i ^ 32).collect::<Vec<_>>());
    let without = EXCHANGE.replace("    bar.sync 0;\n", "");
    // The first warp reads what the second one has not written yet.
    assert!(
        matches!(run(&without), Err(Fault::UninitialisedMemory { .. } | Fault::Race { .. })),
        "{:?}",
        run(&without)
    );
    // Memory that is written before and again without a barrier.
    let again = EXCHANGE.replace("    ld.shared.b32 %r8", "    st.shared.b32 [%r3], %r6;\n    ld.shared.b32 %r8");
    assert!(matches!(run(&again), Err(Fault::Race { .. })), "{:?}", run(&again));
}

#[test]
fn accesses_out_of_bounds() {
    let store = "    st.global.b32 [%rd3+4], %r0;\n";
    let Err(Fault::OutOfBounds { place, bytes: 4 }) = run(store) else { panic!("{:?}", run(store)) };
    assert!(place.starts_with("y+0x100"), "{place}");
    for body in [
        "    st.shared.b32 [%r3+200], %r0;\n",
        "    ld.global.u32 %r5, [%rd2+-4];\n",
        "    mov.b64 %rd4, 64;\n    ld.global.u32 %r5, [%rd4];\n",
    ] {
        assert!(matches!(run(body), Err(Fault::OutOfBounds { .. })), "{body}: {:?}", run(body));
    }
}

#[test]
fn misaligned_vectors() {
    for body in [
        "    ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd2];\n",
        "    st.shared.v2.b32 [%r3], {%r0, %r1};\n",
        "    ld.global.u32 %r5, [%rd2+2];\n",
    ] {
        assert!(matches!(run(body), Err(Fault::Misaligned { .. })), "{body}: {:?}", run(body));
    }
}

#[test]
fn what_nothing_has_written() {
    assert!(matches!(run("    ld.global.u32 %r5, [%rd3];\n"), Err(Fault::UninitialisedMemory { .. })));
    assert!(matches!(run("    ld.shared.b32 %r5, [%r3];\n"), Err(Fault::UninitialisedMemory { .. })));
    let half = "    @%p0 mov.b32 %r5, 1;\n    st.global.b32 [%rd3], %r5;\n";
    assert_eq!(run(half), Err(Fault::UninitialisedRegister { register: "%r5".to_owned() }));
}

#[test]
fn barriers_and_shuffles_in_divergent_code() {
    // Lanes 8 to 31 of the second warp do not come.
    let part = "    @!%p0 bra $L0;\n    bar.sync 0;\n$L0:\n";
    assert!(matches!(run(part), Err(Fault::DivergentBarrier { .. })), "{:?}", run(part));
    // A whole warp does not come.
    let warp = "    setp.lt.u32 %p1, %r0, 32;\n    @!%p1 bra $L0;\n    bar.sync 0;\n$L0:\n";
    assert!(matches!(run(warp), Err(Fault::Deadlock { .. })), "{:?}", run(warp));
    let shuffle = "    @!%p0 bra $L0;\n    shfl.sync.bfly.b32 %r5, %r0, 16, 31, -1;\n$L0:\n";
    assert!(matches!(run(shuffle), Err(Fault::MissingLanes { .. })), "{:?}", run(shuffle));
}

#[test]
fn asynchronous_copies_are_waited_for() {
    let copy = "    cp.async.ca.shared.global [%r3], [%rd2], 4;
    cp.async.commit_group;
    cp.async.wait_group 0;
    ld.shared.b32 %r5, [%r3];
    st.global.b32 [%rd3], %r5;
";
    assert_eq!(run(copy).expect("the kernel is right").0, (0..64).collect::<Vec<_>>());
    for missing in ["    cp.async.wait_group 0;\n", "    cp.async.commit_group;\n"] {
        let early = copy.replace(missing, "");
        assert!(matches!(run(&early), Err(Fault::CopyUnderWay { .. })), "{missing}: {:?}", run(&early));
    }
    let late = copy.replace("wait_group 0", "wait_group 1");
    assert!(matches!(run(&late), Err(Fault::CopyUnderWay { .. })), "{:?}", run(&late));
}

#[test]
fn kernels_that_do_not_end() {
    assert_eq!(run("$L0:\n    bra.uni $L0;\n"), Err(Fault::Limit(10_000)));
    assert_eq!(run("    trap;\n"), Err(Fault::Trap));
}

#[test]
fn lanes_meet_again_behind_a_branch() {
    let body = "    mov.b32 %r5, 100;\n    @%p0 bra $L0;\n    mov.b32 %r5, 200;\n$L0:\n    shfl.sync.idx.b32 %r6, %r5, 0, 31, -1;
    add.u32 %r5, %r5, %r6;\n    st.global.b32 [%rd3], %r5;\n";
    let expected: Vec<u32> = (0..64).map(|i| 100 + if i < 40 { 100 } else { 200 }).collect();
    assert_eq!(run(body).expect("runs").0, expected);
}

#[test]
fn transactions_and_conflicts_are_counted() {
    let (_, even) =
        run("    st.shared.b32 [%r3], %r0;\n    ld.global.u32 %r5, [%rd2];\n    st.global.b32 [%rd3], %r5;\n")
            .expect("runs");
    assert_eq!((even.shared_passes, even.bank_conflicts), (2, 0));
    assert_eq!((even.global_loads, even.uncoalesced_loads, even.load_sectors), (2, 0, 8));
    assert_eq!((even.global_stores, even.store_sectors), (2, 8));
    // Every other word: half of the banks, twice each; twice the sectors.
    let (_, odd) = run("    shl.b32 %r6, %r0, 3;
    and.b32 %r6, %r6, 255;
    mov.u32 %r7, tile;
    add.u32 %r7, %r7, %r6;
    st.shared.b32 [%r3], %r1;
    bar.sync 0;
    ld.shared.b32 %r8, [%r7];
    mad.wide.u32 %rd4, %r6, 1, %rd0;
    ld.global.u32 %r5, [%rd4];
    st.global.b32 [%rd3], %r5;
")
    .expect("runs");
    assert_eq!((odd.shared_passes, odd.bank_conflicts), (4, 2));
    assert_eq!((odd.uncoalesced_loads, odd.load_sectors), (2, 16));
}
