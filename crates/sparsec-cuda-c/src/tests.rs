//! The functions as C calls them, on a simulated GPU.

use std::ffi::c_void;
use std::path::Path;

use sparsec::{CompileOptions, Gpu, ModelSource, Output, Silent, Simulated};
use sparsec_abi::{RawTensor, Status, dtype_code};
use sparsec_demo::{Extent, ModelBuilder};
use sparsec_onnx::proto;
use sparsec_plan::{Device, DeviceError};

use crate::context::Context;
use crate::device::{AnyDevice, StreamDevice};
use crate::failure::{Failure, guarded, sparsec_cuda_error};
use crate::functions::{
    plan_file, sparsec_cuda_infer_dims, sparsec_cuda_reserve, sparsec_cuda_run, sparsec_cuda_set_stream,
    sparsec_cuda_synchronise,
};
use crate::questions::{
    sparsec_cuda_input_count, sparsec_cuda_input_dtype, sparsec_cuda_input_extents, sparsec_cuda_input_name,
    sparsec_cuda_input_rank, sparsec_cuda_output_shape, sparsec_cuda_result_shape, sparsec_cuda_symbol_name,
};
use crate::tensor::ON_DEVICE;

impl StreamDevice for Simulated {
    unsafe fn set_stream(&mut self, _: *mut c_void) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// `y = relu(x w)`, any number of rows of three numbers to rows of two.
fn compile(folder: &Path) {
    let mut m = ModelBuilder::new("tiny");
    let x = m.input("x", &[Extent::Symbol("n"), Extent::Fixed(3)]);
    let weight = m.weight(&[3, 2], &[0.0, -1.0, 2.0, 0.0, 1.0, -1.0]);
    let product = m.node("MatMul", &[&x, &weight], &[]);
    m.node_named("Relu", &[&product], &[], "y");
    m.output("y", &[Extent::Symbol("n"), Extent::Fixed(2)]);
    let mut options = CompileOptions::new(Gpu::Sm80);
    options.output = Some(Output { folder: folder.to_path_buf(), emit: [].into() });
    let bytes = proto::encode(&m.finish());
    let source = ModelSource::Bytes { name: "tiny".into(), bytes: bytes.into(), folder: None };
    sparsec::compile(source, &options, &mut Silent).expect("compiles");
}

fn load(folder: &Path) -> Context {
    compile(folder);
    let plan = plan_file(folder).expect("one plan");
    Context::load(&plan, |_| Ok(AnyDevice(Box::new(Simulated::new())))).expect("loads")
}

fn tensor(data: *mut c_void, shape: &[i64; 2]) -> RawTensor {
    let dtype = dtype_code("f32").expect("known");
    RawTensor { data, shape: shape.as_ptr(), strides: std::ptr::null(), rank: 2, dtype }
}

fn message() -> String {
    // SAFETY: the text is this thread's.
    unsafe { std::ffi::CStr::from_ptr(sparsec_cuda_error()) }.to_string_lossy().into_owned()
}

const X: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
const Y: [f32; 4] = [7.0, 0.0, 16.0, 0.0];

#[test]
fn tensors_on_the_host_and_on_the_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut context = load(folder.path());
    let (mut x, mut y) = (X, [0f32; 4]);
    let (of_x, of_y) = ([2, 3], [2, 2]);
    let input = tensor(x.as_mut_ptr().cast(), &of_x);
    let mut output = tensor(y.as_mut_ptr().cast(), &of_y);
    let ctx: *mut Context = &raw mut context;
    // SAFETY: the tensors are as their shapes say.
    unsafe {
        let (mut dims, mut shape) = ([0], [0, 0]);
        assert_eq!(sparsec_cuda_infer_dims(ctx, &raw const input, dims.as_mut_ptr()), 0);
        assert_eq!(dims, [2]);
        assert_eq!(sparsec_cuda_reserve(ctx, dims.as_ptr()), 0);
        assert_eq!(sparsec_cuda_output_shape(ctx, dims.as_ptr(), 0, shape.as_mut_ptr()), 0);
        assert_eq!(shape, of_y);
        assert_eq!(sparsec_cuda_run(ctx, &raw const input, &raw mut output), 0, "{}", message());
        assert_eq!(y, Y);
        shape = [0, 0];
        assert_eq!(sparsec_cuda_result_shape(ctx, 0, shape.as_mut_ptr()), 0);
        assert_eq!(shape, of_y);

        // The same on the device.
        let bytes: Vec<u8> = X.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (on_x, on_y) = {
            let mut running = context.lock().expect("free");
            let device = running.session.device_mut();
            let (on_x, on_y) = (device.alloc(24).expect("memory"), device.alloc(16).expect("memory"));
            device.write(on_x, &bytes).expect("written");
            (on_x, on_y)
        };
        let on_device = |address: u64, shape| {
            let mut t = tensor(std::ptr::without_provenance_mut(address as usize), shape);
            t.dtype |= ON_DEVICE;
            t
        };
        let (input, mut output) = (on_device(on_x, &of_x), on_device(on_y, &of_y));
        assert_eq!(sparsec_cuda_set_stream(ctx, std::ptr::null_mut()), 0);
        assert_eq!(sparsec_cuda_run(ctx, &raw const input, &raw mut output), 0, "{}", message());
        assert_eq!(sparsec_cuda_synchronise(ctx), 0);
        let mut found = [0u8; 16];
        context.lock().expect("free").session.device_mut().read(on_y, &mut found).expect("read");
        assert_eq!(found.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>(), Y);
        // An output that is the input.
        let mut onto = on_device(on_x, &of_y);
        assert_eq!(sparsec_cuda_run(ctx, &raw const input, &raw mut onto), Status::Overlap.code());
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut context = load(folder.path());
    let ctx: *mut Context = &raw mut context;
    let (mut x, mut y) = (X, [0f32; 4]);
    let (of_x, of_y) = ([2, 3], [2, 2]);
    let input = tensor(x.as_mut_ptr().cast(), &of_x);
    let output = tensor(y.as_mut_ptr().cast(), &of_y);
    let run = |input: RawTensor, mut output: RawTensor| {
        // SAFETY: what is wrong with the tensors is found before their memory is touched.
        unsafe { sparsec_cuda_run(ctx, &raw const input, &raw mut output) }
    };
    let (long, negative, strides) = ([2, 4], [-1, 3], [1, 2]);
    for (status, input, output) in [
        (Status::Rank, RawTensor { rank: 1, ..input }, output),
        (Status::Dtype, RawTensor { dtype: 7, ..input }, output),
        (Status::Dtype, RawTensor { dtype: 99, ..input }, output),
        (Status::Extent, RawTensor { shape: long.as_ptr(), ..input }, output),
        (Status::Dimension, RawTensor { shape: negative.as_ptr(), ..input }, output),
        (Status::Strides, RawTensor { strides: strides.as_ptr(), ..input }, output),
        (Status::NullPointer, RawTensor { data: std::ptr::null_mut(), ..input }, output),
        (Status::NullPointer, RawTensor { shape: std::ptr::null(), ..input }, output),
        (Status::Alignment, RawTensor { data: input.data.wrapping_byte_add(1), ..input }, output),
        (Status::OutputShape, input, RawTensor { shape: long.as_ptr(), ..output }),
        (Status::Overlap, input, RawTensor { data: input.data, ..output }),
        (
            Status::Alignment,
            RawTensor { data: std::ptr::without_provenance_mut(8), dtype: 1 | ON_DEVICE, ..input },
            output,
        ),
        // Memory that the device never gave.
        (
            Status::Device,
            RawTensor { data: std::ptr::without_provenance_mut(64), dtype: 1 | ON_DEVICE, ..input },
            output,
        ),
    ] {
        assert_eq!(run(input, output), status.code(), "{}", message());
        assert!(message().contains(if status == Status::Device { "" } else { status.message() }), "{}", message());
    }
    assert_eq!(run(RawTensor { rank: 3, ..input }, output), Status::Rank.code());
    assert!(message().contains("input `x`"), "{}", message());
    // Another thread has it.
    let held = context.lock().expect("free");
    assert_eq!(run(input, output), Status::Busy.code());
    drop(held);
    assert_eq!(run(input, output), 0);
    assert_eq!(y, Y);
}

#[test]
fn questions() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut context = load(folder.path());
    let ctx: *mut Context = &raw mut context;
    // SAFETY: the context lives.
    unsafe {
        let text = |text| std::ffi::CStr::from_ptr(text).to_str().expect("text");
        assert_eq!((sparsec_cuda_input_count(ctx), sparsec_cuda_input_rank(ctx, 0)), (1, 2));
        assert_eq!((text(sparsec_cuda_input_name(ctx, 0)), text(sparsec_cuda_symbol_name(ctx, 0))), ("x", "n"));
        assert_eq!((sparsec_cuda_input_dtype(ctx, 0), sparsec_cuda_input_dtype(ctx, 1)), (1, 0));
        assert_eq!(std::slice::from_raw_parts(sparsec_cuda_input_extents(ctx, 0), 2), [-1, 3]);
        assert!(sparsec_cuda_input_name(ctx, 1).is_null() && sparsec_cuda_input_name(ctx, -1).is_null());
        let mut shape = [0, 0];
        let dims = [5];
        assert_eq!(sparsec_cuda_output_shape(ctx, dims.as_ptr(), 1, shape.as_mut_ptr()), Status::Index.code());
        assert_eq!(sparsec_cuda_output_shape(ctx, [-1].as_ptr(), 0, shape.as_mut_ptr()), Status::Dimension.code());
    }
}

#[test]
fn failures_have_statuses() {
    let failed = |failure: Failure| guarded(|| Err(failure));
    let oom = DeviceError::OutOfMemory { bytes: 1 << 40, free: Some(5) };
    assert_eq!(failed(oom.into()), Status::Memory.code());
    assert!(message().contains("1099511627776 bytes were asked for, 5 are free"), "{}", message());
    let old = |device: &str, found: &str| DeviceError::Capability {
        device: device.into(),
        found: found.into(),
        wanted: "sm_80".into(),
    };
    assert_eq!(failed(old("a T4", "7.5").into()), Status::Capability.code());
    assert_eq!(message(), "a T4 has compute capability 7.5; this model was compiled for sm_80");
    assert_eq!(failed(DeviceError::NoDevice { ordinal: 3, count: 1 }.into()), Status::NoDevice.code());
    assert_eq!(failed(DeviceError::NoDriver.into()), Status::NoDriver.code());
    assert_eq!(guarded(|| panic!("on purpose")), Status::Device.code());
    assert!(message().contains("on purpose"));
}

#[test]
fn files_that_do_not_belong_together() {
    let folder = tempfile::tempdir().expect("a folder");
    compile(folder.path());
    let plan = plan_file(folder.path()).expect("one plan");
    let load =
        || Context::load(&plan, |_| Ok(AnyDevice(Box::new(Simulated::new())))).map(|_| ()).map_err(|e| e.status());
    assert_eq!(load(), Ok(()));
    let weights = folder.path().join("tiny.weights");
    let bytes = std::fs::read(&weights).expect("written");
    std::fs::write(&weights, [&bytes[..], &[0]].concat()).expect("written");
    assert_eq!(load(), Err(Status::Artefact));
    std::fs::remove_file(&weights).expect("removed");
    assert_eq!(load(), Err(Status::Artefact));
    std::fs::write(folder.path().join("b.plan.json"), "{}").expect("written");
    assert_eq!(plan_file(folder.path()).map_err(|e| e.status()), Err(Status::Artefact));
}

#[test]
fn the_header_shares_its_types_with_those_of_models() {
    let header = include_str!("../include/sparsec_cuda.h");
    assert!(header.contains(&sparsec_artifact::shared_header()));
}
