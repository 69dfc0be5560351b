//! What can be said about the driver on any machine, and a run where there is a GPU.

use sparsec_cuda::{Cuda, devices};
use sparsec_plan::{Device, DeviceError, FunctionShape, Invocation};

/// `y[i] = x[i] + n` for 64-bit integers.
const PTX: &str = r".version 7.0
.target sm_80
.address_size 64
.visible .entry add(.param .u64 n, .param .u64 x, .param .u64 y)
{
    .reg .b32 %t;
    .reg .b64 %a<8>;
    ld.param.u64 %a0, [n];
    ld.param.u64 %a1, [x];
    ld.param.u64 %a2, [y];
    mov.u32 %t, %tid.x;
    mul.wide.u32 %a3, %t, 8;
    add.u64 %a4, %a1, %a3;
    add.u64 %a5, %a2, %a3;
    ld.global.u64 %a6, [%a4];
    add.u64 %a7, %a6, %a0;
    st.global.u64 [%a5], %a7;
    ret;
}
";

#[test]
fn a_machine_without_a_gpu_gets_an_error_and_no_panic() {
    match devices() {
        Ok(all) => {
            let error = Cuda::new(all.len(), "sm_80").expect_err("one too many");
            assert_eq!(error, DeviceError::NoDevice { ordinal: all.len(), count: all.len() });
        }
        Err(DeviceError::NoDriver) => {
            let error = Cuda::new(0, "sm_80").expect_err("no driver");
            assert_eq!(error.to_string(), "no NVIDIA driver is installed: libcuda can't be loaded");
        }
        Err(other) => assert!(matches!(other, DeviceError::Driver(_)), "{other}"),
    }
}

#[test]
fn launches_and_graphs_on_a_gpu() {
    let mut cuda = match Cuda::new(0, "sm_80") {
        Ok(cuda) => cuda,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let wrong = |ptx: &str| Cuda::new(0, "sm_80").and_then(|mut c| c.load(ptx, &[])).expect_err("refused");
    assert!(matches!(wrong(".version 7.0\n.target sm_80\nnonsense"), DeviceError::Ptx(_)));
    let shape = FunctionShape { name: "add".into(), arguments: 3, threads: 32, shared_bytes: 0 };
    cuda.load(PTX, &[shape]).expect("loads");
    let (x, y) = (cuda.alloc(256).expect("memory"), cuda.alloc(256).expect("memory"));
    let numbers: Vec<u8> = (0..32u64).flat_map(u64::to_le_bytes).collect();
    cuda.write(x, &numbers).expect("writes");
    let add = |n, from, to| Invocation { function: 0, blocks: 1, arguments: vec![n, from, to], label: "add".into() };
    cuda.launch(&add(5, x, y)).expect("launches");
    let read = |cuda: &mut Cuda, from| -> Vec<u64> {
        let mut bytes = vec![0; 256];
        cuda.read(from, &mut bytes).expect("reads");
        bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect()
    };
    assert_eq!(read(&mut cuda, y), (5..37).collect::<Vec<u64>>());
    let graph = cuda.record(&[add(1, y, x), add(1, x, y)]).expect("records").expect("a graph");
    for _ in 0..3 {
        cuda.replay(graph).expect("replays");
    }
    assert_eq!(read(&mut cuda, y), (11..43).collect::<Vec<u64>>());
    cuda.forget(graph).expect("forgets");
    assert!(cuda.replay(graph).is_err());
    assert!(cuda.launch(&Invocation { arguments: vec![1], ..add(1, x, y) }).is_err());
    assert!(matches!(cuda.alloc(1 << 50), Err(DeviceError::OutOfMemory { .. })));
    assert!(cuda.time(&[add(1, y, x)], 10).expect("times") > 0.0);
}
