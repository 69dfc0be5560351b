//! The functions that can fail. `include/sparsec_cuda.h` says what they do.

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};

use sparsec_abi::{ABI_VERSION, RawTensor, Status};
use sparsec_cuda::Cuda;
use sparsec_plan::{Device, DeviceError, Plan};

use crate::context::Context;
use crate::device::AnyDevice;
use crate::failure::{Failure, guarded};
use crate::tensor::{check_overlaps, given};

/// The context that a pointer means.
///
/// # Safety
/// The pointer is null, or one that `sparsec_cuda_create` gave and `sparsec_cuda_destroy` has not got.
pub(crate) unsafe fn context<'a>(context: *const Context) -> Result<&'a Context, Failure> {
    // SAFETY: as the caller promises.
    unsafe { context.as_ref() }.ok_or_else(|| Status::NullPointer.into())
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn sparsec_cuda_abi_version() -> u32 {
    ABI_VERSION
}

/// # Safety
/// `artefact` is a string, and `out` can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_create(
    artefact: *const c_char,
    device: i32,
    out: *mut *mut Context,
    abi_version: u32,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let artefact = unsafe { begin(artefact, out, abi_version) }?;
        let made = Context::load(&artefact, |plan| Ok(AnyDevice(Box::new(Cuda::new(number(device)?, &plan.gpu)?))))?;
        // SAFETY: it can be written.
        unsafe { *out = Box::into_raw(Box::new(made)) };
        Ok(())
    })
}

/// # Safety
/// As `sparsec_cuda_create`; the stream is one of the device's primary context, and lives as long as the context uses it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_create_on_stream(
    artefact: *const c_char,
    device: i32,
    stream: *mut c_void,
    out: *mut *mut Context,
    abi_version: u32,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let artefact = unsafe { begin(artefact, out, abi_version) }?;
        let open = |plan: &Plan| {
            // SAFETY: as the caller promises.
            let device = unsafe { Cuda::on_stream(number(device)?, &plan.gpu, stream) }?;
            Ok(AnyDevice(Box::new(device)))
        };
        let made = Context::load(&artefact, open)?;
        // SAFETY: it can be written.
        unsafe { *out = Box::into_raw(Box::new(made)) };
        Ok(())
    })
}

fn number(device: i32) -> Result<usize, DeviceError> {
    usize::try_from(device).map_err(|_| DeviceError::Driver(format!("{device} is no number of a device")))
}

/// Checks what both ways to make a context take; no context stands in `out` after that. Returns the file of the plan.
///
/// # Safety
/// As `sparsec_cuda_create`.
unsafe fn begin(artefact: *const c_char, out: *mut *mut Context, abi_version: u32) -> Result<PathBuf, Failure> {
    if out.is_null() || artefact.is_null() {
        return Err(Status::NullPointer.into());
    }
    // SAFETY: it can be written.
    unsafe { *out = std::ptr::null_mut() };
    if abi_version != ABI_VERSION {
        return Err(Status::AbiVersion.into());
    }
    // SAFETY: it is a string.
    let path = unsafe { CStr::from_ptr(artefact) }.to_string_lossy().into_owned();
    plan_file(Path::new(&path))
}

/// The one plan of a folder, or the file itself.
pub(crate) fn plan_file(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let fault = |source| Failure::File { path: path.display().to_string(), source };
    let mut plans = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        if file.file_name().is_some_and(|n| n.to_string_lossy().ends_with(".plan.json")) {
            plans.push(file);
        }
    }
    match (plans.pop(), plans.len()) {
        (Some(plan), 0) => Ok(plan),
        (None, _) => Err(fault(std::io::Error::other("no .plan.json is in this folder"))),
        (Some(_), n) => Err(fault(std::io::Error::other(format!("{} plans are in this folder: name one", n + 1)))),
    }
}

/// # Safety
/// The context is null, or one that nobody uses any more.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_destroy(context: *mut Context) {
    if !context.is_null() {
        guarded(|| {
            // SAFETY: it was made by `Box::into_raw`, and nobody uses it.
            drop(unsafe { Box::from_raw(context) });
            Ok(())
        });
    }
}

/// # Safety
/// A context; a stream as in `sparsec_cuda_create_on_stream`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_set_stream(ctx: *mut Context, stream: *mut c_void) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let ctx = unsafe { context(ctx) }?;
        let mut running = ctx.lock()?;
        // SAFETY: as the caller promises.
        unsafe { running.session.device_mut().0.set_stream(stream) }?;
        Ok(())
    })
}

/// # Safety
/// A context, and one number for each symbol.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_reserve(ctx: *mut Context, dims: *const i64) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let ctx = unsafe { context(ctx) }?;
        // SAFETY: as the caller promises.
        let dims = unsafe { numbers(dims, ctx.symbols.len()) }?;
        ctx.lock()?.session.reserve(dims)?;
        Ok(())
    })
}

/// So many numbers of the caller.
///
/// # Safety
/// The pointer is null, or there are so many.
pub(crate) unsafe fn numbers<'a>(from: *const i64, count: usize) -> Result<&'a [i64], Failure> {
    match count {
        0 => Ok(&[]),
        _ if from.is_null() => Err(Status::NullPointer.into()),
        // SAFETY: as the caller promises.
        _ => Ok(unsafe { std::slice::from_raw_parts(from, count) }),
    }
}

/// # Safety
/// A context; arrays of as many tensors as it has inputs and outputs, as `given` wants them.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_run(
    ctx: *mut Context,
    inputs: *const RawTensor,
    outputs: *mut RawTensor,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let ctx = unsafe { context(ctx) }?;
        let mut running = ctx.lock()?;
        // SAFETY: as the caller promises. No slice of outputs is made before it is known that they share no memory.
        let taken = unsafe { given("input", &ctx.plan.inputs, inputs) }?;
        if outputs.is_null() && !ctx.plan.outputs.is_empty() {
            return Err(Status::NullPointer.into());
        }
        let counts = (ctx.plan.inputs.len(), ctx.plan.outputs.len());
        // SAFETY: as the caller promises.
        unsafe { check_overlaps((inputs, counts.0), (outputs.cast_const(), counts.1)) }?;
        // SAFETY: as the caller promises.
        let mut made = unsafe { given("output", &ctx.plan.outputs, outputs) }?;
        running.results = running.session.run_into(&taken, &mut made)?;
        Ok(())
    })
}

/// # Safety
/// A context.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_synchronise(ctx: *mut Context) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let ctx = unsafe { context(ctx) }?;
        ctx.lock()?.session.device_mut().synchronise()?;
        Ok(())
    })
}

/// # Safety
/// A context; an array of inputs as for `sparsec_cuda_run`, and room for a number for each symbol.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_infer_dims(
    ctx: *const Context,
    inputs: *const RawTensor,
    dims: *mut i64,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let ctx = unsafe { context(ctx) }?;
        // SAFETY: as the caller promises.
        let taken = unsafe { given("input", &ctx.plan.inputs, inputs) }?;
        let values = ctx.plan.infer_dims(&taken)?;
        // SAFETY: as the caller promises.
        unsafe { put(&values, dims) }
    })
}

/// Gives the caller numbers.
///
/// # Safety
/// The pointer is null, or there is room for them.
pub(crate) unsafe fn put(values: &[i64], to: *mut i64) -> Result<(), Failure> {
    if to.is_null() && !values.is_empty() {
        return Err(Status::NullPointer.into());
    }
    for (i, value) in values.iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe { to.add(i).write(*value) };
    }
    Ok(())
}
