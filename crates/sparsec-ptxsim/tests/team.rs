//! Teams of warps: what they share behind barriers is what the interpreter of the tensor IR says, and a barrier too few is a race.

mod agree;

use agree::without_payloads;
use sparsec_ptx::{Module, Target, emit_program, parse_module, print_module};
use sparsec_ptxsim::{Argument, Device, DeviceError, Launch};
use sparsec_tir::{BufferData, BufferKind, Kernel, Program, Scalar, parse_kernel, run_kernel, verify_flat};

/// Two warps bring a weight's blocks of 16 x 16, in blocks of 8 x 8, by copies, and each packs half of X; each multiplies one block.
const PRODUCT: &str = "kernel product flat (n) {
  input w: f16[512 * n]
  input x: f32[128]
  output y: f32[256 * n]
  scratch own: f32[128]
  team values: f16[512]
  team window: f16[128]
  reg sums: f32x128[2]
  parallel i in 0..n {
    warps v in 0..2 {
      copy_async store.f16x256 values[256 * v] = load.f16x256 w[512 * i + 256 * v]
      commit_copies
      store.f16x32 window[64 * v] = convert.f16(load.f32x32 x[64 * v])
      store.f16x32 window[64 * v + 32] = convert.f16(load.f32x32 x[64 * v + 32])
      sums[0] = splat.128(0.0)
      sums[1] = splat.128(1.0)
      await_copies 0
      barrier
      unroll t in 0..2 {
        product.f16 sums[t] += values[256 * (1 - v)] by blocks (64, 128) * window[0] by (8, 1)
      }
      save y[256 * i + 128 * v] by (8, 1) = sums[1]
    }
  }
}
";

/// Each warp adds what the next one copied, in a loop with a barrier, to what it has in memory of its own.
const SHARED: &str = "kernel shared flat (n) {
  input x: f32[512 * n]
  input times: i64[1]
  output y: f32[128 * n]
  scratch own: f32[32]
  team shared: f32[512]
  reg sum: f32x32
  parallel i in 0..n {
    let first: i64 = 512 * i
    warps w in 0..4 {
      copy_async store.f32x128 shared[128 * w] = load.f32x128 x[first + 128 * w] active 126
      commit_copies
      store.f32x32 own[0] = load.f32x32 x[first + 128 * w]
      await_copies 0
      sum = splat.32(0.0)
      for t in 0..times[0] {
        barrier
        sum = sum + load.f32x32 own[0] + load.f32x32 shared[(w + 1) % 4 * 128]
      }
      store.f32x32 y[128 * i + 32 * w] = sum
    }
  }
}
";

/// A group multiplies two parts of a weight of 64 x 32 by X, which each warp packs a quarter of while the part before it is multiplied.
const GROUP: &str = "kernel group flat (n) {
  input w: f16[2048 * n]
  input x: f32[256]
  output y: f32[512 * n]
  team values: f16[2048]
  team window: f16[272]
  reg sums: f32x128[1]
  parallel i in 0..n {
    warps v in 0..4 {
      unroll p in 0..2 {
        copy_async store.f16x256 values[1024 * p + 256 * v] = load.f16x256 w[2048 * i + 1024 * p + 256 * v]
      }
      commit_copies
      sums[0] = splat.128(0.5)
      if v < 2 {
        spread store.f16x32 window[32 * v] by 8 = convert.f16(load.f32x32 x[32 * v])
        spread store.f16x32 window[32 * v + 64] by 8 = convert.f16(load.f32x32 x[32 * v + 64])
      }
      await_copies 0
      for s in 0..2 {
        barrier
        group_product.f16 1 of sums[0] += values[1024 * s] by blocks (64, 512) * window[136 * s] by columns (64, 64)
        commit_products
        if s < 1 {
          if v < 2 {
            spread store.f16x32 window[32 * v + 136] by 8 = convert.f16(load.f32x32 x[32 * v + 128])
            spread store.f16x32 window[32 * v + 200] by 8 = convert.f16(load.f32x32 x[32 * v + 192])
          }
        }
        await_products 0
      }
      save y[512 * i + 128 * v] by (8, 1) = sums[0]
    }
  }
}
";

fn halves(values: impl Iterator<Item = f32>) -> BufferData {
    BufferData { elem: Scalar::F16, bytes: values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect() }
}

/// Runs a kernel with three iterations on the simulator: its output, in bytes.
fn simulate(kernel: &Kernel, data: &[BufferData]) -> Result<Vec<u8>, DeviceError> {
    simulate_with(kernel, data, |module| module)
}

/// The same with another module.
fn simulate_with(
    kernel: &Kernel,
    data: &[BufferData],
    change: impl Fn(Module) -> Module,
) -> Result<Vec<u8>, DeviceError> {
    let program = Program { name: "m".to_owned(), kernels: vec![kernel.clone()], ..Program::default() };
    let target = if kernel.has_group_products() { Target::Sm90a } else { Target::Sm80 };
    let mut emitted = emit_program(&program, target).unwrap_or_else(|e| panic!("{e}"));
    emitted.module = change(emitted.module);
    let info = &emitted.kernels[0];
    assert_eq!((info.threads, info.iterations), (32 * kernel.team().expect("is a team"), 1));
    let mut device = Device::new();
    let places: Vec<_> = data.iter().map(|d| device.upload("buffer", &d.bytes)).collect();
    let mut arguments = vec![Argument::Bits64(3)];
    arguments.extend(places.iter().copied().map(Argument::Pointer));
    device.launch(&emitted.module, &info.name, Launch::linear(3, info.threads), &arguments)?;
    device.read(places[2], data[2].bytes.len())
}

fn agrees(text: &str, data: &[BufferData; 3]) {
    let kernel = parse_kernel(text).unwrap_or_else(|e| panic!("{e}"));
    verify_flat(&kernel).unwrap_or_else(|e| panic!("{e}"));
    let mut expected = data.clone();
    run_kernel(&kernel, &[3], &mut expected).unwrap_or_else(|e| panic!("{e}"));
    let got = simulate(&kernel, data).unwrap_or_else(|e| panic!("{e}"));
    assert!(without_payloads(&got, Scalar::F32) == without_payloads(&expected[2].bytes, Scalar::F32));
    assert!(kernel.buffers.iter().any(|b| b.kind == BufferKind::Team));
}

fn product() -> [BufferData; 3] {
    let w = halves((0..1536).map(|i| (i * 7 % 23) as f32 * 0.25 - 2.0));
    let x: Vec<f32> = (0..128).map(|i| (i * 5 % 19) as f32 * 0.3 - 2.0).collect();
    [w, BufferData::from_f32(&x), BufferData::zeros(Scalar::F32, 768)]
}

fn shared() -> [BufferData; 3] {
    let x: Vec<f32> = (0..1536).map(|i| i as f32).collect();
    [BufferData::from_f32(&x), BufferData::from_ints(Scalar::I64, &[3]), BufferData::zeros(Scalar::F32, 384)]
}

fn group() -> [BufferData; 3] {
    let w = halves((0..6144).map(|i| (i * 7 % 23) as f32 * 0.25 - 2.0));
    let x: Vec<f32> = (0..256).map(|i| (i * 5 % 19) as f32 * 0.3 - 2.0).collect();
    [w, BufferData::from_f32(&x), BufferData::zeros(Scalar::F32, 1536)]
}

#[test]
fn groups_agree_with_the_interpreter() {
    agrees(GROUP, &group());
}

/// Without a wait or a fence, in the tensor IR or in PTX, products read what is not there yet, or their sums are touched too early.
#[test]
fn what_orders_a_group_is_needed() {
    let lines = [
        ("        barrier\n", ["fence.proxy.async", "nothing has written"]),
        ("      await_copies 0\n", ["cp.async", "copy"]),
        ("        await_products 0\n", ["wgmma", "product"]),
        ("        commit_products\n", ["wgmma", "product"]),
    ];
    for (line, faults) in lines {
        let less = parse_kernel(&GROUP.replace(line, "")).expect("is a kernel");
        let error = simulate(&less, &group()).expect_err(line).to_string();
        assert!(faults.iter().any(|f| error.contains(f)), "{line}: {error}");
    }
    let kernel = parse_kernel(GROUP).expect("is a kernel");
    let without = |line: &str| {
        simulate_with(&kernel, &group(), |module| {
            let text = print_module(&module);
            assert!(text.contains(line), "{text}");
            parse_module(&text.replace(line, "")).expect("reads back")
        })
    };
    for (line, fault) in [
        ("fence.proxy.async.shared::cta;", "fence.proxy.async"),
        ("wgmma.fence.sync.aligned;", "wgmma.fence"),
        ("wgmma.wait_group.sync.aligned 0;", "wgmma"),
    ] {
        let error = without(line).expect_err(line).to_string();
        assert!(error.contains(fault), "{line}: {error}");
    }
}

#[test]
fn teams_agree_with_the_interpreter() {
    agrees(PRODUCT, &product());
    agrees(SHARED, &shared());
}

/// Without the barrier a warp reads what another writes; without the wait, what is still on its way.
#[test]
fn what_orders_a_team_is_needed() {
    let cases = [(PRODUCT, product()), (SHARED, shared())];
    for (text, data) in cases {
        for (line, faults) in
            [("barrier\n", ["race", "nothing has written"]), ("await_copies 0\n", ["copy", "cp.async"])]
        {
            let less = parse_kernel(&text.replace(line, "// nothing\n")).expect("is a kernel");
            let error = simulate(&less, &data).expect_err(line).to_string();
            assert!(faults.iter().any(|f| error.contains(f)), "{line}: {error}");
        }
    }
}
